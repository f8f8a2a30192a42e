"""`driftgate review`: people look at a random sample of answers."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from driftgate.config import Settings
from driftgate.errors import BadConfig
from driftgate.events import Feedback
from driftgate.review.question import Question
from driftgate.review.statistics import monday
from driftgate.store import Store
from driftgate.tasks import task_of
from services.console.dead_letter_selection import moment
from services.console.declarations import model_yaml
from services.console.operators import when
from services.console.orders import send
from services.console.review_event import Desk, Word, review_of
from services.console.review_queue import Queue, Value, refuse_without_sample
from services.console.review_words import (
    asked,
    choices_of,
    confirmed,
    described,
    nothing,
    numbered,
    weeks_table,
)
from services.console.terminal import (
    HERE,
    KAFKA,
    STORE,
    State,
    actor,
    console,
    now,
    reaching,
    reports_errors,
    say,
    settings,
)

app = typer.Typer(
    help="People look at a random sample of answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

# Ingestion stores a feedback within a second or two.
STORED_SECONDS = 10.0
POLL_SECONDS = 0.1
SKIP, QUIT = "s", "q"

RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID")]
Reviewer = Annotated[str, typer.Option(help="who reviews; you, if absent")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON value, for scripts")]
Why = Annotated[str, typer.Option(help="why, in a few words")]
Picked = Annotated[
    str,
    typer.Option(
        metavar="REASON",
        help="review a request that was not drawn; it is learned from and enters no estimate",
    ),
]


@app.command(name="next")
@reports_errors
def next_(
    model: str,
    reviewer: Reviewer = "",
    picked: Annotated[
        Value | None, typer.Option(help="offer what is worth a look instead of the sample")
    ] = None,
    as_json: AsJson = False,
    state: State = HERE,
) -> None:
    """The next request to look at, with the answers that versions gave."""
    with opened(model, reviewer, state) as (_, desk):
        question = offered(desk, picked)
    if as_json:
        say(json.dumps(question and asdict(question), ensure_ascii=False))
    elif question is None:
        say(nothing(model, desk, picked))
    else:
        for line in asked(question):
            say(line)
        if question.labels:
            say(f"labels: {', '.join(question.labels)}")
        command = f"driftgate review label {model} {shlex.quote(question.request_id)} LABEL"
        why = f" --picked {question.picked}" if question.picked else ""
        say(f"`{command}{why}{desk.options}` says what is right, `skip` passes it over")


@app.command()
@reports_errors
def label(
    model: str,
    request_id: RequestId,
    right: Annotated[str, typer.Argument(metavar="[LABEL]", help="the right label")] = "",
    edit: Annotated[str, typer.Option(help="the right text, where the model answers texts")] = "",
    reason: Why = "",
    picked: Picked = "",
    reviewer: Reviewer = "",
    state: State = HERE,
) -> None:
    """Says what the right answer to a request is. A reviewer's later word replaces the earlier."""
    if bool(right) == bool(edit):
        raise BadConfig("expected either LABEL or --edit TEXT")
    with opened(model, reviewer, state) as (found, desk):
        word = Word(right or None, edit or None, reason or None, picked)
        review(desk, found, request_id, word)


@app.command()
@reports_errors
def skip(
    model: str,
    request_id: RequestId,
    reason: Annotated[str, typer.Option(help="why it cannot be judged, such as unreadable")],
    picked: Picked = "",
    reviewer: Reviewer = "",
    state: State = HERE,
) -> None:
    """Passes a request over. Others are still asked, until two have passed it over."""
    if not reason.strip():
        raise BadConfig(f"--reason {reason!r}: expected why it cannot be judged, in a few words")
    with opened(model, reviewer, state) as (found, desk):
        review(desk, found, request_id, Word(reason=f"skip: {reason}", picked=picked))


