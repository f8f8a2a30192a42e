"""Commands of operators, and decisions as they read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from uuid import uuid4

from driftgate.errors import BadConfig
from driftgate.events import AuditEntry, Command, CommandKind, Rollout

ERASURE = ("erase", "erasure")


def new_command(
    model: str,
    kind: CommandKind,
    args: Mapping[str, str],
    actor: str,
    reason: str,
    time: int,
    version: int | None = None,
) -> Command:
    """A command under a new id. `time` in ms; `version` is the one that it is about.

    Raises:
        BadConfig: it asks for an erasure, which no service does yet.
    """
    asked = {args.get("reason"), reason.strip().lower()} if kind == "retrain" else {kind}
    if asked & {*ERASURE}:
        raise BadConfig(
            f"{kind} of {model}: a person's rows cannot be erased yet, and a retrain would learn "
            "from them again, whatever its reason; `driftgate subject` finds them"
        )
    return Command(
        command_id=uuid4().hex,
        model=model,
        kind=kind,
        version=version,
        args=dict(args),
        actor=actor,
        reason=reason,
        time=time,
    )


def on_trial(kind: CommandKind, state: Rollout | None) -> int | None:
    """The version that whoever says `rollback` or `promote` and names none means: the one that is
    tried, and for a rollback also a new champion that is watched. None where there is none: by the
    time that an operator says `rollback`, the version that was meant may have been taken back."""
    if state is None or state.challenger is not None or kind == "promote":
        return state.challenger if state else None
    return state.champion if state.stage != "idle" else None


def nothing_on_trial(kind: CommandKind, state: Rollout | None, command: str) -> str:
    """Why nothing was ordered; `command` takes the champion back."""
    if state is None or state.champion is None:
        return f"{kind}: no version was released yet; nothing was ordered"
    told = f"{kind}: version {state.champion} is champion and none is tried ({state.words})"
    if kind == "promote":
        return f"{told}; nothing was ordered"
    return f"{told}; nothing was ordered, {command} takes the champion back"


def describe(entries: Iterable[AuditEntry], numbers: bool) -> Iterator[str]:
    """Audit entries as lines for people, oldest first; `numbers` adds the evidence."""
    for entry in entries:
        version = "" if entry.version is None else f" v{entry.version}"
        what = f"{entry.service}{version}  {entry.decision}: {entry.words}"
        yield f"{when(entry.time)}  {what}"
        if numbers:
            for name, evidence in (("inputs", entry.inputs), ("result", entry.result)):
                yield f"    {name}: {json.dumps(json.loads(evidence), ensure_ascii=False)}"


def when(ms: int) -> str:
    """A time for people, to the minute, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
