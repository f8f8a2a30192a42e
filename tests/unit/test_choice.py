"""Adapter or head, by what each is right about of the examples that were left out."""

from __future__ import annotations

import pytest

from services.trainer.choice import SHARE, choice, left_out
from services.trainer.method import Example


def chosen(both: int, classifier: int, head: int, neither: int = 0) -> str:
    """Of so many different texts that both, one alone or neither is right about."""
    counts = (both, classifier, head, neither)
    hits = [
        hit
        for hit, count in zip(((1, 1), (1, 0), (0, 1), (0, 0)), counts, strict=True)
        for _ in range(count)
    ]
    examples = [Example(f"text {number}", "a") for number in range(len(hits))]
    by = {"classifier": [bool(one) for one, _ in hits], "head": [bool(one) for _, one in hits]}
    return choice(examples, by).recipe


@pytest.mark.parametrize(
    ("both", "classifier", "head", "expected"),
    [
        (400, 40, 8, "classifier"),
        (400, 8, 40, "head"),
        (400, 24, 24, "head"),
        (400, 27, 21, "head"),  # ahead by 6 of 48: less than one standard error, 6.9
        (400, 28, 20, "classifier"),
        (400, 1, 0, "head"),  # one text says nothing
        (0, 480, 0, "classifier"),
        (480, 0, 0, "head"),
    ],
)
def test_the_adapter_has_to_be_ahead_by_more_than_one_standard_error(
    both: int, classifier: int, head: int, expected: str
) -> None:
    assert chosen(both, classifier, head) == expected
    assert chosen(both // 2, classifier, head, both // 2) == expected


def test_a_text_that_stands_a_hundred_times_counts_as_one() -> None:
    """The adapter is right about it, and the head about two others."""
    examples = [Example("Where is my PARCEL? ", "a"), Example("where is my parcel?", "a")] * 50
    others = [Example("lost", "a"), Example("late", "a")]
    right = {"classifier": [True] * 100 + [False] * 2, "head": [False] * 100 + [True] * 2}
    found = choice(examples + others, right)
    assert found.recipe == "head"
    assert found.right["classifier"] == pytest.approx(100 / 102)


def test_weights_count_in_the_choice_and_in_what_is_said_of_it() -> None:
    right = {"classifier": [True, True, True, False], "head": [False, False, False, True]}
    even = [Example(f"text {number}", "a") for number in range(4)]
    heavy = [*even[:3], Example("text 3", "a", weight=7.0)]
    assert choice(even, right).recipe == "head"  # 3 to 1 is within one standard error, 2
    assert choice([*even, Example("t", "a")], add(right)).recipe == "classifier"
    found = choice([*heavy, Example("t", "a")], add(right))
    assert found.recipe == "head"
    assert found.right == {"head": pytest.approx(7 / 11), "classifier": pytest.approx(4 / 11)}
    assert "head for 63.6% and classifier for 36.4%" in found.words


def add(right: dict[str, list[bool]]) -> dict[str, list[bool]]:
    """One more that the adapter alone is right about."""
    return {name: [*hits, name == "classifier"] for name, hits in right.items()}


def test_without_an_example_to_compare_by_the_head_is_taken_and_that_is_said() -> None:
    found = choice([], {"classifier": [], "head": []}, unknown=2)
    assert found.recipe == "head"
    assert "no example could be left out to compare by (2 more" in found.words
    assert found.metrics["left_out_compared"] == 0


def test_texts_that_are_alike_are_left_out_together_and_the_seed_decides_which() -> None:
    texts = [f"parcel {number}" for number in range(500)]
    once = [Example(text, "a") for text in texts]
    held = left_out(once, 7)
    assert left_out([Example(f"  {text.upper()} ", "b") for text in texts], 7) == held
    assert left_out(once[::-1], 7) == held[::-1]
    assert left_out(once, 8) != held
    assert sum(held) == pytest.approx(500 * SHARE, rel=0.3)
