"""The client: what it sends, what it refuses at the call, and which version it routes to."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from patience import attempts

from driftgate import events, system_clock
from driftgate.bus import Record
from driftgate.bus_memory import MemoryBus
from driftgate.client import Client
from driftgate.codec import Codec
from driftgate.errors import BadInput
from driftgate.events import DAY_MS, Arm, Routing, Tick
from driftgate.generator.prompt import Prompt
from driftgate.model_repo import Data, ModelYaml
from driftgate.routing import NotReady, NotServed
from services.router.answers import Ask, Routed, route
from services.router.requests import Request
from services.router.snapshot import Served

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
CODEC = Codec.load(SCHEMAS)
NOW = time.time_ns() // 1_000_000


@pytest.fixture
def bus() -> MemoryBus:
    found = MemoryBus()
    found.ensure(CODEC.topics.by_name.values())
    return found


@pytest.fixture
def client(bus: MemoryBus) -> Iterator[Client]:
    with Client(bus=bus) as found:
        yield found


def sent(bus: MemoryBus, topic: str) -> list[dict[str, Any]]:
    return [CODEC.decode(topic, record.value) for record in bus.read_all([topic])]


def until(condition: Callable[[], object]) -> None:
    for _ in attempts(60):
        if condition():
            return
    raise AssertionError("did not come true in 60 s")


# ---------------------------------------------------------------- what is sent


def test_an_answer_and_its_correction_arrive_as_events(bus: MemoryBus, client: Client) -> None:
    request = client.inference("m", 3, "Where is it?", "delivery", 0.9, slices={"language": "en"})
    client.feedback("m", request, label="refund", reviewer="ana")
    (answer,) = sent(bus, "inferences")
    (said,) = sent(bus, "feedback")
    assert (answer["input"], answer["role"], answer["version"]) == ("Where is it?", "live", 3)
    assert (said["request_id"], said["kind"], said["label"]) == (request, "review", "refund")


def test_further_fields_of_the_subject_are_sent(bus: MemoryBus, client: Client) -> None:
    client.inference("m", 3, "Where is it?", "delivery", input=None, digest="d", propensity=0.25)
    (answer,) = sent(bus, "inferences")
    assert (answer["input"], answer["digest"], answer["propensity"]) == (None, "d", 0.25)
    assert len(answer["input_hash"]) == 64


def test_a_written_answer_and_its_edit_arrive_as_events(bus: MemoryBus, client: Client) -> None:
    told = {"tokens_in": 31, "tokens_out": 12, "finish_reason": "stop", "first_token_ms": 41.5}
    told |= {"logprob": -0.25, "prompt": "ab" * 32, "task": "text-generation"}
    request = client.inference("m", 3, "Late again!", "Sorry for that.", **told)
    client.feedback("m", request, edited="We are sorry for that.")
    (answer,) = sent(bus, "inferences")
    (said,) = sent(bus, "feedback")
    assert {name: answer[name] for name in told} == told
    assert (said["kind"], said["edited"]) == ("edit", "We are sorry for that.")


def test_the_same_feedback_sent_again_keeps_its_id(bus: MemoryBus, client: Client) -> None:
    assert client.feedback("m", "r", rating=1, feedback_id="f") == "f"
    assert client.feedback("m", "r", rating=1, feedback_id="f") == "f"
    assert {event["feedback_id"] for event in sent(bus, "feedback")} == {"f"}


def test_a_metric_of_an_answer_and_a_retraction_are_sent(bus: MemoryBus, client: Client) -> None:
    said = client.feedback("m", "r", label="refund", reviewer="ana")
    client.metric("m", "r", "minutes_to_close", 42.5, feedback_id="minutes")
    client.retract("m", "r", said, reviewer="ana")
    events = {event["kind"]: event for event in sent(bus, "feedback")}
    metric, retraction = events["metric"], events["retraction"]
    assert (metric["feedback_id"], metric["request_id"]) == ("minutes", "r")
    assert (metric["metric"], metric["value"]) == ("minutes_to_close", 42.5)
    assert (retraction["retracts"], retraction["reviewer"]) == (said, "ana")


@pytest.mark.parametrize(("name", "value"), [("", 1.0), ("minutes", float("nan"))])
def test_a_metric_that_ingestion_would_refuse_is_refused_at_the_call(
    bus: MemoryBus, client: Client, name: str, value: float
) -> None:
    with pytest.raises(BadInput):
        client.metric("m", "r", name, value)
    assert sent(bus, "feedback") == []


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "three"}, ["version", "'three'", "an int"]),
        ({"version": True}, ["version", "True", "an int"]),
        ({"version": 0}, ["version", "0", "at least 1"]),
        ({"version": 2**31}, ["version", "32 bits"]),
        ({"confidence": 1.01}, ["confidence", "1.01", "0 to 1"]),
        ({"confidence": float("nan")}, ["confidence", "nan", "0 to 1"]),
        ({"confidence": "0.9"}, ["confidence", "'0.9'", "a number"]),
        ({"latency_ms": float("inf")}, ["latency_ms", "inf", "finite"]),
        ({"latency_ms": -1.0}, ["latency_ms", "-1.0", "at least 0"]),
        ({"features": {"words": float("-inf")}}, ["features.words", "-inf", "finite"]),
        ({"propensity": 2.0}, ["propensity", "2.0"]),
        ({"tokens": -1}, ["tokens", "-1"]),
        ({"tokens_in": -1}, ["tokens_in", "-1", "at least 0"]),
        ({"tokens_out": -1}, ["tokens_out", "-1", "at least 0"]),
        ({"finish_reason": "eos"}, ["finish_reason", "'eos'", "'stop', 'length', 'cancelled'"]),
        ({"first_token_ms": float("nan")}, ["first_token_ms", "nan", "at least 0"]),
        ({"logprob": 0.1}, ["logprob", "0.1", "a finite number of at most 0"]),
        ({"logprob": float("-inf")}, ["logprob", "-inf", "a finite number of at most 0"]),
        ({"text": " "}, ["input", "' '", "not blank"]),
        ({"text": 7}, ["input", "7", "a text"]),
        ({"text": "\ud83d, cut"}, ["input", "character 0 is a lone surrogate"]),
        ({"output": "caf\udce9"}, ["output", "character 3 is a lone surrogate"]),
        ({"subject": "\udfff"}, ["subject", "surrogate"]),
        ({"slices": {"language": "\ud800"}}, ["slices['language']", "surrogate"]),
        ({"slices": {"\ud800": "en"}}, ["slices", "surrogate"]),
        ({"slices": {"language": 3}}, ["slices", "3", "a text"]),
        ({"slices": [1]}, ["slices", "[1]", "a map to a text"]),
        ({"request_id": ""}, ["request_id", "''", "not blank"]),
        ({"model": ""}, ["model", "''", "not blank"]),
        ({"role": "hidden"}, ["role", "'hidden'", "one of live, shadow"]),
        ({"tokns": 3}, ["tokns", "did you mean 'tokens'"]),
        ({"time": NOW + 2 * DAY_MS}, ["time", "ahead_hours 26"]),
        ({"time": NOW // 1000}, ["time", "1970-01-", "keep_days 400"]),
        ({"time": 2**62}, ["time", str(2**62)]),
        ({"time": float(NOW)}, ["time", "an int"]),
        ({"text": "x" * 1_000_000}, ["value", "at most 1000000 bytes"]),
    ],
)
def test_an_answer_that_ingestion_would_refuse_is_refused_at_the_call(
    bus: MemoryBus, client: Client, changes: dict[str, Any], words: list[str]
) -> None:
    good = {"model": "m", "version": 3, "text": "Where is it?", "output": "delivery"}
    with pytest.raises(BadInput) as told:
        client.inference(**(good | changes))
    assert [word for word in words if word not in str(told.value)] == []
    assert sent(bus, "inferences") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["one of label, rating and edited"]),
        ({"label": "a", "rating": 1.0}, ["['label', 'rating']", "one of label, rating and edited"]),
        ({"rating": 5}, ["rating", "5", "0 to 1"]),
        ({"rating": float("nan")}, ["rating", "nan"]),
        ({"rating": True}, ["rating", "True", "a number"]),
        ({"rating": 1, "kind": "thumbs"}, ["kind", "'thumbs'", "rating, correction, edit, review"]),
        ({"rating": 1, "kind": "review"}, ["label", "kind is review"]),
        ({"label": "a", "request_id": " "}, ["request_id", "not blank"]),
        ({"label": "a", "feedback_id": ""}, ["feedback_id", "not blank"]),
        ({"label": "a", "request_id": None}, ["request_id", "None", "a text"]),
        ({"edited": "\udc00"}, ["edited", "surrogate"]),
        ({"edited": " "}, ["edited", "' '", "not blank"]),
        ({"edited": 7}, ["edited", "7", "a text"]),
        ({"label": "a", "reason": "\ud83d"}, ["reason", "surrogate"]),
        ({"label": "a", "time": NOW + 27 * 3_600_000}, ["time", "ahead_hours"]),
    ],
)
def test_feedback_that_ingestion_would_refuse_is_refused_at_the_call(
    bus: MemoryBus, client: Client, changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(BadInput) as told:
        client.feedback(**({"model": "m", "request_id": "r"} | changes))
    assert [word for word in words if word not in str(told.value)] == []
    assert sent(bus, "feedback") == []


def test_a_data_policy_of_ones_own_widens_the_times(bus: MemoryBus) -> None:
    with Client(bus=bus, data=Data(ahead_hours=72)) as client:
        client.inference("m", 1, "x", "y", time=NOW + 2 * DAY_MS)
    assert len(sent(bus, "inferences")) == 1


# ---------------------------------------------------------------- times


def ticks(bus: MemoryBus, time: int, pace: float) -> None:
    tick = Tick(world="w", time=time, positions={}, pace=pace)
    bus.producer().send("clock", b"w", CODEC.value(tick))


def test_times_are_the_systems(bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paced clock is far ahead of the machine's after a while."""
    monkeypatch.setattr(system_clock, "LOOK_SECONDS", 0.01)
    ahead = NOW + 500 * DAY_MS
    ticks(bus, ahead, 1000.0)
    with Client(bus=bus) as client:
        request = client.inference("m", 1, "x", "y")
        client.inference("m", 1, "x", "y", time=ahead)
        client.feedback("m", request, label="z")
        with pytest.raises(BadInput, match="time"):
            client.inference("m", 1, "x", "y", time=NOW)  # older than keep_days
        told = [event["time"] for topic in ("inferences", "feedback") for event in sent(bus, topic)]
        assert all(ahead <= time < ahead + DAY_MS for time in told)
        ticks(bus, ahead + 9 * DAY_MS, 0.0)
        until(lambda: client._clock.now() == ahead + 9 * DAY_MS)


