"""Faults to ingestion under load. Each returns how many it made."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from bench.parts.bed import Bed
from bench.parts.ledger import Ledger
from deploy.local import stack
from deploy.local.stack import supervisor_of

Tell = Callable[[str], None]


def kills(ledger: Ledger, count: int, tell: Tell) -> int:
    """SIGKILL at any moment between the start of the process and some seconds of work."""
    bed = ledger.bed
    for number in range(count):
        with bed.ingesting():
            if number % 10:  # else it may be killed while it starts
                bed.wait_for_assignment("0")
            time.sleep(ledger.chance.random() * 1.5)
        tell(f"kill {number + 1} of {count}, {bed.rows():,} rows")
    return count


def kills_between_outcomes_and_mark(ledger: Ledger, count: int, tell: Tell) -> int:
    """SIGKILL as soon as outcomes are on their topic, mostly before the mark of the poll that they
    come from is stored: the next process sends them again, to other offsets."""
    bed = ledger.bed
    for number in range(count):
        with bed.ingesting():
            bed.wait_for_assignment("0")
            before, deadline = bed.bus.ends(["outcomes"]), time.monotonic() + 60
            while bed.bus.ends(["outcomes"]) == before:
                assert time.monotonic() < deadline, "no outcome within 60 s"
        tell(f"kill {number + 1} of {count}, {bed.rows('outcomes'):,} outcomes")
    return count


def rebalances(ledger: Ledger, count: int, tell: Tell) -> int:
    """A second member comes, works, and goes, now by SIGTERM, now by SIGKILL: two each time."""
    bed = ledger.bed
    with bed.ingesting("0"):
        bed.wait_for_assignment("0")
        for number in range(count // 2):
            replica = f"other-{number}"
            before = bed.assignments("0")
            with bed.ingesting(replica) as other:
                bed.wait_for_assignment(replica)
                time.sleep(ledger.chance.random())
                if number % 2:
                    other.send_signal(signal.SIGTERM)
                    other.wait(30)
            bed.wait_for_assignment("0", before)
            tell(f"rebalance {2 * number + 2} of {count}, {bed.rows():,} rows")
    return count // 2 * 2


def frozen(ledger: Ledger, tell: Tell) -> int:
    """A process is stopped amid its work until the group went on without it, then goes on."""
    bed = ledger.bed
    with bed.ingesting("0") as first:
        bed.wait_for_assignment("0")
        time.sleep(ledger.chance.random())
        first.send_signal(signal.SIGSTOP)
        with bed.ingesting("heir"):
            bed.wait_for_assignment("heir")
            rows = bed.rows()
            bed.wait("the heir does nothing", lambda: bed.rows() > rows)
            first.send_signal(signal.SIGCONT)
            time.sleep(5)
            tell(f"a frozen member woke up, {bed.rows():,} rows")
    return 1


def outage(ledger: Ledger, parts: Sequence[str], seconds: float, tell: Tell) -> float:
    """Parts are killed and stay away; returns how much faster than the load it caught up."""
    bed = ledger.bed
    with restarted(bed):
        bed.wait("does not keep up", lambda: bed.behind() < ledger.rate, 120)
        with away(bed, parts):
            time.sleep(seconds)
        bed.wait("they did not come back", lambda: bed.behind() >= 0, 120)
        # The sender too has kept what it could not send, and brings it now.
        before, begin = bed.handled(), time.monotonic()
        bed.wait("did not catch up", lambda: ledger.sent - bed.handled() < ledger.rate, 600)
        handled, took = bed.handled() - before, time.monotonic() - begin
    tell(f"{' and '.join(parts)} away {seconds:g} s: {handled:,} records in {took:.1f} s after")
    return handled / took / ledger.rate


@contextmanager
def restarted(bed: Bed) -> Iterator[None]:
    """An ingest-logger that is started again whenever it ends, as a supervisor does."""
    over = Event()

    def supervise() -> None:
        while not over.is_set():
            with bed.ingesting() as process:
                while process.poll() is None and not over.wait(0.2):
                    pass

    supervisor = Thread(target=supervise)
    supervisor.start()
    try:
        bed.wait_for_assignment("0")
        yield
    finally:
        over.set()
        supervisor.join()


@contextmanager
def away(bed: Bed, parts: Sequence[str]) -> Iterator[None]:
    """Kills parts of the stack, and starts them again at the end of the block."""
    supervisor = supervisor_of(bed.stack)
    for part in parts:
        stack.kill(bed.stack.state_dir, part)
    stack.stop(supervisor, parts)
    yield
    stack.start(bed.stack, supervisor, lambda _: None)
