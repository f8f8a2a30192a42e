from __future__ import annotations

from pathlib import Path

import pytest
from trainer_harness import MODEL_YAML, Harness, QuickWorkers

from driftgate.bases import MINILM, resolve
from driftgate.classifier.serving import Classifier
from driftgate.label_names import named
from services.trainer.recipes import RECIPES
from services.trainer.worker import Job

EXAMPLES = [
    (f"{start} {word}", label)
    for label, words in {
        "card_arrival": ["my new card is not here", "the card did not come by post"],
        "exchange_rate": ["how many euros for a pound", "what is a dollar worth today"],
    }.items()
    for word in words
    for start in ("hello,", "please tell me:", "I want to know,", "again:")
]
LABELS = ("card_arrival", "exchange_rate", "passcode_forgotten")
NEW = ["I cannot remember my passcode", "how do I reset a passcode that I forgot"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("card_arrival", "card arrival"),
        ("topUpFailed", "top Up Failed"),
        ("Refund_not_showing_up", "Refund not showing up"),
        ("reverted-card payment?", "reverted card payment"),
        ("IT", None),
        ("c17", None),
        ("3", None),
        ("😀", None),
        ("größe.ändern", "größe ändern"),
        ("カード紛失", "カード紛失"),
        ("HTTPError", "HTTPError"),
    ],
)
def test_what_a_label_is_called(label: str, name: str | None) -> None:
    found = [text for text, _, _ in named([label], 3)]
    assert found == ([] if name is None else [name])


def test_no_name_is_learned_where_none_is_wanted() -> None:
    assert named(LABELS, 0) == ()
    assert named(LABELS[:1], 2.5) == (("card arrival", "card_arrival", 2.5),)


@pytest.mark.parametrize("recipe", ["classifier", "head"])
def test_a_label_without_an_example_is_answered_by_its_name(recipe: str, tmp_path: Path) -> None:
    classifier = Classifier(resolve(MINILM), device="cpu")
    for version, weight in (("named", 3.0), ("not named", 0.0)):
        out = tmp_path / version
        job = Job(
            recipe,
            tuple(EXAMPLES),
            {"epochs": 2},
            {},
            MINILM,
            None,
            7,
            1,
            str(tmp_path / f"kept {version}"),
            names=named(LABELS, weight),
        )
        RECIPES[recipe](job, out, lambda share, doing: None)
        classifier.load(version, out)
    assert classifier.labels("named") == LABELS
    assert [one.output for one in classifier.predict("named", NEW)] == ["passcode_forgotten"] * 2
    assert classifier.labels("not named") == LABELS[:2]
    known = [one.output for one in classifier.predict("named", [text for text, _ in EXAMPLES])]
    assert known == [label for _, label in EXAMPLES], "what it had examples of, it knows"


def test_the_trainer_is_given_the_names_of_all_declared_labels_and_says_so(tmp_path: Path) -> None:
    text = MODEL_YAML.replace("method: {", "method: {label_names: 3, ")
    harness = Harness(tmp_path, QuickWorkers(), text)
    candidate = harness.ask(seed_uri=harness.seed())
    (job,) = harness.workers.jobs
    known = {label for _, label in job.examples}
    assert known <= {label for _, label, _ in job.names}
    assert len(job.examples) == candidate.train_rows, "they are no rows of the dataset"
    card = harness.artifacts.get(candidate.model_card_uri).decode()
    assert "each label's name as 3 rows" in card
    assert harness.artifacts.get_json(candidate.run_uri)["method"]["label_names"] == 3
