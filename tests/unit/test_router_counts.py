"""What each version did, as it is told on `serving.counts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from releasing import NOW, until
from router_harness import CODEC, MODEL, World
from test_router_serving import ask, refused, talk

from driftgate.errors import BusUnavailable
from driftgate.events import Arm, Routing
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


def test_an_error_is_told_within_a_quarter_of_a_second_and_no_oftener() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 2, 1)
    counter.count(record, 2, "live", failed=True)
    assert told(counter, 100.0) == [(1, [(2, 0, 1, 0, 0), (1, 0, 0, 0, 0)])]
    counter.count(record, 2, "live", failed=True)
    counter.count(record, 1, "live")
    assert told(counter, 100.2) == []
    assert told(counter, 100.25) == [(1, [(2, 0, 2, 0, 0), (1, 1, 0, 0, 0)])]
    assert told(counter, 200.0) == []  # nothing new


def test_answers_are_told_every_five_seconds_while_versions_are_compared() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 1, shadows=(2,))
    counter.count(record, 1, "live")
    counter.count(record, 2, "shadow")
    assert told(counter, 100.0) == [(1, [(1, 1, 0, 0, 0), (2, 0, 0, 1, 0)])]
    counter.count(record, 1, "live")
    assert told(counter, 104.9) == []
    assert told(counter, 105.0) == [(1, [(1, 2, 0, 0, 0), (2, 0, 0, 1, 0)])]


def test_where_one_version_answers_only_its_errors_are_told() -> None:
    counter, record = Counter("router-0", "p"), routing(1, 1)
    counter.count(record, 1, "live")
    assert told(counter, 100.0) == []
    counter.count(record, 1, "live", failed=True)
    assert told(counter, 100.0) == [(1, [(1, 1, 1, 0, 0)])]


def test_an_epoch_begins_at_zero_and_the_one_before_is_not_told_any_more() -> None:
    counter = Counter("router-0", "p")
    counter.count(routing(1, 2, 1), 2, "live", failed=True)
    counter.count(routing(2, 1), 1, "live", failed=True)
    counter.count(routing(1, 2, 1), 2, "live", failed=True)  # was under way
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


def test_counts_that_cannot_be_sent_are_made_up_for_by_the_next(world: World) -> None:
    record = routing(1, 2, 1)
    world.counter.count(record, 2, "live", failed=True)
    counts = sender(world)
    world.bus.down = True
    with pytest.raises(BusUnavailable):
        counts.send()
    world.bus.down = False
    world.counter.count(record, 2, "live", failed=True)
    until(lambda: counts.send() or world.topics.read("serving.counts", "m"))
    (event,) = world.topics.read("serving.counts", "m")
    assert event["versions"][0]["errors"] == 2
