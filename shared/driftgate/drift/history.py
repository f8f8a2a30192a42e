"""Counts of many streams by the time of the answers, in few bins: narrow ones for what is new,
wider ones the longer ago it is. So a change is dated as exactly as its age asks for, in the same
room however long a version lives."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftgate.drift.lanes import Floats
from driftgate.drift.packed import Singles

BINS = 16


def no_counts(streams: int) -> Singles:
    return np.zeros((streams, BINS, 2), np.float32)


@dataclass
class History:
    """
    Attributes:
        starts: of the bins, ascending, ms.
        counts: (streams, bins, 2), count and sum of the numbers.
    """

    starts: list[int] = field(default_factory=list)
    counts: Singles = field(default_factory=lambda: no_counts(0))

    def open(self, start: int) -> None:
        """A bin for answers from `start`, ms, on; two older ones become one where there is no
        room."""
        if self.starts and start <= self.starts[-1]:
            return
        if len(self.starts) == BINS:
            self._merge(start)
        self.starts.append(start)

    def _merge(self, now: int) -> None:
        """The neighbours that are narrowest for their age."""
        starts = np.array([*self.starts, now], np.int64)
        widths, ages = starts[2:] - starts[:-2], now - starts[:-2]
        first = int(np.argmin(widths / ages))
        self.counts[:, first] += self.counts[:, first + 1]
        self.counts[:, first + 1 : -1] = self.counts[:, first + 2 :]
        self.counts[:, -1] = 0
        del self.starts[first + 1]

    def bin(self, time: int) -> int:
        """Where an answer of that time counts, ms; older ones in the oldest bin."""
        return max(bisect.bisect_right(self.starts, time) - 1, 0)

    def of(self, stream: int) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Starts, counts and sums of one stream."""
        rows = self.counts[stream, : len(self.starts)].astype(np.float64)
        return np.array(self.starts, np.int64), rows[:, 0], rows[:, 1]

    def newest(self, stream: int, least: int) -> tuple[float, float]:
        """Count and sum of the newest bins that hold at least so many numbers, or of all."""
        n = total = 0.0
        for at in reversed(range(len(self.starts))):
            if n >= least:
                break
            n += float(self.counts[stream, at, 0])
            total += float(self.counts[stream, at, 1])
        return n, total
