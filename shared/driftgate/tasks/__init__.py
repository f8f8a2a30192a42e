"""What a model answers with, behind one port.

port                  what all kinds have in common
text_classification   the answer is one of the declared labels

Services call `task_of` with what model.yaml declares, and know no kind.
"""

from __future__ import annotations

from driftgate.tasks.port import Example, Feedback, Said, Task
from driftgate.tasks.text_classification import Declared, TextClassification

__all__ = ["Declared", "Example", "Feedback", "Said", "Task", "task_of"]


def task_of(declared: Declared) -> Task:
    """The task of a model, from the part `task` of its model.yaml."""
    return TextClassification.of(declared)
