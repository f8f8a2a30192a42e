"""The classes of events and their way through the codec."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import fastavro
import pytest

from driftgate.codec import Codec
from driftgate.errors import BadConfig, BadInput
from driftgate.events import (
    EVENTS,
    AnyEvent,
    Arm,
    Axis,
    DeadLetter,
    Inference,
    RetrainRequest,
    Routing,
    RoutingAck,
    Tick,
    Verdict,
    generate,
    topic_of,
)
from driftgate.schemas import LockFile

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
CODEC = Codec.load(SCHEMAS)
NOW = 1_767_571_200_000
ARM = Arm(version=1, digest="d1", adapter_uri="sha256:d1", weight=10_000)
ROUTING = Routing(
    model="support-triage",
    epoch=3,
    base="tiny",
    base_digest="b",
    arms=(ARM,),
    shadows=(replace(ARM, version=2, weight=0),),
    salt="support-triage",
    sticky_by="subject",
    repo_hash="r",
    time=NOW,
)
EXAMPLES = [
    (topic, path)
    for topic in CODEC.topics.names()
    for path in sorted((SCHEMAS / CODEC.topics[topic].subject / "examples").glob("*.json"))
]


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))


def newest_of(folder: Path, subject: str) -> Any:
    return LockFile(folder).schemas.newest[subject].raw


def with_hint(record: dict[str, Any]) -> dict[str, Any]:
    field = {"name": "hint", "type": ["null", "string"], "default": None, "doc": "New."}
    return {**record, "fields": [*record["fields"], field]}


def test_the_generated_classes_are_those_of_the_schemas() -> None:
    assert generate.GENERATED.read_text() == generate.source(SCHEMAS), "run `make events`"


def test_every_topic_has_the_class_of_its_schema() -> None:
    assert set(EVENTS) == set(CODEC.topics.names())
    for topic, made in EVENTS.items():
        assert made.__name__ == CODEC.schemas.newest[CODEC.topics[topic].subject].raw["name"]
        if not issubclass(made, DeadLetter):
            assert topic == made.TOPIC


@pytest.mark.parametrize(("topic", "path"), EXAMPLES, ids=lambda part: getattr(part, "name", part))
def test_every_example_comes_back_through_its_class(topic: str, path: Path) -> None:
    number = int(path.stem[1:].split("-")[0])
    writer = CODEC.schemas.versions(CODEC.topics[topic].subject)[number - 1]
    (fields,) = fastavro.json_reader(
        io.StringIO(json.dumps(json.loads(path.read_text()))), writer.schema
    )
    body = io.BytesIO()
    fastavro.schemaless_writer(body, writer.schema, fields)
    event = CODEC.event(topic, writer.header + body.getvalue())
    assert isinstance(event, EVENTS[topic])
    assert event.as_dict().items() >= {name: event.as_dict()[name] for name in fields}.items()
    assert {name: event.as_dict()[name] for name in fields} == fields | {
        name: event.as_dict()[name] for name in ("arms", "shadows") if name in fields
    }
    assert CODEC.event(topic, CODEC.value(event)) == event
    assert EVENTS[topic].of(event.as_dict()) == event


def test_nested_records_are_records_and_lists_are_tuples() -> None:
    event = CODEC.event("routing", CODEC.value(ROUTING))
    assert event == ROUTING
    assert isinstance(event, Routing)
    assert event.arms[0].weight == 10_000
    assert event.as_dict()["shadows"][0]["version"] == 2


def test_an_event_does_not_change_and_what_was_taken_out_of_it_does_not_change_it() -> None:
    tick = Tick(world="w", time=NOW, positions={"inferences-0": 3})
    with pytest.raises(FrozenInstanceError):
        tick.time = 0  # type: ignore[misc]
    tick.as_dict()["positions"]["inferences-0"] = 4
    assert tick.positions == {"inferences-0": 3}