def test_the_time_goes_on_while_kafka_is_away(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_clock, "LOOK_SECONDS", 0.01)
    machine = [NOW]
    bus.machine = lambda: NOW
    ticks(bus, 5000, 10.0)
    clock = system_clock.SystemClock(bus, CODEC, lambda: machine[0])
    bus.down = True
    machine[0] += 100
    assert clock.now() == 6000
    clock.close()
    bus.down = False
    bus.logs.clear()
    clock = system_clock.SystemClock(bus, CODEC, lambda: NOW)
    assert clock.now() == NOW
    clock.close()


# ---------------------------------------------------------------- which version answers


def arm(version: int, weight: int = 0) -> Arm:
    return Arm(
        version=version, digest=f"d{version}", adapter_uri=f"sha256:d{version}", weight=weight
    )


ROUTING = Routing(
    model="triage",
    epoch=4,
    base="b",
    base_digest="bd",
    arms=(arm(2, 500), arm(1, 9500)),
    shadows=(arm(3),),
    salt="triage",
    sticky_by="subject",
    repo_hash="h",
    time=NOW,
)


def publish(bus: MemoryBus, *routings: Routing, codec: Codec = CODEC) -> None:
    for routing in routings:
        bus.producer().send("routing", routing.model.encode(), codec.value(routing))


