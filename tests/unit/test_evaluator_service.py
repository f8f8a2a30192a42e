"""A candidate in, a verdict out: once, in full, and the same again after a crash."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from memory_desk import MemoryDesk
from ruamel.yaml import YAML

from driftgate import model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.audit import Audit, broken_links
from driftgate.classifier.serving import Prediction
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadInput
from driftgate.events import Emit
from driftgate.health import Health, log_for
from driftgate.model_repo import Gate
from driftgate.rollouts import PromoterBehind
from services.evaluator.asking import Version
from services.evaluator.gate import Tally, judge
from services.evaluator.service import Evaluator
from services.promoter.rollout import Release

MODEL = "desk"
LABELS = ("delivery", "refund")
MODEL_YAML = """
model: desk
task: {kind: text-classification, labels: [delivery, refund]}
base: {name: all-MiniLM-L6-v2}
monitors:
  - {name: errors, signal: quality, value: error, slices: [all, language=es]}
gate:
  min_accuracy: 0.8
  protected: {language=es: {min_accuracy: 0.7, margin: 0.05}}
rollout: {stages: [{name: full, percent: 100}]}
"""
PROBES = """
minimum: [{text: my delivery is late, label: delivery}]
invariance: {perturbations: [uppercase, thanks], texts: [a refund please, where is the delivery]}
directional: [{text: Well., adds: A refund., label: refund}]
"""
CARD = """---
library_name: peft
model-index:
- name: desk@1
  results: []
---

# desk@1

## Results

Not yet judged.

## Limitations

