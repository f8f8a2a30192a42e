"""A model judge is asked over HTTP, may fail in any way, and never decides."""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from stand_in_judge import DRIP, HANG, Reply, serving

from driftgate.artifacts import Artifacts
from driftgate.errors import StoreUnavailable
from driftgate.model_repo import Gate
from driftgate.scorers import Judge
from driftgate.suites import SILENCE, Case, Obtained
from driftgate.tasks.text_generation import Declared, TextGeneration
from services.evaluator import exam, judging
from services.evaluator.axis import Axis
from services.evaluator.exam import Result
from services.evaluator.gate import GateResult, judge
from services.evaluator.graded import Graded
from services.evaluator.judge_endpoint import GIVEN_UP, NO_TIME, JudgeEndpoint, Limits, advice
from services.evaluator.judging import Judged, Question, score_in
from services.evaluator.tables import fate
from services.evaluator.weighting import ALIKE, Weighing

RUBRIC = {"file": "rubric.md", "text": "Polite and true."}
QUICK = Limits(seconds=0.3, attempts=2, pause=0.0, at_once=4, total_seconds=20.0, failures=9)
TOKEN = "sk-very-secret"
GATE = Gate.model_validate(
    {"min_accuracy": 0.5, "min_cases": 20, "waived": ["regression", "probes"]}
)
QUESTION = Question("Where is it?", "Here.", "It is here.")


def declared(**changed: Any) -> Judge:
    return Judge.model_validate({"name": "judge", "model": "j", "rubric": RUBRIC, **changed})


def endpoint(url: str, artifacts: Artifacts | None = None, **changed: Any) -> JudgeEndpoint:
    return JudgeEndpoint(url, SecretStr(TOKEN), artifacts, QUICK._replace(**changed))


def said(score: object) -> str:
    return json.dumps({"score": score})


# ---------------------------------------------------------------- asking


def test_a_judge_is_asked_with_rubric_and_token_and_once(tmp_path: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path}")
    with serving(lambda question, _: said(0.75)) as server:
        asked = endpoint(server.url, artifacts)
        for _ in range(2):
            assert asked.judgements(declared(), [QUESTION]) == {QUESTION: 0.75}
        assert len(server.bodies) == 1
        system, user = (message["content"] for message in server.bodies[0]["messages"])
        assert "Polite and true." in system
        assert json.loads(user) == QUESTION._asdict()
        assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"
        other = {"file": "rubric.md", "text": "Short."}
        asked.judgements(declared(rubric=other), [QUESTION])
        asked.judgements(declared(model="k"), [QUESTION])
        assert len(server.bodies) == 3
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and TOKEN in p.read_text()]


@pytest.mark.parametrize(
    ("reply", "why", "calls"),
    [
        (HANG, "timeout", 2),
        (DRIP, "timeout", 2),
        (500, "HTTP 500", 2),
        (429, "HTTP 429", 2),
        (401, "HTTP 401", 1),
        (302, "HTTP 302", 1),
        (b"<html>", "no reply as OpenAI's API has it", 2),
        (b'{"choices": []}', "no reply as OpenAI's API has it", 2),
        (b'{"error": "sk-very-secret"}', "no reply as OpenAI's API has it", 2),
        (b'{"choices": [{"message": {"content": null}}]}', 'reply is not {"score": NUMBER}', 2),
        ("Very good!", 'reply is not {"score": NUMBER}', 2),
        ('Sure: {"score": 1}', 'reply is not {"score": NUMBER}', 2),
        ('{"score": NaN}', 'reply is not {"score": NUMBER}', 2),
        ('{"mark": 1}', 'reply is not {"score": NUMBER}', 2),
        ("[0.5]", 'reply is not {"score": NUMBER}', 2),
        (said(7), "score is no number from 0 to 1", 2),
        (said("1"), "score is no number from 0 to 1", 2),
        (said(True), "score is no number from 0 to 1", 2),
        (b"[" * 200_000, "no reply as OpenAI's API has it", 2),
        (b" " * 2_000_000, "reply is too large", 1),
    ],
)
def test_what_is_no_judgement_is_none_and_says_why(reply: Reply, why: str, calls: int) -> None:
    with serving(lambda question, _: reply) as server:
        assert endpoint(server.url).judgements(declared(), [QUESTION]) == {QUESTION: why}
        assert len(server.bodies) == calls


def test_a_server_that_fails_once_is_asked_again(tmp_path: Path) -> None:
    with serving(lambda _, times: 503 if times == 1 else said(1)) as server:
        assert endpoint(server.url).judgements(declared(), [QUESTION]) == {QUESTION: 1.0}


