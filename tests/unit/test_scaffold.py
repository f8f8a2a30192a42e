"""What is declared for labelled rows: it hangs on them alone, fits their number, and says why."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.errors import BadConfig
from driftgate.labelled.findings import Findings
from driftgate.labelled.rows import Row
from driftgate.scaffold import launch, proposal, writing
from driftgate.scaffold.baseline import Guess
from driftgate.scaffold.proposal import Wanted, propose
from driftgate.suites import frozen

NOW = 1_760_000_000_000


def rows(count: int, labels: int = 4, spanish: float = 0.0) -> list[Row]:
    draw = random.Random(count)
    return [
        Row(
            f"text number {n}",
            f"label {n % labels}",
            slices={"language": "es" if draw.random() < spanish else "en"} if spanish else {},
        )
        for n in range(count)
    ]


def guesses(found: list[Row], accuracy: float = 0.9) -> list[Guess]:
    draw = random.Random(2)
    return [
        Guess(row, row.label if draw.random() < accuracy else "other", draw.random())
        for row in found
    ]


def proposed(found: list[Row], accuracy: float = 0.9, **wanted: object) -> proposal.Proposal:
    return propose(found, guesses(found, accuracy), Wanted("m", **wanted), 7)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(100, 3000), labels=st.integers(2, 60), accuracy=st.floats(0, 1))
def test_what_is_proposed_can_be_declared_and_lead_to_a_release(
    count: int, labels: int, accuracy: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = proposed(rows(count, labels, spanish=0.4), accuracy)
    folder = tmp_path_factory.mktemp("repo") / "m"
    repo = writing.write(folder, found.declaration, found.suite)
    launched = [(row.label, row.slices) for row in found.launch]
    assert launch.problems(repo.config, launched) == []
    texts = {row.text for row in found.launch}
    regression, probes = frozen(folder, repo.config.task.labels)
    assert regression.cases
    assert probes.cases
    assert not texts & {case.text for case in regression.cases}, "a frozen case is learned from"
    assert len(texts) + len(regression.cases) == count
    assert found == proposed(rows(count, labels, spanish=0.4), accuracy)


def test_texts_that_hardly_tell_the_labels_have_bars_that_a_fair_version_passes() -> None:
    clear, noisy = proposed(rows(1200), 0.95), proposed(rows(1200), 0.57)
    assert noisy.declaration.gate < 0.5 < clear.declaration.gate
    assert noisy.declaration.regression_gate < 0.65 < clear.declaration.regression_gate
    hopeless = proposed(rows(1200), 0.2)
    assert any("hardly tell" in note for note in hopeless.notes)
    assert not any("hardly tell" in note for note in clear.notes)


def test_few_rows_are_judged_by_fewer_cases_and_it_is_said() -> None:
    few, many = proposed(rows(200)), proposed(rows(2000))
    assert few.declaration.min_cases < 30
    assert many.declaration.min_cases == 80
    assert any("only large losses" in note for note in few.notes)
    assert not any("only large losses" in note for note in many.notes)


def test_less_than_a_hundred_rows_are_refused() -> None:
    with pytest.raises(BadConfig, match="60 labelled rows, expected 100 or more"):
        proposed(rows(60))


def test_a_slice_is_protected_only_where_it_is_in_the_rows_and_can_be_judged() -> None:
    assert proposed(rows(1000)).declaration.protected == ""
    assert proposed(rows(1000, spanish=0.3)).declaration.protected == "language=es"
    assert proposed(rows(1000, spanish=0.03)).declaration.protected == "language=en"
    assert proposed(rows(1000, spanish=0.3), protect="none").declaration.protected == ""


@pytest.mark.parametrize(
    ("protect", "says"),
    [
        ("language=fr", r"0 launch rows are in it, expected 80 or more.*did you mean"),
        ("length=short", r"0 launch rows.*Slices are language=en"),
        ("language=es", r"--protect language=es: \d+ launch rows are in it, expected 80"),
    ],
)
def test_a_slice_that_cannot_be_judged_is_not_protected(protect: str, says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        proposed(rows(600, spanish=0.05), protect=protect)


def test_a_label_of_few_rows_keeps_them_to_be_learned_from() -> None:
    found = rows(400)
    found[:3] = [replace(row, label="rare") for row in found[:3]]
    made = proposed(found, 1.0)
    assert Counter(row.label for row in made.launch)["rare"] == 3
    assert "rare" in made.declaration.labels


def test_a_file_sorted_by_label_is_not_launched_label_by_label() -> None:
    sorted_rows = sorted(rows(1000), key=lambda row: row.label)
    ids = proposal.with_ids(proposed(sorted_rows).launch, "m", NOW)
    newest = sorted(ids, key=lambda row: (-(row.time or 0), row.id))[:100]
    assert len({row.label for row in newest}) == 4


def test_a_huge_file_launches_with_its_newest_rows() -> None:
    dated = [row.at(NOW - n) for n, row in enumerate(rows(30_000))]
    made = propose(dated, guesses(dated[:500]), Wanted("m"), 7)
    assert len(made.launch) == proposal.MOST_LAUNCH
    assert min(row.time or 0 for row in made.launch) > NOW - 25_000
    assert any("older rows are not in the launch file" in note for note in made.notes)


def test_a_world_with_few_labels_a_day_waits_for_fewer_pairs() -> None:
    assert proposed(rows(300), labelled_per_day=3.0).declaration.min_pairs == (5, 5, 5)
    assert proposed(rows(300), labelled_per_day=30.0).declaration.min_pairs == (20, 30, 40)


@pytest.mark.parametrize(
    "label",
    [
        "😀",
        "🏳️‍🌈 pride",
        "año",
        'say "no"',
        "a: b # c",
        "- x",
        "null",
        "\\n",
        "été",
        "\x85".strip() or "x",
        "~",
    ],
)
def test_any_label_comes_back_from_model_yaml_as_it_was(label: str, tmp_path: Path) -> None:
    declaration = writing.Declaration(
        "m",
        [label, "other"],
        owner="Ann: the owner",
        purpose='Sorts "a: b".',
        protected=f"s={label}",
    )
    cases = [writing.Case("a text", label, {"s": label}), writing.Case("b text", "other")]
    repo = writing.write(tmp_path / "m", declaration, cases)
    assert repo.config.task.labels == [label, "other"]
    assert list(repo.config.gate.protected) == [f"s={label}"]
    assert repo.config.purpose == 'Sorts "a: b".'
    (regression, _) = frozen(tmp_path / "m", repo.config.task.labels)
    assert regression.cases[0].slices == {"s": label}


# ---------------------------------------------------------------- the launch file


def config(tmp_path: Path, protected: str = "") -> model_repo.ModelYaml:
    declaration = writing.Declaration("m", ["label 0", "label 1"], protected=protected)
    cases = [writing.Case("x", "label 0"), writing.Case("y", "label 1")]
    return writing.write(tmp_path / "repo", declaration, cases).config


@pytest.mark.parametrize(
    ("count", "labels", "says"),
    [
        (400, 2, "protected slice language=es has 0 of 400 rows, and 80 are needed"),
        (100, 2, "100 rows, and data.min_rows asks for 150"),
        (200, 2, "about 50 of 200 rows will be held out, and gate.min_cases asks for 80"),
        (400, 3, "label 'label 2' is not among task.labels"),
    ],
)
def test_launch_rows_that_cannot_lead_to_a_release_are_told_before_the_training(
    count: int, labels: int, says: str, tmp_path: Path
) -> None:
    declared = config(tmp_path, "language=es")
    found = [(row.label, {"shop": "a"}) for row in rows(count, labels)]
    assert any(says in problem for problem in launch.problems(declared, found))


def test_a_launch_file_knows_where_it_came_from_until_it_is_changed(tmp_path: Path) -> None:
    path = launch.write(tmp_path, proposal.with_ids(rows(3), "m", NOW), {"source": "a.csv"})
    assert launch.reading_of(path) == {"source": "a.csv"}
    assert launch.rows_in(path) == [(f"label {n}", {}) for n in range(3)]
    path.write_text(path.read_text() + "\n")
    assert launch.reading_of(path) is None


def test_a_launch_file_keeps_texts_with_other_line_ends(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0bfour"
    path = launch.write(tmp_path, [Row(text, "a", NOW)], {})
    (line,) = path.read_text(encoding="utf-8").split("\n")[:-1]
    assert json.loads(line)["text"] == text
    assert launch.rows_in(path) == [("a", {})]


def test_how_launch_rows_were_read_is_kept_beside_them(tmp_path: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path}")
    uri = launch.put(artifacts, b"{}\n", {"source": "a.csv", "joined": {}})
    assert launch.reading_kept(artifacts, uri) == {"source": "a.csv", "joined": {}}
    assert launch.reading_kept(artifacts, artifacts.put(b"other")) is None


def test_rows_of_the_future_are_left_out_or_refused_when_many() -> None:
    findings = Findings("a.csv", rows=10, kept=10)
    dated = [row.at(NOW + n - 8) for n, row in enumerate(rows(10))]
    assert len(launch.until(dated, NOW, findings)) == 9
    assert (findings.kept, findings.left_out[launch.FUTURE].rows) == (9, 1)
    with pytest.raises(BadConfig, match="5 of 10 rows are dated after now"):
        launch.until(dated, NOW - 4, Findings("a.csv"))


@pytest.mark.parametrize(
    ("name", "model"),
    [("My Model", "my-model"), ("Größe_2", "grosse-2"), ("日本", "my-model"), ("--x--", "x")],
)
def test_a_models_name_is_made_of_the_folders(name: str, model: str) -> None:
    assert proposal.slug(name) == model
