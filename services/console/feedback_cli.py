"""`driftgate feedback`: who gives feedback to which answers, and whether that is as declared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from driftgate.errors import BadConfig
from driftgate.events import DAY_MS
from driftgate.feedback_check import Finding, check
from driftgate.feedback_seen import DAYS, read
from driftgate.store import Store
from services.console.dead_letter_selection import moment
from services.console.declarations import model_yaml
from services.console.operators import when
from services.console.terminal import (
    HERE,
    KAFKA,
    STORE,
    State,
    now,
    reports_errors,
    say,
    settings,
)


@reports_errors
def feedback(
    model: str,
    since: Annotated[
        str,
        typer.Option(
            help="answers since: 5w, 40d back from now, or an ISO time; if absent, 28 days of "
            "answers that people have had their time to speak of"
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")] = False,
    state: State = HERE,
) -> None:
    """Who gives feedback to which answers, and whether that is as declared."""
    found = settings(state, KAFKA, STORE)
    declared = model_yaml(found, model).feedback
    time = now(found)
    end = time - declared.settled_ms
    begin = moment("--since", since, time) if since else end - DAYS * DAY_MS
    if begin >= end:
        raise BadConfig(
            f"--since {since}: expected before {when(end)} UTC, since nobody has had time to speak "
            f"of newer answers (feedback.settled_hours is {declared.settled_hours:g})"
        )
    with closing(Store.connect(found.store, found.database)) as store:
        seen = read(store, model, begin, end, declared.settled_ms)
    findings = check(declared.profile, seen)
    if as_json:
        told = {"model": model, "profile": declared.profile, "since": begin, "until": end}
        say(json.dumps(told | {"findings": [asdict(one) for one in findings]}, ensure_ascii=False))
        return
    say(
        f"{model} declares {', '.join(declared.profile)}; answers from {when(begin)} to "
        f"{when(end)} UTC, at least {declared.settled_hours:g} hours old"
    )
    for line in described(findings):
        say(line)


def described(findings: Sequence[Finding]) -> Iterator[str]:
    """Findings for people; what speaks against the declaration says what to do."""
    for one in findings:
        yield f"{one.about}: {one.verdict}"
        yield f"    {one.saw}"
        if one.means:
            yield f"    that means: {one.means}"
        if one.instead:
            yield f"    instead: {one.instead}"
