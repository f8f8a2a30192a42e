"""The detectors of river, with the settings that they come with, a number at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from river import drift
from river.base import DriftDetector
from river.drift import binary

from bench.drift.streams import Numbers


@dataclass(frozen=True, slots=True)
class RiverPeer:
    """runs, events: how many, by how fast it is."""

    name: str
    make: Callable[[], DriftDetector]
    runs: int
    events: int


RIVER = (
    RiverPeer("ADWIN", drift.ADWIN, 300, 3_000_000),
    RiverPeer("DDM", binary.DDM, 300, 3_000_000),
    RiverPeer("PageHinkley", drift.PageHinkley, 300, 3_000_000),
    RiverPeer("HDDM_A", binary.HDDMA, 300, 1_000_000),
    RiverPeer("HDDM_W", binary.HDDMW, 300, 1_000_000),
    RiverPeer("KSWIN", lambda: drift.KSWIN(seed=1), 10, 30_000),
)


def alarms(peer: RiverPeer, numbers: Numbers, change: int | None = None) -> list[list[int]]:
    """Of each run, until the first one after `change`."""
    found = []
    for run in numbers:
        detector, own = peer.make(), []
        for at, x in enumerate(run.tolist(), 1):
            detector.update(x)
            if detector.drift_detected:
                own.append(at)
                if change is not None and at > change:
                    break
        found.append(own)
    return found
