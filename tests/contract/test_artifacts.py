"""The artifact store's contract, on the fake (memory) and on files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import uuid4

import pytest

from driftgate.artifacts import Artifacts
from driftgate.errors import ArtifactsUnavailable, Corrupt, Terminal


@pytest.fixture(params=["memory", "file"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid4().hex}" if request.param == "memory" else f"file://{tmp_path}/store"


@pytest.fixture
def store(root: str) -> Artifacts:
    return Artifacts(root)


def test_bytes_come_back_under_the_name_of_their_content(store: Artifacts) -> None:
    uri = store.put(b"some weights")
    assert uri == store.put(b"some weights")
    assert store.get(uri) == b"some weights"
    assert uri != store.put(b"other weights")


def test_another_process_finds_them(store: Artifacts, root: str) -> None:
    uri = store.put(b"shared")
    assert Artifacts(root).get(uri) == b"shared"


def test_changed_bytes_are_refused(store: Artifacts) -> None:
    uri = store.put(b"honest")
    path = store._blob(uri.removeprefix("sha256:"))
    store._fs.pipe_file(path, b"forged")
    with pytest.raises(Corrupt, match="hash to another name"):
        store.get(uri)


def test_a_name_that_is_not_stored_is_refused(store: Artifacts) -> None:
    with pytest.raises(Corrupt, match="is not stored"):
        store.get("sha256:" + "0" * 64)
    with pytest.raises(Corrupt, match="expected sha256:"):
        store.get("../../etc/passwd")


def test_a_folder_keeps_its_names_and_content(store: Artifacts, tmp_path: Path) -> None:
    source = tmp_path / "adapter"
    (source / "deep").mkdir(parents=True)
    (source / "a.json").write_text("{}")
    (source / "deep" / "b.bin").write_bytes(b"\0\1")
    uri = store.put_folder(source)
    found = store.get_folder(uri, tmp_path / "cache")
    assert (found / "deep" / "b.bin").read_bytes() == b"\0\1"
    assert store.get_folder(uri, tmp_path / "cache") == found


def test_a_folder_cannot_write_outside_itself(store: Artifacts, tmp_path: Path) -> None:
    uri = store.put_json({"../outside.txt": store.put(b"x")})
    with pytest.raises(Corrupt, match="outside"):
        store.get_folder(uri, tmp_path / "cache")
    assert not (tmp_path / "outside.txt").exists()


def test_a_folder_that_cannot_be_fetched_whole_leaves_nothing(
    store: Artifacts, tmp_path: Path
) -> None:
    listing = {"a.bin": store.put(b"a"), "b.bin": "sha256:" + "0" * 64}
    uri = store.put_json(listing)
    with pytest.raises(Corrupt, match="is not stored"):
        store.get_folder(uri, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_was_stored_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the last moment: no blob of that name, and the next try stores it."""
    store = Artifacts(f"file://{tmp_path}")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ArtifactsUnavailable, match="No space"):
            store.put(b"weights")
    assert store.get(store.put(b"weights")) == b"weights"


def test_a_ref_is_given_once(store: Artifacts) -> None:
    assert store.ref("models/m/versions/1") is None
    assert store.set_ref("models/m/versions/1", {"n": 1}) == {"n": 1}
    assert store.set_ref("models/m/versions/1", {"n": 2}) == {"n": 1}
    store.set_ref("models/m/versions/2", {"n": 2})
    assert list(store.refs("models/m/versions/")) == ["models/m/versions/1", "models/m/versions/2"]
    assert store.refs("models/unknown/") == {}


@pytest.mark.parametrize("name", ["x" * 300, "ä" * 200, "a\0b"])
def test_a_name_that_no_store_takes_is_not_tried_for_ever(tmp_path: Path, name: str) -> None:
    store = Artifacts(f"file://{tmp_path}")
    for work in (lambda: store.set_ref(name, 1), lambda: store.ref(name)):
        with pytest.raises(Terminal, match="artifact store"):
            work()


@pytest.mark.parametrize("error", [OSError(errno.EINVAL, "token expired"), ValueError("400")])
def test_what_a_distant_store_says_in_the_words_of_a_bad_name_is_tried_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Artifacts("memory://distant")

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(store._fs, "pipe_file", fails)
    with pytest.raises(ArtifactsUnavailable):
        store.put(b"weights")


def test_files_in_memory_are_stored_as_a_folder_is(store: Artifacts, tmp_path: Path) -> None:
    files = {"a.json": b"{}", "b.bin": b"\0"}
    for name, data in files.items():
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    assert store.put_files(files) == store.put_folder(tmp_path / "folder")


def test_a_store_that_does_not_answer_may_answer_later(
    store: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = store.put(b"some weights")

    def away(*_: object, **__: object) -> None:
        raise TimeoutError("no answer")

    for call in ("cat_file", "exists", "find"):
        monkeypatch.setattr(store._fs, call, away)
    for work in (
        lambda: store.get(uri),
        lambda: store.put(b"other weights"),
        lambda: store.ref("models/a"),
        lambda: store.refs("models/"),
    ):
        with pytest.raises(ArtifactsUnavailable, match="no answer"):
            work()
    monkeypatch.undo()
    assert store.get(uri) == b"some weights"
