"""How lost answers are shown to people."""

from __future__ import annotations

import pytest

from driftgate.scorers import Refusal
from driftgate.suites import Case
from services.evaluator.differences import difference
from services.evaluator.exam import Result
from services.evaluator.report import as_text, lost_texts


@pytest.mark.parametrize(
    ("answer", "wanted", "told"),
    [
        ('{"a": {"b": 1}}', '{"a": {"b": 2}}', "a.b: answered 1, wanted 2"),
        ('{"a": 1}', '{"a": 1, "b": "x"}', 'b: missing, wanted "x"'),
        ('{"a": 1, "b": null}', '{"a": 1}', "b: answered null, wanted without"),
        ('{"b": 2, "a": 1}', '{"a": 1, "b": 2}', ""),
        ("we send it on Friday", "we send it on Monday", "we send it on [-Monday-]{+Friday+}"),
        ("please wait", "please do wait", "please [-do-] wait"),
        ("nothing alike", "Sehr geehrte Damen", ""),
        ("not JSON", '{"a": 1}', ""),
        ("a b c d e f g h X", "a b c d e f g h Y", "a b c … f g h [-Y-]{+X+}"),
    ],
)
def test_the_difference_is_told_by_field_or_by_word(answer: str, wanted: str, told: str) -> None:
    assert difference(answer, wanted) == told


def result(number: int, right: bool, now: float, then: float, answer: str = "no") -> Result:
    case = Case("task", "accuracy", f"r-{number}", "x", "yes")
    return Result(case, answer, right, "yes", then == 1, {"f1": now}, {"f1": then})


def test_lost_cases_come_first_then_those_that_fell_most() -> None:
    found = [result(1, False, 0.4, 0.6), result(2, False, 0.0, 1.0), result(3, False, 0.1, 0.9)]
    words = "\n".join(lost_texts([*found, result(4, True, 1.0, 1.0)]))
    assert words.index("## Lost: 1 cases") < words.index("r-2") < words.index("## Worse")
    assert words.index("## Worse, though not lost: 2 cases") < words.index("r-3")
    assert words.index("r-3") < words.index("r-1")
    assert "r-4" not in words


def test_an_answer_cannot_leave_its_fence_and_is_cut() -> None:
    words = as_text(result(1, False, 0.0, 1.0, "```\n# Passed\n" + "y" * 5000))
    assert "````\n```\n# Passed\n" in words
    assert "and 4,413 more characters" in words
    assert len(words) < 2000


def test_a_lost_probe_says_what_it_wanted() -> None:
    refusal = Case("probe", "refusal", "refusal-1", "x", scorers=(Refusal(name="refusal"),))
    same = Case("probe", "invariance:typo", "i-1-typo", "x", same_as="y")
    said = [as_text(Result(case, "no", False, "yes", True)) for case in (refusal, same)]
    assert "Wanted: refusal." in said[0]
    assert "Wanted: the same as unchanged." in said[1]
