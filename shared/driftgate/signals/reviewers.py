"""Signals of how people judge, which two reviewers tell together. Where they disagree
more, the instructions leave something open that is asked more often now. No training mends that, so
it only warns.

Held-out cases tell nothing of it: what the first reviews of a version's answers show is its
reference. A tolerance of 0.1 lets reviewers disagree on 10 more of 100 requests.
"""

from __future__ import annotations

from driftgate.signals.signal import Signal

REVIEWERS = (
    Signal(
        "disagreement",
        "quality",
        lambda answer: answer.disagreement,
        tolerance=0.1,
        retrains=False,
        live=True,
        bad="differing",
        by_two=True,
    ),
)
