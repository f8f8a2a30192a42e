"""What the service remembers, as one file: its evidence together with the positions up to which
records are part of it, so that no record is counted twice or left out, whenever it is killed.

The file may be lost without harm: without it the service reads the topics again from the earliest
record that they keep, and comes to the same state as far as their retention reaches.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from driftgate.bus import Position
from driftgate.reference import Reference
from services.drift_detector.monitoring import Evidence, Observation
from services.drift_detector.triggers import Wishes


@dataclass(frozen=True, slots=True)
class Tick:
    """It is now `time`, ms, and what lies before `positions` (next offset of each
    topic-partition) belongs to the time before."""

    time: int
    positions: Mapping[str, int] = field(default_factory=dict)

    def covers(self, seen: Observation) -> bool:
        """Whether an observation lies before the positions, or none is given for its origin."""
        return seen.offset < self.positions.get(seen.origin, seen.offset + 1)


@dataclass
class Memory:
    """The whole state.

    Attributes:
        offsets: next offset to take, by topic-partition.
        repos: artifact folder of the model repo in force, by model.
        references: of every verdict, by `model@version`.
        waiting: observations that no tick has folded yet.
        ticks: ticks whose positions are not reached yet.
        wishes: by model.
    """

    offsets: dict[str, int] = field(default_factory=dict)
    repos: dict[str, str] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    waiting: list[Observation] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    wishes: dict[str, Wishes] = field(default_factory=dict)


MEMORY = TypeAdapter(Memory)


def save(memory: Memory, path: Path) -> None:
    """Durable when it returns: written beside, synced, then moved into place."""
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        file.write(MEMORY.dump_json(memory))
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path, ends: Mapping[Position, int]) -> Memory | None:
    """What was saved; None when there is nothing, nothing that this version can read, or the
    memory of other topics: those that are there end (`ends`) before its positions."""
    try:
        memory = MEMORY.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    known = {str(position): end for position, end in ends.items()}
    ours = all(offset <= known.get(at, 0) for at, offset in memory.offsets.items())
    return memory if ours else None
