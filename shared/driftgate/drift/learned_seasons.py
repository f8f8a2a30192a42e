"""Seasons that nobody declared: a critical incident that passed by itself teaches when its like may
come again. Pure.

A passed incident is one that recovered while one version was champion, from the best date of its
change to its close, and because of which nothing was asked for. What begins on the same days a year
later, with the same signal and slice, is of the season that was learned from it. One year is
looked back: what did not come again, or was trained for, is no season any longer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from driftgate.drift import timetable
from driftgate.drift.incidents import RECOVERED, Transition
from driftgate.events import DAY_MS, Verdict

# The audit's name of the decision that tells all passed incidents of a model.
PASSED = "passed"
# Passed incidents of a model that are remembered: more than one a week, for a year.
KEPT = 64
# What lasts longer than half a year is how things are, rather than a season: with the tolerance,
# most days would be of it.
LONGEST_MS = 182 * DAY_MS
# So much earlier or later a season may come than the year before. Days that hang on the weekday
# move by up to six (Thanksgiving), those of the lunar year by eleven or so (Ramadan), and the date
# of a change is known to some days. Easter and Chinese New Year may move by more: declare them.
TOLERANCE_MS = 14 * DAY_MS


@dataclass(frozen=True, slots=True)
class PassedIncident:
    """A critical incident that ended by itself.

    Attributes:
        about: what it showed: see `Incident.about`.
        since, closed: best date of the change, and when it was over, ms.
        version: champion all the while.
    """

    incident_id: str
    about: str
    since: int
    closed: int
    version: int

    @property
    def summary(self) -> str:
        days = f"{timetable.in_words(self.since)} to {timetable.in_words(self.closed)}"
        return f"{self.about} passed by itself, {days}"


@dataclass(frozen=True, slots=True)
class LearnedSeason:
    """Days on which what passed by itself a year before may come again.

    Attributes:
        begin, end: of the days, tolerance included, ms.
        last: what passed.
        learned: the newest version that passed the gate with data of the last one.
    """

    begin: int
    end: int
    last: PassedIncident
    learned: int | None = None

    @property
    def summary(self) -> str:
        served = (
            f"version {self.learned} learned from the last one"
            if self.learned
            else f"version {self.last.version} came through the last one"
        )
        until = timetable.in_words(self.end)
        return f"learned season until {until}: {self.last.summary}; {served}"


def passed_by_now(
    before: Sequence[PassedIncident],
    steps: Iterable[Transition],
    requested: Collection[str],
    champion: int | None,
    champion_since: int,
) -> tuple[PassedIncident, ...]:
    """The newest passed incidents, after steps of incidents. One that opens again has not passed.

    Args:
        requested: ids of incidents that led to requests.
        champion_since: when the champion became it, ms; 0 where that is not known.
    """
    found = {one.incident_id: one for one in before}
    for step in steps:
        incident = step.incident
        found.pop(incident.incident_id, None)
        if (
            step.why == RECOVERED
            and incident.severity == "critical"
            and not incident.is_operation
            and incident.version == champion
            and champion_since <= incident.since < step.at <= incident.since + LONGEST_MS
            and incident.incident_id not in requested
        ):
            found[incident.incident_id] = PassedIncident(
                incident.incident_id, incident.about, incident.since, step.at, champion
            )
    return tuple(found.values())[-KEPT:]


def learned_seasons(
    passed: Iterable[PassedIncident], verdicts: Collection[Verdict], now: int
) -> tuple[LearnedSeason, ...]:
    """Those that are on at a time, ms, or still to come."""
    found = []
    for one in passed:
        begin = timetable.midnight(year_after(one.since)) - TOLERANCE_MS
        end = timetable.midnight(year_after(one.closed) + timedelta(days=1)) + TOLERANCE_MS
        if now < end:
            learned = newest_passed(verdicts, one.since, one.closed + TOLERANCE_MS)
            found.append(LearnedSeason(begin, end, one, learned))
    return tuple(found)


def newest_passed(verdicts: Iterable[Verdict], begin: int, end: int) -> int | None:
    """The newest version that passed and whose data end within a time, ms; None: none did."""
    passed = ((v.time, v.version) for v in verdicts if v.result == "pass" and begin <= v.time < end)
    newest = max(passed, default=None)
    return newest[1] if newest else None


def year_after(ms: int) -> date:
    """The same day of the next year, UTC; 29 February is the 28th there."""
    day = timetable.utc(ms)
    return timetable.day_of(day.year + 1, f"{day:%m-%d}")


def season_of(about: str, since: int, seasons: Iterable[LearnedSeason]) -> LearnedSeason | None:
    """The season in which a change about something began at a time, ms; of several, the one that
    lasts longest."""
    found = [s for s in seasons if s.last.about == about and s.begin <= since < s.end]
    return max(found, key=lambda season: season.end, default=None)
