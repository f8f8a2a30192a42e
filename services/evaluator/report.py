"""A verdict as files that people and their tools read. Pure; the same verdict gives the same bytes.

report.json   everything: axes, reference, every case with both answers
report.md     the verdict in words, and the cases that were lost
junit.xml     one test case an axis, for CI
README.md     the model card, completed with the results
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

from junitparser import Error, Failure, TestCase, TestSuite

from driftgate.slices import inside
from driftgate.suites import ACCURACY, Case
from driftgate.tasks import kind_of
from services.evaluator.axis import Axis, tidy
from services.evaluator.card import About, completed
from services.evaluator.differences import difference
from services.evaluator.exam import Result
from services.evaluator.gate import GateResult
from services.evaluator.tables import measure, table
from services.evaluator.weighting import Weighing

MOST_LOST = 40
"""So many lost cases are shown in words; report.json holds them all."""

MOST_WORSE = 10
"""And so many whose score fell."""

MOST_SHOWN = 600
"""Characters of a text that are shown in words."""


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
        "unwatched": list(about.unwatched),
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
        **({"scores": rounded(result.scores)} if result.scores else {}),
        **({"champion_scores": rounded(result.scores_before)} if result.scores_before else {}),
    }


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: tidy(score) for name, score in scores.items()}


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
        *unwatched(about),
        *(lost_texts(found) if kind_of(about.task).writes else lost_cases(found)),
    ]
    return "\n\n".join(parts) + "\n"


def unwatched(about: About) -> list[str]:
    """The monitors that will watch nothing of the version, as a section."""
    if not about.unwatched:
        return []
    return ["## Not watched", "\n".join(f"- {line}" for line in about.unwatched)]


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


def lost_texts(found: Sequence[Result]) -> list[str]:
    """The written answers that the champion had right, and those that it had better, as sections
    with what was answered, what was wanted, and how the two differ."""
    lost = [result for result in found if result.lost]
    worse = sorted((r for r in found if not r.lost and fall(r) > 0), key=fall, reverse=True)
    return [
        *section(f"Lost: {len(lost)} cases", lost, MOST_LOST),
        *section(f"Worse, though not lost: {len(worse)} cases", worse, MOST_WORSE),
    ]


def section(title: str, results: Sequence[Result], most: int) -> list[str]:
    if not results:
        return []
    more = [f"{len(results) - most} more in report.json."] if len(results) > most else []
    return [f"## {title}", *map(as_text, results[:most]), *more]


def fall(result: Result, scorer: str | None = None) -> float:
    """How much lower the candidate's score is than the champion's; without a scorer, the most that
    any of them fell."""
    now, before = result.scores, result.scores_before
    names = [name for name in now if name in before and scorer in (None, name)]
    return max((before[name] - now[name] for name in names), default=0.0)


def as_text(result: Result) -> str:
    """One case as Markdown."""
    case, target = result.case, result.case.target
    scored = [
        f"- {name}: champion {before:.3f}, candidate {result.scores[name]:.3f}"
        for name, before in result.scores_before.items()
        if name in result.scores
    ]
    parts = [
        f"### {case.layer} {case.name}: {case.id}",
        *(["\n".join(scored)] if scored else []),
        *([f"Wanted: {wanted(case)}."] if target is None else fenced("Wanted", target)),
        *fenced("Champion", result.answer_before or ""),
        *fenced("Candidate", result.answer),
    ]
    if target is not None and (told := difference(result.answer, target)):
        parts += fenced("Difference of the candidate", told)
    return "\n\n".join(parts)


def fenced(title: str, text: str) -> list[str]:
    """A text as it stands, in a fence that is longer than any in it."""
    text = shortened(text)
    marks = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, marks + 1)
    return [f"{title}:", f"{fence}\n{text}\n{fence}"]


def shortened(text: str) -> str:
    left = len(text) - MOST_SHOWN
    return text if left <= 0 else f"{text[:MOST_SHOWN]}… and {left:,} more characters"


def as_junit(name: str, verdict: GateResult, found: Sequence[Result]) -> bytes:
    """JUnit's XML as CI systems read it. What is too short to judge is an error, not a failure."""
    suite = TestSuite(name)
    suite.add_testcases([junit_case(axis, found) for axis in verdict.axes])
    content = BytesIO()
    suite.write(content, pretty=True)
    return content.getvalue()


def junit_case(axis: Axis, found: Sequence[Result]) -> TestCase:
    case = TestCase(printable(f"{measure(axis)} [{axis.slice}]"), axis.layer)
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
    behind = [r for r in found if r.case.layer == axis.layer and inside(r.case.slices, axis.slice)]
    if axis.graded:
        fallen = [r for r in behind if fall(r, axis.name) > 0]
        fallen.sort(key=lambda r: fall(r, axis.name), reverse=True)
        return [
            f"{r.case.id}: {axis.name} {r.scores[axis.name]:.3f}, champion "
            f"{r.scores_before[axis.name]:.3f}: answered {one_line(r.answer)}, wanted "
            f"{one_line(r.case.target or '')}"
            for r in fallen[:MOST_LOST]
        ]
    wrong = [
        r
        for r in behind
        if not r.right and (axis.name == ACCURACY or r.case.name.partition(":")[0] == axis.name)
    ]
    return [
        f"{r.case.id}: answered {one_line(r.answer)}, wanted {one_line(wanted(r.case))}"
        for r in wrong[:MOST_LOST]
    ]


def wanted(case: Case) -> str:
    """What had to be answered, in words."""
    if case.target is None and case.scorers:
        return " and ".join(dict.fromkeys(scorer.name for scorer in case.scorers))
    return case.target or "the same as unchanged"


def one_line(text: str) -> str:
    return " ⏎ ".join(shortened(text).splitlines())
