"""Suites are read as they are written, and a mistake is named with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from driftgate import model_repo
from driftgate.errors import BadConfig
from driftgate.perturb import PERTURBATIONS
from driftgate.suites import Obtained, Suite, frozen, held_out, probes
from driftgate.tasks import task_of
from driftgate.tasks.text_classification import TextClassification

TASK = TextClassification(("delivery", "refund"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "support-triage"


LOGGED = '{"text": "x", "label": "refund", "source": "logs", %s}'


def written(folder: Path, text: str, name: str = "file") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_example_has_usable_suites() -> None:
    regression, probe = frozen(EXAMPLE, task_of(model_repo.read(EXAMPLE).config.task))
    assert len(regression.cases) >= 80
    assert {case.slices["language"] for case in regression.cases} == {"en", "es"}
    kinds = {case.name.partition(":")[0] for case in probe.cases}
    assert kinds == {"minimum", "invariance", "directional"}


def test_slices_are_a_mapping_or_the_further_columns(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "hi", "label": "refund", "time": 1, "slices": {"language": "en"}},
        {"text": "ho", "label": "delivery", "language": "es", "subject": "s", "note": 4},
    ]
    path = written(tmp_path, "\n\n".join(map(json.dumps, rows)))
    first, second = held_out(path, TASK).cases
    assert (first.id, first.slices) == ("a", {"language": "en"})
    assert (second.id, second.slices) == ("line-3", {"language": "es"})


def test_a_logged_row_says_how_it_was_obtained(tmp_path: Path) -> None:
    told = '"time": 5, "word": "review", "propensity": 0.03, "heard_right": false, "slices": {}'
    path = written(tmp_path, f'{LOGGED % told}\n{{"text": "y", "label": "refund", "word": "my"}}\n')
    logged, own = held_out(path, TASK).cases
    assert logged.obtained == Obtained(5, True, "review", 0.03, False)
    assert (own.obtained, own.slices) == (Obtained(), {"word": "my"})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "file:2: got '{', expected a JSON object"),
        ("[1]", "file:2: got [1], expected"),
        (
            '{"text": "x", "lable": "refund"}',
            "file:2: key `label` is missing: did you mean 'lable'",
        ),
        ('{"text": " ", "label": "refund"}', "file:2: `text` is ' ', expected some text"),
        ('{"text": "x", "label": 4}', "file:2: `label` is 4, expected some text"),
        ('{"text": "x", "label": "refnd"}', "`label` is 'refnd', which is not declared: did you m"),
        ('{"text": "x", "label": "refund", "slices": ["en"]}', "file:2: `slices` is ['en']"),
        ('{"id": "a", "text": "x", "label": "refund"}', "file:2: id 'a' stands twice"),
        (LOGGED % '"propensity": 0', "file:2: `propensity` is 0, expected above 0"),
        (LOGGED % '"propensity": "often"', "`propensity` is 'often', expected a number"),
        (LOGGED % '"heard_right": "yes"', "`heard_right` is 'yes', expected true or false"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = written(tmp_path, f'{{"id": "a", "text": "x", "label": "refund"}}\n{line}\n')
    with pytest.raises(BadConfig) as error:
        held_out(path, TASK)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("minimum:\n  - {text: x, label: refnd}", ":2: `minimum.0.label` is 'refnd': is not decl"),
        ("minimum:\n  - {text: x}", ":2: key `minimum.0.label` is missing"),
        ("minimun: []", ":1: key `minimun` is unknown: did you mean 'minimum'?"),
        ("invariance:\n  perturbations: [typos]", ":2: `invariance.perturbations.0` is 'typos'"),
        ("invariance:\n  text: [a]", ":2: key `invariance.text` is unknown: did you mean 'texts'?"),
        ("directional:\n  - {text: x, adds: '', label: refund}", ":2: `directional.0.adds` is ''"),
        ("minimum: [", ": "),
        ("- a", ":1: got ['a'], expected keys such as"),
    ],
)
def test_a_bad_probe_is_named(tmp_path: Path, yaml: str, says: str) -> None:
    path = written(tmp_path, yaml, "probes.yaml")
    with pytest.raises(BadConfig) as error:
        probes(path, TASK)
    assert str(path) in str(error.value)
    assert says in str(error.value)


def test_every_bad_row_is_named_and_a_flood_of_them_is_cut(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "x", "label": "gone"}\n{}\n' + "{\n" * 30)
    with pytest.raises(BadConfig) as error:
        held_out(path, TASK)
    said = str(error.value).splitlines()
    assert "file:1: `label` is 'gone'" in said[0]
    assert "file:2: key `text` is missing" in said[1]
    assert (len(said), said[-1]) == (21, f"{path}: and 12 more bad rows")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"gone\.jsonl: cannot be read"):
        held_out(tmp_path / "gone.jsonl", TASK)


def test_empty_suites_have_no_cases(tmp_path: Path) -> None:
    assert held_out(written(tmp_path, "\n"), TASK).cases == ()
    assert probes(written(tmp_path, "# nothing yet\n"), TASK) == ()


def test_each_kind_of_probe_asks_what_it_says(tmp_path: Path) -> None:
    yaml = """
minimum: [{text: lost parcel, label: delivery}]
invariance: {perturbations: [uppercase, lowercase], texts: [money back]}
directional: [{text: Help., adds: I want a refund., label: refund}]
"""
    cases = probes(written(tmp_path, yaml), TASK)
    plain, vague, loud = cases  # lowercase leaves the text as it is, and asks nothing
    suite = Suite("probe", cases)
    assert suite.texts == ("lost parcel", "Help. I want a refund.", "MONEY BACK", "money back")
    assert TASK.passes(plain, {"lost parcel": "delivery"})
    assert TASK.passes(loud, {"MONEY BACK": "delivery", "money back": "delivery"})
    assert not TASK.passes(loud, {"MONEY BACK": "delivery", "money back": "refund"})
    assert TASK.passes(vague, {"Help. I want a refund.": "refund"})


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("lowercase", "¿dónde está mi pedido, laura?"),
        ("uppercase", "¿DÓNDE ESTÁ MI PEDIDO, LAURA?"),
        ("strip_punctuation", "Dónde está mi pedido Laura"),
        ("typo", "¿Dónde está mi peiddo, Laura?"),
        ("extra_spaces", " ¿Dónde  está  mi  pedido,  Laura? "),
        ("greeting", "Hello, ¿Dónde está mi pedido, Laura?"),
        ("thanks", "¿Dónde está mi pedido, Laura? Thank you!"),
    ],
)
def test_perturbations_change_what_they_say_and_no_more(name: str, after: str) -> None:
    assert PERTURBATIONS[name]("¿Dónde está mi pedido, Laura?") == after


@pytest.mark.parametrize("text", ["", "a", "ok?", "2 + 2", "寿司", "👍", "Straße", "aaaaaa"])
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_perturbations_take_any_text(name: str, text: str) -> None:
    assert PERTURBATIONS[name](text) == PERTURBATIONS[name](text)
