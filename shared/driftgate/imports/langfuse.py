"""Exports of Langfuse: traces, observations and scores, as its tables, its blob storage and its API
write them. Pure. Fields are those of docs "Blob storage export field reference" and of the API,
`user_id` or `userId`.

An answer is a generation, or a trace where no generation, or more than one, stands for it. A
correction (score of type CORRECTION) is an edit; other scores see `driftgate.imports.scores`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from driftgate.imports.chats import TOOLS, Asked, question, turn_of, turns_of
from driftgate.imports.history import Answer, History, Word, about_answers, id_of, moment
from driftgate.imports.json_cells import as_text, loaded, unchanged
from driftgate.imports.records import Placed, Record
from driftgate.imports.scores import NO_NUMBER, Score, number, words
from driftgate.labelled.findings import Findings
from driftgate.labelled.pairs import LeftOut

GENERATION = "GENERATION"
CORRECTION, WORDED, BY_MODEL = "CORRECTION", ("CATEGORICAL", "TEXT"), "EVAL"
SHAPE = "it is no trace, observation or score"
NO_INPUT, NO_OUTPUT = "it has no input", "it has no output"
NO_ID = "it has no id"
SEVERAL = "its score is about a trace of several answers"
FAILED = "it ended in an error"
# What may be a list beside the scores in a row of the observations' or traces' table.
LISTS = {
    *("input", "output", "metadata", "tags", "trace_tags", "comments", "observations", "scores"),
    *("tool_calls", "tool_call_names", "tool_definitions"),
}


@lru_cache(maxsize=10_000)
def key_of(name: str) -> str:
    """`userId` as `user_id`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


@dataclass(frozen=True, slots=True)
class Item:
    """A trace, observation or score. fields: under the names of the blob storage; own: under those
    of the record."""

    place: str
    fields: Mapping[str, Any]
    own: Record

    def get(self, *names: str) -> Any:
        found = (self.fields.get(name) for name in names)
        return next((value for value in found if value not in (None, "")), None)


@dataclass
class Export:
    """Everything by what it is."""

    traces: dict[str, Item] = field(default_factory=dict)
    observations: dict[str, Item] = field(default_factory=dict)
    scores: dict[str, Item] = field(default_factory=dict)
    repeated: int = 0


def read(
    records: Iterable[Placed], ratings: Sequence[str], slices: Sequence[str], findings: Findings
) -> History:
    """Answers with their scores and corrections; what is none is counted.

    Args:
        ratings: see `driftgate.imports.scores`.
        slices: keys of the metadata, or fields, that part the traffic.

    Raises:
        BadConfig: see `scores.words`.
    """
    export = sorted_out(records, findings)
    found = list(answered(export, slices, findings))
    answers = [answer for answer, _ in found]
    by_trace: dict[str, list[str]] = defaultdict(list)
    for answer, trace in found:
        by_trace[trace].append(answer.id)
    numbers: list[Score] = []
    edits: list[Word] = []
    for item in [*export.scores.values(), *in_columns(export)]:
        try:
            one = said(item, by_trace)
        except LeftOut as cause:
            findings.leave_out(str(cause), item.place)
        else:
            edits += [one] if isinstance(one, Word) else []
            numbers += [one] if isinstance(one, Score) else []
    said_of = about_answers([*edits, *words(numbers, ratings, findings)], answers, findings)
    findings.kept = len(answers) + sum(word.id in export.scores for word in said_of)
    return History(answers, said_of)


# ---------------------------------------------------------------- what each record is


def sorted_out(records: Iterable[Placed], findings: Findings) -> Export:
    """Of rows with one id, as later files update earlier ones, the last counts."""
    export = Export()
    for place, record in records:
        for one, trace in inside(record):
            try:
                take(place, one, trace, export)
            except LeftOut as cause:
                findings.leave_out(str(cause), place)
    if export.repeated:
        findings.notes.append(f"{export.repeated:,} records repeat an id: the last of each counts")
    return export