def test_a_server_with_a_limit_of_rate_is_left_alone_for_as_long_as_it_says() -> None:
    begun = time.monotonic()
    with serving(lambda *_: said(1) if time.monotonic() - begun > 0.9 else 429) as server:
        server.retry_after = "1"
        assert endpoint(server.url).judgements(declared(), [QUESTION]) == {QUESTION: 1.0}
        server.retry_after = "9" * 400
        brief = endpoint(server.url, longest_pause=0.1)
        begun = time.monotonic()
        other = QUESTION._replace(input="Who?")
        assert brief.judgements(declared(), [other]) == {other: "HTTP 429"}


def test_no_server_and_no_address_are_told() -> None:
    with serving(lambda question, _: said(1)) as server:
        gone = server.url
    (why,) = endpoint(gone).judgements(declared(), [QUESTION]).values()
    assert why == "no reply (ConnectError)"
    assert endpoint("http://host:x").judgements(declared(), [QUESTION]) == {
        QUESTION: "no reply (InvalidURL)"
    }
    (why,) = endpoint("").judgements(declared(), [QUESTION]).values()
    assert "DRIFTGATE_JUDGE_URL" in str(why)


def test_a_token_that_no_header_holds_is_told_without_it() -> None:
    with serving(lambda question, _: said(1)) as server:
        odd = replace(endpoint(server.url), token=SecretStr("sk-é"))
        assert odd.judgements(declared(), [QUESTION]) == {QUESTION: "no reply (UnicodeEncodeError)"}


def test_a_store_that_is_away_is_an_outage_not_a_missing_judgement(tmp_path: Path) -> None:
    class Away(Artifacts):
        def set_ref(self, name: str, value: Any) -> Any:
            raise StoreUnavailable("the artifact store is away")

    with serving(lambda question, _: said(1)) as server, pytest.raises(StoreUnavailable):
        endpoint(server.url, Away(f"file://{tmp_path}")).judgements(declared(), [QUESTION])


def test_a_server_that_always_fails_is_given_up() -> None:
    questions = [Question(str(n), "a", "b") for n in range(200)]
    with serving(lambda question, _: 400) as server:
        found = endpoint(server.url).judgements(declared(), questions)
        assert len(server.bodies) < 9 + 4
    assert set(found) == set(questions)
    assert list(found.values()).count(GIVEN_UP) > 180


def test_judgements_that_came_in_time_count_when_time_is_up(tmp_path: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path}")
    slow, quick = Question("slow", "a", "b"), Question("quick", "a", "b")
    with serving(lambda q, _: HANG if q["input"] == "slow" else said(0.5)) as server:
        asked = endpoint(server.url, artifacts, seconds=9.0, total_seconds=1.0)
        assert asked.judgements(declared(), [slow, quick]) == {slow: NO_TIME, quick: 0.5}
        assert endpoint("http://127.0.0.1:9", artifacts).judgements(declared(), [quick]) == {
            quick: 0.5
        }


def test_a_judges_own_address_comes_first() -> None:
    with serving(lambda question, _: said(1)) as server:
        found = endpoint("http://127.0.0.1:9").judgements(declared(url=server.url), [QUESTION])
    assert found == {QUESTION: 1.0}


@pytest.mark.parametrize("score", [0, 1, 0.5, 1e-3])
def test_a_score_is_read_as_it_stands(score: float) -> None:
    body = {"choices": [{"message": {"content": f" {json.dumps({'score': score})}\n"}}]}
    assert score_in(json.dumps(body).encode()) == score


