"""Why a world ended early, as the system itself says: its decisions and dead letters, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driftgate.bus import Bus
from driftgate.bus_tools import decoded, events
from driftgate.codec import Codec
from driftgate.errors import DriftgateError
from driftgate.events import (
    DLQ,
    AuditEntry,
    Candidate,
    Command,
    DeadLetter,
    Model,
    RetrainRequest,
    Verdict,
)

DECIDERS = ("trainer", "evaluator", "promoter")
# Events whose key is the model, so that a dead letter is known to be this model's.
BY_MODEL = (Model, Command, RetrainRequest, Candidate, Verdict)
LAST = 8


def reasons(
    entries: Iterable[AuditEntry], dead_letters: Iterable[DeadLetter], model: str
) -> list[str]:
    """The last decisions about a model and its dead letters, one a line, oldest first."""
    decided = [
        f"{entry.service}, {entry.decision}: {entry.words}"
        for entry in entries
        if entry.model == model and entry.service in DECIDERS
    ]
    given_up = [
        f"{letter.service} could not use a record of topic {letter.topic}: {letter.message}"
        for letter in dead_letters
        if letter.key == model.encode()
    ]
    return [*decided[-LAST:], *given_up[-LAST:]]


def read_reasons(bus: Bus, codec: Codec, model: str) -> list[str]:
    """The reasons that a running system knows; when it cannot be asked, that."""
    try:
        entries = list(events(bus, codec, AuditEntry))
        records = bus.read_all([kind.TOPIC + DLQ for kind in BY_MODEL])
        dead_letters = [letter for _, letter in decoded(codec, records)]
    except DriftgateError as error:
        return [f"its decisions could not be read: {error}"]
    return reasons(entries, dead_letters, model)


def with_reasons(error: BaseException, found: Sequence[str]) -> str:
    """A failure's message with what led to it."""
    if not found:
        return f"{error}; no decision and no dead letter says why"
    return "\n".join([f"{error}. What the system says:", *(f"  {line}" for line in found)])
