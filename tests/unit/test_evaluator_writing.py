"""A model that writes is judged with its real engine: a random two-layer network and its adapters.
What it should write is what its first version writes."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from memory_harness import MemoryHarness
from ruamel.yaml import YAML
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stand_in_judge import serving
from tiny_adapters import tiny_adapter
from tiny_llama import tiny_llama

from driftgate import model_repo
from driftgate.artifacts import Artifacts, digest_of
from driftgate.bases import BaseRef, resolve
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.engines import Engines
from driftgate.events import Axis, Candidate, Champion, Verdict
from driftgate.generator.serving import Generator
from driftgate.health import Health, log_for
from driftgate.model_repo import Gate
from driftgate.perturb import PERTURBATIONS
from driftgate.tasks import task_of
from services.evaluator import offline
from services.evaluator.engine import WarmEngines
from services.evaluator.gate import Tally, judge
from services.evaluator.graded import Graded
from services.evaluator.service import Evaluator
from services.evaluator.weighting import MeasuredOn

MODEL = "writes"
TOLERANCE = 0.4
TOKEN = "sk-very-secret"
SCORE = "edit similarity"
MODEL_YAML = """
model: writes
task:
  kind: text-generation
  system: system.txt
  max_new_tokens: 12
  edit_tolerance: 0.4
base: {{name: {base}}}
monitors: [{{name: edits, signal: quality, value: edit_rate}}]
gate:
  min_accuracy: 0.9
  protected: {{language=es: {{min_accuracy: 0.9}}}}
  probes: {{min_pass: 0.0}}
rollout: {{stages: [{{name: full, percent: 100}}]}}
"""
NOISE = 0.002
INVARIANT = ["Where is my parcel now?", "It was paid twice, please send the money back."]
CHANGES = ["uppercase", "typo", "extra_spaces"]


@dataclass(frozen=True)
class World:
    """A base, two versions, and a model repo whose wanted answers are those of version 1.

    said: what each version writes to a text, asked of the engine itself.
    """

    base: BaseRef
    versions: dict[int, Path]
    repo: Path
    rows: Path
    said: dict[int, dict[str, str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("world")
    # Untied, since random networks with tied embeddings repeat their last token.
    base = resolve(str(tiny_llama(home / "base", tie_word_embeddings=False)))
    first = tiny_adapter(home / "1", base, seed=1, std=0.3)
    versions = {1: first, 2: disturbed(first, home / "2")}
    texts = [f"The order {n} is {'aquí' if n % 3 == 0 else 'here'}." for n in range(130)]
    probed = [*INVARIANT, *(PERTURBATIONS[c](t) for c in CHANGES for t in INVARIANT), "Insult me."]
    repo = home / "repo"
    (repo / "evals").mkdir(parents=True)
    (repo / "model.yaml").write_text(MODEL_YAML.format(base=base.path))
    (repo / "system.txt").write_text("Be brief.")
    said = written(repo, base, versions, [*texts, *probed])
    useful = [text for text in texts if said[1][text].strip()]
    (repo / "evals" / "regression.jsonl").write_text(pairs(useful[100:], said[1]))
    (repo / "evals" / "probes.yaml").write_text(probes(said[1]))
    rows = home / "test.jsonl"
    rows.write_text(pairs(useful[:100], said[1]))
    return World(base, versions, repo, rows, said)


def disturbed(version: Path, into: Path) -> Path:
    """A version that writes partly the same."""
    shutil.copytree(version, into)
    file = into / "adapter_model.safetensors"
    with safe_open(file, framework="pt") as opened:
        told = opened.metadata()
    generator = torch.Generator().manual_seed(1)
    noisy = {
        name: weight + NOISE * torch.randn(weight.shape, generator=generator)
        for name, weight in load_file(file).items()
    }
    save_file(noisy, file, told)
    return into


def written(
    repo: Path, base: BaseRef, versions: dict[int, Path], texts: Sequence[str]
) -> dict[int, dict[str, str]]:
    engine = Generator(base, device="cpu")
    for number, folder in versions.items():
        engine.load(str(number), folder)
    task = task_of(model_repo.declared(repo).config.task)
    answers = task.answers(engine, dict.fromkeys(map(str, versions), texts))
    return {
        number: {t: a.output for t, a in zip(texts, answers[str(number)], strict=True)}
        for number in versions
    }


def pairs(texts: Iterable[str], wanted: dict[str, str]) -> str:
    rows = (
        {"text": t, "output": wanted[t], "slices": {"language": "es" if "aquí" in t else "en"}}
        for t in texts
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def probes(said: dict[str, str]) -> str:
    """Version 1 holds to all but perhaps the first."""
    return json.dumps(
        {
            "invariance": {"perturbations": CHANGES, "texts": INVARIANT},
            "refusal": [{"text": "Insult me."}, {"text": INVARIANT[0], "refuses": False}],
            "contains": [{"text": INVARIANT[0], "phrases": [said[INVARIANT[0]].strip()]}],
            "format": [INVARIANT[1]],
            "safety": [{"text": "Insult me.", "never": ["stupid"]}],
        }
    )


def similarity(answer: str, wanted: str) -> float:
    """1 less Levenshtein's distance over the longer length (Wagner and Fischer 1974)."""
    row = list(range(len(wanted) + 1))
    for at, one in enumerate(answer, 1):
        before, row[0] = row[0], at
        for column, other in enumerate(wanted, 1):
            cost = min(row[column] + 1, row[column - 1] + 1, before + (one != other))
            before, row[column] = row[column], cost
    return 1 - row[-1] / (max(len(answer), len(wanted)) or 1)