# ---------------------------------------------------------------- the declaration


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"url": "judge.local"}, "https://host/v1"),
        ({"url": "https://me:sk-1@host/v1"}, "DRIFTGATE_JUDGE_TOKEN"),
        ({"url": "https://host/v1?key=sk-1"}, "DRIFTGATE_JUDGE_TOKEN"),
        ({"token": "sk-1"}, "Extra inputs"),
        ({"model": ""}, "at least 1 character"),
    ],
)
def test_a_judge_that_cannot_be_asked_or_holds_a_secret_is_refused(
    changed: dict[str, str], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        declared(**changed)


def task(**more: Any) -> TextGeneration:
    judges = [{"name": "judge", "model": "j", "rubric": RUBRIC}]
    return TextGeneration.of(
        Declared.model_validate({"kind": "text-generation", "scorers": judges, **more})
    )


def test_a_judge_does_not_say_what_is_right() -> None:
    found = task()
    assert (found.scorers, [each.model for each in found.judges]) == ((), ["j"])
    assert found.right("same", "same") and not found.right("other", "same")


# ---------------------------------------------------------------- what it says


def cases(seed: int = 1, word: str | None = "edit", count: int = 100) -> list[Result]:
    """The candidate answers `bad` where it is wrong; both are right alike."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        right, before = draw.random() < 0.8, draw.random() < 0.8
        case = Case(
            "task", "accuracy", str(number), f"q{number}", "good",
            obtained=Obtained(is_logged=True, word=word),
        )  # fmt: skip
        answer, former = "good" if right else "bad", "good" if before else "worse"
        found.append(Result(case, answer, right, former, before))
    return found


def verdict(found: list[Result], scores: dict[str, object], **more: Any) -> GateResult:
    """What the gate says, and a judge that scores these answers so."""
    weighing = Weighing({result.case.id: 1.0 for result in found}, ALIKE)
    tallies = exam.tallies(found, weighing)
    with serving(lambda question, _: said(scores[question["output"]])) as server:
        told, _ = advice(endpoint(server.url, **more), task(), found, weighing)
    again = [
        Judged(**{**each, "graded": [Graded(**g) for g in each["graded"]]})
        for each in json.loads(json.dumps([asdict(one) for one in told], sort_keys=True))
    ]
    given = judge(tallies, GATE, ALIKE)
    advised = judging.advised(given, told, tallies, GATE, ALIKE)
    assert advised == judging.advised(given, again, tallies, GATE, ALIKE)  # as the audit says
    assert (advised.result, advised.axes[: len(given.axes)]) == (given.result, given.axes)
    return advised


def axis(found: GateResult, name: str) -> Axis:
    (one,) = [a for a in found.axes if a.name == name]
    return one


def test_a_judge_that_finds_harm_warns_and_stops_nothing() -> None:
    found = verdict(cases(), {"good": 1.0, "bad": 0.0, "worse": 1.0})
    told = axis(found, "judge")
    assert found.result == "pass"
    assert (told.passed, fate(told), told.cases) == (True, "warns", 100)
    assert told.p_value is not None and told.p_value < 0.05
    assert "; a model judge warns: task judge mean 0." in found.summary


def test_a_judge_that_finds_all_well_saves_no_candidate() -> None:
    lost = [replace(r, answer="bad", right=False) for r in cases()]
    found = verdict(lost, {"good": 1.0, "bad": 1.0, "worse": 1.0})
    assert found.result == "fail"
    assert (axis(found, "judge").value, fate(axis(found, "judge"))) == (1.0, "told")


def test_its_agreement_with_people_is_measured() -> None:
    found = cases()
    told = axis(verdict(found, {"good": 0.9, "bad": 0.1, "worse": 0.8}), "judge agreement")
    pairs = {(r.case.id, r.answer): (r.right, r.answer != "bad") for r in found}
    pairs |= {(r.case.id, str(r.answer_before)): (bool(r.right_before), True) for r in found}
    people, judged = zip(*pairs.values(), strict=True)
    n = len(pairs)
    same = sum(a == b for a, b in pairs.values()) / n
    by_chance = sum(
        people.count(value) * judged.count(value) / n**2 for value in (True, False)
    )  # Cohen 1960
    assert (told.cases, told.value) == (n, pytest.approx(same))
    assert f"kappa {(same - by_chance) / (1 - by_chance):.2f} (" in told.summary
    assert fate(told) == "told"


def test_a_judge_that_calls_all_alike_agrees_by_chance() -> None:
    told = axis(verdict(cases(), {"good": 1.0, "bad": 1.0, "worse": 1.0}), "judge agreement")
    assert fate(told) == "warns"
    assert "chance may agree as often" in told.summary


@pytest.mark.parametrize("word", [None, SILENCE])
def test_agreement_needs_what_people_said(word: str | None) -> None:
    found = verdict(cases(word=word), {"good": 1.0, "bad": 0.0, "worse": 0.0})
    told = axis(found, "judge agreement")
    assert (told.cases, fate(told), found.result) == (0, "not measured", "pass")


def test_with_too_few_judgements_nothing_is_judged() -> None:
    found = verdict(cases(), {"good": 1.0, "bad": "no number", "worse": None}, failures=999)
    told = axis(found, "judge")
    assert (told.passed, fate(told), found.result) == (True, "not judged", "pass")
    assert told.summary.startswith("not judged: ")
    assert "score is no number from 0 to 1: " in told.summary


def test_without_any_judgement_it_says_so() -> None:
    found = verdict(cases(), {"good": None, "bad": None, "worse": None}, failures=1)
    assert fate(axis(found, "judge")) == "not judged"
    assert axis(found, "judge").value == 0.0
    assert fate(axis(found, "judge agreement")) == "not measured"


def test_a_missing_judgement_is_neither_right_nor_wrong() -> None:
    found = [replace(r, answer_before=r.answer, right_before=r.right) for r in cases()]
    found[0] = replace(found[0], answer="odd")
    told = axis(verdict(found, {"good": 1.0, "bad": 1.0, "odd": None}), "judge")
    assert (told.cases, told.value, told.difference) == (99, 1.0, 0.0)
