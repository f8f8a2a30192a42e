"""What number each signal gives. A further signal is one more line."""

from __future__ import annotations

import pytest

from driftgate.signals import SIGNALS, Answer, feature, known, streams
from driftgate.tasks.text_classification import TextClassification

TASK = TextClassification(("delivery", "refund"))
REFERENCE = {"cut|low_confidence": 0.6, "cut|low_similarity": 0.3, "cut|words": 20.0}
ANSWER = Answer("refund", 0.5, {"similarity": 0.4, "words": 30.0}, {"language": "es"}, error=1.0)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("error", [("error", 1.0)]),
        ("share", [("share:delivery", 0.0), ("share:refund", 1.0)]),
        ("low_confidence", [("low_confidence", 1.0)]),
        ("low_similarity", [("low_similarity", 0.0)]),
        ("words", [("words", 1.0)]),
    ],
)
def test_each_value_of_a_monitor_gives_its_numbers(
    value: str, told: list[tuple[str, float]]
) -> None:
    found = streams(value, TASK)
    assert [one for signal in found for one in signal.numbers(ANSWER, REFERENCE)] == told
    assert [name for signal in found for name in signal.streams] == [name for name, _ in told]


@pytest.mark.parametrize("name", ["error", "low_confidence", "low_similarity", "words"])
def test_an_answer_that_does_not_tell_gives_no_number(name: str) -> None:
    (signal,) = streams(name, TASK)
    assert list(signal.numbers(Answer("refund"), REFERENCE)) == []


def test_without_a_reference_nothing_lies_in_a_tail() -> None:
    assert feature("words").told(ANSWER, {}) is None


def test_every_signal_of_the_table_stands_under_its_name() -> None:
    assert [signal.name for signal in SIGNALS.values()] == list(SIGNALS)
    assert list(known(TASK)) == ["share", *SIGNALS]
