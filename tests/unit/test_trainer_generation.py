"""A request for a model that writes: from edits, accepted answers and older ones to a version."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import tiny_llama
from trainer_harness import MODEL, Harness, QuickWorkers, answer, launch_time, moment, outcome

from driftgate import model_repo
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, RetrainRequest
from driftgate.split import held_out
from services.trainer.worker import Done, Job, Step, Worker

NOW = launch_time() + 60 * DAY_MS
LONG = next(n for n in range(60, 120, 4) if not held_out(f"c-{n}", 0.25))

MODEL_YAML = """
model: support
owner: the desk
task: {kind: text-generation, output: json, max_input_tokens: 96, max_new_tokens: 32}
base: {name: BASE}
method: {layers: 1, epochs: 2}
data: {recent_days: 28, replay_rows: 5, max_rows: 600, min_rows: 20}
feedback: {profile: [edits, thumbs]}
monitors: [{name: errors, signal: quality, value: error, slices: [all]}]
gate: {min_accuracy: 0.8, waived: [regression, probes]}
rollout: {stages: [{name: full, percent: 100}]}
"""


class InProcess:
    """Trains here."""

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        return Worker().train(job)


def harness(folder: Path, workers: Any, base: Path, method: str = "recipe: sft") -> Harness:
    """With `method` in the model.yaml."""
    yaml = MODEL_YAML.replace("method: {", f"method: {{{method}, ")
    found = Harness(folder, workers, yaml.replace("BASE", str(base)))
    rows = [story(n) for n in range(120)]
    found.store.append("inferences", [row for row, _ in rows])
    found.store.append("outcomes", [row for _, row in rows if row])
    return found


def story(n: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """An answer and what was said of it: edited, accepted, disliked, or nothing."""
    time = NOW - 45 * DAY_MS + n * DAY_MS // 3
    row = {
        "id": f"r-{n}",
        "text": f"Order {n} is late" + " and late" * (60 if n == LONG else 0),
        "label": json.dumps({"order": n}),
        "subject": f"c-{n}",
        "slices": {},
        "time": time,
    }
    said: dict[str, Any] = {"label": None, "inference_time": moment(time)}
    match n % 4:
        case 0:
            edited = json.dumps({"order": n, "team": "parcels"})
            said |= {"kind": "edit", "edited": edited, "was_correct": False}
        case 1:
            said |= {"kind": "rating", "rating": 1.0, "was_correct": True}
        case 2:
            said |= {"kind": "rating", "rating": 0.0, "was_correct": False}
        case _:
            return answer(row, n), None
    return answer(row, n), outcome(row, n, **said)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("base"))


def request(found: Harness) -> RetrainRequest:
    return found.request("support:drift:1", reason="drift", time=NOW)


def test_edits_and_accepted_answers_are_learned_and_older_ones_replayed(
    tmp_path: Path, base: Path
) -> None:
    workers = QuickWorkers()
    found = harness(tmp_path, workers, base)
    found.send(request(found))
    found.answers()
    (job,) = workers.jobs
    learned = dict(job.examples)
    recent, older = set(), set()
    for n in range(120):
        row, _ = story(n)
        if held_out(f"c-{n}", 0.25):
            assert row["input"] not in learned
        elif n % 4 in (0, 1):
            (recent if row["time"] >= moment(NOW - 28 * DAY_MS) else older).add(row["input"])
        else:
            assert row["input"] not in learned
    assert recent <= set(learned) <= recent | older
    assert len(set(learned) & older) == 5
    for text, target in learned.items():
        n = int(text.split()[1])
        edited = {"order": n, "team": "parcels"}
        assert json.loads(target) == (edited if n % 4 == 0 else {"order": n})
    assert job.recipe == "sft"
    assert job.task == {
        "system": None,
        "template": "{text}",
        "max_input_tokens": 96,
        "max_new_tokens": 32,
    }
    assert job.method["layers"] == 1  # as declared
    assert job.method["learning_rate"] == 5e-4  # as fits the kind


def test_a_version_is_trained_and_says_what_it_learned(tmp_path: Path, base: Path) -> None:
    found = harness(tmp_path, InProcess(), base)
    found.send(request(found))
    told = found.answers()
    (candidate,), (audit,) = told["candidates"], told["audit"]
    folder = found.artifacts.get_folder(candidate.adapter_uri, tmp_path / "cache")
    assert {path.name for path in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "probe.json",
    }
    assert candidate.task == "text-generation"
    run = json.loads(found.artifacts.get(candidate.run_uri))
    assert run["left_out"] == {"prompt is longer than max_input_tokens (96)": 1}
    assert len(run["validation"]) == len(run["losses"]) == 2
    card = found.artifacts.get(candidate.model_card_uri).decode()
    assert "pipeline_tag: text-generation" in card
    assert "top 1 layers, 2 epochs" in card
    assert "recipe sft" in card
    assert "left out: 1, prompt is longer than max_input_tokens (96)" in card
    assert "on rows held back from it" in card
    assert "| up to 100 characters |" in card
    assert "1 prompt is longer than max_input_tokens (96)" in audit.words


def test_what_model_yaml_says_of_the_method_stands_and_the_rest_fits_the_kind() -> None:
    config = model_repo.parse(MODEL_YAML.replace("layers: 1, ", ""))
    assert (config.method.layers, config.method.epochs) == (8, 2)
    assert (config.method.learning_rate, config.method.label_smoothing) == (5e-4, 0.0)
    without = model_repo.parse(MODEL_YAML.replace("method: {layers: 1, epochs: 2}", ""))
    assert (without.method.layers, without.method.rank) == (8, 16)
    assert config.model == MODEL


# ---------------------------------------------------------------- preferences


def edited(n: int) -> tuple[str, str, str]:
    """The preference that story `n` tells: input, edit, answer."""
    row, said = story(n)
    assert said
    return row["input"], said["edited"], row["output"]


def test_edits_are_preferred_to_the_answers_that_they_changed(tmp_path: Path, base: Path) -> None:
    """Of people that are not held out, of what was not excluded, of edits alone, and of those that
    changed something."""
    workers = QuickWorkers()
    found = harness(tmp_path, workers, base, "recipe: sft+dpo, dpo: {beta: 0.2}")
    row, said = story(110)
    same = {"kind": "edit", "rating": None, "edited": f" {row['output']}", "was_correct": True}
    found.store.append("outcomes", [{**(said or {}), **same, "offset": 900, "outcome_id": "same"}])
    gone = next(n for n in range(60, 120, 4) if not held_out(f"c-{n}", 0.25))
    found.send(found.request("support:drift:1", reason="drift", time=NOW, exclusions=[f"r-{gone}"]))
    (candidate,) = found.answers()["candidates"]
    (job,) = workers.jobs
    learned = dict(job.examples)
    expected = {
        edited(n)
        for n in range(0, 120, 4)
        if n != gone and not held_out(f"c-{n}", 0.25) and story(n)[0]["input"] in learned
    }
    assert set(job.preferences) == expected
    assert len(expected) > 8
    assert (job.recipe, job.dpo["beta"], job.dpo["sft_weight"]) == ("sft+dpo", 0.2, 4.0)
    folder = found.artifacts.get_folder(candidate.dataset_uri, tmp_path / "cache")
    rows = [json.loads(line) for line in (folder / "preferences.jsonl").read_text().splitlines()]
    assert {(row["text"], row["chosen"], row["rejected"]) for row in rows} == expected
    assert all(row["subject"] == row["id"].replace("r-", "c-") for row in rows)
    assert "rejected" not in (folder / "train.jsonl").read_text()
    card = json.loads((folder / "card.json").read_text())
    assert card["preferences"]["rows"] == len(expected)
    assert set(card["content"]) == {"train.jsonl", "test.jsonl", "preferences.jsonl"}
    assert f"preferences: {len(expected)} train rows" in (folder / "README.md").read_text()
    croissant = json.loads((folder / "croissant.json").read_text())
    fields = [f["name"] for f in croissant["recordSet"][2]["field"]]
    assert fields[:4] == ["id", "text", "chosen", "rejected"]


def test_a_launch_may_say_which_answers_were_rejected(tmp_path: Path, base: Path) -> None:
    workers = QuickWorkers()
    found = harness(tmp_path, workers, base, "recipe: dpo, dpo: {min_pairs: 20}")
    rows: list[dict[str, Any]] = [
        {"id": f"s-{n}", "text": f"text {n}", "output": f'{{"n": {n}}}', "time": NOW - n}
        for n in range(80)
    ]
    for row in rows[:60]:
        row["rejected"] = "{}"
    found.ask("support:launch", seed_uri=found.seed(rows), time=NOW)
    (job,) = workers.jobs
    learned = dict(job.examples)
    assert {one for one in job.preferences if one[0].startswith("text")} == {
        (row["text"], row["output"], "{}") for row in rows[:60] if row["text"] in learned
    }


def test_without_pairs_preferences_alone_train_nothing(tmp_path: Path, base: Path) -> None:
    workers = QuickWorkers()
    found = harness(tmp_path, workers, base, "recipe: dpo")
    found.send(request(found))
    told = found.answers()
    assert workers.jobs == []
    (audit,) = told["audit"]
    assert audit.decision == "refuse"
    assert "preference pairs, at least 50 are needed (method.dpo.min_pairs)" in audit.words


@pytest.mark.parametrize(
    ("least", "course", "said"),
    [
        (8, "preference pairs, loss", ""),
        (99, "preferences were not learned", "at least 99 are needed"),
    ],
)
def test_a_version_says_how_it_learned_preferences(
    tmp_path: Path, base: Path, least: int, course: str, said: str
) -> None:
    method = f"recipe: sft+dpo, dpo: {{min_pairs: {least}, epochs: 1}}"
    found = harness(tmp_path, InProcess(), base, method)
    found.send(request(found))
    told = found.answers()
    (candidate,), (audit,) = told["candidates"], told["audit"]
    card = found.artifacts.get(candidate.model_card_uri).decode()
    assert "recipe sft+dpo, dpo with beta 0.1" in card
    assert course in card
    assert said in card
    assert said in audit.words
    run = json.loads(found.artifacts.get(candidate.run_uri))
    assert (run["preferred"] is None) == (least == 99)


def test_a_drill_spoils_preferences_too(tmp_path: Path, base: Path) -> None:
    workers = QuickWorkers()
    found = harness(tmp_path, workers, base, "recipe: sft+dpo")
    drill = "shuffle-labels:all"
    found.send(found.request("support:drift:1", reason="drift", time=NOW, drill=drill))
    found.answers()
    (job,) = workers.jobs
    learned = dict(job.examples)
    assert all(learned[text] == chosen != rejected for text, chosen, rejected in job.preferences)


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("method: {recipe: dop}", "recipe 'dop' is none of text-generation: did you mean 'dpo'"),
        ("method: {dpo: {beta: 0}}", "method.dpo.beta"),
        ("method: {dpo: {betta: 1}}", "beta"),
        ("task: labels", "recipe 'dpo' is none of text-classification"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(yaml: str, expected: str) -> None:
    text = MODEL_YAML.replace("method: {layers: 1, epochs: 2}", yaml)
    if yaml == "task: labels":
        text = MODEL_YAML.replace("layers: 1,", "recipe: dpo,")
        declared = "task: {kind: text-classification, labels: [a, b]}"
        text = "\n".join(
            declared if line.startswith("task:") else line for line in text.split("\n")
        )
    with pytest.raises(BadConfig, match=re.escape(expected)):
        model_repo.parse(text)
