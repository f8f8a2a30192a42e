"""How far an edit lies from the answer, and what of JSON it changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate import edits, json_schema
from driftgate.json_text import canonical, parsed

ANSWER = '{"team": "billing", "order": {"number": "A-1"}, "tags": ["late", "paid"]}'


@pytest.mark.parametrize(
    ("answer", "edited", "distance"),
    [
        ("kitten", "sitting", 3 / 7),
        ("same", "same", 0),
        ("", "", 0),
        ("", "all new", 1),
        ("👍 ok", "👎 ok", 1 / 4),
        ("abc", "xyz", 1),
    ],
)
def test_the_distance_is_levenshteins_by_the_longer_text(
    answer: str, edited: str, distance: float
) -> None:
    assert edits.of_text(answer, edited) == (pytest.approx(distance), {})


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        ('{"tags":["late","paid"],"order":{"number":"A-1"},\n"team":"billing"}', {}),
        (ANSWER.replace("A-1", "A-2"), {"order.number": "changed"}),
        (ANSWER.replace(', "paid"', ""), {"tags[1]": "removed"}),
        (ANSWER.replace('"A-1"', '"A-1", "date": null'), {"order.date": "added"}),
        (ANSWER.replace('"billing"', "{}"), {"team": "changed"}),
        ('{"team": "billing"}', dict.fromkeys(("order.number", "tags[0]", "tags[1]"), "removed")),
        ("3", {"team": "removed", "order.number": "removed", "tags[0]": "removed",
               "tags[1]": "removed", "$": "added"}),
    ],
)  # fmt: skip
def test_what_an_edit_of_json_changed(edited: str, changed: dict[str, str]) -> None:
    found = edits.of_json(ANSWER, edited)
    assert found.changed == changed
    assert (found.distance == 0) is (changed == {})


def test_the_distance_of_json_is_that_of_its_canonical_form() -> None:
    found = edits.of_json('{"b": 1.0,  "a": "x"}', '{"a":"y","b":1}')
    assert found == (pytest.approx(1 / len('{"a":"y","b":1}')), {"a": "changed"})


def test_an_answer_that_is_no_json_is_compared_as_text() -> None:
    assert edits.of_json("Sure! {}", "{}") == (pytest.approx(6 / 8), {})


def test_true_is_not_one() -> None:
    assert edits.of_json('{"a": true}', '{"a": 1}').changed == {"a": "changed"}


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_a_distance_is_one_of_both_ways(one: str, other: str) -> None:
    there, back = edits.distance(one, other), edits.distance(other, one)
    assert there == back
    assert 0 <= there <= 1
    assert (there == 0) is (one == other)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_any_json_is_read_and_written_as_the_same(value: object) -> None:
    once = parsed(json.dumps(value, indent=1))
    assert parsed(canonical(once)) == once == value
    assert edits.of_json(json.dumps(value), canonical(once)) == (0, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
        ('{"a": 1, "a": 2}', "key 'a' stands twice"),
        ("[NaN]", "NaN"),
        ("[1e999]", "too large"),
        ("[" * 51 + "]" * 51, "nested deeper than 50"),
        ("[" * 100_000, "nested deeper than 50"),
        (r'"\ud800"', "surrogates not allowed"),
    ],
)
def test_what_is_no_json_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parsed(text)


def test_fifty_levels_are_read() -> None:
    assert parsed("[" * 50 + "]" * 50)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "expected a JSON Schema: an object"),
        ("true", "expected a JSON Schema: an object"),
        ('{"type": "objct"}', "is no JSON Schema: at type: 'objct'"),
        ('{"properties": {"a": {"pattern": "("}}}', "at properties/a/pattern"),
        ('{"$schema": "http://example.com/x"}', "expected a draft of json-schema.org"),
        ('{"$ref": "http://example.com/x"}', "expected a place in the same file"),
        ('{"properties": {"a": {"$ref": "#/$defs/b"}}}', "expected a place in the same file"),
        ('{"$ref": "#"}', "leads back to itself"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_schema_is_refused(schema: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        json_schema.check(schema)


def test_a_schema_may_refer_to_itself_and_values_are_held_to_it() -> None:
    tree = '{"properties": {"left": {"$ref": "#"}, "n": {"type": "integer"}}}'
    json_schema.check(tree)
    assert json_schema.problem({"left": {"left": {"n": 1}}}, tree) is None
    said = json_schema.problem({"left": {"left": {"n": "x"}}}, tree)
    assert said == "at left/left/n: 'x' is not of type 'integer'"


def test_a_schema_without_end_breaks_no_one() -> None:
    endless = '{"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}'
    json_schema.check(endless)
    assert json_schema.problem({"a": 1}, endless) == "nested without end"
