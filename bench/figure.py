"""One measured number beside its goal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`good` is None where there is no goal."""

    what: str
    value: str
    goal: str = ""
    good: bool | None = None

    @property
    def mark(self) -> str:
        return {None: "", True: "met", False: "**missed**"}[self.good]