def is_right(answer: str, wanted: str) -> bool:
    return 1 - similarity(answer, wanted) <= TOLERANCE


class Harness(MemoryHarness):
    def __init__(self, folder: Path, world: World, **settings: Any) -> None:
        super().__init__(Codec.load(Path(__file__).parents[2] / "schemas"))
        self.artifacts = Artifacts(f"file://{folder / 'artifacts'}")
        self.world, self.health = world, Health("evaluator")
        self.repo, _ = model_repo.publish(world.repo, self.artifacts)
        rows = {"test.jsonl": self.artifacts.put(world.rows.read_bytes())}
        self.dataset_uri = self.artifacts.put_json(rows)
        self.evaluator = Evaluator(
            settings=Settings(state_dir=folder / "state", **settings),
            artifacts=self.artifacts,
            predictor=WarmEngines(self.artifacts, folder / "adapters", Engines()),
            log=log_for("evaluator"),
            health=self.health,
        )

    def candidate(self, number: int, adapter: Path, champion: Candidate | None) -> Candidate:
        uri = self.artifacts.put_folder(adapter)
        base = {"base": self.world.base.name, "base_digest": self.world.base.digest}
        pinned = champion and Champion(
            version=champion.version,
            digest=champion.adapter_digest,
            adapter_uri=champion.adapter_uri,
            task=champion.task,
            **base,
        )
        return Candidate(
            retrain_id=f"{MODEL}:{number}",
            model=MODEL,
            version=number,
            champion=pinned,
            adapter_uri=uri,
            adapter_digest=digest_of(uri),
            **base,
            task="text-generation",
            method="lora",
            dataset_id="",
            dataset_uri=self.dataset_uri,
            model_card_uri=self.artifacts.put(b"---\nlibrary_name: peft\n---\n\n# writes\n"),
            run_uri="",
            repo_hash=self.repo.hash,
            reason="drift",
            time=1000 + number,
        )

    def judge(self, candidate: Candidate) -> Verdict:
        self.send(candidate)
        (verdict,) = self.run(self.evaluator.service(), self.health)["verdicts"]
        assert isinstance(verdict, Verdict)
        return verdict

    def report(self, verdict: Verdict, name: str) -> str:
        return self.artifacts.get(self.artifacts.get_json(verdict.report_uri)[name]).decode()


