"""The review sample in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.table import Table

from driftgate.events import Feedback
from driftgate.review.agreement import Agreement
from driftgate.review.question import Question
from driftgate.review.queue import answer_of
from driftgate.review.statistics import Statistics
from services.console.operators import when
from services.console.review_event import Desk
from services.console.review_queue import Value

LIST_ROWS = 10
"""Choices below each other, before there is a second column."""


def asked(question: Question) -> Iterator[str]:
    """A request as a reviewer sees it, in lines; what may be said of it apart."""
    slices = "".join(f"  {name}={value}" for name, value in sorted(question.slices.items()))
    picked = f"  picked: {question.picked}" if question.picked else ""
    yield f"request {question.request_id}  {when(question.time)} UTC{slices}{picked}"
    yield f"\n    {question.text}\n"
    yield f"answers: {', '.join(question.answers)} (instructions {question.instructions})"


def choices_of(question: Question) -> tuple[str, ...]:
    """What may be said, by number: first what versions answered."""
    others = (label for label in question.labels or () if label not in question.answers)
    return (*question.answers, *others)


def numbered(choices: Sequence[str], width: int) -> Iterator[str]:
    """Choices with their numbers; many in columns, so that they fit a screen of this `width`."""
    cells = [f"{number:>3}  {choice}" for number, choice in enumerate(choices, 1)]
    size = max(map(len, cells)) + 2
    rows = max(math.ceil(len(cells) / max(1, width // size)), LIST_ROWS)
    for at in range(min(rows, len(cells))):
        yield "".join(cell.ljust(size) for cell in cells[at::rows]).rstrip()


def nothing(model: str, desk: Desk, picked: Value | None) -> str:
    days = desk.queue.declared.review.days
    if picked is not None:
        return f"nothing of {model} is left of the last {days} days to pick by {picked}"
    stats = f"`driftgate review stats {model}{desk.options}`"
    return f"{desk.reviewer} has nothing to review of {model}; {stats} shows how far the sample is"


def confirmed(made: Feedback, before: Feedback | None) -> str:
    told = answer_of(made)
    line = f"{made.request_id}: {'skipped' if told is None else told}"
    if before is not None:
        line += f", in place of {answer_of(before) or 'skipped'} by {made.reviewer}"
    return line + (f" (picked: {made.picked})" if made.picked else "")


def weeks_table(found: Statistics) -> Table:
    table = Table(padding=0)
    table.add_column("week of")
    names = ("drawn", "open", "second", "labelled", "skipped", "missed", "no text", "wait h")
    for name in names:
        table.add_column(name, justify="right")
    for week in found.weeks:
        counts = (week.drawn, week.open, week.second, week.labelled, week.skipped, week.missed)
        wait = "" if week.wait_hours is None else f"{week.wait_hours:.1f}"
        numbers = (f"{count:,}" for count in (*counts, week.without_text))
        table.add_row(when(week.begins)[:10], *numbers, wait)
    return table


def described(found: Statistics) -> Iterator[str]:
    if found.wait_hours is not None:
        yield f"first review after {found.wait_hours:.1f} h (median)"
    yield f"two reviewers: {in_words(found.agreement)}"
    for version, one in found.by_instructions.items():
        yield f"  instructions {version}: {in_words(one)}"
    for names, one in found.by_reviewers.items():
        yield f"  {names}: {in_words(one)}"
    if not found.accuracy:
        yield "no estimate yet: no drawn request is labelled"
    for number, right in found.accuracy.items():
        yield (
            f"version {number}: {right.accuracy:.1%} of its answers are right "
            f"({100 * right.low:.1f}–{100 * right.high:.1f}, 95 %), {right.labelled:,} labelled"
        )
    due = sum(week.drawn - week.open for week in found.weeks)
    lacking = sum(week.skipped + week.missed + week.without_text for week in found.weeks)
    if lacking:
        yield (
            f"estimates lack {lacking:,} of {due:,} drawn requests (skipped, missed, no text): "
            "they hold for the rest"
        )
    if found.picked:
        yield f"{found.picked:,} picked for their value enter no estimate"


def in_words(agreement: Agreement) -> str:
    if not agreement.requests:
        return "no request was labelled by both yet"
    line = f"{agreement.same:,} of {agreement.requests:,} the same"
    if agreement.kappa is None:
        return line
    return f"{line}, kappa {agreement.kappa:.2f} ({agreement.low:.2f}–{agreement.high:.2f}, 95 %)"
