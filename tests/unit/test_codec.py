from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgate.codec import Codec, canonical, digest
from driftgate.errors import BadInput

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")
TICK = {"world": "w", "time": 1_767_571_200_000, "positions": {"inferences-0": 3}, "pace": 0.0}


def test_an_event_comes_back_as_it_was() -> None:
    assert CODEC.decode("clock", CODEC.encode("clock", TICK)) == TICK


def test_the_header_is_confluents() -> None:
    value = CODEC.encode("clock", TICK)
    assert value[0] == 0
    assert int.from_bytes(value[1:5], "big") == CODEC.schemas.newest["tick"].id


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "malformed"),
        (b"", "malformed"),
        (b'{"json": true}', "malformed"),
        (b"\x00\x00\x00\x00\x63rest", "unknown_schema"),
        (CODEC.encode("clock", TICK)[:-3], "malformed"),
        (CODEC.encode("clock", TICK) + b"tail", "malformed"),
    ],
)
def test_what_cannot_be_read_says_why(value: bytes | None, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        CODEC.decode("clock", value)
    assert caught.value.reason == reason
    assert "expected" in str(caught.value)


def test_another_topics_schema_is_not_taken() -> None:
    tick_id = CODEC.schemas.newest["tick"].id
    with pytest.raises(BadInput, match=f"schema id: got {tick_id}, expected one of"):
        CODEC.decode("feedback", CODEC.encode("clock", TICK))


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    try:
        CODEC.decode("inferences", CODEC.schemas.newest["inference"].header + body)
    except BadInput as error:
        assert error.reason == "malformed"


def test_a_wrong_field_is_not_sent() -> None:
    with pytest.raises(BadInput, match="time"):
        CODEC.encode("clock", TICK | {"time": "noon"})


def test_the_same_value_has_the_same_digest() -> None:
    assert digest({"b": (1, 2), "a": {"x", "y"}}) == digest({"a": {"y", "x"}, "b": [1, 2]})
    assert canonical({"x": math.nan}) == '{"x":"nan"}'
