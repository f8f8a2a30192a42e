"""What an event has to be to be stored, as far as that hangs on what is declared, and what of it is
stored. Pure. What can be said without a declaration stands in `driftgate.limits`, which clients
read too.

Each rule has two forms, side by side: `check` looks at one event and words the error; `sure` looks
at whole columns and says which rows surely pass. A row that it leaves open is looked at by `check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftgate.dead_letters import UNHANDLED, UNKNOWN_MODEL
from driftgate.errors import BadInput, nearest
from driftgate.events import Feedback, Inference, Model
from driftgate.limits import check_length, check_time, time_range
from driftgate.model_repo import ModelYaml
from driftgate.personal.masking import Masker
from driftgate.subjects import subject_hash, subject_hashes
from driftgate.tasks import Said, task_of
from services.ingest_logger.rows import Fields

Mask = npt.NDArray[np.bool_]
# Sure to be more than blanks: neither a control character nor a space (of Unicode 15).
VISIBLE = r"[^\x00-\x20\x7f-\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"


@dataclass(frozen=True, slots=True)
class Context:
    """What validation may know besides the record.

    Attributes:
        maskers: of each model; see `maskers_of`.
        subject_key: what the ids of persons are hashed with.
        now: ms; 0 while it is not known, then no time is compared with it.
        refused: by artifact URI, why a declared model repo cannot be used.
    """

    models: Mapping[str, ModelYaml]
    maskers: Mapping[str, Masker]
    subject_key: bytes
    now: int
    refused: Mapping[str, str] = field(default_factory=dict)


def maskers_of(models: Mapping[str, ModelYaml], key: bytes) -> dict[str, Masker]:
    """What masks the texts of each model. Where it writes, placeholders tell values apart: an edit
    may do no more than put one for another."""
    return {
        name: Masker.of(config.data.mask, key if writes(config) else None)
        for name, config in models.items()
    }


def writes(declared: ModelYaml) -> bool:
    """Whether a model answers texts, not words of a closed set."""
    return task_of(declared.task).outputs is None


class Columns:
    """A batch by field, with the rows of each declared model that occurs in it."""

    def __init__(self, fields: Mapping[str, pa.Array], context: Context) -> None:
        self.fields, self.context = fields, context

    def __getitem__(self, field: str) -> pa.Array:
        return self.fields[field]

    @cached_property
    def by_model(self) -> list[tuple[ModelYaml, Mask]]:
        names = self["model"].dictionary_encode()
        codes = names.indices.to_numpy(zero_copy_only=False)
        return [
            (self.context.models[name], codes == code)
            for code, name in enumerate(names.dictionary.to_pylist())
            if name in self.context.models
        ]

    def where_declared(self, condition: Callable[[ModelYaml], Any]) -> Mask:
        """A condition that hangs on the model; False where none is declared."""
        found = np.zeros(len(self["model"]), bool)
        for declared, own in self.by_model:
            found[own] = as_mask(condition(declared))[own]
        return found


def as_mask(condition: Any) -> Mask:
    """Null is False."""
    if isinstance(condition, np.ndarray):
        return condition
    mask: Mask = pc.fill_null(condition, False).to_numpy(zero_copy_only=False)
    return mask


def is_visible(values: pa.Array) -> pa.Array:
    """Which texts are surely more than blanks; null stays null."""
    return pc.match_substring_regex(values, VISIBLE)


def is_short(values: pa.Array, longest: int | None) -> Any:
    """Which texts have no more characters than these; null has."""
    if longest is None:
        return np.ones(len(values), bool)
    return within(pc.utf8_length(values), 0, longest)


def within(values: pa.Array, low: float, high: float) -> pa.Array:
    """Null or in the closed range; NaN is in none."""
    inside = pc.greater_equal(values, low)
    if high < math.inf:
        inside = pc.and_(inside, pc.less_equal(values, high))
    return pc.fill_null(inside, True) if values.null_count else inside


# ---------------------------------------------------------------- what is refused


class Rule(Protocol):
    def check(self, event: Fields, context: Context) -> None:
        """
        Raises:
            BadInput
        """

    def sure(self, columns: Columns) -> Mask: ...


class DeclaredModel:
    """The model was declared on topic `models`."""

    def check(self, event: Fields, context: Context) -> None:
        name = event["model"]
        if name not in context.models:
            hint = nearest(name, list(context.models)) if context.models else "none is declared"
            wanted = f"a model that is declared on topic models: {hint}"
            raise BadInput(UNKNOWN_MODEL, "model", name, wanted)

    def sure(self, columns: Columns) -> Mask:
        return columns.where_declared(lambda _: np.ones(len(columns["model"]), bool))


@dataclass(frozen=True, slots=True)
class Short:
    """A text is no longer than the model's task takes."""

    field: str

    def check(self, event: Fields, context: Context) -> None:
        longest = task_of(context.models[event["model"]].task).longest
        check_length(self.field, event[self.field], longest)

    def sure(self, columns: Columns) -> Mask:
        values = columns[self.field]
        return columns.where_declared(lambda model: is_short(values, task_of(model.task).longest))