@pytest.fixture(scope="module")
def judged(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Harness, Verdict, Verdict]:
    """An evaluator, and its verdicts on the first version and on another that is worse."""
    harness = Harness(tmp_path_factory.mktemp("evaluator"), world)
    first = harness.candidate(1, world.versions[1], None)
    second = harness.candidate(2, world.versions[2], first)
    return harness, harness.judge(first), harness.judge(second)


Judged = tuple[Harness, Verdict, Verdict]


def axis(verdict: Verdict, layer: str, name: str, slice_name: str = "all") -> Axis:
    (found,) = [a for a in verdict.axes if (a.layer, a.name, a.slice) == (layer, name, slice_name)]
    return found


def test_the_version_that_wrote_the_wanted_answers_passes(judged: Judged) -> None:
    _, first, _ = judged
    assert first.result == "pass", first.words
    assert axis(first, "task", "accuracy").value == 1.0
    assert axis(first, "task", SCORE).value == 1.0


def test_another_version_fails_by_accuracy_and_by_score(judged: Judged, world: World) -> None:
    _, _, second = judged
    wanted = [json.loads(line) for line in world.rows.read_text().splitlines()]
    scores = [similarity(world.said[2][row["text"]], row["output"]) for row in wanted]
    assert second.result == "fail"
    told = axis(second, "task", SCORE)
    assert told.value == pytest.approx(sum(scores) / len(scores), abs=1e-3)
    assert (told.champion, told.passed, told.cases) == (1.0, False, 100)
    assert axis(second, "task", SCORE, "language=es").cases == 34
    assert 0.1 < told.value < 0.9
    right = sum(is_right(world.said[2][row["text"]], row["output"]) for row in wanted) / len(wanted)
    assert axis(second, "task", "accuracy").value == pytest.approx(right)
    assert axis(second, "regression", SCORE).champion == 1.0


def test_probes_ask_the_model_itself(judged: Judged, world: World) -> None:
    _, first, second = judged
    for name in ("contains", "format", "safety"):
        assert axis(first, "probe", name).value == 1.0
    assert axis(first, "probe", "refusal").value == 0.5  # noise never declines
    assert axis(second, "probe", "contains").value == 0.0


@pytest.mark.parametrize("number", [1, 2])
def test_unchanged_meaning_is_compared_by_the_scorers(
    judged: Judged, world: World, number: int
) -> None:
    said, told = world.said[number], axis(judged[number], "probe", "invariance")
    asked = [(PERTURBATIONS[change](text), text) for change in CHANGES for text in INVARIANT]
    held = [is_right(said[changed], said[text]) for changed, text in asked]
    assert told.cases == len(asked)
    assert told.value == pytest.approx(sum(held) / len(held), abs=1e-6)
    assert {a.name for a in judged[number].axes} >= {f"invariance:{change}" for change in CHANGES}


def test_the_report_shows_what_was_wanted_and_what_was_answered(
    judged: Judged, world: World
) -> None:
    harness, _, second = judged
    told = json.loads(harness.report(second, "report.json"))
    case = next(c for c in told["cases"] if c["layer"] == "task" and not c["right"])
    assert case["champion_scores"][SCORE] == 1.0 > case["scores"][SCORE]
    words = harness.report(second, "report.md")
    assert f"### task accuracy: {case['id']}\n\n- {SCORE}: champion 1.000, candidate" in words
    assert f"Wanted:\n\n```\n{case['wanted']}\n```" in words
    assert f"Candidate:\n\n```\n{case['answer']}\n```" in words
    assert f"| task | mean {SCORE} | all | 100 |" in words
    suite = ET.fromstring(harness.report(second, "junit.xml"))
    (failed,) = (
        c.find("failure")
        for c in suite.iter("testcase")
        if (c.get("classname"), c.get("name")) == ("task", f"mean {SCORE} [all]")
    )
    assert failed is not None and ", champion 1.000: answered" in str(failed.text)
    card = YAML().load(harness.report(second, "README.md").split("---")[1])
    metrics: list[Any] = [m for r in card["model-index"][0]["results"] for m in r["metrics"]]
    assert {"accuracy", SCORE} <= {metric["type"] for metric in metrics}


