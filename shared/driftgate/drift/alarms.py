"""What the evidence of streams tells: which have left their reference, and which are calm again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

About = Literal["quality", "output", "input", "operation"]
Severity = Literal["warning", "critical"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A stream's evidence reached its alarm level. A stream that goes on being bad alarms again:
    its evidence begins anew after each alarm.

    Attributes:
        stream: name, as `monitor:slice[:part][:reviewed]`.
        signal: what the monitor is about.
        part: what of the monitor's value it is, such as a label; or nothing.
        known: end of the bucket whose counts made it evident, ms.
        since, earliest, latest: best date of the change and its interval, by the time of the
            answers, ms.
        n, bad: numbers since `since`, and their sum.
        reference, mean: what was measured, and the highest mean that is tolerated.
        level: evidence; 1 alarms.
        examples: request ids of a few answers that show it.
        summary: for people.
    """

    version: int
    stream: str
    monitor: str
    signal: About
    slice: str
    part: str
    severity: Severity
    known: int
    since: int
    earliest: int
    latest: int
    n: int
    bad: float
    reference: float
    mean: float
    level: float
    examples: tuple[str, ...]
    summary: str

    @property
    def expected(self) -> float:
        """Sum of as many numbers as the reference leads to expect."""
        return self.n * self.reference


@dataclass(frozen=True, slots=True)
class Condition:
    """How a stream that has alarmed is now.

    Attributes:
        at: ms.
        calm: whether its newest numbers lie within what is tolerated.
        watched: False once nobody watches it any more; it then counts as calm.
    """

    version: int
    stream: str
    at: int
    calm: bool
    watched: bool = True


@dataclass(frozen=True, slots=True)
class Improvement:
    """A stream has become better than its reference. It is told, and alarms nobody."""

    alarm: Alarm
