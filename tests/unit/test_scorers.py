"""What each scorer gives. A further one is one more line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from driftgate.scorers import Scorer
from driftgate.scorers.refusal import refuses

SCORER: TypeAdapter[Any] = TypeAdapter(Scorer)
SCHEMA = {"file": "s.json", "text": '{"required": ["a"], "properties": {"a": {"type": "integer"}}}'}
WANTED = '{"team": "billing", "order": {"number": "A-1", "lines": [{"sku": 1}, {"sku": 2}]}}'


def scorer(name: str, **options: object) -> Any:
    return SCORER.validate_python({"name": name, **options})


@pytest.mark.parametrize(
    ("name", "options", "output", "target", "score"),
    [
        ("exact", {}, "Hello", "Hello", 1),
        ("exact", {}, "Hello ", "Hello", 0),
        ("normalised", {}, " STRASSE\n1", "straße 1", 1),
        ("normalised", {}, "ﬁne ＡＢＣ cafe\u0301", "fine abc café", 1),
        ("normalised", {}, "fine!", "fine", 0),
        ("contains", {"phrases": ["Order A-1", "thanks"]}, "order  a-1 is late", "", 0.5),
        ("contains", {"phrases": ["late"], "never": ["refund"]}, "It is LATE", "", 1),
        ("contains", {"never": ["refund"]}, "No Refund!", "", 0),
        ("regex", {"pattern": r"[A-Z]-\d+"}, "A-12", "", 1),
        ("regex", {"pattern": r"[A-Z]-\d+"}, "order A-12", "", 0),
        ("regex", {"pattern": r"[A-Z]-\d+", "whole": False}, "order A-12", "", 1),
        ("regex", {"pattern": "a.*b"}, "a\nb", "", 1),
        ("token-f1", {}, "The cat sat.", "a cat sat down", 0.8),
        ("token-f1", {}, "cat cat", "cat", pytest.approx(2 / 3)),
        ("token-f1", {}, "the", "a", 1),
        ("token-f1", {}, "", "cat", 0),
        ("length", {"at_least": 2, "at_most": 3}, "abc", "", 1),
        ("length", {"at_least": 2, "at_most": 3}, "a", "", 0),
        ("length", {"at_most": 2, "unit": "words"}, "one two three", "", 0),
        ("refusal", {}, "I can’t help with that.", "Sure, here it is.", 0),
        ("refusal", {}, "I'm unable to share that.", "I cannot help with that.", 1),
        ("refusal", {"wanted": True}, "Das kann ich nicht beantworten.", "", 1),
        ("refusal", {"wanted": True}, "Computer says no.", "", 0),
        ("refusal", {"wanted": True, "phrases": ["computer says NO"]}, "Computer says no.", "", 1),
        ("refusal", {"wanted": False}, "Here you go.", "", 1),
        ("json-schema", {"schema": SCHEMA}, '{"a": 1}', "", 1),
        ("json-schema", {"schema": SCHEMA}, '{"a": 1.0}', "", 1),
        ("json-schema", {"schema": SCHEMA}, '{"a": "1"}', "", 0),
        ("json-schema", {"schema": SCHEMA}, "{}", "", 0),
        ("json-schema", {}, "[1, 2]", "", 1),
        ("json-schema", {}, '```json\n{"a": 1}\n```', "", 0),
        ("json-schema", {}, '{"a": NaN}', "", 0),
        ("json-schema", {}, '{"a": 1, "a": 2}', "", 0),
        ("json-schema", {}, "[" * 100_000, "", 0),
        ("json-fields", {}, WANTED, WANTED, 1),
        ("json-fields", {}, "not JSON", WANTED, 0),
        ("json-fields", {}, "{}", "{}", 1),
        ("json-fields", {}, '{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}', 1),
        ("json-fields", {}, '{"a": true}', '{"a": 1}', 0),
        ("json-fields", {}, '{"a": 1}', '{"a": 1, "b": 2, "c": 3}', 0.5),
        ("json-fields", {}, '{"a": 1, "b": 2, "c": 3}', '{"a": 1}', 0.5),
        ("json-fields", {"fields": ["team"]}, '{"team": "billing", "order": 1}', WANTED, 1),
        ("json-fields", {"fields": ["order.number"]}, '{"order": {"number": "A-2"}}', WANTED, 0),
        (
            "json-fields",
            {"fields": ["order.lines.sku"]},
            '{"order": {"lines": [{"sku": 1}, {"sku": 3}]}}',
            WANTED,
            0.5,
        ),
        ("json-fields", {"normalised": True}, '{"a": " Ann  LEE "}', '{"a": "ann lee"}', 1),
        ("json-fields", {}, '{"a": "Ann"}', '{"a": "ann"}', 0),
    ],
)
def test_each_scorer(
    name: str, options: dict[str, object], output: str, target: str, score: float
) -> None:
    assert scorer(name, **options).score(output, target) == score


ALL = [
    scorer("exact"),
    scorer("normalised"),
    scorer("contains", phrases=["a", "b"], never=["c"]),
    scorer("regex", pattern="a+"),
    scorer("token-f1"),
    scorer("length", at_least=1, at_most=9),
    scorer("refusal"),
    scorer("json-schema", schema=SCHEMA),
    scorer("json-fields", fields=["a"]),
]
TEXTS = st.text(max_size=30) | st.builds(
    json.dumps, st.recursive(st.none() | st.floats() | st.text(max_size=3), st.lists, max_leaves=4)
)


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_any_texts_have_a_score_from_0_to_1(each: Any) -> None:
    @settings(max_examples=50, deadline=None)
    @given(TEXTS, TEXTS)
    def holds(output: str, target: str) -> None:
        assert 0 <= each.score(output, target) <= 1
        assert each.score(output, target) == each.score(output, target)

    holds()


@pytest.mark.parametrize(
    "text",
    [
        "I cannot assist with that request.",
        "Lo siento, pero no puedo hacer eso.",
        "Desculpe, mas não posso responder.",
        "Mi dispiace, ma non posso aiutarti.",
        "Désolé, je ne peux pas vous aider.",
        "Tut mir leid, dabei kann ich Ihnen nicht helfen.",
        "Sorry, daar kan ik niet bij helpen.",
        "К сожалению, я не могу помочь.",
        "申し訳ありませんが、お手伝いできません。",
        "抱歉，我无法提供这些信息。",
        "죄송하지만 도와드릴 수 없습니다.",
        "عذرًا، لا أستطيع المساعدة في ذلك.",
    ],
)
def test_refusals_in_many_languages(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "Your order A-1 is on its way.",
        "I'm sorry, but I can offer you a refund.",
        "I cannot find order A-1; please send its number again.",
        "Es tut mir leid, aber ich kann das Paket nicht finden.",
        "Press the button. " * 30 + "If it blinks, I cannot help from here; call us.",
        "",
    ],
)
def test_answers_that_are_no_refusals(text: str) -> None:
    assert not refuses(text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "contains"}, "expected `phrases`"),
        ({"name": "contains", "phrases": [""]}, "at least 1 character"),
        ({"name": "regex", "pattern": "("}, "is no regular expression of Python: missing )"),
        ({"name": "length"}, "expected a bound"),
        ({"name": "length", "at_least": 5, "at_most": 4}, "expected at_least 5 up to at_most"),
        ({"name": "exact", "min": 1.5}, "less than or equal to 1"),
        ({"name": "json-schema", "schema": "s.json"}, "names a file, expected none"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SCORER.validate_python(options)
    assert says in str(caught.value)
