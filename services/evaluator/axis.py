"""One judged number of a verdict. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from driftgate.slices import ALL
from driftgate.suites import Layer

SIGNIFICANT = 6
"""Digits of a number that is told."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One judged number: the fields of the verdict's schema. short: there are too few cases.
    of_traffic: it stands for all answers, as far as its suite is about them. graded: a mean of
    scores, not a share of right answers. advice: of a number that never decides, what it says in a
    word or two."""

    layer: Layer
    name: str
    slice: str
    cases: int
    value: float
    low: float
    high: float
    champion: float | None = None
    difference: float | None = None
    p_value: float | None = None
    threshold: float | None = None
    passed: bool = True
    summary: str = ""
    short: bool = False
    of_traffic: bool = True
    graded: bool = False
    advice: str = ""

    @property
    def waived(self) -> bool:
        """Whether it stands for a suite that model.yaml lets the gate do without."""
        return self.passed and not self.cases and not self.advice

    @property
    def title(self) -> str:
        """Such as `task accuracy in language=es`."""
        return f"{self.layer} {self.name}" + ("" if self.slice == ALL else f" in {self.slice}")

    def event(self) -> dict[str, Any]:
        """As the verdict's schema has it."""
        told = {name: tidy(value) for name, value in asdict(self).items()}
        for name in ("short", "of_traffic", "graded", "advice"):
            del told[name]
        told["words"] = told.pop("summary")
        return told


def tidy(value: Any) -> Any:
    """Floats at the digits that are told."""
    return float(f"{value:.{SIGNIFICANT}g}") if isinstance(value, float) else value
