"""Which of the words on an answer counts as evidence, of those that came in one bucket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from driftgate.drift.observations import Observation
from driftgate.latest_word import RETRACTION, latest


def latest_of_each(words: Sequence[Observation]) -> list[Observation]:
    """Of the words on each request the one that counts, if it tells right from wrong; users' words
    and those of the random review each by themselves."""
    said: dict[tuple[str, str], list[Observation]] = defaultdict(list)
    withdrawn: dict[str, list[Observation]] = defaultdict(list)
    for seen in words:
        if seen.word is not None and seen.word.kind == RETRACTION:
            withdrawn[seen.request_id].append(seen)
        else:
            said[seen.kind, seen.request_id].append(seen)
    return [one for each in said.values() for one in latest_word(each, withdrawn)]


def latest_word(
    said: Sequence[Observation], withdrawn: Mapping[str, Sequence[Observation]]
) -> Iterator[Observation]:
    """The one of these observations on a request that counts, if any does."""
    by_word = {seen.word: seen for seen in said if seen.word is not None}
    taken_back = (seen.word for seen in withdrawn.get(said[0].request_id, ()))
    word = latest([*by_word, *(word for word in taken_back if word is not None)])
    # What an older release kept says of itself that it tells.
    counts = by_word[word] if word is not None else said[0] if not by_word else None
    if counts is not None and counts.answer.error is not None:
        yield counts
