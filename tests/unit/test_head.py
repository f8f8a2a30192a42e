from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bases import tiny
from version_files import digest

from driftgate.bases import MINILM, BaseRef, resolve
from driftgate.classifier.serving import Classifier
from driftgate.errors import BadConfig, BadInput
from services.trainer import embedded
from services.trainer.failures import TrainingFailed
from services.trainer.head import fit_head
from services.trainer.method import Example
from services.trainer.recipes import Trained

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
    for end in ("", " is gone")
]


@pytest.fixture(scope="module")
def base() -> BaseRef:
    return resolve(MINILM)


def train(base: BaseRef, out: Path, **changed: Any) -> Trained:
    settings: dict[str, Any] = {
        "examples": EXAMPLES,
        "seed": 7,
        "progress": lambda share, doing: None,
        "device": "cpu",
        **changed,
    }
    return fit_head(base=base, out=out, **settings)


def test_a_version_learns_its_examples(base: BaseRef, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    made = train(base, tmp_path, progress=lambda share, doing: told.append((share, doing)))
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, "trained")
    assert made.base_digest == base.digest
    assert (made.metrics["examples"], made.metrics["classes"]) == (len(EXAMPLES), 3)
    classifier = Classifier(base, device="cpu")
    classifier.load("v", tmp_path)
    assert classifier.labels("v") == ("app", "card", "money")
    texts = ["my pin", "the new fee", "login trouble", "wow"]
    answers = classifier.predict("v", texts)
    assert [found.output for found in answers[:3]] == ["card", "money", "app"]
    assert answers[3].confidence < min(found.confidence or 0 for found in answers[:3])
    assert answers[3].features["similarity"] < answers[0].features["similarity"]


def test_the_confidence_is_the_probability_that_was_fitted(base: BaseRef, tmp_path: Path) -> None:
    train(base, tmp_path)
    classifier = Classifier(base, device="cpu")
    classifier.load("v", tmp_path)
    head = load_file(tmp_path / "head.safetensors")
    texts = [example.text for example in EXAMPLES]
    logits = classifier.embed(texts) @ head["weights"].numpy().T + head["bias"].numpy()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = [answer.confidence for answer in classifier.predict("v", texts)]
    np.testing.assert_allclose(found, shares.max(1), atol=2e-4)


def test_same_seed_same_bytes_and_no_adapter(base: BaseRef, tmp_path: Path) -> None:
    train(base, tmp_path / "one")
    train(base, tmp_path / "again")
    assert digest(tmp_path / "one") == digest(tmp_path / "again")
    assert set(digest(tmp_path / "one")) == {"head.safetensors", "labels.json"}


def test_labels_come_and_go_with_the_examples(base: BaseRef, tmp_path: Path) -> None:
    changed = [Example(one.text, "chip") if "chip" in one.text else one for one in EXAMPLES]
    train(base, tmp_path, examples=[one for one in changed if one.label != "app"])
    classifier = Classifier(base, device="cpu")
    classifier.load("v", tmp_path)
    assert classifier.labels("v") == ("card", "chip", "money")
    assert [one.output for one in classifier.predict("v", ["my chip", "the fee"])] == [
        "chip",
        "money",
    ]


class Killed(Exception):
    pass


def test_a_killed_run_embeds_no_text_again_and_ends_with_the_same_bytes(
    base: BaseRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PART", 16)
    seen: list[list[str]] = []
    embed = Classifier.embed

    def counted(self: Classifier, texts: list[str]) -> np.ndarray:
        if len(seen) == 3:
            raise Killed
        seen.append(texts)
        return embed(self, texts)

    monkeypatch.setattr(Classifier, "embed", counted)
    with pytest.raises(Killed):
        train(base, tmp_path / "killed", checkpoint=tmp_path / "kept")
    first = seen.copy()
    seen.clear()
    torn, *_ = sorted((tmp_path / "kept").iterdir())
    torn.write_bytes(torn.read_bytes()[:-100])
    train(base, tmp_path / "resumed", checkpoint=tmp_path / "kept")
    again = [texts for texts in seen if texts in first]
    assert len(again) == 1, "the torn part alone"
    monkeypatch.setattr(Classifier, "embed", embed)
    train(base, tmp_path / "unbroken")
    assert digest(tmp_path / "resumed") == digest(tmp_path / "unbroken")


def test_parts_of_another_base_are_passed_over(base: BaseRef, tmp_path: Path) -> None:
    other, kept = resolve(str(tiny(tmp_path / "base", "bert"))), tmp_path / "kept"
    train(base, tmp_path / "first", checkpoint=kept)
    train(other, tmp_path / "second", checkpoint=kept)
    train(other, tmp_path / "alone")
    assert digest(tmp_path / "second") == digest(tmp_path / "alone")


def test_an_encoder_that_transformers_computes_trains_and_serves(tmp_path: Path) -> None:
    other = resolve(str(tiny(tmp_path / "base", "distilbert")))
    train(other, tmp_path / "v")
    classifier = Classifier(other, device="cpu")
    classifier.load("v", tmp_path / "v")
    right = [
        answer.output == one.label
        for one, answer in zip(
            EXAMPLES, classifier.predict("v", [one.text for one in EXAMPLES]), strict=True
        )
    ]
    assert sum(right) > len(right) / 2
    classifier.unload("v")
    assert classifier.resident() == frozenset()


def test_one_label_is_no_task(base: BaseRef, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least two labels"):
        train(base, tmp_path, examples=[Example("a", "x"), Example("b", "x")])


def test_a_base_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="a decoder beside its encoder"):
        train(resolve(str(tiny(tmp_path / "base", "t5"))), tmp_path / "v")


def test_a_base_that_overflows_ends_in_words(tmp_path: Path) -> None:
    folder = tiny(tmp_path / "base", "bert")
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingFailed, match="no finite number"):
        train(resolve(str(folder)), tmp_path / "v")


def test_global_settings_of_torch_are_left_as_they_were(base: BaseRef, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    train(base, tmp_path, threads=before + 1)
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()