def test_routes_are_the_routers(bus: MemoryBus, client: Client) -> None:
    chance = random.Random(5)
    shares = [(chance.randrange(10_001), f"m{n}") for n in range(20)]
    routings = {
        name: replace(
            ROUTING,
            model=name,
            salt=name,
            epoch=chance.randrange(1, 100),
            arms=(arm(2, share), arm(1, 10_000 - share)),
            shadows=(arm(2), arm(1), arm(3)),
            sticky_by=chance.choice(("subject", "request_id")),
            scope=chance.choice(({}, {"language": "es"})),
        )
        for share, name in shares
    }
    publish(bus, *routings.values())
    served = {name: Served(one, {}, ModelYaml.model_construct()) for name, one in routings.items()}
    refused = 0
    for n in range(10_000):
        model = chance.choice([*routings, "m-unknown"])
        subject = chance.choice(("", f"s{chance.randrange(500)}"))
        slices = chance.choice(({}, {"language": "es"}, {"language": "en", "shop": "a"}))
        theirs = route(served, Ask(Request(model, "x", f"r{n}", subject, slices, NOW), 0.0))
        if isinstance(theirs, Routed):
            choice, live = theirs.choice, theirs.choice.live
            wanted = (live.version, live.digest, live.adapter_uri, live.propensity)
            ours = client.route(model, f"r{n}", subject, slices)
            assert (ours.version, ours.digest, ours.adapter_uri, ours.propensity) == wanted
            assert (ours.epoch, ours.shadows) == (choice.epoch, choice.shadows)
        else:
            refused += 1
            with pytest.raises(NotServed) as told:
                client.route(model, f"r{n}", subject, slices)
            assert str(told.value) == str(theirs)
    assert 1000 < refused < 5000


