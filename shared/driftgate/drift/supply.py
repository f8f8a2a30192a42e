"""What there is to learn that no training has seen: pairs since the last request, and among them
those with a label, or from a source, that is new to the champion. Pure.

A pair is an answer with what somebody says should have been answered, a label or an edit. Requests
are counted, so one that is told twice counts once, for as long as one of these words was not taken
back; of each sort no more are kept than its trigger waits for.

A *new label* is one that the champion never gave to its held-out cases. A *new source* is a value
of a slice that had its first pair after the data of the champion's training ended. Of the seed that
a model was launched with nothing is known here, so what comes in the first days is not new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from driftgate.drift.observations import Observation, Word
from driftgate.events import DAY_MS, Verdict
from driftgate.latest_word import RETRACTION, retracts
from driftgate.model_repo import ModelYaml
from driftgate.slices import ALL

# Values that have a pair in the first days after the very first pair belong to the launch.
LAUNCH_MS = 14 * DAY_MS
# Values of slices that are told apart; those that come later are not new sources.
VALUES = 1000
# Words on one request that are remembered, the newest.
WORDS = 100
PAIRS, LABEL, SOURCE = "pairs", "label:", "source:"
SHARE, OF_ALL = "share:", f"|{ALL}"


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of the champion's training.

    Attributes:
        labels: that it gave to held-out cases; None where that was not measured.
        until: its data end here, ms.
    """

    labels: frozenset[str] | None = None
    until: int = 0

    def lacks(self, label: str) -> bool:
        return self.labels is not None and label not in self.labels


def learned(verdict: Verdict | None) -> Learned:
    """By the verdict on the champion; nothing where there is none."""
    if verdict is None:
        return Learned()
    shares = {
        key.removeprefix(SHARE).removesuffix(OF_ALL): share
        for key, share in verdict.reference.items()
        if key.startswith(SHARE) and key.endswith(OF_ALL)
    }
    given = frozenset(label for label, share in shares.items() if share > 0)
    return Learned(given if shares else None, verdict.time)


@dataclass(frozen=True, slots=True)
class New:
    """How many pairs there are since the last request: in all, by new label, and by new source, as
    name=value."""

    pairs: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """A word that makes a pair, and as what it counts."""

    word: Word
    counts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Supply:
    """What was counted since the last request.

    Attributes:
        since: time of that request, ms.
        requests: ids of the requests that have a pair, by what they count as.
        first: when each value of a named slice had its first pair, ms.
        words: that make the pairs, by request; none of what an older release counted.
    """

    since: int = 0
    requests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, tuple[Said, ...]] = field(default_factory=dict)

    def new(self, known: Learned) -> New:
        sources = new_sources(self.first, known)
        return New(
            len(self.requests.get(PAIRS, ())),
            {label: pairs for label, pairs in self.counted(LABEL) if known.lacks(label)},
            {source: pairs for source, pairs in self.counted(SOURCE) if source in sources},
        )

    def counted(self, sort: str) -> Iterator[tuple[str, int]]:
        for name, found in sorted(self.requests.items()):
            if name.startswith(sort):
                yield name.removeprefix(sort), len(found)


def new_sources(first: Mapping[str, int], known: Learned) -> frozenset[str]:
    """Values of slices that are new to the champion, by when each had its first pair, ms."""
    if not first:
        return frozenset()
    learned_until = max(known.until, min(first.values()) + LAUNCH_MS)
    return frozenset(source for source, time in first.items() if time > learned_until)


def supplied(
    supply: Supply,
    observations: Iterable[Observation],
    config: ModelYaml,
    known: Learned,
    since: int,
) -> Supply:
    """With what was said since, in any order. `since`: of the last request, ms."""
    # A dict keeps the order in which requests came.
    goes_on = since <= supply.since
    found = {name: dict.fromkeys(ids) for name, ids in supply.requests.items() if goes_on}
    words = dict(supply.words) if goes_on else {}
    pairs = told(observations, config)
    first = firsts(supply.first, pairs, config)
    sources = new_sources(first, known)
    for one in pairs:
        before = words.pop(one.request_id, ())
        if one.taught is None:
            left = standing(before, one)
            drop(found, one.request_id, left)
        elif one.time > since:
            left = said(before, one, count(found, one, counts_as(one, config, known, sources)))
        else:
            left = before
        if left:
            words[one.request_id] = left
    kept = {name: tuple(ids) for name, ids in found.items() if ids}
    return Supply(max(since, supply.since), kept, first, words)


def count(
    found: dict[str, dict[str, None]], one: Observation, wanted: Iterable[tuple[str, int]]
) -> tuple[str, ...]:
    """Adds a pair to what it counts as, and tells that; see `counts_as`."""
    counts = []
    for name, enough in wanted:
        ids = found.setdefault(name, {})
        if one.request_id in ids or len(ids) < enough:
            ids[one.request_id] = None
            counts.append(name)
    return tuple(counts)


def said(before: Sequence[Said], one: Observation, counts: tuple[str, ...]) -> tuple[Said, ...]:
    """With the word of a pair, unless it is there."""
    if one.word is None or not counts:
        return tuple(before)
    new = Said(one.word, counts)
    return tuple(before) if new in before else (*before, new)[-WORDS:]


def standing(before: Iterable[Said], retraction: Observation) -> tuple[Said, ...]:
    """The words that a retraction leaves."""
    back = retraction.word
    return tuple(one for one in before if back is None or not retracts(back, one.word))


def drop(found: Mapping[str, dict[str, None]], request_id: str, left: Iterable[Said]) -> None:
    """A request counts as no more than the words that are left on it."""
    stands = {name for one in left for name in one.counts}
    for name in found.keys() - stands:
        found[name].pop(request_id, None)


def told(observations: Iterable[Observation], config: ModelYaml) -> list[Observation]:
    """Pairs and what takes them back, by time; none where nobody waits for pairs."""
    triggers = config.triggers
    if not (triggers.new_pairs or triggers.new_label or triggers.new_source):
        return []
    found = [one for one in observations if one.taught is not None or is_retraction(one)]
    return sorted(found, key=lambda one: one.order)


def is_retraction(one: Observation) -> bool:
    return one.word is not None and one.word.kind == RETRACTION


def firsts(
    known: Mapping[str, int], pairs: Iterable[Observation], config: ModelYaml
) -> Mapping[str, int]:
    """When each source had its first pair, with these pairs."""
    if not config.triggers.new_source:
        return known
    found, names = dict(known), config.slice_names
    for one in pairs:
        for source in sources_of(one, names) if one.taught is not None else ():
            if source in found or len(found) < VALUES:
                found[source] = min(one.time, found.get(source, one.time))
    return found


def counts_as(
    one: Observation, config: ModelYaml, known: Learned, sources: Collection[str]
) -> Iterator[tuple[str, int]]:
    """As what a pair counts, and how many of that are waited for. sources: the new ones."""
    triggers = config.triggers
    if triggers.new_pairs:
        yield PAIRS, triggers.new_pairs
    if triggers.new_label and one.taught and known.lacks(one.taught):
        yield f"{LABEL}{one.taught}", triggers.new_label
    if triggers.new_source and sources:
        for source in sources_of(one, config.slice_names):
            if source in sources:
                yield f"{SOURCE}{source}", triggers.new_source


def sources_of(one: Observation, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name in one.answer.slices:
            yield f"{name}={one.answer.slices[name]}"
