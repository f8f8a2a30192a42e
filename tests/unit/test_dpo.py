from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from test_sft import LIMITS, PROMPT, Killed, digest, exact
from tiny_llama import tiny_llama

from driftgate.bases import BaseRef, resolve
from driftgate.errors import BadInput
from driftgate.generator.base import load
from driftgate.generator.chat import Chat
from services.trainer.dpo.loss import preference_loss
from services.trainer.dpo.method import Dpo
from services.trainer.dpo.preferences import (
    Preference,
    Preferring,
    preferences_of,
    split_like,
)
from services.trainer.dpo.tune import laid_out, tune, tune_after_sft
from services.trainer.failures import TrainingFailed
from services.trainer.recipes import Trained
from services.trainer.sft import tune as sft
from services.trainer.sft.method import Method
from services.trainer.sft.network import Adapted
from services.trainer.sft.pairs import Pair, pairs_of, validated

__all__ = ["exact"]

TEAMS = {"paid": "billing", "late": "parcels", "broken": "repairs"}
WRONG = {"paid": "parcels", "late": "repairs", "broken": "billing"}
ROWS = [
    (f"{start} {word}{end}", f'{{"team": "{TEAMS[word]}"}}', f'{{"team": "{WRONG[word]}"}}')
    for word in TEAMS
    for start in ("it is", "the order was", "my thing, which I ordered in May, is")
    for end in ("", " again", ", what now?", " and I am not amused by this at all")
]
EXAMPLES = [row[:2] for row in ROWS]
METHOD = Method(layers=1, epochs=2, learning_rate=1e-2, batch_size=8, validation_share=0.2)
DPO = Dpo(epochs=3, learning_rate=1e-2, min_pairs=20)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseRef:
    return resolve(str(tiny_llama(tmp_path_factory.mktemp("llama"), initializer_range=0.3)))


def train(base: BaseRef, out: Path, *given: Any, **changed: Any) -> Trained:
    """From the bare base, or after supervised tuning if there are examples."""
    recipe = tune_after_sft if len(given) == 3 else tune
    settings: dict[str, Any] = {
        "prompt": PROMPT,
        "limits": LIMITS,
        "method": METHOD,
        "seed": 7,
        "progress": lambda share, doing: None,
        "device": "cpu",
        **changed,
    }
    return recipe(*given, base=base, out=out, **settings)


# ---------------------------------------------------------------- the loss


def test_the_loss_is_that_of_the_paper() -> None:
    """As in TRL's `loss_type="sigmoid"`, with numbers by hand."""
    chosen, rejected = torch.tensor([-3.0, -8.0]), torch.tensor([-5.0, -2.0])
    reference = torch.tensor([-4.0, -6.0]), torch.tensor([-4.5, -3.5])
    gains = [(-3 + 4) - (-5 + 4.5), (-8 + 6) - (-2 + 3.5)]
    expected = [math.log(1 + math.exp(-0.3 * gain)) for gain in gains]
    found = preference_loss(chosen, rejected, reference, beta=0.3)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("exact")
def test_what_is_lowered_is_computed_from_what_transformers_says(base: BaseRef) -> None:
    """The preferences and the share of the examples, over parts of a step, against logits of the
    whole texts under network and reference."""
    preferences, _ = preferences_of(ROWS[6:], Chat.of(base), PROMPT, LIMITS)
    pairs, _ = pairs_of(EXAMPLES[:6], Chat.of(base), PROMPT, LIMITS)
    rows, both = laid_out(pairs, preferences)
    network = Adapted(load(base, device="cpu"), rows, METHOD)
    objective = Preferring(network, both, Dpo(beta=0.2, sft_weight=0.5))
    preferred, supervised = [3, 11, 29], [0, 4, both[11][0]]
    whole = [*preferred, *objective.examples(supervised)]
    objective.refer(whole)
    assert objective.start(whole) == pytest.approx(objective.loss(whole, whole).item(), rel=1e-4)
    before = [[alone(network, row) for row in both[at]] for at in preferred]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in network.model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
    now = [[alone(network, row) for row in both[at]] for at in preferred]
    expected = 0.0
    for (c, r), (c0, r0) in zip(now, before, strict=True):
        expected += math.log(1 + math.exp(-0.2 * ((c - c0) - (r - r0)))) / len(preferred)
    tokens = sum(len(rows[row].completion) for row in supervised)
    expected -= 0.5 * sum(alone(network, row) for row in supervised) / tokens
    parts = [whole[:1], whole[1:4], whole[4:]]
    found = sum(objective.loss(part, whole).item() for part in parts)
    assert found == pytest.approx(expected, rel=1e-4)
    share = sum(c > r for c, r in now) / len(preferred)
    assert objective.wins(preferred) == pytest.approx(share)


