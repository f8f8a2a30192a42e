"""Records of the bus by column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from driftgate.bus import Position, Record


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition by column, in order of offset. Offsets may have gaps, where a
    compacted topic has them.

    Attributes:
        offsets: int64.
        keys: binary; null where a record has none.
        values: likewise.
        timestamps: int64, when the broker got each of them, ms.
    """

    position: Position
    offsets: pa.Int64Array
    keys: pa.BinaryArray
    values: pa.BinaryArray
    timestamps: pa.Int64Array

    @classmethod
    def of(
        cls,
        position: Position,
        offsets: Iterable[int],
        keys: Iterable[bytes | None],
        values: Iterable[bytes | None],
        timestamps: Iterable[int],
    ) -> Self:
        return cls(
            position,
            pa.array(offsets, pa.int64()),
            pa.array(keys, pa.binary()),
            pa.array(values, pa.binary()),
            pa.array(timestamps, pa.int64()),
        )

    @property
    def columns(self) -> tuple[pa.Array, ...]:
        return self.offsets, self.keys, self.values, self.timestamps

    def __len__(self) -> int:
        return len(self.offsets)

    def record(self, index: int) -> Record:
        """One of them by itself."""
        offset, key, value, timestamp = (column[index].as_py() for column in self.columns)
        return Record(*self.position, offset, key, value, timestamp)

    def records(self) -> list[Record]:
        rows = zip(*(column.to_pylist() for column in self.columns), strict=True)
        return [Record(*self.position, *row) for row in rows]


def joined(batches: Iterable[Batch]) -> list[Batch]:
    """One batch a partition. What is one already is not copied."""
    parts: dict[Position, list[Batch]] = {}
    for batch in batches:
        parts.setdefault(batch.position, []).append(batch)
    return [
        found[0]
        if len(found) == 1
        else Batch(position, *map(pa.concat_arrays, zip(*(b.columns for b in found), strict=True)))
        for position, found in parts.items()
    ]