def inside(record: Record) -> Iterator[tuple[Record, str]]:
    """A record, and those that stand in it, with the id of their trace."""
    whole = record.get("trace")
    if isinstance(whole, Mapping):  # a trace beside what belongs to it
        record = {**whole, **{name: value for name, value in record.items() if name != "trace"}}
    yield record, ""
    trace = record.get("trace_id") or record.get("traceId") or record.get("id")
    for name in ("observations", "scores"):
        inner = loaded(record.get(name))
        for one in inner if isinstance(inner, list) else ():
            if isinstance(one, Mapping):  # an API that lists traces has ids alone here
                yield one, str(trace)


def take(place: str, record: Record, trace: str, export: Export) -> None:
    """Raises: LeftOut"""
    fields = {key_of(name): value for name, value in record.items()}
    if trace and not fields.get("trace_id"):
        fields["trace_id"] = trace
    kept, own = kind_of(fields, export), fields.get("id")
    if own in (None, ""):
        raise LeftOut(NO_ID)
    export.repeated += str(own) in kept
    kept[str(own)] = Item(place, fields, record)


def kind_of(fields: Mapping[str, Any], export: Export) -> dict[str, Item]:
    """Raises: LeftOut"""
    if "data_type" in fields or {"name", "value", "trace_id"} <= fields.keys():
        return export.scores
    if "start_time" in fields or {"type", "trace_id"} <= fields.keys():
        return export.observations
    if "input" in fields or "output" in fields:
        return export.traces
    raise LeftOut(SHAPE)


# ---------------------------------------------------------------- answers


def answered(
    export: Export, slices: Sequence[str], findings: Findings
) -> Iterator[tuple[Answer, str]]:
    """Each answer with the id of its trace."""
    generations: dict[str, list[Item]] = defaultdict(list)
    for item in export.observations.values():
        kind = str(item.get("type") or GENERATION)
        if kind == GENERATION:
            generations[str(item.get("trace_id"))].append(item)
        else:
            findings.leave_out(f"it is no generation but of type {kind}", item.place)
    steps = 0
    for trace, item in export.traces.items():
        inside = generations.get(trace, [])
        if not inside or (len(inside) > 1 and item.get("output")):
            steps += len(generations.pop(trace, []))
            generations[trace] = [item]
    if steps:
        findings.notes.append(
            f"{steps:,} generations are steps of a trace: the trace's answer counts"
        )
    for trace, items in generations.items():
        for item in items:
            try:
                yield answer_of(item, export.traces.get(trace), slices), trace
            except LeftOut as cause:
                findings.leave_out(str(cause), item.place)


def answer_of(item: Item, trace: Item | None, slices: Sequence[str]) -> Answer:
    """Raises: LeftOut"""
    if item.get("level") == "ERROR":
        raise LeftOut(FAILED)
    begin = moment(item.get("start_time", "timestamp"))
    asked, output = asked_of(item), output_of(item)
    subject = item.get("user_id") or (trace.get("user_id") if trace else None)
    return Answer(
        str(item.get("id")),
        asked.text,
        output,
        item.place,
        begin,
        asked.system,
        None if subject is None else str(subject),
        slices_of(item, trace, slices),
        dict(measured(item, begin)),
    )


def asked_of(item: Item) -> Asked:
    """The question: a text, a chat of one turn, or what a function was called with.

    Raises:
        LeftOut
    """
    given = loaded(item.get("input"))
    if given is None:
        raise LeftOut(NO_INPUT)
    if isinstance(given, Mapping):
        if "messages" in given:
            given = given["messages"]
        elif given.keys() <= {"args", "kwargs"}:  # of a decorated function
            given = argument(given)
    if isinstance(given, list) and any(isinstance(one, Mapping) and "role" in one for one in given):
        return question(given)
    return Asked("", unchanged(item.get("input"), given))


def argument(call: Mapping[str, Any]) -> Any:
    """The only argument of a call; the call as it is where there are several."""
    values = [*(call.get("args") or []), *(call.get("kwargs") or {}).values()]
    return values[0] if len(values) == 1 else call


