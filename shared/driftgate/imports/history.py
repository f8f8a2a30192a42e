"""Answers of a model with what was said of them, and the pairs to launch with that follow. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from driftgate.labelled.dates import EARLIEST, LATEST, UNITS
from driftgate.labelled.findings import Findings
from driftgate.labelled.pairs import NO_DATE, LeftOut, checked
from driftgate.labelled.rows import MAX_TEXT
from driftgate.signals import NEUTRAL_RATING
from driftgate.tasks.text_generation import LONGEST

WRONG_TIME = "its time lies before 1970 or after 2100"
NOT_IMPORTED = "it is about an answer that is not imported"
EMPTY_EDIT = "its edit is empty"

# What is known of an answer.
EDITED, RATED = "edited", "rated as good"
BAD, SILENT = "not rated as good", "that nobody judged"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        id: the request's, as the other system has it.
        time: ms since 1970; None: not told.
        system: the system prompt that it was given with.
        more: further fields of subject `inference`.
        place: where it stands.
    """

    id: str
    text: str
    output: str
    place: str
    time: int | None = None
    system: str = ""
    subject: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody said of an answer: an edit, a rating from 0 to 1, or a number by its name.

    Attributes:
        answer: id of the answer.
    """

    id: str
    answer: str
    place: str
    time: int | None = None
    edited: str | None = None
    rating: float | None = None
    metric: str | None = None
    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """An input with what should be answered."""

    id: str
    text: str
    output: str
    place: str
    time: int | None = None
    system: str = ""
    subject: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """As `driftgate.labelled.pairs` reads it."""
        said: dict[str, Any] = {"input": self.text, "output": self.output}
        if self.system:
            turns = (("system", self.system), ("user", self.text), ("assistant", self.output))
            said = {"messages": [{"role": role, "content": text} for role, text in turns]}
        said |= {"id": self.id, "time": self.time, "subject": self.subject}
        told = {name: value for name, value in said.items() if value is not None}
        if self.slices:
            told["slices"] = dict(self.slices)
        return json.dumps(told, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class History:
    """examples: pairs that were written as such, of which no model gave the answer."""

    answers: Sequence[Answer] = ()
    words: Sequence[Word] = ()
    examples: Sequence[Pair] = ()


SAID = {"edited": "edit", "rating": "rating", "metric": "metric"}


def summary(history: History) -> str:
    """What was found, in words."""
    counts = {"answer": len(history.answers), "example": len(history.examples)}
    for name, word in SAID.items():
        counts[word] = sum(getattr(one, name) is not None for one in history.words)
    told = [f"{n:,} {name}{'s' if n != 1 else ''}" for name, n in counts.items() if n]
    return ", ".join(told) or "nothing is found"


# ---------------------------------------------------------------- pairs


def pairs(history: History, unjudged: bool, findings: Findings) -> list[Pair]:
    """What to launch with, by time: examples, edits, and answers that were rated as good. Others
    are counted, and so is what no pair may be.

    Args:
        unjudged: answers of which nobody said anything count as right.
    """
    edits, ratings = latest(history.words, "edited"), latest(history.words, "rating")
    counts: Counter[str] = Counter()
    found = list(history.examples)
    for answer in history.answers:
        edit, rating = edits.get(answer.id), ratings.get(answer.id)
        what = judged(edit, rating)
        counts[what] += 1
        if what in (EDITED, RATED) or (what == SILENT and unjudged):
            found.append(pair_of(answer, edit.edited if edit else None))
    kept = list(usable(found, findings))
    if counts:
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        findings.notes.append(f"answers: {told}")
    if counts[SILENT] and not unjudged:
        findings.notes.append("answers that nobody judged are no pairs; --unjudged takes them")
    return sorted(kept, key=lambda pair: (pair.time or 0, pair.id))


def judged(edit: Word | None, rating: Word | None) -> str:
    """What is known of an answer. An edit tells more than a rating."""
    if edit is not None:
        return EDITED
    if rating is None or rating.rating is None:
        return SILENT
    return RATED if rating.rating > NEUTRAL_RATING else BAD


def latest(words: Iterable[Word], said: str) -> dict[str, Word]:
    """By answer, the newest word that says this."""
    found: dict[str, Word] = {}
    for word in words:
        if getattr(word, said) is None:
            continue
        before = found.get(word.answer)
        if before is None or (word.time or 0, word.id) > (before.time or 0, before.id):
            found[word.answer] = word
    return found


def pair_of(answer: Answer, edited: str | None) -> Pair:
    return Pair(
        answer.id,
        answer.text,
        answer.output if edited is None else edited,
        answer.place,
        answer.time,
        answer.system,
        answer.subject,
        answer.slices,
    )


def usable(found: Iterable[Pair], findings: Findings) -> Iterator[Pair]:
    """Pairs whose texts may be learned from."""
    for pair in found:
        findings.rows += 1
        try:
            checked("input", pair.text, MAX_TEXT)
            checked("output", pair.output, LONGEST)
        except LeftOut as cause:
            findings.leave_out(str(cause), pair.place)
        else:
            findings.kept += 1
            yield pair


# ---------------------------------------------------------------- what readers of records share


def about_answers(words: Iterable[Word], answers: Iterable[Answer], out: Findings) -> list[Word]:
    """Words that say something, about answers that are imported; the others are counted."""
    known = {answer.id for answer in answers}
    found = []
    for word in words:
        cause = NOT_IMPORTED if word.answer not in known else None
        if word.edited is not None and not word.edited.strip():
            cause = EMPTY_EDIT
        if cause:
            out.leave_out(cause, word.place)
        else:
            found.append(word)
    return found


def id_of(*content: Any) -> str:
    """32 hex digits that follow from the content."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def moment(value: Any) -> int | None:
    """A time in ms since 1970, of ISO 8601 or a number; without a zone it is UTC.

    Raises:
        LeftOut: it is none, or lies outside of 1970 to 2100.
    """
    if value is None or value == "":
        return None
    number = seconds_or_less(value)
    if number is not None:
        return within(number)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise LeftOut(NO_DATE) from None
    if not isinstance(value, date):
        raise LeftOut(WRONG_TIME if isinstance(value, int | float) else NO_DATE)
    return within(in_ms(value))


def seconds_or_less(value: Any) -> int | None:
    """A number in the unit in which it is plausible, as ms; None for what is no such number."""
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return next(
        (int(number * ms) for low, high, ms in UNITS.values() if low <= number < high), None
    )


def in_ms(value: date) -> int:
    at = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def within(time: int) -> int:
    if not EARLIEST <= time <= LATEST:
        raise LeftOut(WRONG_TIME)
    return time
