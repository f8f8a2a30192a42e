"""What the output holds, whatever the target says: phrases, and matches of an expression."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from driftgate.scorers.equal import normalised
from driftgate.scorers.options import Options
from driftgate.suites import Text


class Contains(Options):
    """The share of demands that are met: each of `phrases` stands in the output, none of `never`
    does. Case and white space do not matter."""

    needs_target: ClassVar[bool] = False

    name: Literal["contains"]
    phrases: list[Text] = Field([], description="what must stand in the output")
    never: list[Text] = Field([], description="what must not")

    @model_validator(mode="after")
    def demands(self) -> Contains:
        if not (self.phrases or self.never):
            raise ValueError("expected `phrases` that must stand in the output, or `never`")
        return self

    def score(self, output: str, target: str) -> float:
        held = normalised(output)
        met = [normalised(phrase) in held for phrase in self.phrases]
        met += [normalised(phrase) not in held for phrase in self.never]
        return sum(met) / len(met)


class Regex(Options):
    """1 where a Python expression matches: the whole output, or any part of it."""

    needs_target: ClassVar[bool] = False

    name: Literal["regex"]
    pattern: Text
    whole: bool = Field(True, description="false: a part of the output may match")

    @field_validator("pattern")
    @classmethod
    def compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            raise ValueError(f"is no regular expression of Python: {error}") from None
        return pattern

    def score(self, output: str, target: str) -> float:
        matches = re.fullmatch if self.whole else re.search
        return float(matches(self.pattern, output, re.DOTALL) is not None)
