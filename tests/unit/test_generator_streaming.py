"""What may be shown of a text while it is written, and which token is drawn."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from driftgate.errors import BadInput
from driftgate.generator.question import Sampling
from driftgate.generator.sampling import drawn
from driftgate.generator.streaming import settled

LETTERS = st.text("ab\n😀", max_size=12)
STOPS = st.lists(st.text("ab\n😀", min_size=1, max_size=4), max_size=3)


@given(LETTERS, STOPS)
def test_what_is_shown_only_grows_and_holds_no_stop_string(text: str, stop: list[str]) -> None:
    """By single characters, so that the stop string that is whole first ends the text."""
    shown = ""
    for end in range(len(text) + 1):
        now, stopped = settled(text[:end], stop)
        assert now.startswith(shown)
        assert text.startswith(now)
        assert not any(one in now for one in stop)
        shown = now
        if stopped:
            assert any(text[len(now) : end].startswith(one) for one in stop)
            return
    assert not any(one in text for one in stop)
    assert settled(text, stop, ended=True) == (text, False)


def test_half_a_character_is_not_shown_nor_what_stands_before_a_stop_string_in_it() -> None:
    assert settled("ok\ufffd\ufffd", []) == ("ok", False)
    assert settled("xa\ufffd", ["aé"]) == ("x", False)
    assert settled("xaé", ["aé"]) == ("x", True)
    assert settled("ok\ufffd", [], ended=True) == ("ok", False)


LOGITS = torch.log(torch.tensor([0.1, 0.5, 0.0, 0.4]))


def test_temperature_0_takes_the_likeliest() -> None:
    assert {drawn(LOGITS, Sampling(), chance / 10) for chance in range(10)} == {1}


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        (Sampling(temperature=1.0), {0: 100, 1: 500, 3: 400}),
        (Sampling(temperature=1.0, top_p=0.9), {1: 556, 3: 444}),
        (Sampling(temperature=1.0, top_p=0.49), {1: 1000}),
        (Sampling(temperature=0.5), {0: 24, 1: 595, 3: 381}),
    ],
)
def test_tokens_are_drawn_by_their_probability(sampling: Sampling, wanted: dict[int, int]) -> None:
    found = Counter(drawn(LOGITS, sampling, (chance + 0.5) / 1000) for chance in range(1000))
    assert found.keys() == wanted.keys()
    for token, count in wanted.items():
        assert found[token] == pytest.approx(count, abs=2)


def test_a_nucleus_larger_than_is_first_looked_at_is_found() -> None:
    flat = torch.zeros(2000)
    found = {
        drawn(flat, Sampling(temperature=1.0, top_p=0.9), (n + 0.5) / 3000) for n in range(3000)
    }
    assert 1800 <= len(found) <= 1801


@pytest.mark.parametrize(
    "odd",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_new_tokens": 0},
        {"max_input_tokens": 0},
        {"stop": ("",)},
    ],
)
def test_sampling_out_of_its_range_is_refused(odd: dict[str, float]) -> None:
    with pytest.raises(BadInput) as refused:
        Sampling(**odd)  # type: ignore[arg-type]
    assert refused.value.field == next(iter(odd))
