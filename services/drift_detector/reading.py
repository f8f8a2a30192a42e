"""What every replica does with its share of the answers and outcomes: makes of them what monitors
see, and packs it for the replica that counts. Pure."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import TypeAdapter

from driftgate.bus import MAX_RECORD_BYTES, Position
from driftgate.drift.observations import Observation, observed
from driftgate.events import Inference, ObservationBatch, Outcome

# Observations that are told of at once: some 100 kB.
TOGETHER = 2_000
# Quick before small: a third of the bytes for a tenth of the time of the best.
LEVEL = 1
ROOM = 1_000
ByModel = Mapping[str, Sequence[Observation]]
BY_MODEL: TypeAdapter[ByModel] = TypeAdapter(Mapping[str, Sequence[Observation]])

Read = tuple[int, Inference | Outcome | None]
"""A record's offset, and its event; None where nobody can read it."""


def nothing(source: Position, before: int) -> ObservationBatch:
    """Nothing lies before an offset that was not told of."""
    return ObservationBatch(origin=str(source), next=before, seen=b"")


def batches(source: Position, read: Sequence[Read]) -> Iterator[ObservationBatch]:
    """What is told of records of one partition, in their order."""
    for first in range(0, len(read), TOGETHER):
        yield from batched(source, read[first : first + TOGETHER])


def batched(source: Position, read: Sequence[Read]) -> Iterator[ObservationBatch]:
    """One batch, or more where one would be larger than Kafka takes."""
    seen = packed(source, read)
    if len(seen) > MAX_RECORD_BYTES - ROOM and len(read) > 1:
        half = len(read) // 2
        yield from batched(source, read[:half])
        yield from batched(source, read[half:])
    else:
        yield ObservationBatch(origin=str(source), next=read[-1][0] + 1, seen=seen)


def packed(source: Position, read: Iterable[Read]) -> bytes:
    found: dict[str, list[Observation]] = defaultdict(list)
    for offset, event in read:
        if event is not None and (seen := observed(event, (source, offset))) is not None:
            found[event.model].append(seen)
    return zlib.compress(BY_MODEL.dump_json(found, exclude_defaults=True), LEVEL) if found else b""


def unpacked(batch: ObservationBatch) -> ByModel:
    """
    Raises:
        zlib.error, ValueError: nobody packed that.
    """
    return BY_MODEL.validate_json(zlib.decompress(batch.seen)) if batch.seen else {}
