"""What monitors can watch. A signal is one entry of the registry; those that hang on the kind of
task, such as the share of each label, are the task's (`driftgate.tasks`).

Each turns an answer into a number between 0 and 1, and a monitor watches the mean:

    error            1 when the answer is known to be wrong
    low_confidence   1 when the confidence lies in the reference's lowest fifth
    low_similarity   1 when the text is as unlike what was learned as the reference's last tenth
    FEATURE          1 when the feature lies in the reference's highest tenth

The evaluator measures the reference on held-out cases by the same functions by which the
drift-detector reads live answers, so a signal may use what both know of an answer. Of which answers
quality is told, and whether silence counts, follows from the model's feedback profile, and so does
the reference (`driftgate.drift.quality`).
"""

from __future__ import annotations

from driftgate.signals.answer import LOGPROB, NEUTRAL_RATING, SIMILARITY, Answer, Reference
from driftgate.signals.inputs import feature, feature_sides
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
