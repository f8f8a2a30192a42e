"""Rows of TensorZero's tables in ClickHouse. Pure.

`ChatInference` and `JsonInference` hold answers, `DemonstrationFeedback` what should have been
answered, `BooleanMetricFeedback` and `FloatMetricFeedback` numbers. Ids are UUIDs of version 7
(RFC 9562), whose first 48 bits are the time in ms.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from driftgate.errors import BadConfig, nearest
from driftgate.imports.chats import TOOLS, TURNS, Asked
from driftgate.imports.history import Answer, History, Word, about_answers, moment
from driftgate.imports.json_cells import as_text, loaded
from driftgate.imports.records import Placed, Record
from driftgate.imports.scores import Score, number, words
from driftgate.labelled.findings import Findings
from driftgate.labelled.pairs import LeftOut

INFERENCES = ("ChatInference", "JsonInference")
FEEDBACK = ("DemonstrationFeedback", "BooleanMetricFeedback", "FloatMetricFeedback")

SHAPE = f"it is no row of {', '.join((*INFERENCES, *FEEDBACK))}"
COMMENT = "it is a comment, which says neither what is right nor how good an answer was"
NO_UUID = "its id is no UUID"
MEDIA = "a message holds something else than text"
NO_OUTPUT = "it has no output"
REPEATED = "it repeats an earlier id"
SEVERAL = "it is about an episode of several inferences"
TIMELESS = "its id is no UUIDv7, so it has no time"


@dataclass
class Rows:
    """Rows by what they are, under their ids."""

    inferences: dict[str, Placed] = field(default_factory=dict)
    demonstrations: dict[str, Placed] = field(default_factory=dict)
    metrics: dict[str, Placed] = field(default_factory=dict)


def read(
    records: Iterable[Placed],
    function: str | None,
    ratings: Sequence[str],
    subject: str,
    slices: Sequence[str],
    findings: Findings,
) -> History:
    """Answers of one function with their feedback; what is none is counted.

    Args:
        function: its name; None: the only one.
        ratings: see `driftgate.imports.scores`.
        subject: the tag that says who asked.
        slices: tags that part the traffic.

    Raises:
        BadConfig: there are several functions, or none of this name; or see `scores.words`.
    """
    rows = sorted_out(records, findings)
    rows.inferences = of_function(rows.inferences, function, findings)
    answers = list(answered(rows, subject, slices, findings))
    episodes: dict[str, list[str]] = defaultdict(list)
    for own, (_, row) in rows.inferences.items():
        episodes[str(row.get("episode_id"))].append(own)
    said = list(demonstrated(rows, findings))
    said += words(list(measured(rows, episodes, findings)), ratings, findings)
    said = about_answers(said, answers, findings)
    findings.kept = len(answers) + len(said)
    return History(answers, said)


# ---------------------------------------------------------------- what each row is


def sorted_out(records: Iterable[Placed], findings: Findings) -> Rows:
    rows, seen = Rows(), set[str]()
    for place, row in records:
        try:
            kept = kind_of(row, rows)
            own = uuid_of(row.get("id"))
            if str(own) in seen:
                raise LeftOut(REPEATED)
            seen.add(str(own))
            kept[str(own)] = place, row
        except LeftOut as cause:
            findings.leave_out(str(cause), place)
    return rows


def kind_of(row: Record, rows: Rows) -> dict[str, Placed]:
    """Raises: LeftOut"""
    if {"function_name", "input", "output"} <= row.keys():
        return rows.inferences
    if {"inference_id", "value"} <= row.keys():
        return rows.demonstrations
    if {"target_id", "metric_name", "value"} <= row.keys():
        return rows.metrics
    raise LeftOut(COMMENT if "target_type" in row else SHAPE)


def uuid_of(value: Any) -> UUID:
    """Raises: LeftOut"""
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        raise LeftOut(NO_UUID) from None


def time_of(row: Record) -> int:
    """ms since 1970, by the id; by `timestamp` where that is of another version.

    Raises:
        LeftOut
    """
    own = uuid_of(row.get("id"))
    found = moment((own.int >> 80) if own.version == 7 else row.get("timestamp"))
    if found is None:
        raise LeftOut(TIMELESS)
    return found


def of_function(
    inferences: dict[str, Placed], function: str | None, findings: Findings
) -> dict[str, Placed]:
    """Those of one function.

    Raises:
        BadConfig
    """
    counts = Counter(str(row["function_name"]) for _, row in inferences.values())
    if function is None and len(counts) < 2:
        return inferences
    told = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    if function is None:
        raise BadConfig(f"several functions, and a model is for one: choose by --function: {told}")
    if function not in counts:
        hint = nearest(function, list(counts)) if counts else "there are no inferences"
        raise BadConfig(f"--function {function}: no inference is of it; {hint}")
    if len(counts) > 1:
        findings.notes.append(f"inferences of function {function} alone, of {told}")
    return {k: one for k, one in inferences.items() if one[1]["function_name"] == function}


# ---------------------------------------------------------------- answers


def answered(
    rows: Rows, subject: str, slices: Sequence[str], findings: Findings
) -> Iterator[Answer]:
    for own, (place, row) in rows.inferences.items():
        try:
            yield answer_of(own, place, row, subject, slices)
        except LeftOut as cause:
            findings.leave_out(str(cause), place)


def answer_of(own: str, place: str, row: Record, subject: str, slices: Sequence[str]) -> Answer:
    """Raises: LeftOut"""
    asked = asked_of(loaded(row["input"]))
    tags = loaded(row.get("tags"))
    tags = dict(tags) if isinstance(tags, Mapping) else {}
    person = tags.get(subject)
    return Answer(
        own,
        asked.text,
        output_of(row["output"]),
        place,
        time_of(row),
        asked.system,
        str(person) if person else None,
        {name: str(tags[name]) for name in slices if tags.get(name)},
        dict(timed(row)),
    )


def timed(row: Record) -> Iterator[tuple[str, float]]:
    for name, column in (("latency_ms", "processing_time_ms"), ("first_token_ms", "ttft_ms")):
        if row.get(column) not in (None, ""):
            yield name, number(row[column], column)


def asked_of(given: Any) -> Asked:
    """Of the `input` of an inference: a system prompt and one message of the user.

    Raises:
        LeftOut
    """
    messages = given.get("messages") if isinstance(given, Mapping) else None
    if not isinstance(messages, list) or not all(isinstance(one, Mapping) for one in messages):
        raise LeftOut("its input has no messages")
    if [one.get("role") for one in messages] != ["user"]:
        raise LeftOut(TURNS)
    system = given.get("system")
    return Asked("" if system is None else as_text(system), text_of(messages[0].get("content")))


def text_of(content: Any) -> str:
    """The text of a message: itself, what a template was filled with, or blocks of these.

    Raises:
        LeftOut
    """
    if not isinstance(content, list):
        return as_text(content) if content is not None else ""
    return "".join(map(block, content))


def block(one: Any) -> str:
    """Raises: LeftOut"""
    kind = one.get("type") if isinstance(one, Mapping) else None
    if kind in ("text", "raw_text", "template"):
        values = (one.get(name) for name in ("text", "value", "arguments"))
        return as_text(next((value for value in values if value is not None), ""))
    if kind in ("thought", "unknown"):
        return ""
    raise LeftOut(TOOLS if kind in ("tool_call", "tool_result") else MEDIA)


def output_of(cell: Any) -> str:
    """Raises: LeftOut"""
    text = text_in(cell)
    if not text.strip():
        raise LeftOut(NO_OUTPUT)
    return text


def text_in(cell: Any) -> str:
    """What a chat function answers, blocks; or a JSON function, {"raw": …, "parsed": …}.

    Raises:
        LeftOut
    """
    given = loaded(cell)
    if isinstance(given, Mapping) and given.keys() & {"raw", "parsed"}:
        raw, value = given.get("raw"), given.get("parsed")
        return raw if isinstance(raw, str) else "" if value is None else as_text(value)
    return text_of(given) if isinstance(given, list) else as_text("" if cell is None else cell)


# ---------------------------------------------------------------- feedback


def demonstrated(rows: Rows, findings: Findings) -> Iterator[Word]:
    """What should have been answered. An empty one is left to `about_answers`."""
    for own, (place, row) in rows.demonstrations.items():
        try:
            edited = text_in(row["value"])
            yield Word(own, str(row["inference_id"]), place, time_of(row), edited=edited)
        except LeftOut as cause:
            findings.leave_out(str(cause), place)


def measured(
    rows: Rows, episodes: Mapping[str, Sequence[str]], findings: Findings
) -> Iterator[Score]:
    """Metrics of an inference, or of an episode that has one."""
    for own, (place, row) in rows.metrics.items():
        try:
            yield score_of(own, place, row, episodes)
        except LeftOut as cause:
            findings.leave_out(str(cause), place)


def score_of(own: str, place: str, row: Record, episodes: Mapping[str, Sequence[str]]) -> Score:
    """Raises: LeftOut"""
    target = str(row["target_id"])
    inside = episodes.get(target, [target])
    if len(inside) > 1:
        raise LeftOut(SEVERAL)
    return Score(own, inside[0], str(row["metric_name"]), number(row["value"]), place, time_of(row))
