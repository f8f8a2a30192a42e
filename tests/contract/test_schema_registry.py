"""What a registry promises the codec, on the lock file and over HTTP."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from drift_harness import eventually
from registry import RegistryServer, serving
from typer.testing import CliRunner

from driftgate.codec import Codec
from driftgate.errors import BadConfig, BadInput, RegistryUnavailable
from driftgate.events import Tick
from driftgate.schemas import LockFile
from services.console.schemas_cli import app

FOLDER = Path(__file__).resolve().parents[2] / "schemas"
TICK = {"world": "w", "time": 1_767_571_200_000, "positions": {"inferences-0": 3}, "pace": 0.0}
NEWEST = LockFile(FOLDER).schemas.newest["tick"].number
SPEED = {"name": "speed", "type": "double", "default": 1.0, "doc": "Seconds a second."}
MOOD = {"name": "mood", "type": ["null", "string"], "default": None, "doc": "How it went."}


def tick(*fields: dict[str, Any]) -> str:
    """The schema of subject `tick` with more fields."""
    raw = json.loads((FOLDER / "tick" / f"v{NEWEST}.avsc").read_text())
    raw["fields"] += fields
    return json.dumps(raw)


@dataclass
class World:
    """One registry, and as many codecs on it as wanted: each is a process of its own."""

    folder: Path
    server: RegistryServer | None

    def codec(self) -> Codec:
        return Codec.load(self.folder, self.server.url if self.server else "")

    def force(self, text: str) -> int:
        """Registers without our checks, as a colleague who knows better does."""
        if self.server:
            return self.server.put("tick", text)
        (self.folder / "tick" / f"v{NEWEST + 1}.avsc").write_text(text)
        line = f"99 tick {NEWEST + 1} {hashlib.sha256(text.encode()).hexdigest()}\n"
        with (self.folder / "registry.lock").open("a") as lock:
            lock.write(line)
        return 99


@pytest.fixture(params=["lock", "http"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "schemas"
    shutil.copytree(FOLDER, folder)
    if request.param == "lock":
        yield World(folder, None)
        return
    with serving(RegistryServer()) as server:
        yield World(folder, server)


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with serving(RegistryServer()) as running:
        yield running


def test_an_event_comes_back_as_it_was(world: World) -> None:
    codec = world.codec()
    value = codec.encode("clock", TICK)
    assert int.from_bytes(value[1:5], "big") == codec.schemas.newest["tick"].id
    assert world.codec().decode("clock", value) == TICK


def test_an_unknown_id_and_another_subjects_are_refused(world: World) -> None:
    codec = world.codec()
    value = codec.encode("clock", TICK)
    with pytest.raises(BadInput, match=r"expected one of \[\d+, \d+\] \(feedback\)"):
        codec.read("feedback", value)
    for unknown in (9999, 2**31, 2**32 - 1):
        with pytest.raises(BadInput, match=f"schema id: got {unknown}"):
            codec.read("clock", b"\0" + unknown.to_bytes(4, "big") + value[5:])
        assert not codec.refresh(unknown)


def test_a_version_that_appears_is_read_without_a_restart(world: World) -> None:
    running, old = world.codec(), world.codec()
    before = old.encode("clock", TICK)
    assert not running.refresh()

    added = world.codec().registry.add("tick", tick(SPEED))

    assert (added.number, added.subject) == (NEWEST + 1, "tick")
    after = world.codec().encode("clock", TICK | {"speed": 60.0})
    with pytest.raises(BadInput) as caught:
        running.decode("clock", after)
    assert (caught.value.reason, caught.value.value) == ("unknown_schema", added.id)
    assert running.refresh()
    assert not running.refresh()
    assert running.decode("clock", after) == TICK | {"speed": 60.0}
    assert running.decode("clock", before) == TICK | {"speed": 1.0}
    # A process that has not looked yet is told by the record.
    assert old.refresh(added.id)
    assert old.read("clock", after) == TICK | {"speed": 60.0}
    # Code that does not know the field writes its default.
    assert running.decode("clock", running.encode("clock", TICK))["speed"] == 1.0


def test_versions_follow_each_other(world: World) -> None:
    codec = world.codec()
    codec.registry.add("tick", tick(SPEED))
    last = codec.registry.add("tick", tick(SPEED, MOOD))
    assert last.number == NEWEST + 2
    numbers = [version.number for version in world.codec().schemas.versions("tick")]
    assert numbers == list(range(1, NEWEST + 3))


def test_versions_that_are_added_at_once_are_all_there(world: World) -> None:
    subjects = sorted(world.codec().schemas.newest)

    def add(subject: str) -> int:
        registry = world.codec().registry
        raw = dict(registry.schemas.newest[subject].raw)
        return registry.add(subject, json.dumps(raw | {"fields": [*raw["fields"], MOOD]})).id

    with ThreadPoolExecutor(len(subjects)) as people:
        ids = dict(zip(subjects, people.map(add, subjects), strict=True))

    assert len(set(ids.values())) == len(subjects)
    assert {subject: v.id for subject, v in world.codec().schemas.newest.items()} == ids


def test_a_version_that_may_not_follow_is_refused_and_nothing_is_written(world: World) -> None:
    codec = world.codec()
    files = sorted(path for path in world.folder.rglob("*"))
    lock = (world.folder / "registry.lock").read_text()
    for text, reason in [
        (tick(SPEED | {"doc": ""}), "field speed: has no doc"),
        (
            tick({"name": "speed", "type": "double", "doc": "."}),
            "field speed: is new and has no def",
        ),
        (tick(), f"this is version {NEWEST}, which is registered already"),
        ("{", "not an Avro schema"),
    ]:
        for attempt in (codec.registry.check, codec.registry.add):
            with pytest.raises(BadConfig, match=reason):
                attempt("tick", text)
    assert sorted(path for path in world.folder.rglob("*")) == files
    assert (world.folder / "registry.lock").read_text() == lock
    assert not world.codec().schemas.refused


def test_a_forced_version_is_refused_with_the_reason(world: World) -> None:
    """A registry may take what our tables cannot: its records are dead letters that say so."""
    running = world.codec()
    value = running.encode("clock", TICK)
    forced = world.force(tick({"name": "offset", "type": "int", "default": 0, "doc": "."}))
    with pytest.raises(BadInput, match="that one is refused: tick: field offset: is the name"):
        running.read("clock", b"\0" + forced.to_bytes(4, "big") + value[5:])
    assert running.read("clock", value) == TICK


def test_the_command_checks_and_adds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTGATE_SCHEMAS", str(world.folder))
    monkeypatch.setenv("DRIFTGATE_REGISTRY", world.server.url if world.server else "")
    new, bad = world.folder / "new.avsc", world.folder / "bad.avsc"
    new.write_text(tick(SPEED))
    bad.write_text(tick(SPEED | {"name": "offset"}))

    def run(command: str, subject: str, file: Path) -> tuple[int, str]:
        state = str(world.folder / "state")
        result = CliRunner().invoke(app, [command, subject, str(file), "--state", state])
        return result.exit_code, result.output

    running = world.codec()
    assert run("check", "tick", new) == (
        0,
        f"tick: may be version {NEWEST + 1}; reads all that older versions wrote\n",
    )
    assert not running.refresh()
    for command, status in (("check", 1), ("add", 2)):
        code, said = run(command, "tick", bad)
        assert code == status
        assert "driftgate: tick: field offset: is the name of a column" in said
    code, said = run("check", "ticks", new)
    assert (code, "did you mean 'tick'?" in said) == (2, True)
    assert run("check", "tick", world.folder / "none.avsc")[0] == 2

    code, said = run("add", "tick", new)
    assert code == 0
    assert running.refresh()
    new_id = running.schemas.newest["tick"].id
    assert f"tick version {NEWEST + 1} is registered with id {new_id}" in said
    if world.server is None:
        assert (world.folder / "tick" / f"v{NEWEST + 1}.avsc").read_bytes() == new.read_bytes()


def test_an_incompatible_lock_file_is_refused_at_the_start(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "schemas")
    world = World(tmp_path / "schemas", None)
    world.force(tick({"name": "needed", "type": "string", "doc": "Has no default."}))
    with pytest.raises(BadConfig, match=r"registry.lock: tick: field needed: is new and has no"):
        world.codec()


# ---------------------------------------------------------------- only over HTTP


def test_the_registrys_ids_are_used_and_what_is_there_stays(server: RegistryServer) -> None:
    first = Codec.load(FOLDER, server.url)
    held = {subject: list(ids) for subject, ids in server.subjects.items()}
    second = Codec.load(FOLDER, server.url)
    assert set(held) == {topic.subject for topic in first.topics.by_name.values()}
    assert server.subjects == held
    assert first.schemas.by_id.keys() == second.schemas.by_id.keys()
    assert min(first.schemas.by_id) == 101


def test_looking_for_an_unknown_id_costs_one_request(server: RegistryServer) -> None:
    codec = Codec.load(FOLDER, server.url)
    server.asked.clear()
    assert not codec.refresh(9999)
    assert server.asked == ["GET /schemas/ids/9999/versions"]


def test_a_registry_that_is_away_can_be_asked_again(server: RegistryServer) -> None:
    codec = Codec.load(FOLDER, server.url)
    for server.broken in (500, 503, 429):
        with pytest.raises(RegistryUnavailable, match="cannot at present"):
            codec.refresh(9999)
    server.broken = 0
    assert not codec.refresh(9999)
    with pytest.raises(RegistryUnavailable):
        Codec.load(FOLDER, "http://127.0.0.1:1")


def test_a_registry_that_is_wrong_while_running_may_be_mended(server: RegistryServer) -> None:
    codec = Codec.load(FOLDER, server.url)
    server.broken = 401
    with pytest.raises(RegistryUnavailable):
        codec.refresh(9999)
    server.broken = 0
    assert not codec.refresh(9999)


def test_a_lock_file_that_is_being_edited_is_waited_for(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "schemas")
    lock = tmp_path / "schemas" / "registry.lock"
    codec, text = Codec.load(tmp_path / "schemas"), lock.read_text()
    for change in (lock.unlink, lambda: lock.write_text(text[:-9]), lambda: lock.write_text("x")):
        change()
        with pytest.raises(RegistryUnavailable):
            codec.refresh()
    lock.write_text(text)
    assert not codec.refresh()


def test_the_password_is_sent_and_never_told(server: RegistryServer) -> None:
    server.credentials = "us er:p@ss"
    address = server.url.removeprefix("http://")
    assert Codec.load(FOLDER, f"http://us%20er:p%40ss@{address}").schemas.by_id
    with pytest.raises(BadConfig, match=r"401.*DRIFTGATE_REGISTRY") as refused:
        Codec.load(FOLDER, f"http://us%20er:s3cret@{address}")
    with pytest.raises(RegistryUnavailable) as away:
        Codec.load(FOLDER, "http://us%20er:s3cret@127.0.0.1:1")
    with pytest.raises(BadConfig) as wrong:
        Codec.load(FOLDER, "us:s3cret@host:1")
    assert "s3cret" not in f"{refused.value}{away.value}{wrong.value}"


def test_what_is_no_registry_is_named(server: RegistryServer) -> None:
    with pytest.raises(BadConfig, match="is this the address of a Schema Registry"):
        Codec.load(FOLDER, f"{server.url}/elsewhere")


def test_the_registrys_own_refusal_is_told(server: RegistryServer, tmp_path: Path) -> None:
    """It may hold what another registered a moment ago."""
    codec = Codec.load(FOLDER, server.url)
    server.put("tick", tick({"name": "speed", "type": "string", "default": "", "doc": "."}))
    with pytest.raises(BadConfig, match="field speed: was string, is double"):
        codec.registry.add("tick", tick(SPEED))
    with pytest.raises(BadConfig, match="409 409 Schema being registered is incompatible"):
        codec.registry._register("tick", tick(SPEED))  # as if the two came at once


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_copy_counts_while_the_registry_is_away(
    server: RegistryServer, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftgate.schema_copy.AGAIN_SECONDS", 0.02)
    copy = tmp_path / "router" / "schemas.json"
    server.broken = status
    with pytest.raises((RegistryUnavailable, BadConfig)):
        Codec.load(FOLDER, server.url, copy)
    server.broken = 0
    event = Tick(world="w", time=1)
    written = Codec.load(FOLDER, server.url, copy).value(event)
    server.broken = status
    codec = Codec.load(FOLDER, server.url, copy)
    assert codec.value(event) == written
    assert codec.event("clock", written) == event
    with pytest.raises(RegistryUnavailable):
        codec.event("clock", b"\0" + (9999).to_bytes(4) + b"x")
    server.broken = 0
    eventually(lambda: joined(codec), "joined")


def joined(codec: Codec) -> bool:
    try:
        return not codec.refresh(9999)
    except RegistryUnavailable:
        return False
