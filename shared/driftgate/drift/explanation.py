"""What each trigger of a model waits for, what holds up requests, and what would be next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from driftgate.drift import timetable
from driftgate.drift.learned_seasons import LearnedSeason
from driftgate.drift.timetable import in_words
from driftgate.drift.triggers import (
    OF_INCIDENTS,
    Ask,
    Hold,
    RetrainState,
    batch_end,
    holds,
    spent_in_words,
    wanted,
)
from driftgate.events import RetrainReason
from driftgate.model_repo import Triggers


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger.

    Attributes:
        on: whether model.yaml switches it on.
        waits_for: for people.
        have, of: how much is there of what is needed; None where that is not counted.
        due: when it asks if nothing holds it up, ms; None: nobody knows.
        by_rate: `due` is when enough is there if as much comes as since the last request.
    """

    name: str
    on: bool
    waits_for: str
    have: float | None = None
    of: float | None = None
    due: int | None = None
    by_rate: bool = False


@dataclass(frozen=True, slots=True)
class Next:
    """What would ask next, and when, ms; held: what it waits for until then."""

    name: str
    time: int
    by_rate: bool
    held: tuple[str, ...]

    @property
    def summary(self) -> str:
        about = "about " if self.by_rate else ""
        rate = ", at the present rate" if self.by_rate else ""
        held = f"; it waits: {', '.join(self.held)}" if self.held else ""
        return f"{self.name}, {about}{in_words(self.time)}{rate}{held}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """All triggers, what holds up requests of their own accord now, and what would be next; None:
    nothing that can be told. seasons: that nobody declared and that are on, or to come."""

    triggers: tuple[Trigger, ...]
    holds: tuple[Hold, ...]
    budget: str
    next: Next | None
    seasons: tuple[LearnedSeason, ...] = ()


def explain(state: RetrainState, policy: Triggers, now: int) -> Explanation:
    """As things are at a time, ms."""
    asks = {ask.reason: ask for ask in wanted(state, policy, now)}
    found = tuple(each(state, policy, now, asks))
    probe = Ask("drift", state.incidents)
    return Explanation(
        found,
        tuple(holds(probe, state, policy, now)),
        spent_in_words(state, policy),
        min(nexts(found, state, policy, now), key=lambda one: one.time, default=None),
        state.learned,
    )


def each(
    state: RetrainState, policy: Triggers, now: int, asks: Mapping[RetrainReason, Ask]
) -> Iterator[Trigger]:
    yield from of_incidents(state, policy, now)
    yield of_pairs("new_label", state.new.labels, policy.new_label, state, now)
    yield of_pairs("new_source", state.new.sources, policy.new_source, state, now)
    yield of_score(state, policy, now if "score" in asks else None)
    pairs = {"pairs": state.new.pairs} if state.new.pairs else {}
    yield of_pairs("new_pairs", pairs, policy.new_pairs, state, now)
    yield of_cadence(state, policy, now)
    yield Trigger("operator", True, "`driftgate retrain`, which waits for nothing")


def of_incidents(state: RetrainState, policy: Triggers, now: int) -> Iterator[Trigger]:
    """Drift, and accuracy below the bar; one request answers both."""
    on, below = policy.drift.enabled, any(one.below_bar for one in state.incidents)
    for name, mine in (("drift", state.incidents), ("accuracy", below and state.incidents)):
        if not mine:
            what = "below the gate's bar " if name == "accuracy" else ""
            yield Trigger(name, on, f"a critical incident {what}that no request has answered")
            continue
        due = batch_end(state, policy)
        told = f"{len(mine)} open: {'; '.join(incident.summary for incident in mine)}"
        told += f"; gathered until {in_words(due)}" if now < due else ""
        asks = on and name == ("accuracy" if below else "drift")
        yield Trigger(name, on, told, due=max(now, due) if asks else None)


def of_pairs(
    name: str, found: Mapping[str, int], needed: int | None, state: RetrainState, now: int
) -> Trigger:
    """The one of these that is nearest to what is waited for."""
    if needed is None:
        return Trigger(name, False, "")
    if not state.asked:
        return Trigger(name, True, "the launch", 0, needed)
    if not found:
        what = {"new_label": "a label that the champion never answers", "new_pairs": "pairs"}
        told = f"0 of {needed}: {what.get(name, 'a value that was not there before')}"
        return Trigger(name, True, told, 0, needed)
    have = max(found.values())
    told = ", ".join(
        f"{pairs} of {needed}" + ("" if name == "new_pairs" else f" of {what}")
        for what, pairs in sorted(found.items(), key=lambda one: (-one[1], one[0]))
    )
    if have >= needed:
        return Trigger(name, True, told, have, needed, now)
    due = state.last + round((now - state.last) * needed / have)
    return Trigger(name, True, told, have, needed, max(now, due), by_rate=True)


def of_score(state: RetrainState, policy: Triggers, due: int | None) -> Trigger:
    drop, score = policy.score_drop, state.score
    if drop is None:
        return Trigger("score", False, "")
    if score is None:
        return Trigger("score", True, "the harness, which has not examined the champion yet")
    bar = score.bar(drop)
    told = f"{score.summary}; asks when that lies below {bar * 100:.1f} % beyond doubt"
    if due is None and score.time < state.last:
        told += "; answered, waits for the next verdict"
    return Trigger("score", True, told, score.accuracy, bar, due)


def of_cadence(state: RetrainState, policy: Triggers, now: int) -> Trigger:
    if not policy.cadence_days and not policy.cron:
        return Trigger("cadence", False, "")
    if not state.asked:
        return Trigger("cadence", True, "the launch")
    due = timetable.cadence_due(policy, state.last)
    assert due is not None
    return Trigger("cadence", True, f"due {in_words(due)}", due=max(now, due))


def nexts(
    found: tuple[Trigger, ...], state: RetrainState, policy: Triggers, now: int
) -> Iterator[Next]:
    """When each trigger that is on its way would ask, as far as that is known now."""
    for one in found:
        if one.due is None:
            continue
        incidents = state.incidents if one.name in OF_INCIDENTS else ()
        reason: RetrainReason = "cadence" if one.name == "cadence" else "drift"
        held = [
            hold
            for hold in holds(Ask(reason, incidents), state, policy, now)
            if hold.until > one.due
        ]
        time = max([one.due, *(hold.until for hold in held)])
        time = timetable.quiet_until(time, policy.quiet) or time
        yield Next(one.name, time, one.by_rate, tuple(hold.summary for hold in held))
