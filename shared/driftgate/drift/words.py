"""What was said of answers in one bucket of time. Of the words on a request one counts, by
`driftgate.latest_word`, so that a later one takes the place of an earlier one.

What each word tells is looked up when it comes. Many tell the same, so that nothing is left to do
when the bucket closes but to count how many. In whatever order and pieces words came, the counts
are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from driftgate.drift.deduplication import Seen, hash_of
from driftgate.drift.observations import NEITHER, Observation, Word
from driftgate.drift.quality import Basis
from driftgate.latest_word import RETRACTION, latest

# Requests that are told as examples of what is bad.
EXAMPLES = 3


class Saying(NamedTuple):
    """What a word tells.

    Attributes:
        time: when the answer was given, to the minute, ms.
        slices: that the answer is in, as name=value.
        numbers: monitor, stream, and what it tells of that, 0 to 1.
    """

    version: int
    basis: Basis
    time: int
    slices: tuple[str, ...]
    numbers: tuple[tuple[str, str, float], ...]

    @property
    def is_bad(self) -> bool:
        return any(x >= 1 for _, _, x in self.numbers)


Said = tuple[str, int | None, str, str, float | None, int, str | None, str | None]
"""Whose word, as `Observation.kind` says; which saying it is, None where it tells neither right nor
wrong; then of `Word` what the rule looks at. A plain tuple of plain values, since the garbage
collector passes over those: it would look through 100,000 objects while a tick waits."""


@dataclass
class Words:
    """Those of one bucket.

    Attributes:
        sayings: each once.
        said: words and retractions, by request.
    """

    sayings: list[Saying] = field(default_factory=list)
    said: dict[str, tuple[Said, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = {saying: at for at, saying in enumerate(self.sayings)}
        # Which saying counts of each request, which `Observation.identity` names, by hash.
        self._counting: dict[int, int] = {}
        self._bad: dict[int, str] = {}
        for request_id in self.said:
            self._count(request_id)

    def add(self, seen: Observation, saying: Saying | None) -> None:
        """One more word, and what it tells; None: neither right nor wrong."""
        if saying is not None and saying not in self._known:
            self._known[saying] = len(self.sayings)
            self.sayings.append(saying)
        # What an older release kept says of itself that it tells.
        word = seen.word or Word("", "rating", NEITHER, seen.time)
        at = None if saying is None else self._known[saying]
        looked_at = word.rating, word.feedback_time, word.reviewer, word.retracts
        new = seen.kind, at, word.outcome_id, word.kind, *looked_at
        self.said[seen.request_id] = (*self.said.get(seen.request_id, ()), new)
        self._count(seen.request_id)

    def _count(self, request_id: str) -> None:
        """Finds which words on a request count: of the users' one, and of the reviewers'."""
        said = [(one[0], one[1], Word(*one[2:])) for one in self.said[request_id]]
        withdrawn = [word for *_, word in said if word.kind == RETRACTION]
        for kind in {whose for whose, *_ in said}:
            own = [(word, at) for whose, at, word in said if whose == kind]
            counts = latest([*(word for word, _ in own), *withdrawn])
            told = next((at for word, at in own if word is counts), None)
            name = hash_of(f"{kind}:{request_id}")
            if told is None:
                self._counting.pop(name, None)
                continue
            self._counting[name] = told
            if self.sayings[told].is_bad:
                self._bad[name] = request_id

    def count(self, seen: Seen) -> Iterator[tuple[Saying, int, list[str]]]:
        """Each saying, how often it was said of requests that are not `seen` yet, and some of those
        requests where it is bad; in the order of the answers."""
        if not self._counting:
            return
        names = np.fromiter(self._counting, np.uint64, len(self._counting))
        told = np.fromiter(self._counting.values(), np.intp, len(names))
        new = seen.add(names)
        counts = np.bincount(told[new], minlength=len(self.sayings))
        bad: dict[int, list[str]] = defaultdict(list)
        is_bad = np.array([saying.is_bad for saying in self.sayings])
        for at in new[is_bad[told[new]]]:
            bad[int(told[at])].append(self._bad[int(names[at])])
        for saying, at in sorted(self._known.items()):
            if counts[at]:
                yield saying, int(counts[at]), sorted(bad[at])[-EXAMPLES:]
