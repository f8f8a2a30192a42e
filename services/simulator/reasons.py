"""Why a world ended early, as the system itself says: its decisions and dead letters, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from driftgate.bus import Bus
from driftgate.codec import Codec
from driftgate.errors import DriftgateError
from driftgate.events import DLQ
from driftgate.runner import readable

DECIDERS = ("trainer", "evaluator", "promoter")
# Topics whose key is the model, so that a dead letter can be told to be this model's.
BY_MODEL = ("models", "commands", "retrain.requests", "candidates", "verdicts")
LAST = 8


def reasons(
    entries: Iterable[Mapping[str, Any]], letters: Iterable[Mapping[str, Any]], model: str
) -> list[str]:
    """The last decisions about a model and its dead letters, one a line, oldest first."""
    decided = [
        f"{entry['service']}, {entry['decision']}: {entry['words']}"
        for entry in entries
        if entry["model"] == model and entry["service"] in DECIDERS
    ]
    given_up = [
        f"{letter['service']} could not use a record of topic {letter['topic']}: "
        f"{letter['message']}"
        for letter in letters
        if letter["key"] == model.encode()
    ]
    return [*decided[-LAST:], *given_up[-LAST:]]


def read_reasons(bus: Bus, codec: Codec, model: str) -> list[str]:
    """The reasons that a running system knows; when it cannot be asked, that."""
    try:
        entries = [entry for _, entry in readable(bus, codec, ["audit"])]
        letters = [letter for _, letter in readable(bus, codec, [t + DLQ for t in BY_MODEL])]
    except DriftgateError as error:
        return [f"its decisions could not be read: {error}"]
    return reasons(entries, letters, model)


def with_reasons(error: BaseException, found: Sequence[str]) -> str:
    """A failure's message with what led to it."""
    if not found:
        return f"{error}; no decision and no dead letter says why"
    return "\n".join([f"{error}. What the system says:", *(f"  {line}" for line in found)])
