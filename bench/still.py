"""False alarms: the shipped world with its dates dealt anew, so that nothing changes over 24 weeks.
Every drift-fired retrain is false."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from bench.figure import Figure
from services.simulator import demo
from services.simulator.lengths import Calendar
from services.simulator.profiles import SHIPPED


def run(args: list[str]) -> list[Figure]:
    played = demo.run(
        Path(args[0]) if args else None,
        Path(".driftgate/bench").resolve(),
        Path(".driftgate/bench-report.html"),
        Calendar(),
        SHIPPED,
        Console(),
        shuffle=True,
    )
    drift = played.facts.drift_requests
    critical = [a for a in played.facts.alerts if a["severity"] == "critical"]
    answers = sum(week.answers for week in played.result.weeks)
    return [
        Figure("answers over 24 weeks", f"{answers:,}"),
        Figure("drift-fired retrains", str(len(drift)), "0", not drift),
        Figure("critical alerts", str(len(critical))),
        Figure("warnings", str(len(played.facts.alerts) - len(critical))),
    ]
