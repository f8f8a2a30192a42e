"""A verdict as files that people and their tools read. Pure; the same verdict gives the same bytes.

report.json   everything: axes, reference, every case with both answers
report.md     the verdict in words, and the cases that were lost
junit.xml     one test case an axis, for CI
README.md     the model card, completed with the results
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

from junitparser import Error, Failure, TestCase, TestSuite

from driftgate.suites import ACCURACY
from services.evaluator.axis import Axis, tidy
from services.evaluator.card import About, completed
from services.evaluator.exam import Result
from services.evaluator.gate import GateResult
from services.evaluator.tables import table
from services.evaluator.weighting import Weighing

MOST_LOST = 40
"""So many lost cases are shown in words; report.json holds them all."""


def files(
    about: About,
    verdict: GateResult,
    found: Sequence[Result],
    reference: Mapping[str, float],
    card: str,
    weighing: Weighing,
) -> dict[str, bytes]:
    """Every file of the report, by name."""
    return {
        "report.json": as_json(about, verdict, found, reference, weighing),
        "report.md": as_words(about, verdict, found).encode(),
        "junit.xml": as_junit(about.name, verdict, found),
        "README.md": completed(card, about, verdict).encode(),
    }


def as_json(
    about: About,
    verdict: GateResult,
    found: Sequence[Result],
    reference: Mapping[str, float],
    weighing: Weighing,
) -> bytes:
    """For programs."""
    told = {
        "name": about.name,
        "champion": about.champion,
        "dataset": about.dataset,
        "repo_hash": about.repo_hash,
        "result": verdict.result,
        "words": verdict.summary,
        "axes": [axis.event() for axis in verdict.axes],
        "reference": {key: tidy(value) for key, value in reference.items()},
        "measured_on": asdict(weighing.on),
        "cases": [case_json(result, weighing) for result in found],
    }
    return json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def case_json(result: Result, weighing: Weighing) -> dict[str, Any]:
    """One case with its weight, null where it was left out; without its text, which the dataset or
    the model repo holds by its id."""
    case, weight = result.case, weighing.weight(result.case)
    return {
        "weight": None if weight is None else tidy(weight),
        "layer": case.layer,
        "name": case.name,
        "id": case.id,
        "slices": dict(case.slices),
        "wanted": case.target,
        "answer": result.answer,
        "right": result.right,
        "champion_answer": result.answer_before,
        "champion_right": result.right_before,
    }


def as_words(about: About, verdict: GateResult, found: Sequence[Result]) -> str:
    """For people."""
    against = f", compared with {about.champion}" if about.champion else ", a first release"
    reasons = [f"- {axis.title}: {axis.summary}" for axis in verdict.axes if not axis.passed]
    parts = [
        f"# {about.name}: {verdict.result}",
        f"The verdict on {about.name}{against}. It {verdict.summary}.",
        *(["## What stops it", "\n".join(reasons)] if reasons else []),
        "## All axes",
        table(verdict.axes),
        *([f"Held-out cases: {verdict.measured_on}."] if verdict.measured_on else []),
        *lost_cases(found),
    ]
    return "\n\n".join(parts) + "\n"


def lost_cases(found: Sequence[Result]) -> list[str]:
    """The cases that the champion had right, as a section."""
    lost = [result for result in found if result.lost]
    if not lost:
        return []
    rows = [
        f"| {r.case.layer} {r.case.name} | {r.case.id} | {r.answer_before} | {r.answer} |"
        for r in lost[:MOST_LOST]
    ]
    head = ["| where | case | champion, right | candidate, wrong |", "|---|---|---|---|"]
    more = [f"{len(lost) - MOST_LOST} more in report.json."] if len(lost) > MOST_LOST else []
    return [f"## Lost: {len(lost)} cases", "\n".join(head + rows), *more]


def as_junit(name: str, verdict: GateResult, found: Sequence[Result]) -> bytes:
    """JUnit's XML as CI systems read it. What is too short to judge is an error, not a failure."""
    suite = TestSuite(name)
    suite.add_testcases([junit_case(axis, found) for axis in verdict.axes])
    content = BytesIO()
    suite.write(content, pretty=True)
    return content.getvalue()


def junit_case(axis: Axis, found: Sequence[Result]) -> TestCase:
    case = TestCase(printable(f"{axis.name} [{axis.slice}]"), axis.layer)
    if axis.passed:
        case.system_out = axis.summary
    else:
        case.result = (Error if axis.short else Failure)(axis.summary)
        case.result[0].text = "\n".join(printable(line) for line in wrong_cases(axis, found))
    return case


def printable(text: str) -> str:
    """Ids and slices come from outside, and XML holds no control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def wrong_cases(axis: Axis, found: Sequence[Result]) -> list[str]:
    """The wrong answers behind an axis, a line each."""
    name, _, value = axis.slice.partition("=")
    wrong = [
        r
        for r in found
        if not r.right
        and r.case.layer == axis.layer
        and (axis.name == ACCURACY or r.case.name.partition(":")[0] == axis.name)
        and (not value or r.case.slices.get(name) == value)
    ]
    return [
        f"{r.case.id}: answered {r.answer}, wanted {r.case.target or 'the same as unchanged'}"
        for r in wrong[:MOST_LOST]
    ]
