"""What operators say and are told. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4


def command_event(
    model: str, kind: str, args: Mapping[str, str], actor: str, reason: str, time: int
) -> dict[str, Any]:
    """A command, as the topic `commands` wants it. `time` in ms."""
    return {
        "command_id": uuid4().hex,
        "model": model,
        "kind": kind,
        "version": None,
        "args": dict(args),
        "actor": actor,
        "reason": reason,
        "time": time,
    }


def describe(entries: Sequence[Mapping[str, Any]], numbers: bool) -> Iterator[str]:
    """Audit entries as lines for people, oldest first; `numbers` adds the evidence."""
    for entry in entries:
        version = "" if entry["version"] is None else f" v{entry['version']}"
        what = f"{entry['service']}{version}  {entry['decision']}: {entry['words']}"
        yield f"{when(entry['time'])}  {what}"
        if numbers:
            for name in ("inputs", "result"):
                yield f"    {name}: {json.dumps(json.loads(entry[name]), ensure_ascii=False)}"


def when(ms: int) -> str:
    """A time for people, to the minute, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
