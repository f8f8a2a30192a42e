"""What is declared for labelled rows: it hangs on them alone, fits their number, and says why."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.errors import BadConfig
from driftgate.labelled.reading import Labelled, read
from driftgate.labelled.rows import Row
from driftgate.model_repo import Mask
from driftgate.scaffold import baseline, generation, launch, proposal, writing
from driftgate.scaffold.baseline import Guess
from driftgate.scaffold.proposal import Wanted, propose
from driftgate.slices import inside
from driftgate.suites import MIN_SLICE_CASES, frozen
from driftgate.tasks import task_of
from services.trainer.curation import CurationRules, Dataset, curate
from services.trainer.rows import seed_rows

NOW = 1_760_000_000_000


def rows(count: int, labels: int = 4, spanish: float = 0.0) -> list[Row]:
    draw = random.Random(count)
    bare = [
        Row(
            f"text number {n}",
            f"label {n % labels}",
            slices={"language": "es" if draw.random() < spanish else "en"} if spanish else {},
        )
        for n in range(count)
    ]
    return proposal.identified(bare, NOW)


def guesses(found: list[Row], accuracy: float = 0.9) -> list[Guess]:
    draw = random.Random(2)
    return [
        Guess(row, row.label if draw.random() < accuracy else "other", draw.random())
        for row in found
    ]


def proposed(found: list[Row], accuracy: float = 0.9, **wanted: object) -> proposal.Proposal:
    return propose(found, guesses(found, accuracy), Wanted("m", **wanted), 7)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@example(count=100, labels=47, accuracy=0.0)  # fewer than ten rows are held out
@given(count=st.integers(100, 3000), labels=st.integers(2, 60), accuracy=st.floats(0, 1))
def test_what_is_proposed_can_be_declared_and_lead_to_a_release(
    count: int, labels: int, accuracy: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The trainer's own curation gives the gate the cases that it asks for."""
    found = proposed(rows(count, labels, spanish=0.4), accuracy)
    folder = tmp_path_factory.mktemp("repo") / "m"
    config = writing.write(folder, found.declaration, found.suite).config
    assert launch.problems(config, found.launch) == []
    dataset = curated(found, config)
    assert len(dataset.test) >= config.gate.min_cases
    for name in config.gate.protected:
        cases = sum(inside(row.slices, name) for row in dataset.test)
        assert cases >= MIN_SLICE_CASES
    regression, probes = frozen(folder, task_of(config.task))
    assert regression.cases
    assert probes.cases
    texts = {row.text for row in found.launch}
    assert not texts & {case.text for case in regression.cases}, "a frozen case is learned from"
    assert len(texts) + len(regression.cases) == count
    assert found == proposed(rows(count, labels, spanish=0.4), accuracy)


def curated(found: proposal.Proposal, config: model_repo.ModelYaml) -> Dataset:
    artifacts = Artifacts("memory://scaffold")
    uri = launch.put(artifacts, launch.lines(found.launch), None)
    rules = CurationRules(NOW, True, task_of(config.task), frozenset(), None, "s", config.data)
    made = curate(seed_rows(artifacts, uri, rules.task), rules)
    assert isinstance(made, Dataset)
    return made


def test_the_same_text_stays_on_its_side_of_the_split_when_a_file_grows() -> None:
    """What one version was tested on, the next one does not learn from."""
    before = {row.text: row.id for row in rows(800)}
    grown = proposal.identified([Row("a new text", "label 1"), *rows(800)[::-1]], NOW)
    assert all(before.get(row.text, row.id) == row.id for row in grown)
    own = proposal.identified([Row("a text", "label 1", id="T-17")], NOW)
    assert own[0].id == "T-17"


def test_a_text_and_label_are_launched_with_once() -> None:
    twice = [*rows(300), *rows(300)[:40]]
    made = proposed(twice, rows=340)
    assert len(made.launch) + len(made.suite) == 300
    assert any("40 rows are not in the launch file" in note for note in made.notes)


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
        ("language=fr", r"0 launch rows are in it, 0 of them held out.*did you mean"),
        ("length=short", r"0 launch rows.*Slices are language=en"),
        ("language=es", r"--protect language=es: \d+ launch rows are in it, \d of them held out"),
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


def test_a_file_sorted_by_label_is_not_learned_from_label_by_label() -> None:
    found = sorted(rows(1000), key=lambda row: row.label)
    newest = sorted(proposed(found).launch, key=lambda row: (-(row.time or 0), row.id))[:100]
    assert len({row.label for row in newest}) == 4


