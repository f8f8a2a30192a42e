"""Which groups of texts are new, what they are about, and some of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from driftgate.drift.new_groups import LEAST, Embeddings, Group, new_groups

# Topics by their direction, each with words of its own.
TOPICS = {
    "parcel": ("where is my parcel", "the parcel is late"),
    "refund": ("I want my money back", "please refund the money"),
    "points": ("how do I redeem loyalty points", "my loyalty points are gone"),
    "visa": ("do I need a visa there", "is a visa needed"),
}
DIM = 32


def world(seed: int, **counts: int) -> tuple[Embeddings, list[str], list[str]]:
    """Embeddings, texts and topics, in a random order: texts of a topic lie around a direction."""
    rng = np.random.default_rng(seed)
    topics = [topic for topic, n in counts.items() for _ in range(n)]
    rng.shuffle(topics)
    centres = np.eye(DIM)[[list(TOPICS).index(topic) for topic in topics]]
    vectors = centres + rng.normal(0, 0.1, (len(topics), DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [TOPICS[topic][n % 2] for n, topic in enumerate(topics)]
    return vectors.astype(np.float32), texts, topics


def found(seed: int = 0, **since: int) -> tuple[list[Group], Sequence[str]]:
    before, old, _ = world(seed, parcel=300, refund=300)
    vectors, texts, topics = world(seed + 1, **since)
    return new_groups(before, vectors, old, texts), topics


def test_a_new_group_is_found_with_its_words_its_share_and_examples() -> None:
    [group], topics = found(parcel=270, refund=270, points=60)
    assert set(group.words) == {"loyalty", "points", "how", "redeem"} or {
        "loyalty",
        "points",
    } <= set(group.words)
    assert group.share == 0.1
    assert group.low < 0.1 < group.high
    assert {topics[at] for at in group.members} == {"points"}
    assert len(group.examples) == 5


def test_two_new_groups_are_told_apart_the_larger_first() -> None:
    groups, topics = found(parcel=250, refund=250, points=40, visa=60)
    assert [{topics[at] for at in group.members} for group in groups] == [{"visa"}, {"points"}]
    assert [group.share for group in groups] == [0.1, pytest.approx(40 / 600)]
    assert "visa" in groups[0].words
    assert "visa" not in groups[1].words


@pytest.mark.parametrize("seed", range(5))
def test_the_same_traffic_has_no_new_group(seed: int) -> None:
    assert found(seed, parcel=300, refund=300)[0] == []


def test_who_asks_more_of_what_was_always_asked_is_no_new_group() -> None:
    assert found(parcel=540, refund=60)[0] == []


def test_a_handful_is_no_group() -> None:
    assert found(parcel=300, refund=300, points=LEAST - 1)[0] == []


def test_little_before_and_nothing_before_tell_nothing() -> None:
    vectors, texts, _ = world(1, points=50)
    assert new_groups(vectors[:0], vectors, [], texts) == []
    assert new_groups(vectors, vectors[:0], texts, []) == []
    assert new_groups(vectors[:1], vectors[:2], texts[:1], texts[:2]) == []
