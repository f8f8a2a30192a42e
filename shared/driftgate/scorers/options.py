"""What all scorers have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

from pydantic import Field

from driftgate.suites import Part

Bar = Annotated[float, Field(ge=0, le=1)]


class Options(Part):
    """A scorer as declared: its options, and a pure function of an output and a target.

    Attributes:
        needs_target: whether it compares; one that does not may judge a probe, which has no target.
    """

    needs_target: ClassVar[bool] = True

    min: Bar = Field(1.0, description="the bar: an output is right when all scorers reach theirs")

    @abstractmethod
    def score(self, output: str, target: str) -> float:
        """From 0 (nothing is as it should be) to 1 (all is). Any output has a score.

        Args:
            target: what should have been answered; empty where a scorer needs none.
        """
