"""Which groups of inputs are new since a time: random answers of the time before and since, as the
store keeps their texts, that is masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftgate.drift.new_groups import Group, new_groups
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS
from driftgate.store import Store
from services.console.operators import when
from services.console.stored_events import stored

if TYPE_CHECKING:
    from driftgate.drift.new_groups import Embeddings

# Texts that are read of each time: a group of 10 % is so known to 2 points.
TEXTS = 1_000
RECENT_MS = 7 * DAY_MS
# Characters of a text that are looked at.
LONGEST = 2_000

SAMPLE = f"""
SELECT request_id, left(assumeNotNull(input), {LONGEST}) AS text, output
FROM inferences
WHERE model = {{model:String}} AND role = 'live' AND input IS NOT NULL
    AND time >= fromUnixTimestamp64Milli({{since:Int64}})
    AND time < fromUnixTimestamp64Milli({{until:Int64}})
ORDER BY cityHash64(request_id), partition, offset
LIMIT 1 BY request_id
LIMIT {TEXTS}
"""  # noqa: S608
INCIDENTS = """
SELECT incident_id, toUnixTimestamp64Milli(window_start) AS since,
    toUnixTimestamp64Milli(since_earliest) AS earliest
FROM drift_alerts FINAL
WHERE model = {model:String} AND incident_id != ''
ORDER BY time DESC, offset DESC
LIMIT 1 BY incident_id
"""

Embed = Callable[[Sequence[str]], "Embeddings"]


@dataclass(frozen=True, slots=True)
class Answered:
    request_id: str
    text: str
    output: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of new texts, and some answers to them, the most typical first."""

    group: Group
    examples: tuple[Answered, ...]

    @property
    def name(self) -> str:
        return ", ".join(self.group.words) or "(no words of its own)"


@dataclass(frozen=True, slots=True)
class Found:
    """
    Attributes:
        since, until: the time that is looked at, ms.
        incident: whose beginning that is; empty where the time was given.
        before, texts: how many texts of the time before, and since, were looked at.
        clusters: the largest first.
    """

    since: int
    until: int
    incident: str
    before: int
    texts: int
    clusters: tuple[Cluster, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Since when, ms; before: until when inputs are as they were, which is earlier where nobody
    knows when the change began."""

    since: int
    before: int
    incident: str = ""


def of_incident(store: Store, model: str, incident: str | None, until: int) -> Asked:
    """The time of an incident, or of the newest one; of the last days where there is none.

    Raises:
        BadConfig: there is no such incident.
        StoreRefused, StoreUnavailable
    """
    known = store.query(INCIDENTS, model=model)
    found = [row for row in known if incident in (None, row["incident_id"])]
    if incident is not None and not found:
        ids = ", ".join(row["incident_id"] for row in known[:3]) or "none"
        raise BadConfig(f"--incident {incident}: expected one of {model}; the newest are: {ids}")
    if not found:
        return Asked(until - RECENT_MS, until - RECENT_MS)
    since, earliest = found[0]["since"], found[0]["earliest"]
    return Asked(since, min(since, earliest) if earliest else since, found[0]["incident_id"])


def clusters(store: Store, model: str, asked: Asked, until: int, embed: Embed) -> Found:
    """What is new from `asked.since` to before `until`, ms.

    Raises:
        BadConfig: no texts are stored of one of the times.
        StoreRefused, StoreUnavailable
    """
    before = sample(store, model, 0, asked.before)
    since = sample(store, model, asked.since, until)
    for what, texts, time in (("before", before, asked.before), ("since", since, asked.since)):
        if not texts:
            raise BadConfig(
                f"{model}: no texts are stored of answers {what} {when(time)} UTC: expected "
                "`data.keep_text: true` in model.yaml, and a --since that has answers before it"
            )
    vectors = embed([one.text for one in (*before, *since)])
    groups = new_groups(
        vectors[: len(before)],
        vectors[len(before) :],
        [one.text for one in before],
        [one.text for one in since],
    )
    found = tuple(Cluster(group, tuple(since[at] for at in group.examples)) for group in groups)
    return Found(asked.since, until, asked.incident, len(before), len(since), found)


def sample(store: Store, model: str, since: int, until: int) -> list[Answered]:
    """Random live answers, the same ones each time."""
    rows = store.query(SAMPLE, model=model, since=since, until=until)
    return [Answered(**row) for row in rows]


def newest(store: Store, model: str) -> int:
    """The end of what is stored of a model, ms.

    Raises:
        BadConfig: nothing is.
        StoreRefused, StoreUnavailable
    """
    return stored(store, model).last + 1
