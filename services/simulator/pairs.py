"""Pairs of inputs and outputs as a world. Pure.

The calendar asks what sort a row is of, which for labelled text is its label. A pair counts as what
stands in the first field of its output that sorts the pairs (`SORTS` values that differ), or as
how long its output is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import quantiles

from driftgate.labelled.rows import Row
from services.simulator.kinds import as_object
from services.simulator.lengths import Calendar
from services.simulator.schedule import build
from services.simulator.world import World

SORTS = range(2, 41)
MOSTLY = 0.9
"""A field sorts the pairs if so many have it, and no value stands in more of them."""

LENGTHS = 5


def world_of(name: str, rows: Sequence[Row], calendar: Calendar) -> World:
    """The world of some pairs, whose labels are the outputs.

    Raises:
        BadConfig: see `schedule.build`.
    """
    sorts = sorts_of([row.label for row in rows])
    numbered = [
        replace(row, id=str(place), label=sort)
        for place, (row, sort) in enumerate(zip(rows, sorts, strict=True))
    ]
    sorted_world = build(name, numbered, calendar)

    def pair(row: Row) -> Row:
        return replace(rows[int(row.id or 0)], time=row.time)

    return replace(
        sorted_world,
        launch=tuple(map(pair, sorted_world.launch)),
        days=tuple(tuple(map(pair, day)) for day in sorted_world.days),
    )


def sorts_of(outputs: Sequence[str]) -> list[str]:
    objects = [as_object(output) for output in outputs]
    for name in dict.fromkeys(name for value in objects for name in value):
        found = [str(value.get(name)) for value in objects]
        counts = Counter(found)
        there = sum(name in value for value in objects)
        if (
            len(counts) in SORTS
            and there >= MOSTLY * len(outputs)
            and max(counts.values()) <= MOSTLY * len(outputs)
        ):
            return found
    lengths = [len(output) for output in outputs]
    bounds = quantiles(lengths, n=LENGTHS) if len(lengths) > 1 else []
    return [f"length {sum(length > bound for bound in bounds)}" for length in lengths]
