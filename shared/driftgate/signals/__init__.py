"""What monitors can watch. Each signal turns an answer into a number between 0 and 1, and a monitor
watches the mean. docs/drift.md tabulates them.

    quality      what people say of answers: error, thumbs_down, calibration
    reviewers    how people judge: disagreement
    output       what is answered: low_confidence, estimated_error
    inputs       what is asked: low_similarity, new_words, language, and features by their names
    new_cluster  a group unlike the training data
    operation    how it is served: latency, cost
    registry     all of them, and what a monitor may name

Those that hang on the kind of task, such as the share of each label, are the task's
(`driftgate.tasks`).

The evaluator measures the reference on held-out cases by the same functions by which the
drift-detector reads live answers, so a signal may use what both know of an answer. Of which answers
quality is told, and whether silence counts, follows from the model's feedback profile, and so does
the reference (`driftgate.drift.quality`).
"""

from __future__ import annotations

from driftgate.signals.answer import LOGPROB, NEUTRAL_RATING, SIMILARITY, Answer, Reference
from driftgate.signals.inputs import feature, feature_sides
from driftgate.signals.new_cluster import NewCluster
from driftgate.signals.registry import SIGNALS, known, mistaken, streams
from driftgate.signals.shares import Shares
from driftgate.signals.signal import TOLERANCE, About, AnySignal, Signal, Tail

__all__ = [
    "LOGPROB",
    "NEUTRAL_RATING",
    "SIGNALS",
    "SIMILARITY",
    "TOLERANCE",
    "About",
    "Answer",
    "AnySignal",
    "NewCluster",
    "Reference",
    "Shares",
    "Signal",
    "Tail",
    "feature",
    "feature_sides",
    "known",
    "mistaken",
    "streams",
]
