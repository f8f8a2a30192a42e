"""A candidate in, a verdict out: once, in full, and the same again after a crash."""

from __future__ import annotations

import gc
import json
import weakref
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from memory_harness import MemoryHarness
from ruamel.yaml import YAML

from driftgate import model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.audit import broken_links
from driftgate.codec import Codec, digest
from driftgate.config import Settings
from driftgate.engines import Base, Prediction
from driftgate.events import Axis, Candidate, Champion, Rollout, Verdict
from driftgate.health import Health, log_for
from driftgate.model_repo import Gate
from driftgate.tasks import Task
from driftgate.tasks.text_classification import TextClassification
from services.evaluator.engine import WarmEngines
from services.evaluator.gate import Tally, judge
from services.evaluator.prediction_cache import Version
from services.evaluator.progress import Progress
from services.evaluator.service import Evaluator
from services.evaluator.weighting import MeasuredOn

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


CHOICE = TextClassification(("a", "b"))


@dataclass
class Keywords:
    """Answers by keyword; versions whose URI is in `spoilt` err on every text with `(es)`."""

    spoilt: set[str] = field(default_factory=set)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def predict(self, version: Version, texts: Sequence[str], task: Task) -> list[Prediction]:
        self.asked.append((version.number, len(texts)))
        return [self.answer(version, text) for text in texts]

    def answer(self, version: Version, text: str) -> Prediction:
        refund = "refund" in text.lower()
        if version.uri in self.spoilt and "(es)" in text:
            refund = not refund
        return Prediction(LABELS[refund], 0.9, {"similarity": 0.5}, len(text.split()))