@pytest.mark.parametrize("examples", [5, 40, 90])
def test_a_step_holds_as_many_examples_as_pairs(base: BaseRef, examples: int) -> None:
    """An epoch shows each pair once; examples begin anew where they are fewer, and other ones come
    in other epochs where they are more."""
    preferences, _ = preferences_of(ROWS, Chat.of(base), PROMPT, LIMITS)
    objective = Preferring(network_of(base, preferences), [(0, 1)] * 36, DPO)
    items = [*range(36), *objective.examples(range(examples))]
    batches = objective.batches(items, 8, seed=7, epoch=0)
    pairs = [[item for item in batch if item < 36] for batch in batches]
    others = [[item for item in batch if item >= 36] for batch in batches]
    assert sorted(item for batch in pairs for item in batch) == list(range(36))
    assert all(others)
    drawn = [item for batch in others for item in batch]
    assert len(set(drawn)) == min(examples, 40)
    assert batches == objective.batches(items, 8, seed=7, epoch=0)
    assert batches != objective.batches(items, 8, seed=7, epoch=1)


def network_of(base: BaseRef, preferences: list[Preference]) -> Adapted:
    rows, _ = laid_out([], preferences)
    return Adapted(load(base, device="cpu"), rows, METHOD)


def alone(network: Adapted, row: int) -> float:
    return said_of(network.model, network.pairs[row])


@torch.no_grad()
def said_of(model: Any, pair: Pair) -> float:
    """The log-probability of an answer, token by token."""
    logits = model(input_ids=torch.tensor([[*pair.prompt, *pair.completion]])).logits[0]
    said = logits.log_softmax(-1)
    ids = enumerate(pair.completion, len(pair.prompt) - 1)
    return sum(float(said[at, token]) for at, token in ids)


# ---------------------------------------------------------------- what is learned


@pytest.mark.parametrize("examples", [[], [EXAMPLES]])
def test_the_edit_becomes_likelier_than_the_answer_on_inputs_that_were_held_back(
    base: BaseRef, tmp_path: Path, examples: list[Any]
) -> None:
    told: list[tuple[float, str]] = []
    made = train(
        base,
        tmp_path / "v",
        *examples,
        ROWS,
        replace(DPO, epochs=8),
        method=replace(METHOD, layers=2),
        progress=lambda share, doing: told.append((share, doing)),
    )
    found = made.preferred
    assert found
    assert (found.pairs + found.validated, len(made.losses)) == (36, 2 if examples else 0)
    assert found.validated > 0
    assert found.validation[found.best] == min(found.validation)
    assert found.losses[-1] < 0.7 * found.losses[0]
    assert found.wins[1] > found.wins[0]
    assert made.notes == ()
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, "trained")
    assert any("preference step 3 of" in doing for _, doing in told)


def test_after_supervised_tuning_what_it_made_is_the_reference(
    base: BaseRef, tmp_path: Path
) -> None:
    """The loss begins at log 2, however far that is from the base."""
    made = train(base, tmp_path / "v", EXAMPLES, ROWS, replace(DPO, sft_weight=0.0, beta=1.0))
    assert made.preferred
    assert made.losses[-1] < 0.9 * made.losses[0]
    assert made.preferred.validation[0] == pytest.approx(math.log(2))


def test_preferences_that_help_nowhere_else_leave_their_start(
    base: BaseRef, tmp_path: Path
) -> None:
    """What is learned of odd inputs is wrong of all others."""
    preferences, _ = preferences_of(ROWS, Chat.of(base), PROMPT, LIMITS)
    _, held = split_like(preferences, held_pairs(base))
    turned = [row if at in held else (row[0], row[2], row[1]) for at, row in enumerate(ROWS)]
    made = train(base, tmp_path / "v", EXAMPLES, turned, replace(DPO, sft_weight=0.0))
    assert made.preferred
    assert made.preferred.best == 0
    assert len(made.preferred.losses) == METHOD.patience
    assert made.notes == ("no epoch on preferences was better than their start, which was kept",)
    assert made.preferred.wins[0] == made.preferred.wins[1]


def held_pairs(base: BaseRef) -> list[Any]:
    pairs, _ = pairs_of(EXAMPLES, Chat.of(base), PROMPT, LIMITS)
    return [pairs[at] for at in validated(pairs, METHOD.validation_share)[1]]


def test_a_base_in_4_bits_learns_preferences(base: BaseRef, tmp_path: Path) -> None:
    method = replace(METHOD, kind="qlora", layers=2)
    made = train(base, tmp_path / "v", EXAMPLES, ROWS, DPO, method=method)
    assert made.preferred
    assert made.preferred.losses[-1] < made.preferred.losses[0]


def test_answers_that_were_right_stay_likely(base: BaseRef, tmp_path: Path) -> None:
    """Pairs reject the team that is right elsewhere, and no pair says so."""
    rows = [row for row in ROWS if "paid" in row[0] or "broken" in row[0]]
    accepted = [row for row in EXAMPLES if "late" in row[0]]
    examples = [row[:2] for row in rows] + accepted
    method = replace(METHOD, epochs=6, validation_share=0.0)
    found = {}
    for least in (len(rows) + 1, len(rows)):
        dpo = replace(DPO, epochs=6, learning_rate=3e-3, min_pairs=least)
        train(base, tmp_path / "v", examples, rows, dpo, method=method)
        found[least] = likelihood(base, tmp_path / "v", accepted)
    supervised, preferring = found.values()
    assert preferring > supervised


