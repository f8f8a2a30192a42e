"""What a replay of stored events tells: the same at any step of its clock, as live."""

from __future__ import annotations

import random
from collections.abc import Container, Iterator, Sequence

import pytest
from drift_world import CONFIG, MODEL, day, inference, outcome, routing, verdict

from driftgate.bus import Position
from driftgate.drift.backtest import Known, false_alarms, found, requests, stories
from driftgate.drift.observations import of_inference, of_outcome
from driftgate.drift.replay import Event, Replay, Said
from driftgate.events import DAY_MS, HOUR_MS, RetrainRequest
from driftgate.model_repo import ModelYaml, Triggers
from driftgate.topology import DRIFT

A_DAY = 240
DAYS = 12
BAD_FROM = 6


def answers(
    days: int = DAYS, bad: Container[int] = range(BAD_FROM, DAYS), seed: int = 0, first: int = 0
) -> Iterator[Event]:
    """Traffic over whole days, of which some go wrong: a tenth of answers, then half."""
    rng = random.Random(seed)
    for n in range(first * A_DAY, (first + days) * A_DAY):
        number, at = divmod(n, A_DAY)
        time = day(number) + at * DAY_MS // A_DAY + rng.randrange(60_000)
        error = 0.5 if number in bad else 0.1
        seen = of_inference(inference(n, time), (Position("inferences", 0), n))
        assert seen is not None
        yield seen
        said = of_outcome(
            outcome(n, time + 5000, rng.random() >= error), (Position("outcomes", 0), n)
        )
        assert said is not None
        yield said


def world(*others: Event, **traffic: object) -> list[Event]:
    launch = RetrainRequest(
        retrain_id="launch", model=MODEL, reason="launch", actor="ana", time=day(0)
    )
    events = [launch, verdict(1, day(0)), routing(1, day(0)), *others, *answers(**traffic)]  # type: ignore[arg-type]
    return sorted(events, key=lambda event: event.time)


def replayed(
    events: Sequence[Event],
    config: ModelYaml = CONFIG,
    step_ms: int = HOUR_MS,
    until: int = day(DAYS),
) -> list[Said]:
    return list(Replay(config, day(0), step_ms).run(events, until))


def told(said: Sequence[Said]) -> list[tuple[str, int, float]]:
    """Steps with their ids, dates and evidence."""
    steps = [step for one in said for step in one.steps]
    return [(step.alert_id, step.incident.since, step.incident.shown.level) for step in steps]


WORLD = world()


def test_a_fall_is_told_dated_and_asked_about() -> None:
    said = replayed(WORLD)
    (story,) = stories(said)
    assert story.incident.shown.stream.startswith("errors:")
    assert day(BAD_FROM) < story.opened[0].at < day(BAD_FROM + 1)
    assert story.incident.earliest <= day(BAD_FROM) + HOUR_MS
    assert story.incident.latest >= day(BAD_FROM)
    assert story.closed is None
    asked = requests(said)
    assert [one.reason for one in asked][:1] == ["drift"]
    # `batch_days` after it opened.
    assert story.opened[0].at + DAY_MS <= asked[0].time <= story.opened[0].at + DAY_MS + HOUR_MS
    assert asked[0].alerts == (story.incident.incident_id,)


def test_no_step_of_the_clock_changes_what_is_told() -> None:
    events = world(routing(1, day(7.3), epoch=2, challenger=2), routing(2, day(9.13), epoch=3))
    usual = told(replayed(events))
    for step in (7 * 60_000, 5 * HOUR_MS, DAY_MS):
        assert told(replayed(events, step_ms=step)) == usual, step


def test_a_replaced_version_is_told_over_when_it_was_replaced() -> None:
    said = replayed(world(verdict(2, day(8)), routing(2, day(9.13), epoch=2)))
    story = stories(said)[0]
    assert day(9.13) - 3 * 60_000 < story.closed <= day(9.13)
    assert story.steps[-1].why == "version 1 is replaced"


