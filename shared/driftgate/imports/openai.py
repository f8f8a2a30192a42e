"""OpenAI's fine-tuning files: chats, chats whose answers have weights, and preferences. Pure.

A chat is an example that somebody wrote: no model gave its answer, so it is launch data alone. A
preference is an answer that was not preferred, with the one that should have been given instead:
an answer and its edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from driftgate.imports.chats import Asked, examples, question, turns_of
from driftgate.imports.history import (
    Answer,
    History,
    Pair,
    Word,
    about_answers,
    id_of,
    moment,
)
from driftgate.imports.records import Placed, Record
from driftgate.labelled.findings import Findings
from driftgate.labelled.pairs import REPEATED, LeftOut

PREFERRED, OTHER = "preferred_output", "non_preferred_output"
SHAPE = "it has neither `messages` nor `input` with `preferred_output`"
ONE_ANSWER = "its {} is no single answer of an assistant"


def read(records: Iterable[Placed], findings: Findings) -> History:
    """Examples and preferences; what is neither is counted."""
    answers: list[Answer] = []
    words: list[Word] = []
    found: list[Pair] = []
    seen: set[str] = set()
    lost = 0
    for place, record in records:
        try:
            own = id_of(record)
            if own in seen:
                raise LeftOut(REPEATED)
            seen.add(own)
            about = about_all(record)
            if PREFERRED in record or OTHER in record:
                answer, word = preference(record, own, place, about)
                answers.append(answer)
                words.append(word)
            else:
                pairs = list(chat(record, own, place, about))
                found += [pair for pair, _ in pairs]
                lost += any(earlier for _, earlier in pairs)
        except LeftOut as cause:
            findings.leave_out(str(cause), place)
        else:
            findings.kept += 1
    if lost:
        findings.notes.append(f"of {lost:,} chats with weights, pairs are without earlier turns")
    if found:
        findings.notes.append("no model gave the answers of examples: they are launch data alone")
    return History(answers, about_answers(words, answers, findings), found)


def about_all(record: Record) -> dict[str, Any]:
    """What may stand beside the messages, under the names that pairs have."""
    subject, slices = record.get("subject"), record.get("slices")
    return {
        "time": moment(record.get("time")),
        "subject": None if subject is None else str(subject),
        "slices": {str(k): str(v) for k, v in slices.items()} if isinstance(slices, dict) else {},
    }


def chat(
    record: Record, own: str, place: str, about: Mapping[str, Any]
) -> Iterator[tuple[Pair, int]]:
    """Pairs, and how many earlier turns each is without.

    Raises:
        LeftOut
    """
    if "messages" not in record:
        raise LeftOut(SHAPE)
    found = examples(record["messages"])
    for number, (asked, output, earlier) in enumerate(found):
        name = own if len(found) == 1 else f"{own}-{number}"
        yield Pair(name, asked.text, output, place, system=asked.system, **about), earlier


def preference(
    record: Record, own: str, place: str, about: Mapping[str, Any]
) -> tuple[Answer, Word]:
    """Raises: LeftOut"""
    given = record.get("input")
    asked: Asked = question(given.get("messages") if isinstance(given, Mapping) else None)
    worse, better = one_answer(record, OTHER), one_answer(record, PREFERRED)
    answer = Answer(own, asked.text, worse, place, system=asked.system, **about)
    return answer, Word(id_of(own, PREFERRED), own, place, about["time"], edited=better)


def one_answer(record: Record, name: str) -> str:
    """Raises: LeftOut"""
    turns = turns_of(record.get(name))
    if [turn.role for turn in turns] != ["assistant"]:
        raise LeftOut(ONE_ANSWER.format(name))
    return turns[0].text
