"""Recipe `auto`, on a random network: a linear head cannot tell where two words agree, an adapter
learns it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_bases import tiny
from trainer_harness import MODEL_YAML, Harness, QuickWorkers
from version_files import digest

from driftgate.bases import resolve
from driftgate.classifier.serving import Classifier
from driftgate.errors import BadInput
from services.trainer.choice import left_out
from services.trainer.method import Example
from services.trainer.recipes import RECIPES, Trained
from services.trainer.worker import Done, Job, Step, Worker

# fmt: off
NOUNS = [
    "house", "river", "stone", "cloud", "table", "window", "garden", "street", "engine", "letter",
    "doctor", "market", "winter", "summer", "school", "bridge", "forest", "island", "kitchen",
    "mirror", "pencil", "ticket", "basket", "candle",
]
# fmt: on
AGREEING = [
    (f"{colour} {fruit} {noun}", "same" if (colour == "red") == (fruit == "apple") else "other")
    for noun in NOUNS
    for colour in ("red", "green")
    for fruit in ("apple", "pear")
]
FRUITS = [  # of most, the colour hides it from the classes' centroids
    (f"{colour} {colour} {colour} {fruit} {noun}", fruit)
    for number, noun in enumerate(NOUNS)
    for colour in ("red", "green")
    for fruit in ("apple", "pear")
    if number < 6 or (colour == "red") == (fruit == "apple")
]
LEARNING = {"epochs": 8, "layers": 2, "batch_size": 8, "learning_rate": 5e-3}
STANDING = {**LEARNING, "epochs": 2, "learning_rate": 1e-9}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("base"), "bert")


@pytest.fixture
def job(base: Path, tmp_path: Path) -> Job:
    return Job("auto", tuple(AGREEING), LEARNING, {}, str(base), None, 7, 1, str(tmp_path / "kept"))


def quiet(share: float, doing: str) -> None:
    pass


def train(
    job: Job, out: Path, recipe: str = "auto", progress: Callable[[float, str], None] = quiet
) -> Trained:
    return RECIPES[recipe](job, out, progress)


def test_the_adapter_is_chosen_where_it_is_right_more_often(job: Job, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    made = train(job, tmp_path / "v", progress=lambda share, doing: told.append((share, doing)))
    assert made.recipe == "classifier"
    accuracy = [made.metrics[f"left_out_accuracy_{name}"] for name in ("classifier", "head")]
    assert accuracy[0] > 0.8 > 0.6 > accuracy[1]
    assert "recipe classifier was chosen: of 15 examples left out" in made.notes[-1]
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, "classifier was chosen: trained")
    doing = [step for _, step in told]
    for step in ("head, to compare: ", "classifier, to compare: epoch 8", "comparing"):
        assert any(one.startswith(step) for one in doing)
    assert made.metrics["examples"] == len(AGREEING), "all of them in the end"
    train(replace(job, checkpoint=str(tmp_path / "other")), tmp_path / "named", "classifier")
    assert digest(tmp_path / "v") == digest(tmp_path / "named"), "as if model.yaml had named it"


def test_the_head_is_chosen_where_it_is_right_more_often(job: Job, tmp_path: Path) -> None:
    job = replace(job, examples=tuple(FRUITS), method=STANDING)
    done = Worker().train(job)
    assert done.recipe == "head"
    assert set(done.files) == {"head.safetensors", "labels.json"}
    assert done.metrics["left_out_accuracy_head"] > done.metrics["left_out_accuracy_classifier"]
    train(job, tmp_path / "named", "head")
    named = tmp_path / "named"
    assert done.files == {file.name: file.read_bytes() for file in named.iterdir()}


class Killed(Exception):
    pass


def test_a_run_that_is_killed_in_each_of_its_steps_ends_with_the_same_bytes(
    job: Job, tmp_path: Path
) -> None:
    asked = iter(("classifier, to compare: epoch 3", "comparing", "was chosen: epoch 3"))

    def killed() -> list[str]:
        """A run until the next step; what it did."""
        step, done = next(asked), []

        def kill(share: float, doing: str) -> None:
            done.append(doing)
            if step in doing:
                raise Killed

        with pytest.raises(Killed):
            train(job, tmp_path / "killed", progress=kill)
        return done

    killed()
    assert not any("compare: epoch 2" in doing for doing in killed()), "learned before"
    assert not any("compare: epoch" in doing for doing in killed())
    resumed = train(job, tmp_path / "resumed")
    unbroken = train(replace(job, checkpoint=str(tmp_path / "anew")), tmp_path / "unbroken")
    assert resumed.recipe == unbroken.recipe == "classifier"
    assert resumed.metrics["resumed_epochs"] == 2
    assert (resumed.losses, resumed.notes) == (unbroken.losses, unbroken.notes)
    assert digest(tmp_path / "resumed") == digest(tmp_path / "unbroken")


def first_left_out(job: Job) -> str:
    held = left_out([Example(*one) for one in job.examples], job.seed)
    return job.examples[held.index(True)][0]


def test_a_label_with_one_example_that_is_left_out_counts_for_nobody_and_is_learned(
    job: Job, tmp_path: Path
) -> None:
    """It is noted."""
    text = first_left_out(job)
    alone = tuple((one, "rare" if one == text else its) for one, its in job.examples)
    job = replace(job, examples=alone, method=STANDING)
    made = train(job, tmp_path / "v")
    assert made.metrics["left_out_compared"] == 14
    noted = "of 14 examples left out (1 more are of labels that were left out whole)"
    assert noted in made.notes[-1]
    classifier = Classifier(resolve(job.base), device="cpu")
    classifier.load("v", tmp_path / "v")
    assert classifier.labels("v") == ("other", "rare", "same")


@pytest.mark.parametrize("count", [2, 3])
def test_too_few_examples_to_leave_some_out_make_a_head(
    job: Job, tmp_path: Path, count: int
) -> None:
    job = replace(job, examples=job.examples[:count])
    made = train(job, tmp_path / "v")
    assert made.recipe == "head"
    assert "no example could be left out to compare by" in made.notes[-1]
    train(job, tmp_path / "named", "head")
    assert digest(tmp_path / "v") == digest(tmp_path / "named")


def test_one_label_is_no_task(job: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least two labels"):
        train(replace(job, examples=(("a", "x"), ("b", "x"))), tmp_path)


class Chooses(QuickWorkers):
    """Pretends that `auto` chose a recipe."""

    def __init__(self, recipe: str) -> None:
        super().__init__()
        self.recipe = recipe

    def train(self, job: Job, report: Callable[[Step], None]) -> Done:
        metrics = {"penalty": 1e-5, "validation_loss": 0.3} if self.recipe == "head" else {}
        note = f"recipe {self.recipe} was chosen"
        done = super().train(job, report)
        return replace(done, recipe=self.recipe, metrics=metrics, notes=(note,))


@pytest.mark.parametrize(
    ("recipe", "method", "library", "words", "not_words"),
    [
        ("head", "head", "driftgate", "linear head on the frozen base, L2 penalty 1e-05", "rank"),
        ("classifier", "lora", "peft", "lora, rank 16, alpha 32, top 2 layers", "penalty"),
    ],
)
def test_candidate_card_manifest_and_audit_name_the_recipe_that_was_chosen(
    tmp_path: Path, recipe: str, method: str, library: str, words: str, not_words: str
) -> None:
    text = MODEL_YAML.replace("method: {", "method: {recipe: auto, ")
    found = Harness(tmp_path, Chooses(recipe), text)
    candidate = found.ask(seed_uri=found.seed())
    (job,) = found.workers.jobs
    assert job.recipe == "auto" and job.method["epochs"] == 12
    assert candidate.method == method
    card = found.artifacts.get(candidate.model_card_uri).decode()
    assert f"library_name: {library}\n" in card
    assert f"- {method}\n" in card
    assert words in card and not_words not in card
    assert f"recipe {recipe}, chosen by auto\n" in card
    run: dict[str, Any] = found.artifacts.get_json(candidate.run_uri)
    assert (run["method"]["recipe"], run["recipe"]) == ("auto", recipe)
    (entry,) = found.read("audit")
    assert f"recipe {recipe} was chosen" in entry.words
    assert json.loads(entry.result)["recipe"] == recipe