class PossibleOutput:
    """The answer is one that the model's task allows."""

    def check(self, event: Fields, context: Context) -> None:
        task_of(context.models[event["model"]].task).check_output(event["output"])

    def sure(self, columns: Columns) -> Mask:
        return columns.where_declared(lambda model: possible(columns["output"], model))


class PossibleCorrection:
    """The feedback corrects, if at all, to what the model's task allows."""

    def check(self, event: Fields, context: Context) -> None:
        said = Said(event["label"], event["rating"], event["edited"])
        task_of(context.models[event["model"]].task).check_feedback(said)

    def sure(self, columns: Columns) -> Mask:
        labels, edits = columns["label"], columns["edited"]
        return columns.where_declared(lambda model: surely_corrected(labels, edits, model))


def surely_corrected(labels: pa.Array, edits: pa.Array, declared: ModelYaml) -> Any:
    """Which labels and edits surely pass as corrections. Where any text may be answered, the task
    alone knows which edits it takes."""
    if writes(declared):
        return pc.and_(pc.is_null(labels), pc.is_null(edits))
    return pc.or_(pc.is_null(labels), possible(labels, declared))


def possible(values: pa.Array, declared: ModelYaml) -> pa.Array:
    """Which values a task surely may answer. A declared one is none that is blank: the limits of
    some fields refuse those, and leave it to this to tell."""
    task = task_of(declared.task)
    if task.outputs is None:
        return is_short(values, task.longest)
    outputs = [value for value in task.outputs if value.strip()]
    return pc.is_in(values, value_set=pa.array(outputs, pa.string()))


class Timely:
    """The time is neither before what the model keeps nor ahead of the clock."""

    def check(self, event: Fields, context: Context) -> None:
        check_time(event["time"], context.models[event["model"]].data, context.now)

    def sure(self, columns: Columns) -> Mask:
        now, times = columns.context.now, columns["time"]
        return columns.where_declared(lambda model: within(times, *time_range(model.data, now)))


class ReadableRepo:
    """The model repo of a declaration could be read."""

    def check(self, event: Fields, context: Context) -> None:
        uri = event["repo_uri"]
        if uri in context.refused:
            wanted = f"a readable model repo ({context.refused[uri]})"
            raise BadInput(UNHANDLED, "repo_uri", uri, wanted)

    def sure(self, columns: Columns) -> Mask:
        refused = pa.array(columns.context.refused, pa.string())
        return as_mask(pc.invert(pc.is_in(columns["repo_uri"], value_set=refused)))


# By topic, in the order in which they are checked: what follows a declared model may ask for it.
RULES: Mapping[str, tuple[Rule, ...]] = {
    Inference.TOPIC: (DeclaredModel(), Short("input"), PossibleOutput(), Timely()),
    Feedback.TOPIC: (DeclaredModel(), PossibleCorrection(), Short("reason"), Timely()),
    Model.TOPIC: (ReadableRepo(),),
}


# ---------------------------------------------------------------- what is stored in another form


class Change(Protocol):
    def one(self, event: Fields, context: Context) -> Any: ...

    def all(self, columns: Columns) -> pa.Array: ...


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without personal data.

    Attributes:
        may_be_kept: whether the model lets it be stored at all; null takes its place where not.
        is_text: whether it is one; the word of a closed set stays as it is.
    """

    field: str
    may_be_kept: Callable[[ModelYaml], bool] = lambda _: True
    is_text: Callable[[ModelYaml], bool] = lambda _: True

    def one(self, event: Fields, context: Context) -> Any:
        text, declared = event[self.field], context.models[event["model"]]
        if text is None or not self.may_be_kept(declared):
            return None
        return context.maskers[declared.model].text(text) if self.is_text(declared) else text

    def all(self, columns: Columns) -> pa.Array:
        values = columns[self.field]
        for declared, own in columns.by_model:
            if not self.is_text(declared):
                continue
            if self.may_be_kept(declared):
                masker = columns.context.maskers[declared.model]
                found = masker.column(values.filter(pa.array(own)))
            else:
                found = pa.nulls(int(own.sum()), values.type)
            values = found if own.all() else pc.replace_with_mask(values, pa.array(own), found)
        return values


@dataclass(frozen=True, slots=True)
class Hashed:
    """A person's id by its keyed hash."""

    field: str

    def one(self, event: Fields, context: Context) -> Any:
        subject = event[self.field]
        return None if subject is None else subject_hash(context.subject_key, subject)

    def all(self, columns: Columns) -> pa.Array:
        return subject_hashes(columns.context.subject_key, columns[self.field])


# By topic, then by field.
CHANGES: Mapping[str, Mapping[str, Change]] = {
    Inference.TOPIC: {
        "input": Masked("input", may_be_kept=lambda model: model.data.keep_text),
        "output": Masked("output", is_text=writes),
        "subject": Hashed("subject"),
    },
    Feedback.TOPIC: {"edited": Masked("edited"), "reason": Masked("reason")},
}
