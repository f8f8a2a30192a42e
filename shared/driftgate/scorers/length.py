"""Whether the output is as long as it may be."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from driftgate.scorers.options import Options


class Length(Options):
    """1 where the length lies within the bounds, both included."""

    needs_target: ClassVar[bool] = False

    name: Literal["length"]
    at_least: int = Field(0, ge=0)
    at_most: int | None = Field(None, ge=1)
    unit: Literal["characters", "words"] = "characters"

    @model_validator(mode="after")
    def bounded(self) -> Length:
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError(f"expected at_least {self.at_least} up to at_most, or at_most above")
        if self.at_most is None and not self.at_least:
            raise ValueError("expected a bound: at_least, at_most or both")
        return self

    def score(self, output: str, target: str) -> float:
        length = len(output if self.unit == "characters" else output.split())
        return float(self.at_least <= length and (self.at_most is None or length <= self.at_most))