class Harness(MemoryHarness):
    """An evaluator with everything around it; only the answers are made up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Codec.load(Path(__file__).parents[2] / "schemas"))
        self.artifacts = Artifacts(f"file://{folder / 'artifacts'}")
        self.settings = Settings(state_dir=folder / "state")
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
            self.settings, self.artifacts, self.engine, log_for("evaluator"), self.health
        )

    def answers(self, candidate: Candidate) -> dict[str, list[Any]]:
        """Lets a fresh evaluator judge; what it says, by topic."""
        self.send(candidate)
        return self.run(self.evaluator().service(), self.health)

    def judge(self, candidate: Candidate) -> Verdict:
        (verdict,) = self.answers(candidate)["verdicts"]
        return verdict

    def candidate(
        self,
        version: int,
        test: str | None = None,
        champion: Candidate | None = None,
        **changed: Any,
    ) -> Candidate:
        adapter = self.folder({"adapter": f"weights of {version}"})
        fields: dict[str, Any] = {
            "retrain_id": f"desk:{version}",
            "model": MODEL,
            "version": version,
            "champion": champion_of(champion) if champion else None,
            "adapter_uri": adapter,
            "adapter_digest": digest_of(adapter),
            "base": "all-MiniLM-L6-v2",
            "base_digest": "of the base",
            "method": "lora",
            "dataset_id": "",
            "dataset_uri": self.folder({"test.jsonl": lines(rows(200)) if test is None else test}),
            "model_card_uri": self.artifacts.put(CARD.encode()),
            "run_uri": "",
            "repo_hash": self.repo.hash,
            "reason": "drift",
            "time": 1000 + version,
        }
        return Candidate(**(fields | changed))

    def folder(self, files: dict[str, str]) -> str:
        return self.artifacts.put_json(
            {name: self.artifacts.put(text.encode()) for name, text in files.items()}
        )

    def report(self, verdict: Verdict, name: str) -> bytes:
        return self.artifacts.get(self.artifacts.get_json(verdict.report_uri)[name])


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


def champion_of(candidate: Candidate) -> Champion:
    """A version as a request pins it."""
    return Champion(
        version=candidate.version,
        digest=candidate.adapter_digest,
        adapter_uri=candidate.adapter_uri,
        base=candidate.base,
        base_digest=candidate.base_digest,
    )


def axis(verdict: Verdict, layer: str, slice_name: str = "all") -> Axis:
    """Accuracy in one slice."""
    return next(
        a for a in verdict.axes if (a.layer, a.name, a.slice) == (layer, "accuracy", slice_name)
    )


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def test_a_first_release_passes_on_bars_alone(harness: Harness) -> None:
    verdict = harness.judge(harness.candidate(1))
    assert (verdict.result, verdict.champion) == ("pass", None)
    assert {a.layer for a in verdict.axes} == {"task", "regression", "probe"}
    assert (verdict.time, verdict.retrain_id) == (1001, "desk:1")
    assert harness.read("verdicts") == [verdict]


def test_a_candidate_is_paired_with_the_champion(harness: Harness) -> None:
    verdict = harness.judge(harness.candidate(2, champion=harness.candidate(1)))
    assert (verdict.result, verdict.champion) == ("pass", 1)
    assert axis(verdict, "task").champion == 1.0


def test_it_is_paired_with_the_champion_of_its_request_whoever_rules_by_now(
    harness: Harness,
) -> None:
    other = Rollout.of(
        {"model": MODEL, "epoch": 9, "champion": 7, "stage": "idle", "since": 0, "time": 0}
    )
    harness.send(other)
    assert harness.judge(harness.candidate(3, champion=harness.candidate(2))).champion == 2


def test_a_candidate_of_the_first_schema_is_compared_with_its_parent(harness: Harness) -> None:
    """It was in flight at the upgrade, and names its champion by number alone."""
    first = harness.candidate(1)
    harness.artifacts.set_ref(f"models/{MODEL}/versions/1", {"candidate": first.as_dict()})
    harness.send_v1(harness.candidate(2, parent=1))
    (verdict,) = harness.run(harness.evaluator().service(), harness.health)["verdicts"]
    assert verdict.champion == 1
    assert axis(verdict, "task").champion == 1.0
    inputs = json.loads(harness.read("audit")[0].inputs)
    assert inputs["champion"]["digest"] == first.adapter_digest


def test_a_candidate_whose_parent_is_lost_is_not_judged_as_a_first_release(
    harness: Harness,
) -> None:
    said = harness.answers(harness.candidate(2, parent=1))
    assert "parent 1 of desk@2" in said["candidates.dlq"][0].message
    assert "verdicts" not in said


def test_against_another_champion_it_is_another_verdict(harness: Harness) -> None:
    candidate = harness.candidate(3, champion=harness.candidate(1))
    first = harness.judge(candidate)
    other = harness.judge(replace(candidate, champion=champion_of(harness.candidate(2))))
    assert (first.champion, other.champion) == (1, 2)
    assert first.verdict_id != other.verdict_id


@pytest.mark.parametrize("with_champion", [True, False])
def test_a_verdict_that_was_kept_without_the_champion_in_its_name_is_told_the_same(
    harness: Harness, with_champion: bool
) -> None:
    first = harness.candidate(1)
    candidate = harness.candidate(3, champion=first if with_champion else None)
    kept = harness.evaluator().examine(candidate)
    verdict = {**kept["verdict"], "verdict_id": "as it was"}
    parts = [candidate.adapter_digest, candidate.dataset_uri, candidate.repo_hash]
    name = f"models/{MODEL}/verdicts/3-{digest(parts)[:12]}"
    harness.artifacts.set_ref(name, {**kept, "verdict": verdict})
    assert harness.judge(candidate).verdict_id == "as it was"
    against = champion_of(harness.candidate(2))
    assert harness.judge(replace(candidate, champion=against)).verdict_id != "as it was"


def test_a_suite_without_texts_is_no_progress() -> None:
    health = Health("evaluator")
    told = Progress("desk@1", 0, health)
    told.answered("probe", 0)
    assert "progress" not in health.detail


@dataclass(eq=False)
class Resident:
    """An engine that remembers its versions."""

    names: list[str] = field(default_factory=list)

    def load(self, name: str, folder: Path) -> None:
        self.names.append(name)

    def unload(self, name: str) -> None:
        self.names.remove(name)

    def resident(self) -> frozenset[str]:
        return frozenset(self.names)

    def predict_many(self, asked: Any) -> Any:
        return {name: [] for name in asked}


def test_the_engines_of_the_last_two_bases_are_kept(harness: Harness, tmp_path: Path) -> None:
    made: list[weakref.ref[Resident]] = []

    class Bases:
        def of(self, *base: str) -> Resident:
            engine = Resident()
            made.append(weakref.ref(engine))
            return engine

    engines: Any = WarmEngines(harness.artifacts, tmp_path / "cache", Bases())  # type: ignore[arg-type]
    uri = harness.folder({"adapter": "weights"})
    for base in ("a", "b", "a", "c"):
        for number in range(3):
            engines.predict(Version(number, f"{base}{number}", uri, Base("", base, "")), [], CHOICE)
    gc.collect()
    alive = [found for ref in made if (found := ref()) is not None]
    assert [found.names for found in alive] == [["a1", "a2"], ["c1", "c2"]]


def test_a_verdict_names_the_base_and_task_of_its_version(harness: Harness) -> None:
    verdict = harness.judge(harness.candidate(1))
    assert (verdict.base, verdict.base_digest) == ("all-MiniLM-L6-v2", "of the base")
    assert verdict.task == "text-classification"


def test_a_candidate_spoilt_in_a_protected_slice_is_stopped(harness: Harness) -> None:
    spoilt = harness.candidate(2, champion=harness.candidate(1))
    harness.engine.spoilt = {spoilt.adapter_uri}
    verdict = harness.judge(spoilt)
    assert verdict.result == "fail"
    assert "language=es" in verdict.words
    assert axis(verdict, "task", "language=es").value == 0.0
    assert axis(verdict, "task", "language=en").passed


def test_the_finding_does_not_come_from_the_drill_field(harness: Harness) -> None:
    with_drill = harness.candidate(1, drill="shuffle-labels:language=es")
    assert harness.judge(with_drill).result == "pass"


def test_the_same_candidate_gets_the_same_verdict(harness: Harness) -> None:
    candidate = harness.candidate(2, champion=harness.candidate(1))
    first = harness.judge(candidate)
    asked = len(harness.engine.asked)
    assert harness.answers(candidate) == {"verdicts": [first]}
    assert len(harness.engine.asked) == asked
    assert len(harness.read("audit")) == 1


def test_a_crash_before_the_verdict_is_kept_changes_no_byte(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, other = Harness(tmp_path / "a"), Harness(tmp_path / "b")
    assert one.judge(one.candidate(1)) == other.judge(other.candidate(1))


def test_the_champion_is_not_asked_again_what_it_was_asked(harness: Harness) -> None:
    first = harness.candidate(1)
    harness.judge(first)
    harness.engine.asked.clear()
    harness.judge(harness.candidate(2, lines(rows(150)), champion=first))
    task, frozen_suites = 150, 40 + 8
    asked = {number: sum(n for v, n in harness.engine.asked if v == number) for number in (1, 2)}
    assert asked == {1: task, 2: task + frozen_suites}


def test_the_audit_reproduces_the_verdict(harness: Harness) -> None:
    spoilt = harness.candidate(2, champion=harness.candidate(1))
    harness.engine.spoilt = {spoilt.adapter_uri}
    verdict = harness.judge(spoilt)
    (entry,) = harness.read("audit")
    inputs = json.loads(entry.inputs)
    tallies = [Tally(**t) for t in inputs["tallies"]]
    on = MeasuredOn(**inputs["measured_on"])
    again = judge(tallies, Gate.model_validate(inputs["gate"]), on)
    assert (again.result, again.summary) == (verdict.result, verdict.words)
    assert [a.event() for a in again.axes] == json.loads(entry.result)["axes"]
    assert (entry.decision, entry.version) == ("verdict", 2)
    assert not broken_links([entry])


def test_the_reference_of_monitors_is_measured_on_held_out_cases(harness: Harness) -> None:
    candidate = harness.candidate(1)
    harness.engine.spoilt = {candidate.adapter_uri}
    reference = harness.judge(candidate).reference
    assert reference["error|language=es"] == 1.0
    assert reference["error|all"] == pytest.approx(67 / 200)
    assert reference["n|error|all"] == 200
    assert {"cut|words", "cut|low_similarity", "share:refund|all"} <= set(reference)


def test_the_verdict_tells_what_monitors_will_not_watch(harness: Harness, tmp_path: Path) -> None:
    well_watched = harness.report(harness.judge(harness.candidate(1)), "report.md")
    assert b"Not watched" not in well_watched
    monitor = "  - {name: pages, signal: input, value: pages, slices: [all, language=es]}\ngate:"
    yaml = MODEL_YAML.replace("gate:", monitor, 1)
    (tmp_path / "repo" / "model.yaml").write_text(yaml)
    harness.repo, harness.repo_uri = model_repo.publish(tmp_path / "repo", harness.artifacts)
    verdict = harness.judge(harness.candidate(2))
    assert verdict.result == "pass"
    told = "- pages (all, language=es): no reference for pages"
    assert told in harness.report(verdict, "report.md").decode().splitlines()


def complained(reviewed: int, wrong: float | None) -> dict[str, str]:
    """A dataset of logged rows, mostly of answers that were wrong, and what its card says."""
    told = {"source": "logs", "word": "correction", "time": 1_767_571_200_000}
    logged = [{**row, **told, "heard_right": n % 4 == 0} for n, row in enumerate(rows(200))]
    ends = "2026-01-20T00:00:00+00:00"
    card = {
        "ends": ends,
        "split": {"recent_since": "2025-12-01T00:00:00+00:00"},
        "labels": {"reviewed": reviewed, "reviewed_wrong": wrong},
    }
    return {"test.jsonl": lines(logged), "card.json": json.dumps(card)}


def test_cases_that_people_complained_about_claim_no_accuracy(harness: Harness) -> None:
    dataset = harness.folder(complained(0, None))
    champion = harness.candidate(1)
    harness.engine.spoilt = {champion.adapter_uri}
    verdict = harness.judge(harness.candidate(2, dataset_uri=dataset, champion=champion))
    assert verdict.result == "pass"
    (axis,) = [a for a in verdict.axes if (a.layer, a.name, a.slice) == ("task", "accuracy", "all")]
    assert axis.threshold is None
    assert "accuracy is not that of traffic" in axis.words
    assert not [key for key in verdict.reference if "error" in key]
    assert "share:refund|all" in verdict.reference
    card = harness.report(verdict, "README.md").decode()
    _, meta, body = card.split("---\n", 2)
    (model,) = YAML(typ="safe").load(meta)["model-index"]
    assert not [r for r in model["results"] if r["metrics"][0]["name"].startswith("task")]
    assert "held-out cases are those that people complained about" in body


def test_the_review_sample_on_a_dataset_card_weights_its_cases(harness: Harness) -> None:
    """The candidate errs in Spanish, a third of the cases; most were wrong as they were heard."""
    candidate = harness.candidate(1, dataset_uri=harness.folder(complained(100, 0.1)))
    harness.engine.spoilt = {candidate.adapter_uri}
    verdict = harness.judge(candidate)
    told = json.loads(harness.report(verdict, "report.json"))
    weights = {(c["weight"], c["id"]) for c in told["cases"] if c["layer"] == "task"}
    right = sum(w for w, name in weights if int(name.removeprefix("r-")) % 4 == 0)
    assert right == pytest.approx(0.9 * 200)
    assert "weighted so that 10% of the answers heard were wrong" in told["measured_on"]["summary"]
    spanish = sum(w for w, name in weights if int(name.removeprefix("r-")) % 3 == 0)
    assert verdict.reference["error|all"] == pytest.approx(spanish / 200, abs=1e-4)
    assert verdict.reference["n|error|all"] < 100


def test_the_report_is_for_people_programs_and_ci(harness: Harness) -> None:
    spoilt = harness.candidate(2, champion=harness.candidate(1))
    harness.engine.spoilt = {spoilt.adapter_uri}
    verdict = harness.judge(spoilt)
    told = json.loads(harness.report(verdict, "report.json"))
    assert (told["result"], told["axes"]) == ("fail", verdict.as_dict()["axes"])
    lost = [c for c in told["cases"] if c["champion_right"] and not c["right"]]
    assert len(lost) == 67 + 14  # held out, regression
    words = harness.report(verdict, "report.md").decode()
    assert "# desk@2: fail" in words
    assert "Lost: 81 cases" in words
    suite = ET.fromstring(harness.report(verdict, "junit.xml"))
    failing = [case for case in suite.iter("testcase") if case.find("failure") is not None]
    assert "accuracy [language=es]" in {case.get("name") for case in failing}
    assert suite.get("failures") == str(len(failing))


def test_the_model_card_is_completed(harness: Harness) -> None:
    verdict = harness.judge(harness.candidate(1))
    card = harness.report(verdict, "README.md").decode()
    _, meta, body = card.split("---\n", 2)
    (model,) = YAML(typ="safe").load(meta)["model-index"]
    assert model["name"] == "desk@1"
    values = {r["metrics"][0]["name"]: r["metrics"][0]["value"] for r in model["results"]}
    assert values["task accuracy in language=es"] == 1.0
    assert "Not yet judged" not in body
    assert body.index("## Results") < body.index("| task | accuracy") < body.index("## Limitations")


def test_too_few_held_out_cases_are_told_as_such(harness: Harness) -> None:
    verdict = harness.judge(harness.candidate(1, lines(rows(30))))
    assert verdict.result == "insufficient"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"adapter_digest": "0" * 64}, "adapter_digest"),
        ({"dataset_uri": "sha256:" + "0" * 64}, "is not stored"),
        ({"repo_hash": "0" * 64}, "is not stored"),
    ],
)
def test_a_candidate_that_cannot_be_judged_is_refused_with_the_reason(
    harness: Harness, changed: dict[str, Any], says: str
) -> None:
    said = harness.answers(harness.candidate(1, **changed))
    assert says in said["candidates.dlq"][0].message
    assert [entry.decision for entry in said["audit"]] == ["dead-letter"]


def test_a_bad_held_out_row_is_named(harness: Harness) -> None:
    said = harness.answers(harness.candidate(1, '{"text": "a", "label": "x"}'))
    expected = "test.jsonl:1: `label` is 'x', which is not declared"
    assert expected in said["candidates.dlq"][0].message


def test_health_says_what_is_being_judged(harness: Harness) -> None:
    seen: list[str] = []
    heartbeat = harness.health.heartbeat

    def listen(**detail: Any) -> None:
        seen.append(str(detail.get("activity")))
        heartbeat(**detail)

    harness.health.heartbeat = listen  # type: ignore[method-assign]
    harness.judge(harness.candidate(1))
    assert any(said.startswith("judging desk@1: probe") for said in seen)
    assert harness.health.detail["activity"] is None