def test_a_route_says_how_a_model_that_writes_is_asked(bus: MemoryBus, client: Client) -> None:
    said = Prompt("Be brief.", "Message: {text}")
    told = events.Prompt(digest=said.digest, system=said.system, template=said.template)
    arms = tuple(replace(one, prompt=told) for one in ROUTING.arms)
    publish(bus, replace(ROUTING, arms=arms))
    route = client.route("triage", "r")
    assert route.prompt == said
    assert route.prompt.user("hi") == "Message: hi"
    client.report(route, "hi", "Hello.", finish_reason="stop")
    client.flush()
    (event,) = sent(bus, "inferences")
    assert event["prompt"] == said.digest


def test_a_newer_record_is_followed_and_a_stale_one_refused(bus: MemoryBus, client: Client) -> None:
    publish(bus, ROUTING)
    route = client.route("triage", "r")
    assert route.epoch == 4
    assert route in {route}  # an app may keep its routes in a set
    publish(bus, replace(ROUTING, epoch=5, arms=(arm(2, 10_000),)))
    until(lambda: client.route("triage", "r").version == 2)
    assert client.route("triage", "r").epoch == 5
    publish(bus, ROUTING, replace(ROUTING, model="other"))
    until(lambda: epoch_of(client, "other"))
    assert (client.route("triage", "r").epoch, client.skipped) == (5, 1)
    with Client(bus=bus) as fresh:  # a restart changes nothing
        assert fresh.route("triage", "r").epoch == 5


def test_a_topic_that_was_made_anew_is_followed_from_its_first_epoch(
    bus: MemoryBus, client: Client
) -> None:
    publish(bus, replace(ROUTING, model="gone"), ROUTING, replace(ROUTING, epoch=5))
    until(lambda: epoch_of(client, "triage") == 5)
    for position in [p for p in bus.logs if p.topic == "routing"]:
        bus.logs[position] = []
    publish(bus, replace(ROUTING, epoch=1))
    until(lambda: epoch_of(client, "triage") == 1)
    publish(bus, replace(ROUTING, epoch=2))
    until(lambda: epoch_of(client, "triage") == 2)
    assert (epoch_of(client, "gone"), client.skipped) == (4, 0)


def test_what_was_read_of_the_topic_is_not_read_again(
    bus: MemoryBus, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bus, ROUTING)
    until(lambda: epoch_of(client, "triage") == 4)
    read, given = bus.read_all, []

    def counted(*arguments: Any) -> Iterator[Record]:
        for record in read(*arguments):
            given.append(record.offset)
            yield record

    monkeypatch.setattr(bus, "read_all", counted)
    publish(bus, replace(ROUTING, epoch=5))
    until(lambda: epoch_of(client, "triage") == 5)
    assert given == [1]


def epoch_of(client: Client, model: str) -> int:
    """0 while the model is not served."""
    try:
        return client.route(model, "r").epoch
    except (NotServed, NotReady):
        return 0


def test_a_record_that_cannot_be_used_is_passed_over(bus: MemoryBus, client: Client) -> None:
    publish(bus, ROUTING)
    assert client.route("triage", "r").epoch == 4
    bus.producer().send("routing", b"triage", b"junk")
    bus.producer().send("routing", b"triage", None)
    publish(bus, replace(ROUTING, epoch=9, arms=(arm(1, 9999),)))
    publish(bus, ROUTING)  # the same record again is no fault
    publish(bus, replace(ROUTING, model="other"))
    until(lambda: epoch_of(client, "other"))
    assert (client.route("triage", "r").epoch, client.skipped) == (4, 2)


def test_a_new_field_on_routing_changes_nothing(bus: MemoryBus, tmp_path: Path) -> None:
    """Registered while the app runs, and not known to its classes."""
    folder = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, folder)
    with Client(bus=bus, schemas=folder) as client:
        publish(bus, ROUTING)
        before = client.route("triage", "r")
        codec = Codec.load(folder)
        schema = codec.schemas.newest["routing"].raw
        field = {"name": "region", "type": "string", "default": "", "doc": "An example."}
        grown = schema | {"fields": [*schema["fields"], field]}
        version = codec.registry.add("routing", json.dumps(grown))
        assert version.number > codec.schemas.versions("routing")[0].number
        publish(bus, ROUTING, replace(ROUTING, model="other"), codec=codec)
        until(lambda: epoch_of(client, "other"))
        assert client.route("triage", "r") == before
        assert client.skipped == 0


