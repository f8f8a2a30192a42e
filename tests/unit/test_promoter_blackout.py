"""When no stage may begin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from driftgate.model_repo import Blackout
from services.promoter.blackout import blacked_out

NIGHT = Blackout(begin="18:00", end="08:00", days=["mon", "fri"], zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-11-27T16:59", ""),  # a Friday, 17:59 in Berlin
        ("2026-11-27T17:00", "2026-11-28 08:00 CET"),
        ("2026-11-28T06:59", "2026-11-28 08:00 CET"),
        ("2026-11-28T07:00", ""),
        ("2026-11-28T17:30", ""),  # a Saturday
        ("2026-07-06T16:00", "2026-07-07 08:00 CEST"),  # summer time
    ],
)
def test_nights_begin_on_their_days_and_end_on_the_next(moment: str, until: str) -> None:
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000
    assert blacked_out(int(now), [NIGHT]) == until


def test_the_latest_end_of_several_counts() -> None:
    now = datetime(2026, 11, 27, 17, 30, tzinfo=UTC).timestamp() * 1000
    always = Blackout(begin="00:00", end="00:00")
    assert blacked_out(int(now), [always, NIGHT]) == "2026-11-28 08:00 CET"
    assert blacked_out(int(now), []) == ""
