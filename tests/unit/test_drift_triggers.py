"""When alerts, a cadence or a command lead to a request for a new version."""

from __future__ import annotations

from typing import Any

import pytest
from drift_world import MODEL, day, retrain

from driftgate.errors import BadInput
from driftgate.events import DAY_MS
from driftgate.model_repo import Triggers
from services.drift_detector.triggers import (
    Ask,
    Complaint,
    Suppressed,
    Wishes,
    asked,
    commanded,
    decide,
    request,
    unanswered,
)

TRIGGERS = Triggers.model_validate({"drift": {"batch_days": 1, "cooldown_days": 14}})
CADENCE = Triggers.model_validate({"cadence_days": 30})


def complaint(at: float, version: int = 1, stream: str = "errors:all", **over: Any) -> Complaint:
    """A complaint that became evident on a day, about a change three days before."""
    slice_name = stream.partition(":")[2]
    return Complaint(
        **{
            "alert_id": f"{MODEL}@{version}:{stream}:{day(at)}",
            "version": version,
            "slice": slice_name,
            "words": f"errors rose by day {at:g} ({slice_name})",
            "since": day(at - 3),
            "time": day(at),
            **over,
        }
    )


def complaining(*complaints: Complaint, **last: int) -> Wishes:
    return Wishes(complaints, last)


def test_complaints_are_batched_into_one_request() -> None:
    wishes = complaining(complaint(10), complaint(10.5, stream="errors:language=es"))
    assert decide(wishes, TRIGGERS, day(10.9)) is None
    ask = decide(wishes, TRIGGERS, day(11))
    assert isinstance(ask, Ask)
    event = request(MODEL, ask, day(11))
    assert event["reason"] == "drift"
    assert event["since"] == day(7)
    assert event["focus_slices"] == ["language=es"]
    assert event["alerts"] == [c.alert_id for c in wishes.pending]
    assert event["words"] == "errors rose by day 10 (all), errors rose by day 10.5 (language=es)"
    assert asked(wishes, "drift", day(11)) == complaining(drift=day(11))


def test_a_stream_that_alarms_again_is_worded_once() -> None:
    event = request(MODEL, Ask("drift", (complaint(10), complaint(11))), day(12))
    assert event["words"] == "errors rose by day 11 (all)"
    assert len(event["alerts"]) == 2


@pytest.mark.parametrize("reason", ["drift", "cadence", "operator"])
def test_within_the_cooldown_complaints_wait_for_its_end(reason: str) -> None:
    wishes = complaining(complaint(10), **{reason: day(5)})
    assert decide(wishes, TRIGGERS, day(18)) == Suppressed(day(19), wishes.pending)
    assert decide(wishes, TRIGGERS, day(19)) == Ask("drift", wishes.pending)


@pytest.mark.parametrize("reason", ["launch", "erasure"])
def test_a_launch_cools_nothing(reason: str) -> None:
    wishes = complaining(complaint(10), **{reason: day(9)})
    assert isinstance(decide(wishes, TRIGGERS, day(11)), Ask)


def test_after_a_candidate_that_failed_new_complaints_ask_again() -> None:
    wishes = asked(complaining(complaint(10)), "drift", day(11))
    assert decide(wishes, TRIGGERS, day(40)) is None  # nothing new
    wishes = unanswered(wishes, [complaint(13)], live=1)
    assert isinstance(decide(wishes, TRIGGERS, day(14)), Suppressed)
    assert decide(wishes, TRIGGERS, day(25)) == Ask("drift", (complaint(13),))


def test_complaints_about_a_version_that_was_replaced_are_dropped() -> None:
    wishes = unanswered(complaining(complaint(10, version=1)), [complaint(12, version=2)], live=2)
    assert wishes.pending == (complaint(12, version=2),)


def test_complaints_that_the_last_request_answers_are_dropped() -> None:
    wishes = unanswered(complaining(operator=day(12)), [complaint(11.5)], live=1)
    assert not wishes.pending


def test_the_cadence_counts_from_the_last_request_of_any_reason() -> None:
    assert decide(Wishes(), CADENCE, day(100)) is None  # not launched yet
    wishes = complaining(launch=day(0), drift=day(10))
    assert decide(wishes, CADENCE, day(39)) is None
    assert decide(wishes, CADENCE, day(40)) == Ask("cadence")
    assert request(MODEL, Ask("cadence"), day(40))["since"] is None


def test_a_command_becomes_a_request_with_the_id_of_the_command() -> None:
    event = commanded(retrain("c-7", day(3), seed_uri="sha256:1", reason="launch"))
    assert event["retrain_id"] == "post:launch:c-7"
    assert (event["reason"], event["seed_uri"], event["time"]) == ("launch", "sha256:1", day(3))
    drill = commanded(retrain("c-8", day(4), drill="shuffle-labels:language=es"))
    assert (drill["reason"], drill["drill"]) == ("operator", "shuffle-labels:language=es")


def test_a_command_of_an_unknown_reason_is_refused() -> None:
    with pytest.raises(BadInput, match=r"args.reason: got 'drift', expected one of launch"):
        commanded(retrain("c-9", day(1), reason="drift"))


def test_an_older_request_that_is_read_again_moves_no_time_back() -> None:
    wishes = asked(complaining(drift=day(30)), "drift", day(30) - 9 * DAY_MS)
    assert wishes.asked == {"drift": day(30)}