def test_a_huge_file_launches_with_its_newest_rows() -> None:
    dated = [row.at(NOW - n) for n, row in enumerate(rows(30_000))]
    made = propose(dated, guesses(dated[:500]), Wanted("m"), 7)
    assert len(made.launch) == proposal.MOST_LAUNCH
    assert min(row.time or 0 for row in made.launch) > NOW - 25_000
    assert any("9,920 rows are not in the launch file" in note for note in made.notes)


@pytest.mark.parametrize(
    ("right_by_name", "learned"),
    [(0.6, 3), (0.25, 0), (0.0, 0)],  # of four labels, chance finds a quarter
)
def test_names_are_learned_where_they_tell_the_labels(right_by_name: float, learned: int) -> None:
    found, draw = rows(400), random.Random(3)
    told = [
        replace(guess, named=guess.row.label if draw.random() < right_by_name else "other")
        for guess in guesses(found)
    ]
    made = propose(found, told, Wanted("m"), 7)
    assert made.declaration.label_names == learned


def test_a_base_names_what_it_reads() -> None:
    lost = [Row(text, "lost_card") for text in ("my card is lost", "somebody stole my card")]
    refund = [Row(text, "refund") for text in ("how do I get a refund", "I want a refund")]
    found = baseline.guesses([*lost, *refund], 7)
    assert all(guess.named == guess.row.label for guess in found)


def test_a_week_of_labels_asks_for_a_training() -> None:
    pairs = [
        proposed(rows(300), labelled_per_day=a_day).declaration.new_pairs
        for a_day in (3.0, 30.0, 300.0, None)
    ]
    assert pairs == [100, 210, 480, 480]


def test_a_rollout_of_few_labels_a_day_shows_less() -> None:
    few, many, unknown = (
        proposed(rows(300), labelled_per_day=a_day) for a_day in (30.0, 100.0, None)
    )
    margins = [made.declaration.rollout_margin for made in (few, many, unknown)]
    assert margins == [0.1, 0.05, 0.05]
    assert any("not worse by 0.1; by 0.05 would take weeks" in note for note in few.notes)


def test_a_world_with_few_labels_a_day_waits_for_fewer_samples() -> None:
    assert proposed(rows(300), labelled_per_day=3.0).declaration.min_samples == (5, 5, 5)
    assert proposed(rows(300), labelled_per_day=30.0).declaration.min_samples == (10, 10, 20)


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
    (regression, _) = frozen(tmp_path / "m", task_of(repo.config.task))
    assert regression.cases[0].slices == {"s": label}


# ---------------------------------------------------------------- the launch file


def config(tmp_path: Path, protected: str = "") -> model_repo.ModelYaml:
    declaration = writing.Declaration("m", ["label 0", "label 1"], protected=protected)
    cases = [writing.Case("x", "label 0"), writing.Case("y", "label 1")]
    return writing.write(tmp_path / "repo", declaration, cases).config


@pytest.mark.parametrize(
    ("count", "labels", "says"),
    [
        (400, 2, "protected slice language=es has 0 of 400 rows, 0 of them held out"),
        (100, 2, "100 rows, and data.min_rows asks for 150"),
        (200, 2, "of 200 rows (of 200 persons) are held out, and gate.min_cases asks for 80"),
        (400, 3, ": label not declared; correct model.yaml or the rows"),
    ],
)
def test_launch_rows_that_cannot_lead_to_a_release_are_told_before_the_training(
    count: int, labels: int, says: str, tmp_path: Path
) -> None:
    declared = config(tmp_path, "language=es")
    found = [replace(row, slices={"shop": "a"}) for row in rows(count, labels)]
    assert any(says in problem for problem in launch.problems(declared, found))


def test_rows_of_few_persons_are_told_since_persons_are_held_out(tmp_path: Path) -> None:
    agents = [replace(row, subject=f"agent{n % 2}") for n, row in enumerate(rows(400, 2))]
    (problem,) = launch.problems(config(tmp_path), agents)
    assert "(of 2 persons)" in problem


def test_a_launch_file_knows_where_it_came_from_until_it_is_changed(tmp_path: Path) -> None:
    path = launch.write(tmp_path, rows(3), {"source": "a.csv"})
    assert launch.reading_of(path) == {"source": "a.csv"}
    assert launch.rows_in(path) == rows(3)
    path.write_text(path.read_text() + "\n")
    assert launch.reading_of(path) is None


