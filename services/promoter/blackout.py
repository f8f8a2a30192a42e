"""Hours in which no stage begins. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from driftgate.model_repo import Blackout


def blacked_out(now: int, blackouts: Iterable[Blackout]) -> str:
    """Until when no stage begins, for people; empty where one may. `now` in ms."""
    moment = datetime.fromtimestamp(now / 1000, UTC)
    ends = [end for one in blackouts if (end := ending(moment, one)) is not None]
    return f"{max(ends):%Y-%m-%d %H:%M %Z}" if ends else ""


def ending(moment: datetime, blackout: Blackout) -> datetime | None:
    """When the blackout that holds a moment ends; None where it holds none."""
    local = moment.astimezone(ZoneInfo(blackout.zone))
    begin, end = time.fromisoformat(blackout.begin), time.fromisoformat(blackout.end)
    for days_ago in (1, 0):
        day = local.date() - timedelta(days=days_ago)
        if f"{day:%a}".lower() in blackout.days:
            opens = datetime.combine(day, begin, local.tzinfo)
            closes = datetime.combine(day + timedelta(days=end <= begin), end, local.tzinfo)
            if opens <= local < closes:
                return closes
    return None
