"""Does a server that is not ours answer with the version that it was asked for?

A version changes the log-probabilities of a fixed text, each token given those before it. Where it
was trained, both were computed and stand in its folder, as `probe.json`: those of the base alone
and those with the adapter. A server is asked for the same two, and their difference, the version's
effect, is compared with what was recorded. What rounding and quantisation do to the base's own
log-probabilities cancels out, so that the effect recorded in 4 bits is found again in bfloat16.

What is noticed: the base in place of the version (no effect), another adapter (an effect of its
own, or one nearer to that of another version that is known), an adapter scaled wrongly, another
base. What is not: an adapter whose effect on this text is within `APART` of the version's and that
is not known here; a version without a record is only held to differ from all that is known, and to
stay the same from then on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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

APART = 0.4
"""How far, as a share of the recorded effect, the effect found may lie from it. The base alone lies
1 away."""

FAINT = 0.01
"""Nats for each token: effects within it are taken for none, since rounding makes as much."""

FOREIGN = 0.75
"""Nats for each token that a base may lie from the recorded one. 4 bits cost some 0.2; another base
is several away."""


@dataclass(frozen=True, slots=True)
class Record:
    """Log-probabilities of `tokens[1:]`, in nats: `base` without the adapter, `adapted` with it."""

    tokens: tuple[int, ...]
    base: tuple[float, ...]
    adapted: tuple[float, ...]

    @property
    def effect(self) -> list[float]:
        return [with_it - without for with_it, without in zip(self.adapted, self.base, strict=True)]


def probe_tokens(chat: Chat) -> tuple[int, ...]:
    """The fixed text as its base's template has it."""
    return (*chat.prompt(None, ASKED), *chat.completion(ANSWERED))


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
        tokens = tuple(map(int, told["tokens"]))
        base, adapted = (tuple(map(float, told[which])) for which in ("base", "adapted"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Corrupt(f"version {folder}: {PROBE} cannot be read: {error!r}") from error
    if not len(tokens) - 1 == len(base) == len(adapted) or not all(
        map(math.isfinite, (*base, *adapted))
    ):
        raise Corrupt(
            f"version {folder}: {PROBE}: expected one finite log-probability for each token after "
            "the first, without and with the adapter"
        )
    return Record(tokens, base, adapted)


def difference(wanted: Record | None, found: Record, known: Mapping[str, Record]) -> str | None:
    """What shows that it is not the version that answered, in words; None: nothing does.

    Args:
        wanted: the version's own record; None: it has none.
        found: what the server says of the base and the version.
        known: records of the other versions, by what they are called.

    >>> base, one, two = (-3.0, -2.0), (-1.0, -2.5), (-3.5, -1.0)
    >>> wanted, other = Record((5, 6, 7), base, one), Record((5, 6, 7), base, two)
    >>> difference(wanted, wanted, {"two": other})
    >>> difference(wanted, Record((5, 6, 7), base, base), {})
    'it answers as the base does'
    >>> difference(wanted, other, {"two": other})
    'it answers as version two does'
    """
    nothing = [0.0] * len(found.base)
    effect = found.effect
    others = {f"version {name}": r.effect for name, r in known.items() if r.tokens == found.tokens}
    others["the base"] = nothing
    nearest = min(others, key=lambda name: apart(effect, others[name]))
    if wanted is None:
        same = apart(effect, others[nearest]) <= FAINT
        return f"it answers as {nearest} does" if same else None
    if (foreign := apart(found.base, wanted.base)) > FOREIGN:
        return f"its base is another: {foreign:.2f} nats a token from the one trained on"
    away = apart(effect, wanted.effect)
    if away <= FAINT:
        return None
    if apart(effect, others[nearest]) < away / 2:
        return f"it answers as {nearest} does"
    size = apart(wanted.effect, nothing)
    if away > APART * size:
        return f"its effect is {away:.2f} nats a token from the recorded one of {size:.2f}"
    return None


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Mean distance, nats for each token."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)
