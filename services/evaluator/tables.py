"""Axes as rows that people read."""

from __future__ import annotations

from collections.abc import Sequence

from services.evaluator.axis import Axis

COLUMNS = ("layer", "what", "slice", "cases", "value", "95 %", "champion", "wanted", "")


def table(axes: Sequence[Axis]) -> str:
    """Every axis, as Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(cells(axis) for axis in axes)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(axis: Axis) -> tuple[str, ...]:
    """One axis as text, in the order of `COLUMNS`; in brackets what is not of traffic."""
    return (
        axis.layer,
        measure(axis),
        axis.slice,
        str(axis.cases),
        f"{axis.value:.3f}" if axis.of_traffic else f"({axis.value:.3f})",
        f"{axis.low:.3f}–{axis.high:.3f}",
        "" if axis.champion is None else f"{axis.champion:.3f}",
        "" if axis.threshold is None else f"{axis.threshold:.3f}",
        fate(axis),
    )


def measure(axis: Axis) -> str:
    """What a number is: a share by its name, or the mean of a score."""
    return f"mean {axis.name}" if axis.graded else axis.name


def fate(axis: Axis) -> str:
    """What an axis says, in one word."""
    if axis.advice:
        return axis.advice
    if axis.short:
        return "too few"
    if axis.waived:
        return "waived"
    if not axis.passed:
        return "fails"
    return "told" if axis.threshold is None and axis.p_value is None else "passes"
