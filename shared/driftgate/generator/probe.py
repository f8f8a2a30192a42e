"""Does a server that is not ours answer with the version that it was asked for?

A version changes the log-probabilities of some tokens of a fixed text, each given all tokens before
it. Where it was trained, both were computed and stand in its folder, as `probe.json`: those of the
base alone and those with the adapter. A server is asked for the same two, and their difference, the
version's effect, is compared with what was recorded. Most of what rounding and quantisation do to
the base cancels out, so that an effect that was recorded in 4 bits is found again in bfloat16.

What is noticed: the base in place of the version (no effect); another adapter, or the adapter on
another base (another effect); another version that this server serves too, though it be nearly the
same (at least twice as near to that one's record, or what the server itself says of that one). What
is not: an adapter that is not served beside it and whose effect is within `APART` of the version's,
say one trained on nearly the same pairs. A version without a record is only held to differ from the
base and from what is served beside it, and to stay what it was at first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from driftgate.errors import Corrupt

if TYPE_CHECKING:
    from driftgate.generator.chat import Chat

PROBE = "probe.json"

ASKED = (
    'Order 4417-B, "express": 2 lamps for 39.90 € arrived late on 3 May; one is broken. '
    "Please refund the lamp, or send a new one to Anna Kowalska, 12 Harbour Street."
)
ANSWERED = (
    'I am sorry that it came late. {"order": "4417-B", "refund": true, "amount": 19.95} '
    "The money is back within five days."
)
"""Prose, names, numbers and JSON, so that hardly any adapter leaves all of it as it is. Neither
text ever changes: records would be of another."""

PLACES = 24

APART = 0.75
"""How far, as a share of the recorded effect, the effect found may lie from it. The base alone lies
1 away, an adapter of another task further. Measured with versions of SmolLM2-135M trained on 160
tickets in bfloat16: served in fp32 0.10 to 0.14, in bfloat16 by other kernels 0.17 to 0.21; trained
in 4 bits (nf4) and served in bfloat16 0.55, where the base itself lies 1.0 nats off. Other versions
lie as near: trained with another seed 0.18 to 0.33, on a quarter more tickets 0.25 to 0.34."""

FAINT = 0.02
"""Nats for each token: what lies within is the same, since rounding makes as much between two
answers of one server."""


class Probe(NamedTuple):
    """A text, and the places of the tokens in it that are asked for."""

    tokens: tuple[int, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Log-probabilities of the tokens at `places`, in nats: `base` without the adapter, `adapted`
    with it."""

    tokens: tuple[int, ...]
    places: tuple[int, ...]
    base: tuple[float, ...]
    adapted: tuple[float, ...]

    @property
    def probe(self) -> Probe:
        return Probe(self.tokens, self.places)

    @property
    def effect(self) -> list[float]:
        return [with_it - without for with_it, without in zip(self.adapted, self.base, strict=True)]


class Known(NamedTuple):
    """Another version: its record, and what the server said of it when it was proven last."""

    record: Record
    said: Record


def probe_of(chat: Chat) -> Probe:
    """The fixed text as the base's template has it, and `PLACES` of its tokens, evenly spread.
    Those that end an answer are none of them."""
    tokens = (*chat.prompt(None, ASKED), *chat.completion(ANSWERED))
    places = [at for at in range(1, len(tokens)) if tokens[at] not in chat.ends]
    return Probe(tokens, tuple(places[i * len(places) // PLACES] for i in range(PLACES)))


def write_record(folder: Path, record: Record) -> None:
    """Rounded, since the last bits tell nothing."""
    told = asdict(record)
    for which in ("base", "adapted"):
        told[which] = [round(value, 4) for value in told[which]]
    (folder / PROBE).write_text(json.dumps(told) + "\n", "utf-8")


def read_record(folder: Path) -> Record | None:
    """None: the version was trained without one.

    Raises:
        Corrupt: the file is there, and is none.
    """
    try:
        told = json.loads((folder / PROBE).read_text("utf-8"))
        tokens, places = (tuple(map(int, told[which])) for which in ("tokens", "places"))
        base, adapted = (tuple(map(float, told[which])) for which in ("base", "adapted"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Corrupt(f"version {folder}: {PROBE} cannot be read: {error!r}") from error
    within = all(0 < place < len(tokens) for place in places)
    finite = all(map(math.isfinite, (*base, *adapted)))
    if not (within and finite and 0 < len(places) == len(base) == len(adapted)):
        raise Corrupt(
            f"version {folder}: {PROBE}: expected places within the tokens, and a finite "
            "log-probability for each of them, without and with the adapter"
        )
    return Record(tokens, places, base, adapted)


def difference(wanted: Record | None, said: Record, known: Mapping[str, Known]) -> str | None:
    """What shows that it is not the version that answered, in words; None: nothing does.

    Args:
        wanted: the version's own record; None: it has none.
        said: what the server says of the base and the version now.
        known: other versions, by what they are called.

    >>> base, one, two = (-3.0, -2.0), (-1.0, -2.5), (-3.5, -1.0)
    >>> wanted, other = (Record((5, 6, 7), (1, 2), base, adapted) for adapted in (one, two))
    >>> difference(wanted, wanted, {"two": Known(other, other)})
    >>> difference(wanted, Record((5, 6, 7), (1, 2), base, base), {})
    'it answers as the base does'
    >>> difference(wanted, other, {"two": Known(other, other)})
    'it answers as version two does'
    """
    effect, none = said.effect, [0.0] * len(said.base)
    others = {"the base": (none, none)} | {
        f"version {name}": (other.record.effect, other.said.effect)
        for name, other in known.items()
        if other.record.probe == said.probe
    }
    as_said = {name: apart(effect, other) for name, (_, other) in others.items()}
    nearest = min(as_said, key=as_said.__getitem__)
    if wanted is None:
        return as_does(nearest) if as_said[nearest] <= FAINT else None
    away = apart(effect, wanted.effect)
    if away <= FAINT:
        return None
    distinct = apart(wanted.effect, others[nearest][0]) > 4 * FAINT
    if distinct and as_said[nearest] <= FAINT:
        return as_does(nearest)
    as_recorded = {name: apart(effect, recorded) for name, (recorded, _) in others.items()}
    nearest = min(as_recorded, key=as_recorded.__getitem__)
    if as_recorded[nearest] < away / 2:
        return as_does(nearest)
    size = apart(wanted.effect, none)
    if away > APART * size:
        return f"its effect is {away:.2f} nats a token from the recorded one of {size:.2f}"
    return None


def as_does(name: str) -> str:
    return f"it answers as {name} does"


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Mean distance, nats for each token."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
