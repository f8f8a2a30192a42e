"""Groups of texts that came anew: what they are about, how much of the traffic they are, and some
of them to look at. Pure.

A text is new where those most like it are nearly all of the time since: the nearest neighbours of
both times together are looked at, as in the test of two samples by Schilling (1986,
https://doi.org/10.1080/01621459.1986.10478337). Who asks more of what was always asked is not new.
New texts form groups by average linkage, and a group is named by the words that tell it from all
other texts (class-based TF-IDF, Grootendorst 2022, https://arxiv.org/abs/2203.05794).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from driftgate.shares import wilson

# Neighbours that are looked at, and how many times as often as before a text's like must come to be
# new: of 20 neighbours, where both times have as many texts, 18 are then of the time since.
NEIGHBOURS, TIMES = 20, 9.0
# Texts of one group lie no further apart, as the mean of 1 less their cosine.
APART = 0.7
# Fewer are no group; and with fewer than some 18 no text has enough neighbours of its group.
LEAST = 10
WORDS, EXAMPLES = 4, 5
# A word that names a group stands in so many times as many of its texts as of all others.
OFTENER = 3.0
# Rows whose neighbours are looked for at a time.
CHUNK = 512

WORD = re.compile(r"[^\W\d_][\w'’-]+")

Embeddings = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """Texts alike that hardly came before.

    Attributes:
        words: that tell it from all other texts, the most telling first.
        members: places among the texts since, the most typical first.
        share: of the traffic since; `low` to `high`: its 95 % interval.
    """

    words: tuple[str, ...]
    members: tuple[int, ...]
    share: float
    low: float
    high: float

    @property
    def examples(self) -> tuple[int, ...]:
        return self.members[:EXAMPLES]


def new_groups(
    before: Embeddings, since: Embeddings, old_texts: Sequence[str], texts: Sequence[str]
) -> list[Group]:
    """The largest first.

    Args:
        before, since: [texts, dim], of length 1: of random texts of the time before, and since.
        old_texts, texts: these texts.
    """
    found = grouped(since, new_places(before, since))
    inside = set(chain.from_iterable(found))
    rest = [*old_texts, *(text for at, text in enumerate(texts) if at not in inside)]
    told = telling([[texts[at] for at in members] for members in found], rest)
    return [
        Group(words, tuple(members), len(members) / len(texts), *wilson(len(members), len(texts)))
        for words, members in zip(told, found, strict=True)
    ]


def new_places(before: Embeddings, since: Embeddings) -> Ints:
    """Places of the texts since whose like came at most a `TIMES`-th as often before."""
    if not len(before) or not len(since):
        return np.arange(0)
    together = np.concatenate([before, since])
    k = min(NEIGHBOURS, len(together) - 1)
    fresh = np.zeros(len(since))
    for begin in range(0, len(since), CHUNK):
        rows = since[begin : begin + CHUNK]
        alike = rows @ together.T
        own = np.arange(len(rows))
        alike[own, len(before) + begin + own] = -np.inf
        nearest = np.argpartition(-alike, k - 1, axis=1)[:, :k]
        fresh[begin : begin + CHUNK] = (nearest >= len(before)).mean(axis=1)
    times_as_dense = fresh * len(before) >= TIMES * (1 - fresh) * len(since)
    return np.flatnonzero(times_as_dense)


def grouped(since: Embeddings, places: Ints) -> list[list[int]]:
    """Groups among these texts, the largest first, each with the most typical text first."""
    if len(places) < LEAST:
        return []
    own = since[places]
    group = fcluster(linkage(own, "average", "cosine"), APART, "distance")
    found = []
    for one in np.unique(group):
        members = np.flatnonzero(group == one)
        if len(members) >= LEAST:
            typical = own[members] @ own[members].mean(axis=0)
            found.append(places[members[np.argsort(-typical, kind="stable")]].tolist())
    return sorted(found, key=lambda members: (-len(members), members))


def telling(groups: Sequence[Sequence[str]], rest: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The words that tell each group from the other groups and from the rest: those by class-based
    TF-IDF, a word counting once a text, that stand in a tenth of the group's texts and in
    `OFTENER` times as many of them as of the rest, which keeps out what stands everywhere."""
    usual = counted(rest)
    counts = [counted(texts) for texts in groups]
    total = sum(counts, usual)
    average = total.total() / (len(groups) + 1)
    for count, texts in zip(counts, groups, strict=True):
        weight = {
            word: n * math.log(1 + average / total[word])
            for word, n in count.items()
            if n >= len(texts) / 10 and n / len(texts) >= OFTENER * usual[word] / max(len(rest), 1)
        }
        yield tuple(sorted(weight, key=lambda word: (-weight[word], word))[:WORDS])


def counted(texts: Iterable[str]) -> Counter[str]:
    """In how many texts each word stands."""
    return Counter(word for text in texts for word in set(WORD.findall(text.lower())))
