"""A row of a file as an answer, and what its columns are that have no role. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from driftgate.errors import BadConfig, nearest, shown
from driftgate.labelled import dates
from driftgate.labelled.table import Table
from driftgate.model_repo import ModelYaml
from driftgate.signals import SIMILARITY, Answer
from driftgate.tasks import Task

YES, NO = {"true", "1", "1.0", "yes", "y", "t"}, {"false", "0", "0.0", "no", "n", "f"}
# A column of words with more values than this is a slice only where the model names it.
VALUES = 1000
# Of its cells, for a column to be a feature that no monitor names: one odd cell unmakes none.
NUMBERS = 0.8


@dataclass(frozen=True)
class Columns:
    """What columns are that have no role. unused: why the others are nothing, by name."""

    slices: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        unused = [f"{name} ({why})" for name, why in self.unused.items()]
        said = {"slices": self.slices, "features": self.features, "not used": unused}
        return [f"{what}: {', '.join(names)}" for what, names in said.items() if names]


def without_role(table: Table, role: Mapping[str, str], config: ModelYaml) -> Columns:
    """What is declared, else what stands in them says it."""
    found, watched = Columns(), features(config)
    for name in (name for name in table.names if name not in role.values()):
        cells = [text for cell in table.columns.get(name, ()) if (text := dates.plain(cell))]
        numbers = sum(number(cell) is not None for cell in cells)
        named = bool(cells) and name in config.slice_names
        if numbers and (name in watched or (numbers >= NUMBERS * len(cells) and not named)):
            found.features.append(name)
        elif why := "" if named else no_slice(cells, dated=name in table.moments):
            found.unused[name] = why
        if named or name not in {*found.features, *found.unused}:
            found.slices.append(name)
    return found


def features(config: ModelYaml) -> Set[str]:
    """What monitors of inputs read, by the names of columns. Those that are no feature have no
    numbers."""
    watched = {monitor.value for monitor in config.monitors if monitor.signal == "input"}
    return watched | {SIMILARITY} if watched & {"low_similarity", "new_cluster"} else watched


def no_slice(cells: Sequence[str], *, dated: bool) -> str:
    """Why nobody could tell its values apart; empty where they recur."""
    if dated:
        return "dates"
    values = len(set(cells))
    if 0 < values <= min(VALUES, len(cells) // 2):
        return ""
    return f"{values:,} values in {len(cells):,} cells" if cells else "empty"


@dataclass
class Reader:
    """Makes an answer of a row.

    Attributes:
        columns: those without a role.
        odd: what could not be read, and how often.
    """

    table: Table
    role: Mapping[str, str]
    task: Task
    columns: Columns
    odd: Counter[str] = field(default_factory=Counter)

    def cell(self, role: str, at: int) -> str:
        """Empty where there is none."""
        column = self.role.get(role)
        return dates.plain(self.table.cells(column)[at]) if column else ""

    def answer(self, at: int) -> Answer:
        """
        Raises:
            BadConfig: the model has no such output, or nobody can tell whether it was right.
        """
        output = self.possible("output", at)
        named = {name: dates.plain(self.table.columns[name][at]) for name in self.columns.slices}
        numbers = {n: self.finite(n, self.table.columns[n][at]) for n in self.columns.features}
        return Answer(
            output,
            self.finite("confidence", self.cell("confidence", at)),
            {name: x for name, x in numbers.items() if x is not None},
            {name: value for name, value in named.items() if value},
            error=self.error(at, output),
        )

    def possible(self, role: str, at: int) -> str:
        """What the model may answer.

        Raises:
            BadConfig
        """
        text, outputs = self.cell(role, at), self.task.outputs
        if outputs is not None and text not in outputs:
            raise BadConfig(
                f"{self.table.where(at)}: {self.role[role]} is {shown(text)}: "
                f"{nearest(text, list(outputs))}"
            )
        return text

    def finite(self, what: str, cell: Any) -> float | None:
        """A number; None where there is none that can be used, which is counted."""
        text = dates.plain(cell)
        x = number(text)
        if text and (x is None or not math.isfinite(x)):
            self.odd[f"{what} is no finite number, and does not count"] += 1
            return None
        return x

    def error(self, at: int, output: str) -> float | None:
        """
        Raises:
            BadConfig
        """
        if correct := self.cell("correct", at).lower():
            if correct not in YES | NO:
                raise BadConfig(
                    f"{self.table.where(at)}: {self.role['correct']} is {shown(correct)}: expected "
                    "true or false"
                )
            return float(correct in NO)
        return float(self.possible("expected", at) != output) if self.cell("expected", at) else None


def number(text: str) -> float | None:
    """NaN is a number here; None where it is none at all."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
