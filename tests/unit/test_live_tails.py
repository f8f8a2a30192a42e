"""Latency has no reference but the version's own first answers."""

from __future__ import annotations

from driftgate.drift.live_tails import LiveTails
from driftgate.drift.quality import REFERENCE_ANSWERS
from driftgate.signals import SIGNALS, Answer

WATCHED = [SIGNALS["latency"], SIGNALS["error"], SIGNALS["thumbs_down"]]


def answers(count: int, of: float = 0.0) -> list[Answer]:
    return [Answer("refund", latency_ms=of or float(n)) for n in range(1, count + 1)]


def test_the_first_answers_tell_where_the_tail_begins() -> None:
    tails = LiveTails()
    tails.add(WATCHED, answers(REFERENCE_ANSWERS - 1))
    assert tails.reference == {}
    tails.add(WATCHED, answers(1, of=float(REFERENCE_ANSWERS)))
    assert list(tails.reference) == ["cut|latency"]
    told = [
        x
        for answer in answers(REFERENCE_ANSWERS)
        for _, x in SIGNALS["latency"].numbers(answer, tails.reference)
    ]
    assert sum(told) == REFERENCE_ANSWERS / 20
    assert tails.numbers == {}


def test_later_answers_move_nothing() -> None:
    tails = LiveTails()
    tails.add(WATCHED, [*answers(REFERENCE_ANSWERS), *answers(100, of=1e6)])
    before = dict(tails.reference)
    tails.add(WATCHED, answers(REFERENCE_ANSWERS, of=1e6))
    assert tails.reference == before
    assert before["cut|latency"] < REFERENCE_ANSWERS


def test_answers_without_a_latency_measure_none() -> None:
    tails = LiveTails()
    tails.add(WATCHED, [Answer("refund")] * REFERENCE_ANSWERS)
    assert tails.reference == {}