def test_without_routing_a_route_is_not_ready(bus: MemoryBus, client: Client) -> None:
    with pytest.raises(NotReady, match="topic routing has no record"):
        client.route("triage", "r")
    publish(bus, ROUTING)
    until(lambda: epoch_of(client, "triage"))


def test_an_outage_is_told_before_the_first_record_and_changes_nothing_after(
    bus: MemoryBus, client: Client
) -> None:
    bus.down = True
    with pytest.raises(NotReady, match="the bus is down") as told:
        client.route("triage", "r")
    assert told.value.retriable
    bus.down = False
    publish(bus, ROUTING)
    until(lambda: epoch_of(client, "triage"))
    bus.down = True
    assert client.route("triage", "r").epoch == 4
    bus.down = False


def test_an_unknown_model_is_told_with_the_nearest(bus: MemoryBus, client: Client) -> None:
    publish(bus, ROUTING)
    with pytest.raises(NotServed, match="did you mean 'triage'"):
        client.route("triag", "r")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("triage", ""), ["request_id", "not blank"]),
        (("triage", None), ["request_id", "None", "a text"]),
        ((3, "r"), ["model", "3", "a text"]),
        (("triage", "r" * 201), ["request_id", "at most 200 characters"]),
        (("triage", "r", "\ud800"), ["subject", "surrogate"]),
        (("triage", "r", "s", {"language": 3}), ["slices['language']", "3", "a text"]),
    ],
)
def test_a_request_that_the_router_would_refuse_is_refused(
    bus: MemoryBus, client: Client, arguments: tuple[Any, ...], words: list[str]
) -> None:
    publish(bus, ROUTING)
    with pytest.raises(BadInput) as told:
        client.route(*arguments)
    assert [word for word in words if word not in str(told.value)] == []


def test_the_heard_answer_and_the_unheard_ones_are_reported_in_a_call_each(
    bus: MemoryBus, client: Client
) -> None:
    publish(bus, replace(ROUTING, shadows=(arm(2), arm(1))))
    found = client.route("triage", "r", "ana", {"language": "es"})
    client.report(found, "x", "y", 0.9, latency_ms=7.0, time=NOW)
    for shadow in found.shadows:
        client.report(found, "x", "z", 0.8, by=shadow, time=NOW)
    heard, unheard = sorted(sent(bus, "inferences"), key=lambda event: event["role"])
    assert (heard["role"], unheard["role"]) == ("live", "shadow")
    assert {heard["version"], unheard["version"]} == {1, 2}
    for event, version in ((heard, found), (unheard, found.shadows[0])):
        assert (event["request_id"], event["subject"]) == ("r", "ana")
        assert (event["slices"], event["epoch"], event["time"]) == ({"language": "es"}, 4, NOW)
        assert (event["version"], event["digest"]) == (version.version, version.digest)
        assert (event["base"], event["task"]) == (version.base, version.task)
        assert event["propensity"] == version.propensity
    assert heard["propensity"] + unheard["propensity"] == 1
    assert found.champion == 1


def test_answers_to_one_request_have_one_time_whenever_they_are_reported(
    bus: MemoryBus, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no bound of a window falls between what is compared."""
    publish(bus, replace(ROUTING, shadows=(arm(2), arm(1))))
    found, later = client.route("triage", "r"), itertools.count(NOW + 60_000, 1000)
    monkeypatch.setattr(client._clock, "now", lambda: next(later))
    for by in (None, *found.shadows):
        client.report(found, "x", "y", by=by)
    assert {event["time"] for event in sent(bus, "inferences")} == {found.time}
    assert found == client.route("triage", "r")


def test_an_answer_of_a_version_that_was_not_asked_is_refused(
    bus: MemoryBus, client: Client
) -> None:
    publish(bus, replace(ROUTING, shadow_share=0.0))
    found = client.route("triage", "r")
    other = replace(client.route("triage", "r2"), version=7)
    with pytest.raises(BadInput, match=r"by: got 7, expected one of the route's shadows, \[\]"):
        client.report(found, "x", "z", by=other)
    assert sent(bus, "inferences") == []
