"""What each version did, as it is told on `serving.counts`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from releasing import NOW, until
from router_harness import CODEC, MODEL, World
from test_router_serving import ask, refused, talk

from driftgate.errors import BusUnavailable
from driftgate.events import Arm, Role, Routing
from driftgate.runtime import Clock
from services.router.counts_sender import CountsSender
from services.router.serving_counts import Counter


def routing(epoch: int, *versions: int, shadows: tuple[int, ...] = ()) -> Routing:
    def arm(version: int) -> Arm:
        return Arm(version=version, digest=f"d{version}", adapter_uri="u", weight=0)

    return Routing(
        model="m",
        epoch=epoch,
        base="b",
        base_digest="",
        arms=tuple(map(arm, versions)),
        shadows=tuple(map(arm, shadows)),
        salt="m",
        sticky_by="subject",
        repo_hash="h",
        time=0,
    )


PEOPLE = itertools.count()


def count(
    counter: Counter, record: Routing, version: int, role: Role, failed: bool = False
) -> None:
    """An answer to somebody else each time."""
    counter.count(record, version, role, f"c-{next(PEOPLE)}", 0.0, failed)


def told(counter: Counter, now: float) -> list[tuple[int, list[tuple[int, int, int, int, int]]]]:
    return [
        (
            event.epoch,
            [
                (v.version, v.answers, v.errors, v.shadow_answers, v.shadow_errors)
                for v in event.versions
            ],
        )
        for event in counter.due(now, NOW)
    ]


def test_one_who_tries_again_and_again_counts_once_a_minute() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 2, 1)
    for now in (0.0, 1.0, 59.9, 60.0):
        counter.count(record, 2, "live", "c-1", now, failed=True)
    counter.count(record, 2, "live", "c-2", 60.0)
    counter.count(record, 1, "shadow", "c-1", 60.0)
    assert told(counter, 100.0) == [(1, [(2, 1, 2, 0, 0), (1, 0, 0, 1, 0)])]


def test_who_was_answered_in_this_minute_is_heard_when_the_version_breaks() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 2, 1)
    counter.count(record, 2, "live", "c-1", 1.0)
    counter.count(record, 2, "live", "c-1", 2.0, failed=True)
    assert told(counter, 100.0) == [(1, [(2, 1, 1, 0, 0), (1, 0, 0, 0, 0)])]
    counter.count(routing(2, 1), 1, "live", "c-1", 3.0)
    counter.count(routing(2, 1), 1, "live", "c-1", 3.5, failed=True)
    assert told(counter, 200.0) == [(2, [(1, 1, 1, 0, 0)])]


def test_an_error_is_told_within_a_quarter_of_a_second_and_no_oftener() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 2, 1)
    count(counter, record, 2, "live", failed=True)
    assert told(counter, 100.0) == [(1, [(2, 0, 1, 0, 0), (1, 0, 0, 0, 0)])]
    count(counter, record, 2, "live", failed=True)
    count(counter, record, 1, "live")
    assert told(counter, 100.2) == []
    assert told(counter, 100.25) == [(1, [(2, 0, 2, 0, 0), (1, 1, 0, 0, 0)])]
    assert told(counter, 200.0) == []  # nothing new


def test_answers_are_told_every_five_seconds_while_versions_are_compared() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 1, shadows=(2,))
    count(counter, record, 1, "live")
    count(counter, record, 2, "shadow")
    assert told(counter, 100.0) == [(1, [(1, 1, 0, 0, 0), (2, 0, 0, 1, 0)])]
    count(counter, record, 1, "live")
    assert told(counter, 104.9) == []
    assert told(counter, 105.0) == [(1, [(1, 2, 0, 0, 0), (2, 0, 0, 1, 0)])]


def test_where_one_version_answers_only_its_errors_are_told() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 1)
    count(counter, record, 1, "live")
    assert told(counter, 100.0) == []
    count(counter, record, 1, "live", failed=True)
    assert told(counter, 100.0) == [(1, [(1, 1, 1, 0, 0)])]


def test_an_epoch_begins_at_zero_and_the_one_before_is_not_told_any_more() -> None:
    counter = Counter("router-0", "p")
    count(counter, routing(1, 2, 1), 2, "live", failed=True)
    count(counter, routing(2, 1), 1, "live", failed=True)
    count(counter, routing(1, 2, 1), 2, "live", failed=True)  # was under way
    assert told(counter, 100.0) == [(2, [(1, 0, 1, 0, 0)])]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def sender(world: World) -> CountsSender:
    return CountsSender(world.counter, world.bus.producer, CODEC, Clock(), world.log)


def test_a_router_counts_what_was_given_and_what_failed_heard_or_not(world: World) -> None:
    bad = world.arm(2)
    world.route(3, [world.arm(1, 10_000)], [bad])
    world.engine.poison = {bad["digest"], "poisoned"}

    async def app(stub: Any, _: Any) -> None:
        for _n in range(3):
            await stub.Predict(ask())
        await refused(stub.Predict(ask(text="poisoned")))

    talk(world, app)
    sender(world).send()
    (event,) = world.read("serving.counts")
    assert (event["router"], event["started"], event["model"]) == ("router-0", "started", MODEL)
    assert event["epoch"] == 3
    counts = {v["version"]: v for v in event["versions"]}
    assert (counts[1]["answers"], counts[1]["errors"]) == (3, 1)
    assert (counts[2]["shadow_answers"], counts[2]["shadow_errors"]) == (0, 3)
    assert counts[2]["digest"] == bad["digest"]


def test_counts_that_cannot_be_sent_are_told_again_though_nothing_is_new(world: World) -> None:
    count(world.counter, routing(1, 2, 1), 2, "live", failed=True)
    counts = sender(world)
    world.bus.down = True
    with pytest.raises(BusUnavailable):
        counts.send()
    counts.begin_anew()
    world.bus.down = False
    until(lambda: counts.send() or world.topics.read("serving.counts", "m"))
    counts.send()
    (event,) = world.topics.read("serving.counts", "m")
    assert event["versions"][0]["errors"] == 1
