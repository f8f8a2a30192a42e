"""What the calendar says of a model's triggers: when a cadence is due, quiet hours, seasons, and
the month that a budget is for. Times are ms, and the calendar's are UTC where nothing else is
said. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from driftgate.blackouts import ending
from driftgate.events import DAY_MS
from driftgate.model_repo import Blackout, Season, Triggers

# Quiet hours that follow each other are one; so many are looked at.
IN_A_ROW = 14


def cadence_due(triggers: Triggers, last: int) -> int | None:
    """When a cadence is due after the last request; None without one."""
    dues = []
    if triggers.cadence_days:
        dues.append(last + triggers.cadence_days * DAY_MS)
    if triggers.cron:
        dues.append(next_of(triggers.cron, last))
    return min(dues, default=None)


def next_of(cron: str, after: int) -> int:
    """The first time of a cron expression after another time.

    >>> in_words(next_of("0 6 * * 1", moment(datetime(2026, 11, 27, tzinfo=UTC))))
    '2026-11-30 06:00'
    """
    from croniter import croniter  # only who uses it needs it

    return moment(croniter(cron, utc(after)).get_next(datetime))


def quiet_until(now: int, quiet: Iterable[Blackout]) -> int | None:
    """When the quiet hours end that hold a time; None where none do."""
    until, spans = now, tuple(quiet)
    for _ in range(IN_A_ROW):
        ends = [end for one in spans if (end := ending(utc(until), one)) is not None]
        if not ends:
            break
        until = moment(max(ends))
    return until if until > now else None


def month(now: int) -> tuple[int, int]:
    """The calendar month that holds a time: its beginning, and that of the next."""
    first = utc(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return moment(first), moment((first + timedelta(days=32)).replace(day=1))


def season_at(now: int, season: Season) -> tuple[int, int] | None:
    """The days of a season that hold a time, to the beginning of the day after; None: none do."""
    this_year = utc(now).year
    for year in (this_year - 1, this_year):
        begin, end = days_of(season, year)
        if begin <= now < end:
            return begin, end
    return None


def season_before(now: int, season: Season) -> tuple[int, int]:
    """The days of the last season that was over by then."""
    this_year = utc(now).year
    past = (days_of(season, year) for year in (this_year, this_year - 1, this_year - 2))
    return next(found for found in past if found[1] <= now)


def days_of(season: Season, year: int) -> tuple[int, int]:
    """The days of a season that begins in a year."""
    begin = day_of(year, season.begin)
    end = day_of(year + (season.end < season.begin), season.end) + timedelta(days=1)
    return midnight(begin), midnight(end)


def day_of(year: int, month_day: str) -> date:
    """29 February is the 28th where there is none."""
    month, day = map(int, month_day.split("-"))
    return date(year, month, min(day, monthrange(year, month)[1]))


def midnight(day: date) -> int:
    return moment(datetime.combine(day, time(), UTC))


def utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def moment(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def in_words(ms: int) -> str:
    """To the minute, UTC."""
    return f"{utc(ms):%Y-%m-%d %H:%M}"
