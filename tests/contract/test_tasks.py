"""What every kind of task holds to: the suite of the port, run on each kind.

A further kind is one more entry of `KINDS`, with outputs that it may give.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate.dead_letters import REASONS
from driftgate.errors import BadInput
from driftgate.store import Store, migrate
from driftgate.tasks import Said, Task
from driftgate.tasks.text_classification import TextClassification
from driftgate.tasks.text_generation import LONGEST, Declared, TextGeneration

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
ROUNDS = settings(max_examples=25, deadline=None)

LABELS = ("delivery", "refund", "it's \\ odd", "déjà vu")


@dataclass(frozen=True)
class Kind:
    """A task, and what may and may not be answered, learned, and said of an answer.

    refused, unusable: outputs and targets. said: feedback that may come. wrong: some that may not,
    with the field that is at fault.
    """

    name: str
    task: Task
    outputs: st.SearchStrategy[str]
    refused: tuple[str, ...]
    unusable: tuple[str, ...]
    said: Callable[[st.SearchStrategy[str]], st.SearchStrategy[Said]]
    wrong: tuple[tuple[Said, str], ...]


RATINGS = st.none() | st.sampled_from([0.0, 0.49, 0.5, 0.51, 1.0]) | st.floats(0, 1)


def labelled(outputs: st.SearchStrategy[str]) -> st.SearchStrategy[Said]:
    """Of a classifier, an edit says nothing."""
    known = st.none() | outputs
    return st.builds(Said, known, RATINGS, known | st.text(max_size=9))


def edited(outputs: st.SearchStrategy[str]) -> st.SearchStrategy[Said]:
    return st.builds(Said, st.none(), RATINGS, st.none() | outputs)


def generation(**declared: object) -> TextGeneration:
    return TextGeneration.of(Declared.model_validate({"kind": "text-generation", **declared}))


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
VALUES = st.dictionaries(
    st.sampled_from(["team", "order", "tags"]),
    st.integers(-9, 9) | st.booleans() | TEXTS | st.lists(st.integers(0, 2), max_size=2),
)
JSON = st.builds(json.dumps, VALUES, indent=st.sampled_from([None, 1]))
TOO_LONG = "x" * (LONGEST + 1)

KINDS = [
    Kind(
        name="text-classification",
        task=TextClassification(LABELS),
        outputs=st.sampled_from(LABELS),
        refused=("refnd", "", "Refund"),
        unusable=("refnd", "", "Refund"),
        said=labelled,
        wrong=((Said(label="refnd"), "label"),),
    ),
    Kind(
        name="text-generation",
        task=generation(edit_tolerance=0.2),
        outputs=TEXTS.filter(str.strip),
        refused=(TOO_LONG,),
        unusable=("", " \n", TOO_LONG),
        said=edited,
        wrong=(
            (Said(label="refund"), "label"),
            (Said(edited=""), "edited"),
            (Said(edited="\n "), "edited"),
            (Said(edited=TOO_LONG), "edited"),
        ),
    ),
    Kind(
        name="text-generation: JSON",
        task=generation(output="json", fields=["order", "tags"]),
        outputs=JSON,
        refused=(TOO_LONG,),
        unusable=("", "{", "```json\n{}\n```", '{"order": NaN}', "Sure! {}", TOO_LONG),
        said=edited,
        wrong=((Said(edited="{"), "edited"), (Said(rating=1.0, edited="Sure! {}"), "edited")),
    ),
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@dataclass(frozen=True)
class Row:
    """An example."""

    text: str
    target: str
    slices: dict[str, str] = field(default_factory=dict)


def pairs(kind: Kind) -> st.SearchStrategy[list[tuple[str, Said]]]:
    return st.lists(st.tuples(kind.outputs, kind.said(kind.outputs)), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def store() -> Store:
    store = Store.in_process()
    migrate(store, SCHEMAS / "store")
    return store


@each_kind
def test_the_store_teaches_what_the_task_teaches(kind: Kind, store: Store) -> None:
    """Of every answer and feedback, on the very table in which ingestion keeps them."""

    @ROUNDS
    @given(pairs(kind))
    def holds(given: list[tuple[str, Said]]) -> None:
        store.command("TRUNCATE TABLE outcomes")
        store.append("outcomes", list(outcomes(kind.task, given)))
        asked = f"SELECT {kind.task.taught} AS target FROM outcomes FINAL ORDER BY offset"
        taught = [row["target"] for row in store.query(asked)]
        assert taught == [kind.task.target(output, said) for output, said in given]

    holds()


def outcomes(task: Task, given: Iterable[tuple[str, Said]]) -> Iterable[dict[str, object]]:
    """Rows as the join makes them."""
    for offset, (output, said) in enumerate(given):
        yield {
            "topic": "outcomes",
            "partition": 0,
            "offset": offset,
            "outcome_id": str(offset),
            "request_id": str(offset),
            "model": "m",
            "output": output,
            "label": said.label,
            "rating": said.rating,
            "edited": said.edited,
            "was_correct": task.was_correct(output, said),
        }


@each_kind
def test_feedback_and_what_it_teaches_agree(kind: Kind) -> None:
    task = kind.task

    @ROUNDS
    @given(kind.outputs, kind.said(kind.outputs))
    def holds(output: str, said: Said) -> None:
        task.check_output(output)
        task.check_feedback(said)
        correct, target = task.was_correct(output, said), task.target(output, said)
        assert task.right(output, output)
        if target is not None:
            assert correct is task.right(output, target)
            assert task.unusable(target) is None
        if correct:
            assert target is not None

    holds()
    assert task.was_correct("delivery", Said()) is None
    assert task.target("delivery", Said()) is None


@each_kind
def test_what_may_not_be_answered_learned_or_said_is_named(kind: Kind) -> None:
    task = kind.task
    task.check_feedback(Said(rating=0.2))
    for output in kind.refused:
        with pytest.raises(BadInput) as caught:
            task.check_output(output)
        assert (caught.value.field, caught.value.value) == ("output", output)
    for target in kind.unusable:
        assert task.unusable(target)
    for said, field_name in kind.wrong:
        with pytest.raises(BadInput) as caught:
            task.check_feedback(said)
        assert (caught.value.field, caught.value.value) == (field_name, getattr(said, field_name))
        assert caught.value.reason in REASONS


def test_a_label_that_is_not_declared_is_told_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"label: got 'refnd', .* did you mean 'refund'"):
        TextClassification(LABELS).check_feedback(Said(label="refnd"))


@each_kind
def test_rows_have_strata_and_a_card_that_counts_them(kind: Kind) -> None:

    @ROUNDS
    @given(st.lists(kind.outputs, min_size=2, max_size=6, unique=True))
    def holds(targets: list[str]) -> None:
        rows = [Row(f"text {at}", target) for at, target in enumerate(targets)]
        strata = {kind.task.stratum(row): 1 for row in rows}
        section = kind.task.described(strata, {})
        assert all(stratum in section for stratum in strata)
        assert kind.task.lacking(rows) is None

    holds()
    assert kind.task.lacking([]) is not None


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (Said(label="delivery"), True),
        (Said(label="refund"), False),
        (Said(rating=0.51), True),
        (Said(rating=0.5), None),
        (Said(rating=0.49), False),
        (Said(), None),
        (Said(edited="delivery"), None),
        (Said(label="refund", rating=1.0), False),
    ],
)
def test_a_label_decides_then_a_rating(said: Said, right: bool | None) -> None:
    assert TextClassification(LABELS).was_correct("delivery", said) is right


def test_a_training_needs_two_labels() -> None:
    lacking = TextClassification(LABELS).lacking([Row("a", "refund"), Row("b", "refund")])
    assert lacking == "the labelled rows have one label only"


def test_tasks_load_nothing_heavy() -> None:
    """What reads a model repo, a client's tool say, need not wait for what trains or stores."""
    heavy = ["torch", "transformers", "numpy", "fastavro", "kafka", "ray", "pyarrow", "jsonschema"]
    code = f"import sys, driftgate.tasks; print(*[n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
