"""Preferences in, the folder of a version out, the same bytes for the same seed: from the bare
base, or from what supervised tuning made of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from driftgate.bases import BaseRef
from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.generator.base import adaptable, load
from driftgate.generator.chat import Chat
from driftgate.generator.prompt import Prompt
from services.trainer.checkpoint import resume, signature_of
from services.trainer.deterministic import deterministic
from services.trainer.dpo.method import Dpo
from services.trainer.dpo.preferences import Preference, Preferring, preferences_of, split_like
from services.trainer.recipes import Preferred, Progress, Trained
from services.trainer.sft import tune as sft
from services.trainer.sft.method import Method
from services.trainer.sft.network import Adapted
from services.trainer.sft.pairs import Limits, Pair, pairs_of, validated
from services.trainer.sft.run import Answers, Run
from services.trainer.sft.tune import parts_of, saved, steps_of, write_version
from services.trainer.spent import spent

Rows = Iterable[tuple[str, str, str]]
"""Text, the chosen answer, the rejected one."""

FOLDER = "preferences-and-examples"
"""In that of the checkpoint, whose own file is the supervised tuning's."""

SAME_START = "no epoch on preferences was better than their start, which was kept"


def tune(
    rows: Rows, dpo: Dpo, *, prompt: Prompt, limits: Limits, base: BaseRef, **asked: Any
) -> Trained:
    """Train a version on preferences from the bare base. For all else see `sft.tune.tune`; of
    `method`, epochs and learning rate are those of `dpo`.

    Raises:
        BadInput: fewer pairs than `dpo.min_pairs` are short enough.
        BadConfig: no adapter can be trained on the base.
        TrainingFailed: it diverged.
    """
    adaptable(base)
    found, left_out = preferences_of(rows, Chat.of(base), prompt, limits)
    if lacking := too_few(found, left_out, dpo):
        expected = f"at least {dpo.min_pairs} (method.dpo.min_pairs)"
        raise BadInput(UNHANDLED, "preferences", lacking, expected)
    return trained([], found, dpo, left_out, base=base, **asked)


def tune_after_sft(
    examples: Iterable[tuple[str, str]],
    rows: Rows,
    dpo: Dpo,
    *,
    prompt: Prompt,
    limits: Limits,
    base: BaseRef,
    **asked: Any,
) -> Trained:
    """Supervised tuning on rows (text, target), then preferences with what it made as their
    reference; without the second where pairs are too few, which `notes` say.

    Raises:
        BadInput: no row is short enough.
        BadConfig, TrainingFailed: as `tune`.
    """
    adaptable(base)
    chat, examples = Chat.of(base), list(examples)
    found, lost = preferences_of(rows, chat, prompt, limits)
    if lacking := too_few(found, lost, dpo):
        made = sft.tune(examples, prompt, limits, base=base, **asked)
        why = f"preferences were not learned: {lacking}, at least {dpo.min_pairs} are needed"
        return replace(made, left_out={**made.left_out, **lost}, notes=(why,))
    pairs, left_out = pairs_of(examples, chat, prompt, limits)
    return trained(pairs, found, dpo, {**left_out, **lost}, base=base, **asked)


def too_few(found: Sequence[Preference], left_out: Mapping[str, int], dpo: Dpo) -> str | None:
    """How many preferences there are, in words, where no training can hang on them."""
    if len(found) >= dpo.min_pairs:
        return None
    lost = ", ".join(f"{count} left out, {why}" for why, count in left_out.items())
    return f"{len(found)} pairs" + (f" ({lost})" if lost else "")


