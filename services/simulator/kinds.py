"""What a world asks of a task kind beside the task port: what people say in place of an answer, and
how right an answer is in degrees. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from driftgate.json_text import parsed
from driftgate.scorers import JsonFields, TokenF1
from driftgate.tasks import Task
from driftgate.tasks.text_generation import TextGeneration
from services.simulator.known_labels import KnownLabels, NoLabels

TRIES = 8
"""Draws of a mistake until one is found that can be learned and differs; then nobody errs."""


class Kind(Protocol):
    """What people say of answers of one kind of task. A truth is the world's own target.

    Attributes:
        correction: what feedback is that says what should have been answered.
        measures: what is right or wrong, and what is right in degrees (None: nothing is), for
            reports.
    """

    @property
    def correction(self) -> Literal["correction", "edit"]: ...
    @property
    def measures(self) -> tuple[str, str | None]: ...

    def right(self, output: str, truth: str) -> bool:
        """Whether nobody would correct an output."""

    def grade(self, output: str, truth: str) -> float | None:
        """How right it is, 0 to 1; None where that has no degrees."""

    def well_formed(self, output: str) -> bool:
        """Whether it has the declared format."""

    def corrected(
        self, rng: random.Random, truth: str, mistaken: bool, never: Collection[str] = ()
    ) -> str:
        """What somebody says should have been answered: the truth; of who is mistaken something
        else, if there is any besides `never`."""

    def said(self, target: str) -> Mapping[str, Any]:
        """The field of `Feedback` that says it."""

    def known(self, launch: Iterable[str]) -> KnownLabels:
        """What can be known after a launch with these targets."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Answers are labels: people name the right one."""

    labels: Sequence[str]

    correction: Literal["correction"] = field(default="correction", init=False)
    measures: tuple[str, None] = field(default=("accuracy", None), init=False)

    def right(self, output: str, truth: str) -> bool:
        return output == truth

    def grade(self, output: str, truth: str) -> None:
        return None

    def well_formed(self, output: str) -> bool:
        return True

    def corrected(
        self, rng: random.Random, truth: str, mistaken: bool, never: Collection[str] = ()
    ) -> str:
        others = [label for label in self.labels if label != truth and label not in never]
        return rng.choice(others) if mistaken and others else truth

    def said(self, target: str) -> Mapping[str, Any]:
        return {"label": target}

    def known(self, launch: Iterable[str]) -> KnownLabels:
        return KnownLabels.at_launch(launch)


@dataclass(frozen=True)
class Texts:
    """Answers are texts or JSON: people edit them. others: targets of the world, of which mistakes
    are made."""

    task: TextGeneration
    others: Sequence[str] = ()

    correction: Literal["edit"] = field(default="edit", init=False)

    @cached_property
    def scorer(self) -> JsonFields | TokenF1:
        return JsonFields(name="json-fields") if self.task.is_json else TokenF1(name="token-f1")

    @property
    def measures(self) -> tuple[str, str]:
        if self.task.is_json:
            return "exact match", "field F1"
        return "right answers", "token F1"

    def right(self, output: str, truth: str) -> bool:
        return self.task.right(output, truth)

    def grade(self, output: str, truth: str) -> float:
        return self.scorer.score(output, truth)

    def well_formed(self, output: str) -> bool:
        return self.task.broken(output) is None

    def corrected(
        self, rng: random.Random, truth: str, mistaken: bool, never: Collection[str] = ()
    ) -> str:
        for _ in range(TRIES if mistaken and self.others else 0):
            found = mixed_up(rng, truth, rng.choice(self.others))
            learnable = self.task.unusable(found) is None
            if learnable and not any(self.right(found, one) for one in (truth, *never)):
                return found
        return truth

    def said(self, target: str) -> Mapping[str, Any]:
        return {"edited": target}

    def known(self, launch: Iterable[str]) -> KnownLabels:
        return NoLabels()


def is_written(task: Task) -> bool:
    """Whether answers are texts, which people edit."""
    return task.outputs is None


def kind_of(task: Task, targets: Sequence[str] = ()) -> Kind:
    """targets: of the world."""
    if isinstance(task, TextGeneration):
        return Texts(task, targets)
    return Labels(task.outputs or ())


def mixed_up(rng: random.Random, truth: str, other: str) -> str:
    """A mistake: of JSON, one field as it is in another answer; of a text, the other answer."""
    right, wrong = as_object(truth), as_object(other)
    differing = [name for name in right if name in wrong and wrong[name] != right[name]]
    if not differing:
        return other
    name = rng.choice(differing)
    changed = right | {name: wrong[name]}
    return json.dumps(changed, ensure_ascii=False, separators=(",", ":"))


def as_object(text: str) -> dict[str, Any]:
    try:
        value = parsed(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
