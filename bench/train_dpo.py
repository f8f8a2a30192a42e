"""Preferences learned from edits: recipe `sft+dpo` beside recipe `sft` alone.

SmolLM2-135M-Instruct answers the messages of the shipped world with JSON (team and language).
Version 1 learned the first messages; it answers later ones, and people edit what is wrong. Both
sides learn all of these messages with their right answers, the same way and with the same seed;
`sft+dpo` goes on from there with the pairs of edit and wrong answer, beside all messages.

Held out are the messages after those. Win rate: of those that version 1 answers wrongly, the share
whose right answer is likelier than the wrong one, by the sum over all of its tokens, by
`transformers` in fp32 with the adapter as `peft` loads it. Exact match: of all of them, written
greedily by the engine. ± is the standard error of the difference, which is taken item by item.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.figure import Figure
from bench.train_sft import LIMITS, PROMPT, SEED, Rows, messages
from driftgate.bases import SMOLLM2, resolve
from driftgate.generator.base import load
from driftgate.generator.chat import Chat
from driftgate.generator.question import Question, Sampling
from driftgate.generator.serving import Generator
from services.trainer.dpo.method import Dpo
from services.trainer.dpo.tune import tune_after_sft
from services.trainer.recipes import Trained
from services.trainer.sft.method import Method
from services.trainer.sft.pairs import Pair, pair_of
from services.trainer.sft.tune import tune

AT_ONCE = 64
Edits = Sequence[tuple[str, str, str]]
"""Text, right answer, wrong answer."""


@dataclass(frozen=True, slots=True)
class Side:
    """wins, exact: of each held-out pair and message, 0 or 1. seconds: CPU time of the training."""

    wins: Sequence[int]
    exact: Sequence[int]
    seconds: float
    trained: Trained


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser(prog="make bench NAME=train-dpo")
    parser.add_argument("--launch", type=int, default=160, help="messages of version 1")
    parser.add_argument("--answered", type=int, default=200, help="messages that it answers")
    parser.add_argument("--held", type=int, default=240, help="messages that are held out")
    given = parser.parse_args(args)
    torch.set_num_threads(1)
    rows = messages(given.launch + given.answered + given.held)
    learned, held = rows[: -given.held], rows[-given.held :]
    with tempfile.TemporaryDirectory() as folder:
        first, plain, preferring = (Path(folder) / name for name in ("first", "sft", "dpo"))
        tune(learned[: given.launch], out=first, **asked())
        taught, judged = edits(first, learned[given.launch :]), edits(first, held)

        begun = time.process_time()
        made = tune(learned, out=plain, **asked())
        between = time.process_time()
        preferred = tune_after_sft(learned, taught, Dpo(), out=preferring, **asked())
        ended = time.process_time()
        return list(
            figures(
                len(learned),
                side(plain, judged, held, between - begun, made),
                side(preferring, judged, held, ended - between, preferred),
            )
        )


def asked() -> dict[str, Any]:
    return {
        "prompt": PROMPT,
        "limits": LIMITS,
        "method": Method(batch_size=8),
        "base": resolve(SMOLLM2),
        "seed": SEED,
        "progress": lambda share, doing: None,
        "device": "cpu",
    }


def figures(learned: int, plain: Side, preferring: Side) -> Iterator[Figure]:
    found = preferring.trained.preferred
    yield Figure("messages learned, held out", f"{learned}, {len(plain.exact)}")
    if found is None:
        yield Figure("preferences", "; ".join(preferring.trained.notes), "learned", False)
        return
    counts = f"{found.pairs + found.validated}, {len(plain.wins)}"
    yield Figure("pairs learned or validated, held out", counts)
    yield Figure("CPU time of sft, sft+dpo", f"{plain.seconds:.0f} s, {preferring.seconds:.0f} s")
    gain, error = difference(preferring.wins, plain.wins)
    told = f"{share(preferring.wins)}, sft {share(plain.wins)}: {gain:+.1f} ± {error:.1f} points"
    yield Figure("win rate", told, "≥ +10 points", gain >= 10)
    gain, error = difference(preferring.exact, plain.exact)
    told = f"{share(preferring.exact)}, sft {share(plain.exact)}: {gain:+.1f} ± {error:.1f} points"
    yield Figure("exact match", told, "≥ −1 point", gain >= -1)


def share(hits: Sequence[int]) -> str:
    return f"{statistics.mean(hits):.1%}"


def difference(ours: Sequence[int], theirs: Sequence[int]) -> tuple[float, float]:
    """In points, with its standard error."""
    found = [one - other for one, other in zip(ours, theirs, strict=True)]
    error = statistics.stdev(found) / math.sqrt(len(found))
    return 100 * statistics.mean(found), 100 * error


# ---------------------------------------------------------------- measuring


def edits(version: Path, rows: Rows) -> Edits:
    """What people make of a version's answers that are wrong."""
    answers = written(version, [text for text, _ in rows])
    return [(*row, answer) for row, answer in zip(rows, answers, strict=True) if answer != row[1]]


def written(version: Path, texts: Sequence[str]) -> list[str]:
    engine = Generator(resolve(SMOLLM2), device="cpu", places=AT_ONCE, queue=len(texts))
    engine.load("v", version)
    sampling = Sampling(max_new_tokens=LIMITS.max_new_tokens)
    asked = [Question("v", engine.prompt(PROMPT, text), sampling) for text in texts]
    return [answer.text for answer in engine.answers(asked)]  # type: ignore[union-attr]


def side(version: Path, pairs: Edits, rows: Rows, seconds: float, trained: Trained) -> Side:
    answers = written(version, [text for text, _ in rows])
    exact = [int(answer == target) for answer, (_, target) in zip(answers, rows, strict=True)]
    return Side(wins(version, pairs), exact, seconds, trained)


@torch.no_grad()
def wins(version: Path, pairs: Edits) -> list[int]:
    from peft import PeftModel

    base = resolve(SMOLLM2)
    model = PeftModel.from_pretrained(load(base, device="cpu"), version).eval()
    chat = Chat.of(base)

    def likelihood(text: str, answer: str) -> float:
        return log_probability(model, pair_of(text, answer, chat, PROMPT))

    return [int(likelihood(text, right) > likelihood(text, wrong)) for text, right, wrong in pairs]


def log_probability(model: Any, pair: Pair) -> float:
    """Of an answer, the sum over its tokens."""
    ids = torch.tensor([[*pair.prompt, *pair.completion]])
    logits = model(input_ids=ids).logits[0, len(pair.prompt) - 1 : -1]
    said = logits.log_softmax(-1)[torch.arange(len(pair.completion)), list(pair.completion)]
    return float(said.sum())