@app.command()
@reports_errors
def work(
    model: str,
    reviewer: Reviewer = "",
    picked: Annotated[
        Value | None, typer.Option(help="offer what is worth a look instead of the sample")
    ] = None,
    state: State = HERE,
) -> None:
    """One request after another, labelled by number."""
    done: list[str] = []
    with opened(model, reviewer, state) as (found, desk):
        if task_of(desk.queue.declared.task).outputs is None:
            raise BadConfig(f"{model} answers texts: expected `driftgate review label --edit`")
        while question := offered(desk, picked, done):
            for line in asked(question):
                say(line)
            word = chosen(choices_of(question))
            if word is None:
                break
            done.append(question.request_id)
            # What was just said is in `done`, so nobody waits for the store.
            word = replace(word, picked=question.picked or "")
            review(desk, found, question.request_id, word, wait=False)
        else:
            say(nothing(model, desk, picked))
    say(f"{len(done)} reviewed")


@app.command()
@reports_errors
def stats(
    model: str,
    since: Annotated[
        str, typer.Option(help="requests since: 30d, 8w back from now, or an ISO time")
    ] = "8w",
    as_json: AsJson = False,
    state: State = HERE,
) -> None:
    """How far the sample is, whether reviewers agree, and how often each version is right."""
    with opened(model, "", state) as (_, desk):
        refuse_without_sample(desk.queue.declared)
        begin = monday(moment("--since", since, desk.queue.now))
        found = desk.queue.statistics(begin)
        keeps_text = desk.queue.declared.data.keep_text
    if as_json:
        say(json.dumps({"model": model, "since": begin, **asdict(found)}, ensure_ascii=False))
        return
    say(f"{model}: review sample of requests since {when(begin)} UTC")
    if not keeps_text:
        say("its texts are not kept (`data.keep_text: false`), so nobody can be asked about them")
    if not found.weeks and not found.picked:
        say("no request was drawn")
        return
    console.print(weeks_table(found))
    for line in described(found):
        say(line)


# ---------------------------------------------------------------- what the commands share


@contextmanager
def opened(model: str, reviewer: str, state: Path) -> Iterator[tuple[Settings, Desk]]:
    """
    Raises:
        BadConfig: no such model is declared.
        BusUnavailable, StoreUnavailable
    """
    found = settings(state, KAFKA, STORE)
    with closing(Store.connect(found.store, found.database)) as store:
        queue = Queue(store, model_yaml(found, model), now(found))
        yield found, Desk(queue, reviewer or actor(), reaching(state))


def offered(desk: Desk, picked: Value | None, done: list[str] | None = None) -> Question | None:
    """
    Raises:
        BadConfig: the model draws no sample.
    """
    if picked is None:
        refuse_without_sample(desk.queue.declared)
    return desk.queue.next(desk.reviewer, picked, done or ())


def review(desk: Desk, found: Settings, request_id: str, word: Word, wait: bool = True) -> None:
    """Sends one review, and returns once it is stored.

    Raises:
        BadConfig, BadInput: see `review_of`.
        BusUnavailable, StoreUnavailable
    """
    made = review_of(desk, request_id, word, now(found))
    before = desk.queue.said_of(request_id).get(desk.reviewer)
    send(found, made)
    say(confirmed(made, before))
    if wait and not is_stored(desk.queue, made):
        say(
            f"Kafka has it, the store has not yet: `driftgate status{desk.options}` tells whether "
            "ingest-logger runs"
        )


def is_stored(queue: Queue, made: Feedback) -> bool:
    """Whether ingestion has stored it before long: `next` offers it no more then."""
    deadline = time.monotonic() + STORED_SECONDS
    while not queue.is_stored(made):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def chosen(choices: tuple[str, ...]) -> Word | None:
    """What the reviewer types: the number of a label, or why there is none; None ends the work, as
    the end of the input does."""
    for line in numbered(choices, console.width):
        say(line)
    labels = {str(number): choice for number, choice in enumerate(choices, 1)}
    with suppress(typer.Abort):
        while (typed := typer.prompt(f"1 to {len(choices)}, {SKIP} skip, {QUIT} quit")) != QUIT:
            if typed == SKIP:
                return Word(reason=f"skip: {typer.prompt('why')}")
            if typed in labels:
                return Word(labels[typed])
            say(f"{typed!r}: expected a number from 1 to {len(choices)}, {SKIP} or {QUIT}")
    return None
