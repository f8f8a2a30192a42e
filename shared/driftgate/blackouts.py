"""When declared hours end, such as those in which no stage of a rollout begins. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from driftgate.model_repo import Blackout


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