@torch.no_grad()
def likelihood(base: BaseRef, version: Path, rows: list[tuple[str, str]]) -> float:
    """The mean log-probability of answers."""
    pairs, _ = pairs_of(rows, Chat.of(base), PROMPT, LIMITS)
    model = PeftModel.from_pretrained(load(base, device="cpu"), version).eval()
    return statistics.mean(said_of(model, pair) for pair in pairs)


# ---------------------------------------------------------------- runs


def test_same_seed_same_bytes_other_seed_other_bytes(base: BaseRef, tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("again", 7), ("other", 8)):
        train(base, tmp_path / name, EXAMPLES, ROWS, DPO, seed=seed)
    one, again, other = (digest(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one["adapter_model.safetensors"] != other["adapter_model.safetensors"]


@pytest.mark.parametrize(
    ("step", "epochs"),
    [("step 6 of", 1), ("computing the reference", 2), ("preference step 6 of", 3)],
)
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(
    base: BaseRef, tmp_path: Path, step: str, epochs: int
) -> None:
    """In either part, and between them. epochs: those that were finished."""
    unbroken = train(base, tmp_path / "unbroken", EXAMPLES, ROWS, DPO)

    def kill(share: float, doing: str) -> None:
        if doing.startswith(step):
            raise Killed

    kept = tmp_path / "kept"
    with pytest.raises(Killed):
        train(base, tmp_path / "killed", EXAMPLES, ROWS, DPO, progress=kill, checkpoint=kept)
    resumed = train(base, tmp_path / "resumed", EXAMPLES, ROWS, DPO, checkpoint=kept)
    assert resumed.metrics["resumed_epochs"] == epochs
    assert resumed.preferred == unbroken.preferred
    assert (resumed.losses, resumed.steps) == (unbroken.losses, unbroken.steps)
    assert digest(tmp_path / "resumed") == digest(tmp_path / "unbroken")


def test_a_checkpoint_of_other_preferences_is_passed_over(base: BaseRef, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    train(base, tmp_path / "one", ROWS, DPO, checkpoint=kept)
    for given in ((ROWS[1:], DPO), (ROWS, replace(DPO, beta=0.2))):
        again = train(base, tmp_path / "two", *given, checkpoint=kept)
        assert again.metrics["resumed_epochs"] == 0


def test_preferences_that_diverge_end_in_words(base: BaseRef, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"diverged.*lower method\.dpo\.learning_rate"):
        train(base, tmp_path / "v", ROWS, replace(DPO, learning_rate=1e20))
    assert not (tmp_path / "v").exists()


# ---------------------------------------------------------------- pairs


def test_too_few_pairs_are_not_learned_and_it_is_said(base: BaseRef, tmp_path: Path) -> None:
    rows = [*ROWS[:3], ("short", "right", "long " * 99), ("word " * 300, "a", "b")]
    with pytest.raises(BadInput, match=r"3 pairs \(.*answer is longer.*at least 20"):
        train(base, tmp_path / "v", rows, DPO)
    made = train(base, tmp_path / "v", EXAMPLES, rows, DPO)
    assert made.preferred is None
    assert "3 pairs" in made.notes[0]
    assert "at least 20 are needed" in made.notes[0]
    assert sum(made.left_out.values()) == 2
    plain = {"method": METHOD, "seed": 7, "progress": lambda share, doing: None, "device": "cpu"}
    sft.tune(EXAMPLES, PROMPT, LIMITS, base=base, out=tmp_path / "sft", **plain)
    assert digest(tmp_path / "v") == digest(tmp_path / "sft")


def test_pairs_that_teach_nothing_are_counted(base: BaseRef) -> None:
    rows = [("a", "yes", "no"), ("a", "yes ", " yes"), ("a", "yes", "long " * 99)]
    found, left_out = preferences_of(rows, Chat.of(base), PROMPT, LIMITS)
    assert len(found) == 1
    assert left_out == {
        "preference: both answers have the same tokens": 1,
        "preference: answer is longer than max_new_tokens (32)": 1,
    }


def test_preferences_are_validated_on_the_inputs_that_pairs_are(base: BaseRef) -> None:
    """So that no chosen answer that tells when to stop was learned before."""
    preferences, _ = preferences_of(ROWS, Chat.of(base), PROMPT, LIMITS)
    held = held_pairs(base)
    learned, validated = split_like(preferences, held)
    assert {preferences[at].chosen.text for at in validated} == {pair.text for pair in held}
    assert sorted([*learned, *validated]) == list(range(len(ROWS)))
