"""What two reviewers say of one request of the review sample: the same, or not. A request that two
are asked about (`review.twice`) counts once, when the second one has spoken. Pure.

Two labels are the same or differ. Edits of a text hardly ever are the same, so two of them differ
where one calls the answer right and the other does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace
from itertools import islice

from driftgate.drift.observations import Observation, Word
from driftgate.events import DAY_MS
from driftgate.latest_word import RETRACTION, latest
from driftgate.model_repo import ModelYaml
from driftgate.review import twice
from driftgate.signals import Answer

# Requests that wait at most, the newest; what is kept of so many takes 3 MB of the checkpoint.
WAITING = 5_000

Waiting = MutableMapping[str, list[Observation]]


def pairs(
    waiting: Waiting, words: Iterable[Observation], config: ModelYaml, start: int
) -> list[Observation]:
    """The requests that two reviewers have labelled by now.

    Args:
        waiting: what reviewers said of other requests before; it is moved on.
        words: of such requests, `is_of_two`, in one bucket of time from `start`, ms.
    """
    found, said = [], set()
    for seen in words:
        waiting.setdefault(seen.request_id, []).append(seen)
        said.add(seen.request_id)
    for request_id in sorted(said):
        two = list(islice(standing(waiting[request_id]), 2))
        if len(two) == 2:
            del waiting[request_id]
            found.append(pair(*two))
    if said:
        forget(waiting, start - (config.review.days + 1) * DAY_MS)
    return found


def is_of_two(seen: Observation, config: ModelYaml) -> bool:
    """Whether a word is about a request that two reviewers look at: a reviewer says what is right,
    or a word is taken back."""
    is_reviewers = seen.kind == "review" and seen.taught is not None
    said = is_reviewers or is_retraction(seen)
    return said and twice(config.model, seen.request_id, config.review.twice)


def is_retraction(seen: Observation) -> bool:
    return seen.word is not None and seen.word.kind == RETRACTION


def standing(said: Iterable[Observation]) -> Iterator[Observation]:
    """The word of each reviewer that counts, by their names."""
    by_reviewer: dict[str, dict[Word, Observation]] = defaultdict(dict)
    withdrawn: list[Word] = []
    for seen in said:
        if seen.word is None:
            continue
        if is_retraction(seen):
            withdrawn.append(seen.word)
        else:
            by_reviewer[seen.word.reviewer or ""][seen.word] = seen
    for _, own in sorted(by_reviewer.items()):
        word = latest([*own, *withdrawn])
        if word is not None:
            yield own[word]


def pair(one: Observation, other: Observation) -> Observation:
    """What both say together, known when the later one spoke."""
    later = max(one, other, key=lambda seen: seen.order)
    answer = Answer(
        later.answer.output, slices=later.answer.slices, disagreement=float(differ(one, other))
    )
    return replace(later, kind="pair", answer=answer, word=None)


def differ(one: Observation, other: Observation) -> bool:
    return (one.taught, verdict(one)) != (other.taught, verdict(other))


def verdict(seen: Observation) -> float | None:
    """Whether the answer was right, as far as this word tells."""
    return None if seen.word is None else seen.word.rating


def forget(waiting: Waiting, before: int) -> None:
    """Drops answers from before a time, ms, of which no second reviewer is asked any more, and the
    oldest where too many wait."""
    newest = sorted(waiting, key=lambda at: (-waiting[at][0].dated, at))
    for at, request_id in enumerate(newest):
        if at >= WAITING or waiting[request_id][0].dated < before:
            del waiting[request_id]
