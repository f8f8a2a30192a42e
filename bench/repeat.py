"""Three runs of the shipped world with one seed: every decision must be the same. A decision is an
audit entry without its evidence's last decimals: service, what was decided, version and time."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from bench.figure import Figure
from services.simulator import demo
from services.simulator.lengths import Calendar
from services.simulator.profiles import SHIPPED
from services.simulator.session import Played

RUNS = 3


def run(_: list[str]) -> list[Figure]:
    runs = [
        demo.run(
            None,
            Path(".driftgate/bench").resolve(),
            Path(".driftgate/bench-report.html"),
            Calendar(),
            SHIPPED,
            Console(),
        )
        for _ in range(RUNS)
    ]
    first = decisions(runs[0])
    digests = [sorted(c["adapter_digest"] for c in played.facts.candidates) for played in runs]
    same = all(decisions(played) == first for played in runs)
    return [
        Figure("decisions in each run", ", ".join(str(len(decisions(p))) for p in runs)),
        Figure("the same decisions in all runs", str(same), "True", same),
        Figure("the same adapters, byte for byte", str(all(d == digests[0] for d in digests))),
    ]


def decisions(played: Played) -> list[tuple[str, str, int | None, int]]:
    """What was decided, when, about which version; sorted, since topics order only within a key."""
    return sorted(
        (entry["service"], entry["decision"], entry["version"] or 0, entry["ms"])
        for entry in played.facts.audit
    )
