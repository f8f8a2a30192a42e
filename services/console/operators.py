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


def on_trial(state: Rollout | None) -> int | None:
    """What a rollback means that names no version: the one that is tried, or a new champion that
    is watched. None where neither is: by the time that an operator says `rollback`, the version
    that was meant may have been taken back."""
    if state is None or state.challenger is not None:
        return state.challenger if state else None
    return state.champion if state.stage != "idle" else None


def unnamed(kind: CommandKind, state: Rollout | None, command: str) -> str:
    """Why nothing was ordered where no version was named; `command` lacks the version alone."""
    if state is None or state.champion is None:
        return f"{kind}: nothing was ordered, no version was released yet"
    if state.challenger is not None:
        told = f"version {state.challenger} is tried; name it, since it goes to full traffic"
        return (
            f"{kind}: nothing was ordered, {told} without evidence: `{command} {state.challenger}`"
        )
    told = f"{kind}: nothing was ordered, version {state.champion} is champion and none is tried"
    told += f" ({state.words})" if state.words else ""
    return told if kind == "promote" else f"{told}; `{command} {state.champion}` takes it back"


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
