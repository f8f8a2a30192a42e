"""Every error says whether trying again can help.

DriftgateError
├── Retriable        the same call may succeed later: back off with jitter, within a deadline
│   ├── BusUnavailable
│   │   └── BusGaveUp    what was sent is not sent any more; some of it may have arrived
│   ├── StoreUnavailable
│   ├── ArtifactsUnavailable
│   ├── RegistryUnavailable
│   ├── RouterUnavailable
│   ├── UpstreamUnavailable
│   ├── WrongAdapter  the upstream answers with something else than the version it was asked for
│   ├── QueueFull    as many requests wait as may
│   ├── NotRunning
│   └── NotInTime    what was ordered is not done yet
└── Terminal         trying again gives the same answer
    ├── BadInput     what arrived is wrong; names field, value and what was expected
    ├── BadConfig    what the operator wrote is wrong; names the place and the nearest valid value
    ├── BusRefused   Kafka takes no such record
    ├── StoreRefused the store understood the statement and said no
    └── Corrupt      bytes are not what their hash says
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

MAX_SHOWN = 80


class DriftgateError(Exception):
    """Root of the tree. `retriable` tells the runner what to do."""

    retriable = False


class Retriable(DriftgateError):
    """The same call may succeed later."""

    retriable = True


class Terminal(DriftgateError):
    """Trying again gives the same answer."""


class BusUnavailable(Retriable):
    """Kafka did not answer in time."""


class BusGaveUp(BusUnavailable):
    """What was sent is not sent any more. Some of it may have arrived."""


class StoreUnavailable(Retriable):
    """ClickHouse did not answer, or said that it cannot at present."""


class ArtifactsUnavailable(Retriable):
    """The artifact store, the hub of bases, or the disk that a copy goes to, cannot at present."""


class RegistryUnavailable(Retriable):
    """The Schema Registry did not answer, or said that it cannot at present."""


class RouterUnavailable(Retriable):
    """The router did not answer in time, or serves no version of the model yet."""


class UpstreamUnavailable(Retriable):
    """The server that computes answers did not answer in time, broke off, or said nothing that can
    be read."""


class WrongAdapter(Retriable):
    """The server that computes answers does not answer with the version that it was asked for."""


class QueueFull(Retriable):
    """As many requests wait as may; there is room when one is done."""


class NotRunning(Retriable):
    """No local stack is up in the folder that was named."""


class NotInTime(Retriable):
    """What was ordered is not done within the deadline; it still goes on."""


class BusRefused(Terminal):
    """Kafka takes no such record, however often it is sent: it is too large, say.

    Attributes:
        records: topic, key and value of each that was refused, where the client says which.
    """

    def __init__(
        self,
        message: str,
        records: Sequence[tuple[str, bytes | None, bytes | None]] = (),
    ) -> None:
        super().__init__(message)
        self.records = records


class StoreRefused(Terminal):
    """ClickHouse understood the statement and refused it. `code` is ClickHouse's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Corrupt(Terminal):
    """The bytes found are not the bytes that the hash names."""


class BadConfig(Terminal):
    """What the operator wrote cannot be used."""


class BadInput(Terminal):
    """What arrived cannot be handled: `field` held `value`, `expected` was wanted.

    `reason` is one word of the closed list in `driftgate.dead_letters`.
    """

    def __init__(self, reason: str, field: str, value: Any, expected: str) -> None:
        super().__init__(f"{field}: got {shown(value)}, expected {expected}")
        self.reason = reason
        self.field = field
        self.value = value
        self.expected = expected


def shown(value: Any) -> str:
    """`repr` of a value, cut to a length that is safe in a log line or a dead letter."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text)} characters)"


def nearest(word: str, valid: list[str]) -> str:
    """A hint that names the nearest valid word, or lists a few when none is near."""
    close = get_close_matches(word, valid, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    some = ", ".join(sorted(valid)[:8])
    return f"valid are {some}" + (" …" if len(valid) > 8 else "")
