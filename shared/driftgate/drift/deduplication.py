"""Which requests were counted already, so that one that is sent again moves nothing.

Records that Kafka hands out again are known by their position, which is kept beside the evidence.
This is for those that are *sent* again, and so have a new one: when ingest-logger is killed, it
sends all outcomes again that it had joined and not stored, 100,000 of each partition at most.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated

import mmh3
import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator

# A request is remembered until this many were counted after it: 8 MB for each model at most, or 8
# minutes of 1,000 answers a second of which all get an outcome, or a week of one a second.
REMEMBERED = 1_000_000
# Forgotten at once.
SEGMENT = 100_000

Hashes = NDArray[np.uint64]


class Seen:
    """A set of the newest names, 8 bytes each. Two different names are taken for one with a
    probability of 10^-13.

    >>> seen = Seen()
    >>> seen.add(hashed(["a", "b"])).tolist()
    [0, 1]
    >>> seen.add(hashed(["b", "c", "c"])).tolist()
    [1]
    """

    def __init__(self, segments: Sequence[Hashes] = ()) -> None:
        self._segments = [*segments] or [empty()]

    def add(self, names: Hashes) -> NDArray[np.intp]:
        """Adds those that are new: their indices, each at its first appearance."""
        if not len(names):
            return np.empty(0, np.intp)
        hashes, first = np.unique(names, return_index=True)
        new = np.ones(len(first), dtype=bool)
        for segment in self._segments:
            new &= ~contains(segment, hashes)
        newest = self._segments.pop()
        newest = np.insert(newest, np.searchsorted(newest, hashes[new]), hashes[new])
        self._segments.append(newest)
        if len(newest) >= SEGMENT:
            self._segments.append(empty())
            while sum(map(len, self._segments[1:])) >= REMEMBERED:
                del self._segments[0]
        return np.sort(first[new])

    def dump(self) -> list[str]:
        """As JSON: the segments, oldest first, little-endian in base64."""
        return [
            base64.b64encode(segment.astype("<u8").tobytes()).decode() for segment in self._segments
        ]


def restored(stored: Sequence[str] | Seen) -> Seen:
    """What `dump` wrote."""
    if isinstance(stored, Seen):
        return stored
    return Seen([np.frombuffer(base64.b64decode(part), "<u8").astype(np.uint64) for part in stored])


def hashed(names: Sequence[str]) -> Hashes:
    return np.fromiter(map(hash_of, names), np.uint64, len(names))


def hash_of(name: str) -> int:
    return mmh3.hash64(name, signed=False)[0]


def contains(segment: Hashes, hashes: Hashes) -> NDArray[np.bool_]:
    """Which of the hashes are in a sorted segment."""
    if not len(segment):
        return np.zeros(len(hashes), dtype=bool)
    found = segment[np.minimum(np.searchsorted(segment, hashes), len(segment) - 1)]
    same: NDArray[np.bool_] = found == hashes
    return same


def empty() -> Hashes:
    return np.empty(0, np.uint64)


Stored = Annotated[Seen, PlainValidator(restored), PlainSerializer(Seen.dump)]
