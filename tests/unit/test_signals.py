"""What number each signal gives. A further signal is one more line."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import get_args

import pytest
from drift_world import day, inference, outcome

from driftgate.bus import Position
from driftgate.drift.observations import of_inference, of_outcome
from driftgate.reference import LEAST_CASES, measure
from driftgate.signals import (
    SIGNALS,
    About,
    Answer,
    Shares,
    feature,
    known,
    mistaken,
    streams,
)
from driftgate.signals.shares import MOST_PARTS
from driftgate.tasks import task_of
from driftgate.tasks.text_classification import TextClassification
from driftgate.tasks.text_generation import Declared

TASK = TextClassification(("delivery", "refund"))
ESTIMATED = {f"cut|estimated_error:{at}": at / 5 for at in range(1, 5)} | {
    f"rate|estimated_error:{at}": 0.5 - at / 10 for at in range(5)
}
REFERENCE = {
    "cut|low_confidence": 0.6,
    "cut|confident": 0.5,
    "cut|low_similarity": 0.3,
    "cut|new_cluster": 0.5,
    "cut|words": 20.0,
    "cut|words:high": 20.0,
    "cut|words:low": 3.0,
    "cut|latency": 40.0,
    "cut|cost": 0.02,
    "part|language|en": 70.0,
    "part|language|es": 30.0,
    **ESTIMATED,
}
ANSWER = Answer(
    "refund",
    0.5,
    {"similarity": 0.4, "words": 30.0, "new_words": 0.25},
    {"language": "es"},
    error=1.0,
    rating=0.0,
    disagreement=1.0,
    latency_ms=55.0,
    cost=0.01,
)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("error", [("error", 1.0)]),
        ("thumbs_down", [("thumbs_down", 1.0)]),
        ("calibration", [("calibration", 1.0)]),
        ("disagreement", [("disagreement", 1.0)]),
        ("share", [("share:delivery", 0.0), ("share:refund", 1.0)]),
        ("low_confidence", [("low_confidence", 1.0)]),
        ("estimated_error", [("estimated_error", 0.3)]),
        ("low_similarity", [("low_similarity", 0.0)]),
        ("new_cluster", [("new_cluster:delivery", 0.0), ("new_cluster:refund", 1.0)]),
        ("new_words", [("new_words", 0.25)]),
        ("language", [("language:en", 0.0), ("language:es", 1.0), ("language:other", 0.0)]),
        ("latency", [("latency", 1.0)]),
        ("cost", [("cost", 0.0)]),
        ("words", [("words", 1.0)]),
    ],
)
def test_each_value_of_a_monitor_gives_its_numbers(
    value: str, told: list[tuple[str, float]]
) -> None:
    found = streams(value, TASK, REFERENCE)
    numbers = [one for signal in found for one in signal.numbers(ANSWER, REFERENCE)]
    assert [name for name, _ in numbers] == [name for signal in found for name in signal.streams]
    assert numbers == [(name, pytest.approx(x)) for name, x in told]


@pytest.mark.parametrize("value", [*SIGNALS, "words"])
def test_an_answer_that_does_not_tell_gives_no_number(value: str) -> None:
    (signal,) = streams(value, TASK, REFERENCE)
    assert list(signal.numbers(Answer("refund"), REFERENCE)) == []


def test_without_a_reference_nothing_lies_in_a_tail() -> None:
    assert feature("words").told(ANSWER, {}) is None


def test_every_signal_of_the_table_stands_under_its_name() -> None:
    assert [signal.name for signal in SIGNALS.values()] == list(SIGNALS)
    assert list(known(TASK)) == ["share", "new_cluster", *SIGNALS]
    assert all(signal.about in get_args(About) for signal in SIGNALS.values())


def test_what_no_training_mends_never_asks_for_one() -> None:
    warning = {name for name, signal in SIGNALS.items() if not signal.retrains}
    assert warning == {"latency", "cost", "estimated_error", "disagreement"}
    assert all(s.live for s in SIGNALS.values() if s.about == "operation" or s.by_two)


def test_a_share_counts_all_categories_at_once_and_none_of_what_is_none() -> None:
    (share,) = streams("share", TASK)
    assert dict(share.numbers(Answer("nothing"), {})) == {"share:delivery": 0, "share:refund": 0}
    unknown = Shares("sort", "input", lambda answer: None, ("a", "b"))
    assert list(unknown.numbers(ANSWER, {})) == []


# ---------------------------------------------------------------- measured


def asked(count: int, **over: object) -> list[Answer]:
    """Answers of which every tenth is wrong and every fourth is Spanish; those that are less sure
    are wrong more often."""
    rng = random.Random(7)
    found = []
    for n in range(count):
        sure = rng.random()
        language = "es" if n % 4 == 0 else "en"
        answer = Answer(
            TASK.outputs[n % 2],
            confidence=sure,
            features={"words": float(n % 30)},
            slices={"language": language, "channel": f"c{n % 40}"},
            error=float(rng.random() < (1 - sure) / 5),
        )
        found.append(replace(answer, **over))  # type: ignore[arg-type]
    return found


def test_the_estimated_error_of_measured_answers_is_their_error() -> None:
    reference = measure(asked(2000), ["all"], TASK)
    assert reference["estimated_error|all"] == pytest.approx(reference["error|all"])
    (estimate,) = streams("estimated_error", TASK)
    (_, sure), (_, unsure) = (
        next(iter(estimate.numbers(Answer("refund", x), reference))) for x in (0.99, 0.01)
    )
    assert sure < 0.06 < 0.14 < unsure


def test_equal_confidences_estimate_what_was_measured() -> None:
    reference = measure(asked(400, confidence=1.0), ["all"], TASK)
    assert reference["estimated_error|all"] == pytest.approx(reference["error|all"])
    assert reference["n|calibration|all"] == 400  # the highest fifth begins where all are


def test_calibration_tells_of_the_surest_fifth_alone() -> None:
    reference = measure(asked(1000), ["all"], TASK)
    assert reference["n|calibration|all"] == pytest.approx(200, abs=1)
    assert reference["calibration|all"] < 0.05
    overconfident = [replace(a, error=1.0) for a in asked(1000)]
    (calibration,) = streams("calibration", TASK)
    told = [x for a in overconfident for _, x in calibration.numbers(a, reference)]
    assert len(told) == 200
    assert set(told) == {1.0}


def test_of_answers_without_an_outcome_nothing_is_estimated() -> None:
    reference = measure(asked(100, error=None), ["all"], TASK)
    assert not [key for key in reference if "error" in key or "calibration" in key]


def test_a_language_that_was_not_measured_counts_as_other() -> None:
    reference = measure(asked(200), ["all"], TASK)
    (language,) = streams("language", TASK, reference)
    assert language.streams == ("language:en", "language:es", "language:other")
    assert reference["language:es|all"] == 0.25
    assert (reference["language:other|all"], reference["n|language:other|all"]) == (0.0, 200)
    german = Answer("refund", slices={"language": "de"})
    assert dict(language.numbers(german, reference))["language:other"] == 1.0


def test_a_new_cluster_is_looked_for_among_the_unfamiliar_of_each_label() -> None:
    answers = [
        Answer(TASK.outputs[n % 2], features={"similarity": n / 1000}) for n in range(0, 1000)
    ]
    reference = measure(answers, ["all"], TASK)
    assert reference["new_cluster:refund|all"] == pytest.approx(0.25, abs=0.01)
    (cluster,) = streams("new_cluster", TASK, reference)
    familiar = Answer("refund", features={"similarity": 0.9})
    assert dict(cluster.numbers(familiar, reference)) == {
        "new_cluster:delivery": 0.0,
        "new_cluster:refund": 0.0,
    }
    assert list(cluster.numbers(Answer("refund"), reference)) == [], "nobody says how near it is"
    (unmeasured,) = streams("new_cluster", TASK)
    assert list(unmeasured.numbers(familiar, {})) == []


def test_where_answers_have_no_labels_a_new_cluster_is_what_is_strange() -> None:
    writes = task_of(Declared(kind="text-generation"))
    answers = [Answer("text", features={"similarity": n / 1000}) for n in range(0, 1000)]
    reference = measure(answers, ["all"], writes)
    assert reference["new_cluster|all"] == pytest.approx(0.1, abs=0.01)
    (cluster,) = streams("new_cluster", writes, reference)
    strange = Answer("text", features={"similarity": 0.01})
    assert list(cluster.numbers(strange, reference)) == [("new_cluster", 1.0)]


def test_of_many_categories_the_largest_are_told_apart() -> None:
    answers = [
        Answer("refund", slices={"language": f"l{n}"}) for n in range(50) for _ in range(n + 1)
    ]
    (language,) = streams("language", TASK, measure(answers, ["all"], TASK))
    kept = [f"language:l{n}" for n in range(50 - MOST_PARTS, 50)]
    assert set(language.streams) == {*kept, "language:other"}


def test_a_feature_is_watched_on_both_sides_where_that_is_asked() -> None:
    reference = measure(asked(300), ["all"], TASK)
    found = streams("words", TASK, both_sides=True)
    assert [signal.name for signal in found] == ["words:high", "words:low"]
    for words, told in ((0.0, [0.0, 1.0]), (15.0, [0.0, 0.0]), (29.0, [1.0, 0.0])):
        answer = Answer("refund", features={"words": words})
        assert [x for signal in found for _, x in signal.numbers(answer, reference)] == told
    assert reference["words:high|all"] == reference["words|all"]
    assert 0 < reference["words:low|all"] <= 0.1


def test_a_feature_with_the_name_of_a_signal_is_that_signal_s() -> None:
    reference = measure(asked(100, features={"new_words": 0.25, "latency": 7.0}), ["all"], TASK)
    assert reference["new_words|all"] == 0.25
    assert not [key for key in reference if "latency" in key]


def test_slices_with_enough_cases_are_measured_unasked() -> None:
    reference = measure(asked(400), ["all", "channel=c1"], TASK)
    measured = {key.rpartition("|")[2] for key in reference if key.startswith("error|")}
    assert measured == {"all", "language=en", "language=es", "channel=c1"}
    assert reference["n|error|language=es"] == 100
    assert reference["n|error|channel=c1"] == 10 < LEAST_CASES
    # Of categories in all slices nothing is kept that nobody asked for.
    assert {"share:refund|all", "share:refund|channel=c1"} <= set(reference)
    assert "share:refund|language=es" not in reference


def test_the_reference_of_many_slices_goes_in_one_record() -> None:
    answers = [
        replace(answer, slices={f"slice-{name}": f"value-{n % 20}" for name in range(30)})
        for n, answer in enumerate(asked(1000))
    ]
    reference = measure(answers, ["all"], TASK)
    assert len({key.rpartition("|")[2] for key in reference if key.startswith("error|")}) == 201
    assert sum(len(key) + 10 for key in reference) < 500_000


# ---------------------------------------------------------------- as they arrive

PLACE = (Position("inferences", 0), 0)


def test_a_live_answer_carries_how_it_was_served() -> None:
    event = inference(1, day(0), latency_ms=12.5, cost=0.25, finish_reason="stop")
    seen = of_inference(event, PLACE)
    assert seen is not None
    told = seen.answer
    assert (told.latency_ms, told.cost, told.finish_reason) == (12.5, 0.25, "stop")


def test_what_nobody_measured_is_no_latency_and_no_cost() -> None:
    seen = of_inference(inference(1, day(0), latency_ms=0.0, cost=0.0), PLACE)
    assert seen is not None
    assert (seen.answer.latency_ms, seen.answer.cost) == (None, None)


@pytest.mark.parametrize("field", ["latency_ms", "cost"])
def test_an_answer_with_a_number_that_is_none_is_left_out(field: str) -> None:
    assert of_inference(inference(1, day(0), **{field: float("nan")}), PLACE) is None


def test_an_outcome_carries_the_confidence_of_its_answer() -> None:
    event = outcome(1, day(0), correct=False, confidence=0.9)
    seen = of_outcome(event, (Position("outcomes", 0), 0))
    assert seen is not None
    (calibration,) = streams("calibration", TASK)
    assert list(calibration.numbers(seen.answer, {"cut|confident": 0.8})) == [("calibration", 1.0)]
    assert list(calibration.numbers(seen.answer, {"cut|confident": 0.95})) == []


# ---------------------------------------------------------------- named by a monitor


@pytest.mark.parametrize(
    ("value", "about", "says"),
    [
        ("share", "output", None),
        ("anything", "input", None),
        ("latency", "operation", None),
        ("latncy", "operation", "none of signal operation: did you mean 'latency'?"),
        ("latency", "input", "is of signal operation, not input"),
        ("words", "output", "none of signal output: valid are estimated_error"),
    ],
)
def test_a_value_is_of_one_signal(value: str, about: About, says: str | None) -> None:
    said = mistaken(value, about, TASK)
    assert said is None if says is None else said is not None and says in said
