"""Commands of operators, and decisions as they read them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from uuid import uuid4

from driftgate.errors import BadConfig
from driftgate.events import AuditEntry, Command, CommandKind, Rollout

ERASURE = ("erase", "erasure")
# The id of a retrain ends with its command's, after a colon.
COMMAND_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


def new_command(
    model: str,
    kind: CommandKind,
    args: Mapping[str, str],
    actor: str,
    reason: str,
    time: int,
    version: int | None = None,
    command_id: str | None = None,
) -> Command:
    """A command, under a new id if none is given. `time` in ms; `version`: what it is about.

    Raises:
        BadConfig: it asks for an erasure, which no service does yet, or the id cannot be one.
    """
    if command_id is not None and not COMMAND_ID.fullmatch(command_id):
        wanted = "expected 1 to 64 letters, digits, '.', '_' and '-'"
        raise BadConfig(f"--command-id {command_id!r}: {wanted}")
    asked = {args.get("reason"), reason.strip().lower()} if kind == "retrain" else {kind}
    if asked & {*ERASURE}:
        raise BadConfig(
            f"{kind} of {model}: a person's rows cannot be erased yet, and a retrain would learn "
            "from them again, whatever its reason; `driftgate subject` finds them"
        )
    return Command(
        command_id=command_id or uuid4().hex,
        model=model,
        kind=kind,
        version=version,
        args=dict(args),
        actor=actor,
        reason=reason,
        time=time,
    )


def refuse_another(before: Command, command: Command) -> None:
    """
    Raises:
        BadConfig: what was sent before under the same id asks for something else.
    """
    if order_in_words(before) != order_in_words(command):
        wanted = f"expected an id of its own for `{order_in_words(command)}`"
        raise BadConfig(
            f"--command-id {command.command_id!r} belongs to `{order_in_words(before)}`: {wanted}"
        )


def order_in_words(command: Command) -> str:
    """What a command asks for, whoever gave it, when and why. Rows without a date are of the day
    on which they are sent, so a seed that is sent again is stored as another one."""
    about = command.model if command.version is None else f"{command.model}@{command.version}"
    args = (f"{k}={value}" for k, value in sorted(command.args.items()) if k != "seed_uri")
    return " ".join([command.kind, about, *args])


def meant(kind: CommandKind, state: Rollout | None) -> int | None:
    """The version that a command means which names none; None where that cannot be told, and one
    has to be named: another one may have taken its place by the time that an operator speaks."""
    match kind:
        case "rollback":
            return on_trial(state)
        case "abort" | "approve":
            return state.challenger if state else None
    return None


def on_trial(state: Rollout | None) -> int | None:
    """The version that is tried, or a new champion that is watched. None where neither is: by the
    time that an operator says `rollback`, the version that was meant may have been taken back."""
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
    takes_back = f"; `{command} {state.champion}` takes it back"
    return told + takes_back if kind == "rollback" else told


def digest_of(versions: Mapping[int, str], model: str, version: int) -> str:
    """The adapter of a version, by the digests that are known.

    Raises:
        BadConfig: nothing is known of that version.
    """
    if version not in versions:
        known = ", ".join(map(str, sorted(versions))) or "none"
        raise BadConfig(
            f"version {version} of {model}: expected one that was trained ({known}); or name the "
            "adapter by --digest"
        )
    return versions[version]


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
