"""Commands of operators, and decisions as they read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from uuid import uuid4

from driftgate.errors import BadConfig
from driftgate.events import AuditEntry, Command, CommandKind

ERASURE = ("erase", "erasure")


def new_command(
    model: str, kind: CommandKind, args: Mapping[str, str], actor: str, reason: str, time: int
) -> Command:
    """A command under a new id. `time` in ms.

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
        args=dict(args),
        actor=actor,
        reason=reason,
        time=time,
    )


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
