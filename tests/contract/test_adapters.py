"""The lean network answers as transformers with peft answers, on the same files of a version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bases import as_published, tiny

from driftgate.bases import BaseRef, resolve
from driftgate.classifier.folder import read_head
from driftgate.classifier.plain import Plain
from driftgate.classifier.serving import Lean, Network, network
from services.trainer.finetune import finetune
from services.trainer.method import Example, Method

TEXTS = [
    "",
    "Where is my card?",
    "¿Dónde está mi tarjeta, por favor?",
    "card " * 400,
    "I was charged twice!!!",
    "PIN bloqueado 😡",
    "My transfer has not arrived, it has been a week now and nobody answers.",
]
EXAMPLES = [
    Example(text, label)
    for label, texts in {
        "card": ["my card is lost", "the card never came", "card stolen", "new card please"],
        "money": ["refund my money", "charged twice", "money is missing", "wrong amount taken"],
    }.items()
    for text in texts
]


@pytest.fixture(scope="module")
def base() -> BaseRef:
    return resolve("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def folders(base: BaseRef, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two versions that adapt different depths, far enough from the base to tell them apart."""
    made = {}
    for name, layers in {"deep": 4, "shallow": 1}.items():
        out = tmp_path_factory.mktemp(name)
        method = Method(layers=layers, epochs=1)
        finetune(EXAMPLES, method, base, out, seed=layers, progress=lambda share, doing: None)
        _enlarge(out / "adapter_model.safetensors")
        made[name] = out
    return made


def _enlarge(file: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    tensors = load_file(file)
    for name in sorted(tensors):
        tensors[name] += 0.02 * torch.randn(tensors[name].shape, generator=draw)
    save_file(tensors, file)


def _logits(network: Network, base: BaseRef, folders: dict[str, Path]) -> dict[str, torch.Tensor]:
    ids = sorted(network.tokenize(TEXTS), key=len)
    wanted: dict[str | None, list[int]] = {name: list(range(len(ids))) for name in folders}
    with torch.inference_mode():
        pooled = network.pooled(ids, wanted)
    heads = {name: read_head(folder, base) for name, folder in folders.items()}
    return {name: head.scale * head.cosines(pooled[name]) for name, head in heads.items()}


def test_lean_logits_are_those_of_peft(base: BaseRef, folders: dict[str, Path]) -> None:
    answers = []
    for engine in (Lean(base, "cpu"), Plain(base, "cpu")):
        for name, folder in folders.items():
            engine.load(name, folder)
        answers.append(_logits(engine, base, folders))
    lean, plain = answers
    for name in folders:
        torch.testing.assert_close(lean[name], plain[name], rtol=0, atol=1e-4)
    assert not torch.allclose(lean["deep"], lean["shallow"], atol=1e-1)


def test_a_bert_as_it_is_published_trains_and_answers_like_transformers(tmp_path: Path) -> None:
    named = resolve(str(tiny(tmp_path / "named", "bert")))
    published = resolve(str(as_published(tiny(tmp_path / "published", "bert"))))
    out = tmp_path / "v"
    method = Method(layers=1, epochs=1)
    finetune(EXAMPLES, method, published, out, seed=1, progress=lambda share, doing: None)
    lean = network(published, "cpu")
    assert isinstance(lean, Lean)
    answers = []
    for engine in (lean, Plain(published, "cpu")):
        engine.load("v", out)
        answers.append(_logits(engine, published, {"v": out})["v"])
    torch.testing.assert_close(*answers, rtol=0, atol=1e-4)
    ids = sorted(lean.tokenize(TEXTS), key=len)
    rows: dict[str | None, list[int]] = {None: list(range(len(ids)))}
    with torch.inference_mode():
        bare = lean.pooled(ids, rows)[None]
        torch.testing.assert_close(
            bare, Plain(named, "cpu").pooled(ids, rows)[None], rtol=0, atol=1e-5
        )


def test_bare_base_is_untouched_by_resident_adapters(
    base: BaseRef, folders: dict[str, Path]
) -> None:
    lean = Lean(base, "cpu")
    ids = sorted(lean.tokenize(TEXTS), key=len)
    rows: dict[str | None, list[int]] = {None: list(range(len(ids)))}
    with torch.inference_mode():
        before = lean.pooled(ids, rows)[None]
        lean.load("deep", folders["deep"])
        assert torch.equal(lean.pooled(ids, rows)[None], before)
        plain = Plain(base, "cpu")
        plain.load("deep", folders["deep"])
        torch.testing.assert_close(plain.pooled(ids, rows)[None], before, rtol=0, atol=1e-5)


def test_a_version_holds_no_pickle_and_nothing_of_the_machine(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        assert sorted(file.name for file in folder.iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
            "head.safetensors",
            "labels.json",
        ]
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "all-MiniLM-L6-v2"
        assert config["target_modules"] == sorted(config["target_modules"])
