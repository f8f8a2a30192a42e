"""What a model answers with, behind one port.

port                  what all kinds have in common
text_classification   the answer is one of the declared labels
text_generation       the answer is a text, or JSON

Services call `task_of` with what model.yaml declares, and know no kind.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from driftgate.errors import BadConfig, nearest
from driftgate.tasks import text_classification, text_generation
from driftgate.tasks.port import Example, Feedback, Said, Task
from driftgate.tasks.text_classification import TextClassification
from driftgate.tasks.text_generation import TextGeneration

__all__ = ["KINDS", "Declared", "Example", "Feedback", "Said", "Task", "kind_of", "task_of"]

Declared = Annotated[
    text_classification.Declared | text_generation.Declared, Field(discriminator="kind")
]
"""The part `task` of model.yaml."""

KINDS: dict[str, type[Task]] = {
    TextClassification.kind: TextClassification,
    TextGeneration.kind: TextGeneration,
}
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
