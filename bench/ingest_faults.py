"""Ingestion under faults. A ledger knows every answer, feedback and poison record that was sent,
and compares it with what is stored: by place on Kafka, by id and by content. Members are killed at
any moment, join and leave, are frozen until the group went on without them; the store, Kafka and
both are killed and stay away. Outcomes are exact if each feedback has one, with the right content.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

from bench.figure import Figure
from bench.parts import faults
from bench.parts.bed import Bed, infrastructure
from bench.parts.ledger import Findings, Ledger
from deploy.local.plan import StackConfig

CATCH_UP = 3.0
AWAY = ("clickhouse", "kafka", "clickhouse,kafka")


def run(args: list[str]) -> list[Figure]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rebalances", type=int, default=50)
    parser.add_argument("--frozen", type=int, default=3)
    parser.add_argument("--outages", nargs="*", default=AWAY, help="parts that go away together")
    parser.add_argument("--away", type=float, default=60, help="seconds of each outage")
    parser.add_argument("--rate", type=float, default=2000, help="answers a second")
    given = parser.parse_args(args)
    figures: list[Figure] = []
    with infrastructure("faults") as stack:

        def under(what: str, work: Callable[[Ledger], float]) -> float:
            said, found = played(stack, given.rate, work)
            figures.append(Figure(what, words(found), "0 faults", not found.faults))
            return said

        if given.kills:
            under(f"{given.kills} SIGKILLs", lambda x: faults.kills(x, given.kills, print))
        if given.rebalances:
            under(
                f"{given.rebalances} rebalances",
                lambda x: faults.rebalances(x, given.rebalances, print),
            )
        for _ in range(given.frozen):
            under("a frozen member that wakes up", lambda x: faults.frozen(x, print))
        for parts in (outage.split(",") for outage in given.outages):
            what = f"{' and '.join(parts)} killed, away {given.away:g} s"
            times = under(what, partial(away, parts=parts, seconds=given.away))
            good = times >= CATCH_UP
            figures.append(Figure("… caught up at", f"{times:.1f}× the load", "≥ 3×", good))
    return figures


def away(ledger: Ledger, parts: list[str], seconds: float) -> float:
    return faults.outage(ledger, parts, seconds, print)


def played(
    stack: StackConfig, rate: float, work: Callable[[Ledger], float]
) -> tuple[float, Findings]:
    """Faults under load, then quiet until all is read, then the comparison."""
    bed = Bed(stack, stack.state_dir / f"bed-{time.monotonic_ns()}")
    ledger = Ledger(bed, rate)
    with ledger.sending():
        said = work(ledger)
    with bed.ingesting():
        bed.wait("not all was read", lambda: bed.behind() == 0)
    found = ledger.check()
    bed.close()
    print(found)
    return said, found


def words(found: Findings) -> str:
    return (
        f"{found.answers:,} answers, {found.feedback:,} feedback, {found.poison:,} poison: "
        f"{found.lost} lost, {found.doubled} doubled, {found.changed} changed; outcomes "
        f"{found.outcomes_lost} lost, {found.outcomes_wrong} wrong; "
        f"{found.dead_letters_lost} dead letters lost"
    )
