"""Hours in which no stage begins. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from driftgate.blackouts import ending
from driftgate.model_repo import Blackout


def blacked_out(now: int, blackouts: Iterable[Blackout]) -> str:
    """Until when no stage begins, for people; empty where one may. `now` in ms."""
    moment = datetime.fromtimestamp(now / 1000, UTC)
    ends = [end for one in blackouts if (end := ending(moment, one)) is not None]
    return f"{max(ends):%Y-%m-%d %H:%M %Z}" if ends else ""
