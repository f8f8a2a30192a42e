"""What `schemas/` promises to any client, in any language."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fastavro
import pytest

from driftgate.codec import Codec
from driftgate.compatibility import incompatibilities, undocumented
from driftgate.errors import BadConfig
from driftgate.schemas import Version

FOLDER = Path(__file__).resolve().parents[2] / "schemas"
CODEC = Codec.load(FOLDER)
SUBJECTS = sorted(CODEC.schemas.newest)
DESIGN_TOPICS = {
    "inferences",
    "feedback",
    "outcomes",
    "drift.alerts",
    "retrain.requests",
    "candidates",
    "verdicts",
    "rollouts",
    "routing",
    "routing.acks",
    "commands",
    "audit",
}


def pairs(subject: str) -> list[tuple[Version, Version]]:
    """Every version with every newer one."""
    known = CODEC.schemas.versions(subject)
    return [(old, new) for i, old in enumerate(known) for new in known[i + 1 :]]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_version_reads_all_before_it(subject: str) -> None:
    for old, new in pairs(subject):
        assert not incompatibilities(new.raw, [old.raw]), f"{subject} {old.number} → {new.number}"


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_example_decodes_under_every_newer_reader(subject: str) -> None:
    versions = CODEC.schemas.versions(subject)
    for writer in versions:
        paths = sorted((FOLDER / subject / "examples").glob(f"v{writer.number}-*.json"))
        assert len(paths) >= 2, f"{subject} version {writer.number} needs two examples"
        for path in paths:
            line = json.dumps(json.loads(path.read_text()))
            (event,) = fastavro.json_reader(io.StringIO(line), writer.schema)
            body = io.BytesIO()
            fastavro.schemaless_writer(body, writer.schema, event)
            for reader in versions[writer.number - 1 :]:
                body.seek(0)
                assert fastavro.schemaless_reader(body, writer.schema, reader.schema)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_field_says_what_it_is(subject: str) -> None:
    assert undocumented(CODEC.schemas.newest[subject].raw) == []


def test_every_topic_of_the_design_exists_with_its_dead_letters() -> None:
    names = set(CODEC.topics.names())
    assert names >= DESIGN_TOPICS
    assert all(f"{name}.dlq" in names for name in DESIGN_TOPICS)
    assert {n for n in names if CODEC.topics[n].cleanup == "compact"} >= {"rollouts", "routing"}


def test_ids_are_given_once_and_every_schema_file_is_registered() -> None:
    registered = {(v.subject, v.number) for v in CODEC.schemas.by_id.values()}
    on_disk = {(p.parent.name, int(p.stem[1:])) for p in FOLDER.glob("*/v*.avsc")}
    assert registered == on_disk
    lines = (FOLDER / "registry.lock").read_text().splitlines()
    ids = [line.split()[0] for line in lines if not line.startswith("#")]
    assert len(ids) == len(set(ids))


def test_a_registered_schema_may_not_change(tmp_path: Path) -> None:
    (tmp_path / "tick").mkdir()
    text = (FOLDER / "tick" / "v1.avsc").read_text()
    (tmp_path / "tick" / "v1.avsc").write_text(text.replace("Time went on", "Time stood still"))
    line = next(x for x in (FOLDER / "registry.lock").read_text().splitlines() if " tick " in x)
    (tmp_path / "registry.lock").write_text(line)
    (tmp_path / "topics.yaml").write_text((FOLDER / "topics.yaml").read_text())
    with pytest.raises(BadConfig, match="add a new version"):
        Codec.load(tmp_path)
