"""The classes of events and their way through the codec."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
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
    Champion,
    DeadLetter,
    Inference,
    RetrainRequest,
    Routing,
    RoutingAck,
    Tick,
    generate,
    topic_of,
)

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
CODEC = Codec.load(SCHEMAS)
NOW = 1_767_571_200_000
ENUM = {"type": "enum", "name": "Role", "symbols": ["x"], "doc": "Not that of inferences."}
HINT = {"name": "hint", "type": ["null", "string"], "default": None, "doc": "New."}
ARM = Arm(version=1, digest="d1", adapter_uri="sha256:d1", weight=10_000, base="tiny")
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
DEAD = DeadLetter(
    topic="routing",
    partition=0,
    offset=7,
    key=b"support-triage",
    reason="malformed",
    message="value: got b'', expected Avro",
    service="router",
    first_seen=NOW,
)
EXAMPLES = [
    pytest.param(topic, path, id=f"{topic}-{path.stem}")
    for topic in CODEC.topics.names()
    for path in sorted((SCHEMAS / CODEC.topics[topic].subject / "examples").glob("*.json"))
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMAS, tmp_path / "schemas"))


def add_version(codec: Codec, subject: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Registers the newest version of a subject with a change."""
    raw = json.loads(json.dumps(codec.schemas.newest[subject].raw))
    change(raw)
    codec.registry.add(subject, json.dumps(raw))


def hint(raw: dict[str, Any]) -> None:
    raw["fields"].append(HINT)


def hint_in_arms(raw: dict[str, Any]) -> None:
    arms = next(field for field in raw["fields"] if field["name"] == "arms")
    hint(arms["type"]["items"])
    hint(raw)


def first_versions(folder: Path) -> None:
    """The registry as it was before any subject had a second version."""
    lock = folder / "registry.lock"
    lines = lock.read_text().splitlines(keepends=True)
    lock.write_text("".join(line for line in lines if line[0] == "#" or line.split()[2] == "1"))


def test_the_generated_classes_are_those_of_the_schemas() -> None:
    assert generate.GENERATED.read_text() == generate.source(SCHEMAS), "run `make events`"


def test_a_new_field_of_a_schema_is_a_field_of_its_class(folder: Path) -> None:
    add_version(Codec.load(folder), "routing", hint_in_arms)
    text = generate.source(folder)
    assert text.count("    hint: str | None = None\n") == 2
    assert text.count("        hint: New.\n") == 2


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (
            {
                "type": {"type": "enum", "name": "Role", "symbols": ["x"], "doc": "."},
                "default": "x",
            },
            "Role is another type in another subject",
        ),
        (
            {"type": {"type": "array", "items": "int"}, "default": [1]},
            "field more: got default [1], expected a plain or empty one",
        ),
    ],
)
def test_what_no_class_can_say_is_refused(folder: Path, field: dict[str, Any], reason: str) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw["fields"].append(field | {"name": "more", "doc": "New."})

    add_version(Codec.load(folder), "model", change)
    with pytest.raises(BadConfig) as refused:
        generate.source(folder)
    assert reason in str(refused.value)


def test_every_topic_has_the_class_of_its_schema() -> None:
    assert set(EVENTS) == set(CODEC.topics.names())
    for topic, made in EVENTS.items():
        assert made.__name__ == CODEC.schemas.newest[CODEC.topics[topic].subject].raw["name"]
        if not issubclass(made, DeadLetter):
            assert topic == made.TOPIC


@pytest.mark.parametrize(("topic", "path"), EXAMPLES)
def test_every_example_comes_back_through_its_class(topic: str, path: Path) -> None:
    number = int(path.stem[1:].split("-")[0])
    writer = CODEC.schemas.versions(CODEC.topics[topic].subject)[number - 1]
    line = json.dumps(json.loads(path.read_text()))
    (fields,) = fastavro.json_reader(io.StringIO(line), writer.schema)
    body = io.BytesIO(writer.header)
    body.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(body, writer.schema, fields)

    event = CODEC.event(topic, body.getvalue())

    assert isinstance(event, EVENTS[topic])
    assert event.as_dict() == CODEC.decode(topic, body.getvalue())
    assert CODEC.event(topic, CODEC.value(event)) == event
    assert EVENTS[topic].of(event.as_dict()) == event


@pytest.mark.parametrize("event", [ROUTING, DEAD, Tick(world="w", time=NOW)])
def test_an_event_comes_back_equal(event: AnyEvent) -> None:
    assert CODEC.event(topic_of(event), CODEC.value(event)) == event