@pytest.mark.parametrize("card", ["{", "[]", '{"sha256": "x"}', "null"])
def test_a_card_that_is_none_of_ours_says_nothing(card: str, tmp_path: Path) -> None:
    path = launch.write(tmp_path, rows(3), {})
    path.with_suffix(launch.CARD_SUFFIX).write_text(card)
    assert launch.reading_of(path) is None


def test_a_launch_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "launch.jsonl").write_bytes('{"text": "é", "label": "a"}'.encode("cp1252"))
    with pytest.raises(BadConfig, match="cannot be read as UTF-8"):
        launch.rows_in(tmp_path / "launch.jsonl")


def test_a_launch_file_keeps_texts_with_other_line_ends(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0bfour"
    path = launch.write(tmp_path, [Row(text, "a", NOW, id="r")], {})
    (line,) = path.read_text(encoding="utf-8").split("\n")[:-1]
    assert json.loads(line)["text"] == text
    assert [row.text for row in launch.rows_in(path)] == [text]


def test_how_launch_rows_were_read_is_kept_beside_them(tmp_path: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path}")
    uri = launch.put(artifacts, b"{}\n", {"source": "a.csv", "joined": {}})
    assert launch.reading_kept(artifacts, uri) == {"source": "a.csv", "joined": {}}
    assert launch.reading_kept(artifacts, artifacts.put(b"other")) is None


def labelled(tmp_path: Path) -> Labelled:
    days = [f"2025-10-{day:02d}" for day in range(1, 11)]
    lines = [f"text {n},label {n % 2},{day}" for n, day in enumerate(days)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label,time", *lines]))
    return read(tmp_path / "a.csv")


def test_rows_of_the_future_are_left_out_or_refused_when_many(tmp_path: Path) -> None:
    found = labelled(tmp_path)
    last = found.times[-1] or 0
    assert launch.until(found, last - 1) == list(range(9))
    left = found.findings.left_out[launch.FUTURE]
    assert (found.findings.kept, left.rows, left.places) == (9, 1, ["a.csv, line 11"])
    with pytest.raises(BadConfig, match=r"a.csv, line 7: 5 of 10 rows are dated after now"):
        launch.until(labelled(tmp_path), found.times[4] or 0)


@pytest.mark.parametrize("name", ["model.yaml", "evals", "launch.jsonl"])
def test_nothing_of_the_users_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir() if name == "evals" else (tmp_path / name).touch()
    with pytest.raises(BadConfig, match=f"{name} exists: move it away"):
        writing.check_free(tmp_path)


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with pytest.raises(ZeroDivisionError), writing.beside(folder) as partial:
        writing.write(partial, writing.Declaration("m", ["a", "b"]), [writing.Case("x", "a")])
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("mine")
    with writing.beside(tmp_path) as partial:
        writing.write(partial, writing.Declaration("m", ["a", "b"]), [writing.Case("x", "a")])
    assert (tmp_path / "README").read_text() == "mine"
    assert model_repo.read(tmp_path).config.model == "m"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("My Model", "my-model"),
        ("Größe_2", "grosse-2"),
        ("日本", "my-model"),
        ("--x--", "x"),
        ("2024", "2024"),
    ],
)
def test_a_models_name_is_made_of_the_folders(name: str, model: str) -> None:
    assert proposal.slug(name) == model


@pytest.mark.parametrize("name", ["2024", "true", "null", "1e5", "2024-01-02"])
def test_a_models_name_may_look_like_another_yaml_scalar(name: str, tmp_path: Path) -> None:
    declaration = writing.Declaration(name, ["a", "b"])
    repo = writing.write(tmp_path / "m", declaration, [writing.Case("x", "a")])
    assert repo.config.model == name


def test_a_rejected_answer_stands_in_the_launch_file_masked(tmp_path: Path) -> None:
    pair = Row("Who?", "Ann, ann@example.com", NOW, id="r", rejected="Bob, bob@example.com")
    path = launch.write(tmp_path, generation.masked([pair, *rows(1)], Mask()), {}, "output")
    first, second = launch.rows_in(path, "output")
    assert (first.label, first.rejected) == ("Ann, [EMAIL]", "Bob, [EMAIL]")
    assert second.rejected is None
    assert path.read_text().count("rejected") == 1


def test_personal_data_does_not_come_into_launch_rows() -> None:
    (row,) = proposal.masked([Row("Mail me: ann@example.com", "a")], Mask())
    assert row.text == "Mail me: [EMAIL]"