Many.
"""


@dataclass
class Keywords:
    """Answers by keyword; versions whose URI is in `spoilt` err on every text with `(es)`."""

    spoilt: set[str] = field(default_factory=set)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def predict(self, version: Version, texts: Sequence[str]) -> list[Prediction]:
        self.asked.append((version.number, len(texts)))
        return [self.answer(version, text) for text in texts]

    def answer(self, version: Version, text: str) -> Prediction:
        refund = "refund" in text.lower()
        if version.uri in self.spoilt and "(es)" in text:
            refund = not refund
        return Prediction(LABELS[refund], 0.9, 0.5, len(text.split()))


class Desk(MemoryDesk):
    """An evaluator with everything around it; only the answers are made up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Codec.load(Path(__file__).parents[2] / "schemas"))
        self.artifacts = Artifacts(f"file://{folder / 'artifacts'}")
        self.settings = Settings(state_dir=folder / "state", clock="world")
        self.engine = Keywords()
        self.health = Health("evaluator")
        (folder / "repo" / "evals").mkdir(parents=True)
        (folder / "repo" / "model.yaml").write_text(MODEL_YAML)
        (folder / "repo" / "evals" / "probes.yaml").write_text(PROBES)
        (folder / "repo" / "evals" / "regression.jsonl").write_text(lines(rows(40)))
        self.repo, self.repo_uri = model_repo.publish(folder / "repo", self.artifacts)

    def evaluator(self) -> Evaluator:
        """As it is after a start."""
        return Evaluator(
            self.settings,
            self.bus,
            self.codec,
            self.artifacts,
            self.engine,
            Audit.resume("evaluator", self.bus, self.codec),
            log_for("evaluator"),
            self.health,
        )

    def judge(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """Lets a fresh evaluator judge, sends what it says, which the promoter handles; returns the
        verdict."""
        emits = self.evaluator().handle("candidates", candidate)
        self.send(emits)
        self.promoted()
        (verdict,) = [emit.event for emit in emits if emit.topic == "verdicts"]
        return dict(verdict)

    def candidate(self, version: int, test: str | None = None, **changed: Any) -> dict[str, Any]:
        adapter = self.folder({"adapter": f"weights of {version}"})
        return {
            "retrain_id": f"desk:{version}",
            "model": MODEL,
            "version": version,
            "parent": None,
            "adapter_uri": adapter,
            "adapter_digest": digest_of(adapter),
            "base": "all-MiniLM-L6-v2",
            "base_digest": "",
            "method": "lora",
            "dataset_id": "",
            "dataset_uri": self.folder({"test.jsonl": lines(rows(200)) if test is None else test}),
            "model_card_uri": self.artifacts.put(CARD.encode()),
            "run_uri": "",
            "repo_hash": self.repo.hash,
            "reason": "drift",
            "drill": None,
            "train_rows": 1,
            "test_rows": 200,
            "train_seconds": 1.0,
            "time": 1000 + version,
            **changed,
        }

    def folder(self, files: dict[str, str]) -> str:
        return self.artifacts.put_json(
            {name: self.artifacts.put(text.encode()) for name, text in files.items()}
        )

    def champion(self, candidate: dict[str, Any]) -> None:
        """The promoter has brought this version to full traffic."""
        release = Release(candidate["adapter_digest"], candidate["adapter_uri"])
        self.released(MODEL, candidate["version"], release)

    def report(self, verdict: dict[str, Any], name: str) -> bytes:
        return self.artifacts.get(self.artifacts.get_json(verdict["report_uri"])[name])


def rows(count: int) -> list[dict[str, Any]]:
    """Half of them about refunds, a third of them Spanish."""
    return [
        {
            "id": f"r-{number}",
            "text": f"{LABELS[number % 2]} number {number} ({'es' if number % 3 == 0 else 'en'})",
            "label": LABELS[number % 2],
            "slices": {"language": "es" if number % 3 == 0 else "en"},
        }
        for number in range(count)
    ]


def lines(found: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in found)


def axis(verdict: dict[str, Any], layer: str, slice_name: str = "all") -> dict[str, Any]:
    """Accuracy in one slice."""
    return next(
        a
        for a in verdict["axes"]
        if (a["layer"], a["name"], a["slice"]) == (layer, "accuracy", slice_name)
    )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_first_release_passes_on_bars_alone(desk: Desk) -> None:
    verdict = desk.judge(desk.candidate(1))
    assert (verdict["result"], verdict["champion"]) == ("pass", None)
    assert {a["layer"] for a in verdict["axes"]} == {"task", "regression", "probe"}
    assert (verdict["time"], verdict["retrain_id"]) == (1001, "desk:1")
    (sent,) = desk.read("verdicts")
    assert sent.items() >= verdict.items()


def test_a_candidate_is_paired_with_the_champion(desk: Desk) -> None:
    desk.champion(desk.candidate(1))
    verdict = desk.judge(desk.candidate(2))
    assert (verdict["result"], verdict["champion"]) == ("pass", 1)
    assert axis(verdict, "task")["champion"] == 1.0


@pytest.mark.parametrize("topic", ["clock", "verdicts"])
def test_the_champion_is_read_when_the_promoter_has_done_what_came_before(
    desk: Desk, topic: str
) -> None:
    desk.champion(desk.candidate(1))
    before: dict[str, Any] = {
        "clock": {"world": "w", "time": 1003, "positions": {}},
        "verdicts": desk.judge(desk.candidate(2)),
    }
    desk.send([Emit(topic, before[topic])])
    with pytest.raises(PromoterBehind, match=f"1 on {topic}"):
        desk.evaluator().handle("candidates", desk.candidate(3))
    desk.champion(desk.candidate(2))
    assert desk.judge(desk.candidate(3))["champion"] == 2


def test_a_candidate_spoilt_in_a_protected_slice_is_stopped(desk: Desk) -> None:
    desk.champion(desk.candidate(1))
    spoilt = desk.candidate(2, drill=None)
    desk.engine.spoilt = {spoilt["adapter_uri"]}
    verdict = desk.judge(spoilt)
    assert verdict["result"] == "fail"
    assert "language=es" in verdict["words"]
    assert axis(verdict, "task", "language=es")["value"] == 0.0
    assert axis(verdict, "task", "language=en")["passed"]


def test_the_finding_does_not_come_from_the_drill_field(desk: Desk) -> None:
    with_drill = desk.candidate(1, drill="shuffle-labels:language=es")
    assert desk.judge(with_drill)["result"] == "pass"


def test_the_same_candidate_gets_the_same_verdict_whoever_is_champion_by_then(desk: Desk) -> None:
    candidate = desk.candidate(2)
    desk.champion(desk.candidate(1))
    first = desk.judge(candidate)
    desk.champion(candidate)
    asked = len(desk.engine.asked)
    assert desk.judge(candidate) == first
    assert len(desk.engine.asked) == asked
    assert len(desk.read("audit")) == 1


def test_a_crash_before_the_verdict_is_kept_changes_no_byte(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, other = Desk(tmp_path / "a"), Desk(tmp_path / "b")
    assert one.judge(one.candidate(1)) == other.judge(other.candidate(1))


def test_the_champion_is_not_asked_again_what_it_was_asked(desk: Desk) -> None:
    first = desk.candidate(1)
    desk.judge(first)
    desk.champion(first)
    desk.engine.asked.clear()
    desk.judge(desk.candidate(2, lines(rows(150))))
    task, frozen_suites = 150, 40 + 8
    asked = {number: sum(n for v, n in desk.engine.asked if v == number) for number in (1, 2)}
    assert asked == {1: task, 2: task + frozen_suites}


def test_the_audit_reproduces_the_verdict(desk: Desk) -> None:
    desk.champion(desk.candidate(1))
    spoilt = desk.candidate(2)
    desk.engine.spoilt = {spoilt["adapter_uri"]}
    verdict = desk.judge(spoilt)
    (entry,) = desk.read("audit")
    inputs = json.loads(entry["inputs"])
    again = judge([Tally(**t) for t in inputs["tallies"]], Gate.model_validate(inputs["gate"]))
    assert (again.result, again.words) == (verdict["result"], verdict["words"])
    assert [a.event() for a in again.axes] == json.loads(entry["result"])["axes"]
    assert (entry["decision"], entry["version"]) == ("verdict", 2)
    assert not broken_links([entry])


def test_the_reference_of_monitors_is_measured_on_held_out_cases(desk: Desk) -> None:
    candidate = desk.candidate(1)
    desk.engine.spoilt = {candidate["adapter_uri"]}
    reference = desk.judge(candidate)["reference"]
    assert reference["error|language=es"] == 1.0
    assert reference["error|all"] == pytest.approx(67 / 200)
    assert reference["n|error|all"] == 200
    assert {"cut|words", "cut|low_similarity", "share:refund|all"} <= set(reference)


def test_the_report_is_for_people_programs_and_ci(desk: Desk) -> None:
    desk.champion(desk.candidate(1))
    spoilt = desk.candidate(2)
    desk.engine.spoilt = {spoilt["adapter_uri"]}
    verdict = desk.judge(spoilt)
    told = json.loads(desk.report(verdict, "report.json"))
    assert (told["result"], told["axes"]) == ("fail", verdict["axes"])
    lost = [c for c in told["cases"] if c["champion_right"] and not c["right"]]
    assert len(lost) == 67 + 14  # held out, regression
    words = desk.report(verdict, "report.md").decode()
    assert "# desk@2: fail" in words
    assert "Lost: 81 cases" in words
    suite = ET.fromstring(desk.report(verdict, "junit.xml"))
    failing = [case for case in suite.iter("testcase") if case.find("failure") is not None]
    assert "accuracy [language=es]" in {case.get("name") for case in failing}
    assert suite.get("failures") == str(len(failing))


def test_the_model_card_is_completed(desk: Desk) -> None:
    verdict = desk.judge(desk.candidate(1))
    card = desk.report(verdict, "README.md").decode()
    _, meta, body = card.split("---\n", 2)
    (model,) = YAML(typ="safe").load(meta)["model-index"]
    assert model["name"] == "desk@1"
    values = {r["metrics"][0]["name"]: r["metrics"][0]["value"] for r in model["results"]}
    assert values["task accuracy in language=es"] == 1.0
    assert "Not yet judged" not in body
    assert body.index("## Results") < body.index("| task | accuracy") < body.index("## Limitations")


def test_too_few_held_out_cases_are_told_as_such(desk: Desk) -> None:
    verdict = desk.judge(desk.candidate(1, lines(rows(30))))
    assert verdict["result"] == "insufficient"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"adapter_digest": "0" * 64}, "adapter_digest"),
        ({"dataset_uri": "sha256:" + "0" * 64}, "is not stored"),
        ({"repo_hash": "0" * 64}, "is not stored"),
    ],
)
def test_a_candidate_that_cannot_be_judged_is_refused_with_the_reason(
    desk: Desk, changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        desk.evaluator().handle("candidates", desk.candidate(1) | changed)


def test_a_bad_held_out_row_is_named(desk: Desk) -> None:
    with pytest.raises(BadInput, match=r"test\.jsonl:1: `label` is 'x', which is not declared"):
        desk.evaluator().handle("candidates", desk.candidate(1, '{"text": "a", "label": "x"}'))


def test_health_says_what_is_being_judged(desk: Desk) -> None:
    seen: list[str] = []
    moved = desk.health.moved

    def listen(**detail: Any) -> None:
        seen.append(str(detail.get("activity")))
        moved(**detail)

    desk.health.moved = listen  # type: ignore[method-assign]
    desk.judge(desk.candidate(1))
    assert any(said.startswith("judging desk@1: probe") for said in seen)
    assert desk.health.detail["activity"] is None