def test_other_monitors_tell_something_else() -> None:
    deaf = CONFIG.model_copy(update={"monitors": CONFIG.monitors[1:]})
    assert stories(replayed(WORLD, deaf)) == []


def test_what_the_detector_asked_for_live_is_not_heard_again() -> None:
    live = RetrainRequest(
        retrain_id="live", model=MODEL, reason="drift", actor=DRIFT, time=day(BAD_FROM)
    )
    assert requests(replayed(world(live))) == requests(replayed(WORLD))
    by_hand = RetrainRequest(
        retrain_id="hand", model=MODEL, reason="operator", actor="ana", time=day(BAD_FROM)
    )
    # Its cooldown of 14 days holds up what drift would ask for, which is told once.
    said = replayed(world(by_hand))
    assert requests(said) == []
    held = [one.held for one in said if one.held]
    assert [one.hold.kind for one in held] == ["cooldown"]


def test_what_came_before_the_beginning_is_known_and_not_counted() -> None:
    replay = Replay(CONFIG, day(8))
    list(replay.run(WORLD, day(9)))
    assert replay.state.under.champion is not None
    assert min(replay.state.evidence.first.values()) >= day(8)


YEAR = 365


BAD = {6, 7, 8, YEAR + 6, YEAR + 7, YEAR + 8}


def under(**triggers: object) -> ModelYaml:
    found = {**CONFIG.triggers.model_dump(), **triggers}
    return CONFIG.model_copy(update={"triggers": Triggers.model_validate(found)})


def test_what_a_declared_season_held_up_and_passed_is_remembered() -> None:
    season = {"name": "inventory", "from": "01-01", "to": "01-31"}
    replay = Replay(under(seasons=[season]), day(0))
    said = list(replay.run(world(days=20, bad=BAD), day(20)))
    assert [one.held.hold.kind for one in said if one.held] == ["season"]
    (story,) = stories(said)
    (passed,) = replay.state.passed
    assert (passed.incident_id, passed.closed) == (story.incident.incident_id, story.closed)
    assert (passed.about, passed.version) == ("quality (all)", 1)


def test_what_passed_is_waited_for_a_year_later() -> None:
    """The first time it is the cooldown of what an operator asked for that holds it up."""
    by_hand = RetrainRequest(
        retrain_id="hand", model=MODEL, reason="operator", actor="ana", time=day(2)
    )
    events = [*world(by_hand, days=20, bad=BAD), *answers(days=20, bad=BAD, first=YEAR)]
    said = replayed(events, under(learned_seasons="wait"), DAY_MS, day(YEAR + 20))
    assert requests(said) == []
    held = [one.held for one in said if one.held]
    assert [one.hold.kind for one in held] == ["cooldown", "season"]
    assert "version 1 came through the last one" in held[1].summary
    assert [story.closed is not None for story in stories(said)] == [True, True]


def test_nothing_stored_tells_nothing() -> None:
    assert replayed([]) == []


def test_known_incidents_are_found_missed_or_falsely_told() -> None:
    told = stories(replayed(WORLD))
    known = [Known(day(2), day(3)), Known(day(BAD_FROM), day(DAYS))]
    missed, hit = found(told, known)
    assert missed.step is None
    assert missed.delay == DAY_MS
    assert hit.step is told[0].opened[0]
    assert 0 < hit.delay < DAY_MS
    assert false_alarms(told, known) == []
    assert false_alarms(told, known[:1]) == told


def test_an_incident_that_is_told_later_is_found_by_its_date() -> None:
    (story,) = stories(replayed(WORLD))
    dated = story.opened[0].incident.since
    short = Known(dated - 1, dated + 1)
    assert found([story], [short])[0].step is story.opened[0]


@pytest.mark.parametrize("until", [day(0), day(0) + 1])
def test_an_empty_period_tells_nothing(until: int) -> None:
    assert replayed(WORLD, until=until) == []