def trained(
    pairs: Sequence[Pair],
    preferences: Sequence[Preference],
    dpo: Dpo,
    left_out: Mapping[str, int],
    *,
    method: Method,
    base: BaseRef,
    out: Path,
    seed: int,
    threads: int = 1,
    progress: Progress,
    checkpoint: Path | None = None,
    device: str = "auto",
) -> Trained:
    """The one network with its two runs; without pairs, with the second alone."""
    cpu_started = time.process_time()
    learned, held = validated(pairs, method.validation_share) if pairs else ([], [])
    ours, theirs = shares(preferences, [pairs[row] for row in held], method.validation_share)
    rows, both = laid_out(pairs, preferences)
    signature = signature_of([*pairs, *preferences, dpo], method, base, seed, threads)
    kept = None if checkpoint is None else checkpoint / FOLDER
    with deterministic(seed, threads):
        progress(0.0, "loading the base")
        network = Adapted(load(base, method.kind, device), rows, method)
        objective = Preferring(network, both, dpo)
        taught, watched = learned, held
        if not pairs:
            taught, watched = ([both[at][0] for at in side] for side in (ours, theirs))
        answers = [row for at in ours for row in both[at]]
        beside = len(ours) / len(taught) * network.work_above(taught, learning=True)
        reading, tuning, referring, preferring = parts_of(
            progress,
            network.work_below(range(len(rows))),
            method.epochs * network.work_above(learned, learning=True),
            network.work_above([row for pair in both for row in pair], learning=False),
            dpo.epochs * (network.work_above(answers, learning=True) + beside),
        )
        network.keep(lambda share: reading(share, "reading the pairs"))

        first = Run(network, method, Answers(network, method.label_smoothing))
        done = resume(first, checkpoint, signature) if checkpoint else 0
        if pairs:
            told = steps_of(len(learned), method, tuning)
            first.fit(learned, held, seed, told, saved(first, checkpoint, signature))

        method = replace(method, epochs=dpo.epochs, learning_rate=dpo.learning_rate)
        second = Run(network, method, objective)
        judging = [*theirs, *objective.examples(watched)] if theirs else []
        resumed = resume(second, kept, signature) if kept else 0
        if not resumed:
            referring(0.0, "computing the reference of preferences")
            objective.refer([*range(len(both)), *judging])
        second.start = objective.start(judging) if judging else None
        told = steps_of(len(ours), method, preferring, "preference step")
        items = [*ours, *objective.examples(taught)]
        second.fit(items, judging, seed, told, saved(second, kept, signature))
        wins = (objective.wins_before(theirs), objective.wins(theirs)) if theirs else ()
        write_version(network.model, out, base)
    progress(1.0, "trained")
    return Trained(
        base_digest=base.digest,
        steps=first.step + second.step,
        losses=tuple(first.losses),
        validation=tuple(first.validation),
        left_out=left_out,
        preferred=Preferred(
            pairs=len(ours),
            validated=len(theirs),
            losses=tuple(second.losses),
            validation=() if second.start is None else (second.start, *second.validation),
            best=second.best + 1,
            wins=wins,
        ),
        notes=() if second.best >= 0 else (SAME_START,),
        metrics={
            "examples": len(learned),
            "validated": len(held),
            "tokens": sum(network.lengths[row] for row in learned),
            "answer_tokens": sum(len(rows[row].completion) for row in learned),
            "best_epoch": first.best + 1,
            "preferences": len(ours),
            "preference_tokens": sum(network.lengths[row] for row in answers),
            **spent(cpu_started),
            "resumed_epochs": done + resumed,
        },
    )


def shares(
    preferences: Sequence[Preference], held: Sequence[Pair], share: float
) -> tuple[list[int], list[int]]:
    """Places of the preferences that are learned from, and of those that tell when to stop: where
    pairs are `held` by supervised tuning, those of the same inputs."""
    if held:
        return split_like(preferences, held)
    return validated([each.chosen for each in preferences], share)


def laid_out(
    pairs: Sequence[Pair], preferences: Sequence[Preference]
) -> tuple[list[Pair], list[tuple[int, int]]]:
    """Rows of the network, the pairs first, and the two rows of each preference. A chosen answer
    that is a pair stands there once."""
    rows, places = list(pairs), {pair: at for at, pair in enumerate(pairs)}

    def place(pair: Pair) -> int:
        if pair not in places:
            places[pair] = len(rows)
            rows.append(pair)
        return places[pair]

    return rows, [(place(each.chosen), place(each.rejected)) for each in preferences]