def test_a_record_inside_an_event_may_be_absent() -> None:
    champion = Champion(version=1, digest="d", adapter_uri="u", base="tiny", base_digest="b")
    asked = RetrainRequest(
        retrain_id="m:drift", model="m", reason="drift", epoch=3, champion=champion, time=NOW
    )
    for event in (asked, replace(asked, champion=None)):
        assert CODEC.event(RetrainRequest.TOPIC, CODEC.value(event)) == event


def test_absent_fields_have_defaults_and_required_ones_are_named() -> None:
    tick = Tick.of({"world": "w", "time": NOW, "mood": "unknown to the class"})
    assert tick == Tick(world="w", time=NOW, positions={}, pace=0.0)
    with pytest.raises(TypeError, match="'time'"):
        Tick.of({"world": "w"})


def test_an_event_does_not_change_with_what_was_taken_out_of_it() -> None:
    tick = Tick(world="w", time=NOW, positions={"inferences-0": 3})
    with pytest.raises(FrozenInstanceError):
        tick.time = 0  # type: ignore[misc]
    tick.as_dict()["positions"]["inferences-0"] = 4
    assert tick.positions == {"inferences-0": 3}


def test_a_wrong_type_is_not_sent() -> None:
    with pytest.raises(BadInput, match="clock: got"):
        CODEC.value(Tick(world="w", time="noon"))  # type: ignore[arg-type]


# ---------------------------------------------------------------- old and new, side by side


def test_new_code_reads_old_records(folder: Path) -> None:
    first_versions(folder)
    old = Codec.load(folder)
    fields = ROUTING.as_dict()
    for arm in fields["arms"] + fields["shadows"]:
        for name in ("base", "base_digest", "task", "prompt"):
            del arm[name]
    for name in ("champion", "standby", "shadow_share"):
        del fields[name]
    event = CODEC.event("routing", old.encode("routing", fields))
    assert isinstance(event, Routing)
    assert event.arms == (replace(ARM, base=""),)
    assert event.arms[0].task == "text-classification"


def test_old_code_reads_new_records_that_appear_while_it_runs(folder: Path) -> None:
    running, other = Codec.load(folder), Codec.load(folder)
    before = running.value(ROUTING)
    add_version(other, "routing", hint_in_arms)
    fields = ROUTING.as_dict() | {"hint": "new"}
    fields["arms"][0]["hint"] = "new"
    after = other.encode("routing", fields)

    assert running.event("routing", after) == ROUTING
    assert running.event("routing", before) == ROUTING
    # From now on it writes the new version, with the default of what it does not know.
    assert other.decode("routing", running.value(ROUTING))["hint"] is None


def test_new_code_writes_for_an_older_registry(folder: Path) -> None:
    first_versions(folder)
    old = Codec.load(folder)
    value = old.value(ROUTING)
    assert value[:5] == old.schemas.newest["routing"].header
    assert "base" not in old.decode("routing", value)["arms"][0]
    assert old.event("routing", value) == replace(
        ROUTING,
        arms=(replace(ARM, base=""),),
        shadows=(replace(ROUTING.shadows[0], base=""),),
    )


# ---------------------------------------------------------------- topics and keys


def test_a_records_topic_and_key_are_those_of_its_event() -> None:
    ack = RoutingAck(router="r-0", model="m", epoch=3, status="serving", digests=(), time=NOW)
    assert CODEC.record(ack) == ("routing.acks", b"r-0/m", CODEC.value(ack))
    assert CODEC.record(ROUTING)[:2] == ("routing", b"support-triage")
    assert CODEC.record(DEAD)[:2] == ("routing.dlq", b"support-triage")
    assert CODEC.record(replace(DEAD, key=None))[1] is None


def test_an_event_that_is_a_dict_has_the_same_key() -> None:
    for event in (ROUTING, DEAD):
        topic = topic_of(event)
        assert CODEC.topics.key(topic, event.as_dict()) == CODEC.topics.key(topic, event)


def test_acknowledgements_are_kept_by_router_and_model() -> None:
    topic = CODEC.topics[RoutingAck.TOPIC]
    assert (topic.key, topic.cleanup) == (("router", "model"), "compact")


def test_the_defaults_of_an_answer_are_those_of_its_schema() -> None:
    answer = Inference(
        request_id="r", model="m", version=1, input_hash="h", output="refund", time=NOW
    )
    decoded = CODEC.decode("inferences", CODEC.value(answer))
    assert decoded == answer.as_dict()
    assert (decoded["role"], decoded["propensity"], decoded["base"]) == ("live", 1.0, "")
