"""What monitors look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftgate.slices import inside

NEUTRAL_RATING = 0.5
"""A better rating calls an answer right, a worse one wrong; this one calls it neither."""

LOGPROB = "logprob"
"""The feature of a written answer that holds the mean log-probability of its tokens."""

SIMILARITY = "similarity"
"""The feature that says how near an input is to what a classifier has learned."""

Reference = Mapping[str, float]
"""What a version's held-out cases measured; see `driftgate.reference`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as far as monitors look at it.

    Attributes:
        error: 1 where it was wrong; None while nobody knows.
        rating: from 0 to 1; None where nobody gave one.
        edit_distance: of what should have been answered, from 0 to 1; None where nobody wrote that.
        disagreement: 1 where two reviewers say different things of what is right, else 0; None
            while not two have spoken.
        latency_ms, cost: of a live answer; None where nobody measured it.
        finish_reason: why a written answer ended; empty where that is not known.
    """

    output: str
    confidence: float | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    error: float | None = None
    rating: float | None = None
    edit_distance: float | None = None
    disagreement: float | None = None
    latency_ms: float | None = None
    cost: float | None = None
    finish_reason: str = ""

    def inside(self, slice_name: str) -> bool:
        """Whether it belongs to a slice, `all` or `name=value`."""
        return inside(self.slices, slice_name)