def output_of(item: Item) -> str:
    """The answer: a text, a message, what OpenAI's API responds, or JSON.

    Raises:
        LeftOut
    """
    given = loaded(item.get("output"))
    if given in (None, "", [], {}):
        raise LeftOut(TOOLS if item.get("tool_calls") not in (None, "[]", []) else NO_OUTPUT)
    if isinstance(given, Mapping) and isinstance(given.get("choices"), list):
        given = [one.get("message") for one in given["choices"] if isinstance(one, Mapping)]
    if isinstance(given, Mapping) and "role" in given:
        return turn_of(given).text
    if isinstance(given, list) and any(isinstance(one, Mapping) and "role" in one for one in given):
        turns = turns_of(given)
        if len(turns) != 1:
            raise LeftOut("its output is several messages")
        return turns[0].text
    return unchanged(item.get("output"), given)


def slices_of(item: Item, trace: Item | None, names: Sequence[str]) -> dict[str, str]:
    """By name, out of the metadata, else of a field of the record."""
    found: dict[str, str] = {}
    for name in names:
        for one in (item, trace):
            inner = loaded(one.get("metadata")) if one else None
            value = inner.get(name) if isinstance(inner, Mapping) else None
            if value is None and one:
                value = one.get(key_of(name))
            if value not in (None, ""):
                found.setdefault(name, as_text(value))
    return found


def measured(item: Item, begin: int | None) -> Iterator[tuple[str, Any]]:
    """Further fields of an inference. Times come from the moments: their unit is not told.

    Raises:
        LeftOut
    """
    for name, when in (("latency_ms", "end_time"), ("first_token_ms", "completion_start_time")):
        end = moment(item.get(when))
        if end is not None and begin is not None:
            yield name, float(end - begin)
    usage = loaded(item.get("usage_details", "usage"))
    if isinstance(usage, Mapping):
        for name, key in (("tokens_in", "input"), ("tokens_out", "output")):
            if usage.get(key) is not None:
                yield name, int(number(usage[key], f"usage {key!r}"))
    cost = item.get("total_cost", "calculated_total_cost")
    if cost is not None:
        yield "cost", number(cost, "cost")


# ---------------------------------------------------------------- scores


def said(item: Item, by_trace: Mapping[str, Sequence[str]]) -> Word | Score:
    """A correction, or a number. What names no observation is about its trace's only answer.

    Raises:
        LeftOut
    """
    trace = str(item.get("trace_id") or "")
    inside = by_trace.get(trace, [trace])
    if not item.get("observation_id") and len(inside) > 1:
        raise LeftOut(SEVERAL)
    about = str(item.get("observation_id") or inside[0])
    own, time, comment = str(item.get("id")), moment(item.get("timestamp")), item.get("comment")
    reason = None if comment is None else as_text(comment)
    kind = item.get("data_type")
    if kind == CORRECTION:
        edited = as_text(item.get("long_string_value", "string_value", "value") or "")
        return Word(own, about, item.place, time, edited=edited, reason=reason)
    if kind in WORDED:
        raise LeftOut(NO_NUMBER.format("score"))
    value, by_model = number(item.get("value")), item.get("source") == BY_MODEL
    return Score(own, about, str(item.get("name")), value, item.place, time, reason, by_model)


def in_columns(export: Export) -> Iterator[Item]:
    """Scores that stand in a row of the traces' or observations' table, a column for each name with
    a list of its values."""
    for item in [*export.observations.values(), *export.traces.values()]:
        inner = loaded(item.get("scores"))
        columns = inner if isinstance(inner, Mapping) else item.own
        for name, cell in columns.items():
            values = loaded(cell)
            if not isinstance(values, list) or key_of(name) in LISTS or not flat(values):
                continue
            for value in values:
                fields = {
                    "id": id_of(item.get("id"), name, value),
                    "observation_id": item.get("id"),
                    "name": name,
                    "value": value,
                    "timestamp": item.get("end_time", "start_time", "timestamp"),
                }
                yield Item(item.place, fields, {})


def flat(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str | int | float) for value in values)
