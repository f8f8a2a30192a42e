"""What a model answers with, behind one port.

port                  what all kinds have in common
text_classification   the answer is one of the declared labels

Services call `task_of` with what model.yaml declares, and know no kind.
"""

from __future__ import annotations

from driftgate.errors import BadConfig, nearest
from driftgate.tasks.port import Example, Feedback, Said, Task
from driftgate.tasks.text_classification import Declared, TextClassification

__all__ = ["KINDS", "Declared", "Example", "Feedback", "Said", "Task", "kind_of", "task_of"]

KINDS: dict[str, type[Task]] = {TextClassification.kind: TextClassification}
"""By the name that model.yaml and events use."""


def task_of(declared: Declared) -> Task:
    """The task of a model, from the part `task` of its model.yaml."""
    return KINDS[declared.kind].of(declared)


def kind_of(name: str) -> type[Task]:
    """What all tasks of a kind share: how they are served.

    Raises:
        BadConfig: there is no such kind.
    """
    if name not in KINDS:
        raise BadConfig(f"task {name!r} is none of this release: {nearest(name, list(KINDS))}")
    return KINDS[name]