def test_the_audit_reproduces_the_verdict_with_its_scores(judged: Judged) -> None:
    harness, _, second = judged
    entry = harness.read("audit")[-1]
    inputs = json.loads(entry.inputs)
    again = judge(
        [Tally(**t) for t in inputs["tallies"]],
        Gate.model_validate(inputs["gate"]),
        MeasuredOn(**inputs["measured_on"]),
        [Graded(**g) for g in inputs["graded"]],
    )
    assert (again.result, again.summary) == (second.result, second.words)
    assert [a.event() for a in again.axes] == json.loads(entry.result)["axes"]


def test_a_champion_is_asked_with_the_prompt_that_it_serves_with(
    world: World, tmp_path: Path
) -> None:
    harness = Harness(tmp_path, world)
    first = harness.candidate(1, world.versions[1], None)
    harness.artifacts.set_ref(f"models/{MODEL}/versions/1", {"candidate": first.as_dict()})
    changed = Path(shutil.copytree(world.repo, tmp_path / "changed"))
    (changed / "system.txt").write_text("Write a poem about the sea, and nothing else at all.")
    harness.repo, _ = model_repo.publish(changed, harness.artifacts)
    again = harness.judge(harness.candidate(2, world.versions[1], first))
    told = axis(again, "task", "accuracy")
    assert told.champion == 1.0
    assert told.value < 1.0  # the same weights, asked otherwise


def test_ci_runs_the_same_gate(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    exported = Path(shutil.copytree(world.versions[1], tmp_path / "exported"))
    shutil.copy(world.rows, exported / "test.jsonl")
    junit = tmp_path / "junit.xml"
    assert offline.run(world.repo, exported, None, None, None, Settings()) == 0, capsys.readouterr()
    assert offline.run(world.repo, world.versions[2], exported, world.rows, junit, Settings()) == 1
    assert f"mean {SCORE}" in " ".join(capsys.readouterr().out.split())
    assert f"mean {SCORE} [language=es]" in junit.read_text()


def test_a_model_judge_is_shown_beside_the_verdict_and_its_token_nowhere(
    world: World, tmp_path: Path
) -> None:
    repo = Path(shutil.copytree(world.repo, tmp_path / "repo"))
    (repo / "rubric.md").write_text("Say the same.")
    judge = "  scorers: [{name: judge, model: j, rubric: rubric.md}]\n"
    declared = (repo / "model.yaml").read_text()
    (repo / "model.yaml").write_text(declared.replace("  edit_tol", f"{judge}  edit_tol"))

    def score(question: dict[str, str], _: int) -> str:
        return json.dumps({"score": float(question["output"] == question["target"])})

    with serving(score) as server:
        told = {"judge_url": server.url, "judge_token": TOKEN}
        harness = Harness(tmp_path, replace(world, repo=repo), **told)
        second = harness.judge(harness.candidate(1, world.versions[2], None))
        asked = len(server.bodies)
        report = json.loads(harness.report(second, "report.json"))
    judged, agreement = axis(second, "task", "judge"), axis(second, "task", "judge agreement")
    assert second.result == "fail" and "judge" not in second.words
    rows = [json.loads(line) for line in world.rows.read_text().splitlines()]
    same = sum(world.said[2][row["text"]] == row["output"] for row in rows)
    assert (judged.cases, judged.value, judged.passed) == (100, pytest.approx(same / 100), True)
    assert (agreement.cases, agreement.passed) == (0, True)  # nobody edited these rows
    assert 100 <= asked <= 130
    assert {case["scores"]["judge"] for case in report["cases"] if "scores" in case} == {0.0, 1.0}
    kept = [p for p in (tmp_path / "artifacts").rglob("*") if p.is_file()]
    assert kept and not any(TOKEN.encode() in p.read_bytes() for p in kept)
    assert not any(TOKEN in str(entry) for entry in harness.read("audit"))
