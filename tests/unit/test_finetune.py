from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_bases import DIM, tiny
from version_files import digest

from driftgate.bases import MINILM, BaseRef, resolve
from driftgate.classifier.serving import Classifier
from driftgate.errors import BadConfig, BadInput
from services.trainer.failures import TrainingFailed
from services.trainer.finetune import finetune
from services.trainer.loop import centroids
from services.trainer.method import Example, Method
from services.trainer.recipes import Trained
from services.trainer.schedule import dealt, plan, rate

WORDS = {
    "card": ["card", "pin", "chip", "plastic"],
    "money": ["refund", "charge", "fee", "payment"],
    "app": ["login", "screen", "phone", "update"],
}
EXAMPLES = [
    Example(f"{start} {word}{end}", label)
    for label, words in WORDS.items()
    for word in words
    for start in ("my", "the new", "I have trouble with the")
    for end in ("", " is gone", " please help me with that today")
]
METHOD = Method(layers=1, epochs=3)


@pytest.fixture(scope="module")
def base() -> BaseRef:
    return resolve(MINILM)


def train(base: BaseRef, out: Path, **changed: Any) -> Trained:
    settings: dict[str, Any] = {
        "examples": EXAMPLES,
        "method": METHOD,
        "seed": 7,
        "progress": lambda share, doing: None,
        "device": "cpu",
        **changed,
    }
    return finetune(base=base, out=out, **settings)


def test_a_version_learns_its_examples(base: BaseRef, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    made = train(base, tmp_path / "v", progress=lambda share, doing: told.append((share, doing)))
    assert made.losses[-1] < made.losses[0]
    assert made.steps == 3 * 4
    assert made.metrics["examples"] == len(EXAMPLES)
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, "trained")
    classifier = Classifier(base, device="cpu")
    classifier.load("v", tmp_path / "v")
    assert classifier.labels("v") == ("app", "card", "money")
    answers = classifier.predict("v", ["my pin", "the new fee", "login trouble"])
    assert [found.output for found in answers] == ["card", "money", "app"]


def test_same_seed_same_bytes_other_seed_other_bytes(base: BaseRef, tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("again", 7), ("other", 8)):
        train(base, tmp_path / name, seed=seed)
    one, again, other = (digest(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one["adapter_model.safetensors"] != other["adapter_model.safetensors"]


class Killed(Exception):
    pass


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(base: BaseRef, tmp_path: Path) -> None:
    def kill_in_third_epoch(share: float, doing: str) -> None:
        if doing == "epoch 3 of 3":
            raise Killed

    kept = tmp_path / "kept"
    with pytest.raises(Killed):
        train(base, tmp_path / "killed", checkpoint=kept, progress=kill_in_third_epoch)
    resumed = train(base, tmp_path / "resumed", checkpoint=kept)
    unbroken = train(base, tmp_path / "unbroken")
    assert resumed.metrics["resumed_epochs"] == 2
    assert resumed.losses == unbroken.losses
    assert digest(tmp_path / "resumed") == digest(tmp_path / "unbroken")


@pytest.mark.parametrize("changed", [{"seed": 8}, {"examples": EXAMPLES[1:]}])
def test_a_checkpoint_of_another_run_is_passed_over(
    base: BaseRef, tmp_path: Path, changed: dict[str, Any]
) -> None:
    method = Method(layers=1, epochs=1)
    train(base, tmp_path / "first", checkpoint=tmp_path / "kept", method=method)
    second = train(
        base, tmp_path / "second", checkpoint=tmp_path / "kept", method=method, **changed
    )
    assert second.metrics["resumed_epochs"] == 0


def test_a_torn_checkpoint_is_passed_over(base: BaseRef, tmp_path: Path) -> None:
    kept, method = tmp_path / "kept", Method(layers=1, epochs=1)
    train(base, tmp_path / "first", checkpoint=kept, method=method)
    (file,) = kept.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    again = train(base, tmp_path / "again", checkpoint=kept, method=method)
    assert again.metrics["resumed_epochs"] == 0


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_training_that_diverges_ends_in_words(base: BaseRef, tmp_path: Path, epochs: int) -> None:
    method = Method(layers=1, epochs=epochs, learning_rate=1e20)
    kept = tmp_path / "kept"
    with pytest.raises(TrainingFailed, match=r"diverged: \w+ in epoch 1.*method\.learning_rate"):
        train(base, tmp_path / "v", method=method, checkpoint=kept)
    assert not kept.exists()


def test_a_last_step_that_diverges_is_noticed(base: BaseRef, tmp_path: Path) -> None:
    method = Method(layers=1, epochs=1, learning_rate=float("inf"), batch_size=len(EXAMPLES))
    with pytest.raises(TrainingFailed, match="diverged"):
        train(base, tmp_path / "v", method=method)


def test_a_base_that_lora_does_not_fit_is_refused_before_its_weights_are_read(
    tmp_path: Path,
) -> None:
    folder = tiny(tmp_path / "base", "gpt2")
    told: list[str] = []
    with pytest.raises(BadConfig, match=r"gpt2\) hold no torch\.nn\.Linear"):
        train(
            resolve(str(folder)), tmp_path / "v", progress=lambda share, doing: told.append(doing)
        )
    assert told == []


def test_global_settings_of_torch_are_left_as_they_were(base: BaseRef, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(base, tmp_path / "v", method=Method(layers=1, epochs=1))
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("bert", Method(kind="qlora", layers=1, epochs=1)),
        ("distilbert", Method(layers=1, epochs=1)),
    ],
)
def test_4_bit_bases_and_other_architectures_train_and_serve(
    tmp_path: Path, kind: str, method: Method
) -> None:
    other = resolve(str(tiny(tmp_path / "base", kind)))
    train(other, tmp_path / "v", method=method)
    classifier = Classifier(other, device="cpu")
    assert classifier.embed(["one", "two words"]).shape == (2, DIM)
    for name in ("v", "w"):
        classifier.load(name, tmp_path / "v")
    classifier.unload("w")
    assert {found.output for found in classifier.predict("v", ["my pin", "fee"])} <= set(WORDS)


def test_one_label_is_no_task(base: BaseRef, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least two labels"):
        train(base, tmp_path / "v", examples=[Example("a", "x"), Example("b", "x")])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_must_be_a_positive_number(base: BaseRef, tmp_path: Path, weight: float) -> None:
    with pytest.raises(BadInput, match=r"examples\[1\]\.weight"):
        train(base, tmp_path / "v", examples=[Example("a", "x"), Example("b", "y", weight)])


def test_plan_takes_every_example_once_and_hardly_pads() -> None:
    lengths = [5 + number % 13 for number in range(500)]
    batches = plan(lengths, 32, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(500))
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.06 * sum(lengths)
    assert batches == plan(lengths, 32, seed=1, epoch=0)
    assert batches != plan(lengths, 32, seed=1, epoch=1)


def test_dealt_batches_take_every_example_once() -> None:
    batches = dealt(range(50), 16, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(50))
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]
    assert batches == dealt(range(50), 16, seed=1, epoch=0)
    assert batches != dealt(range(50), 16, seed=1, epoch=1)


def test_rate_rises_then_falls_and_stays_positive() -> None:
    rates = [rate(step, 40) for step in range(40)]
    assert rates[0] == pytest.approx(0.25)
    assert max(rates) == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.05
    assert [rate(step, 1) for step in range(1)] == [1.0]


def test_centroids_follow_the_weights() -> None:
    found = centroids(
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]),
        torch.tensor([0, 0, 1]),
        torch.tensor([3.0, 4.0, 1.0]),
    )
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
