"""What is declared and watched by nothing, as `driftgate check` notes it."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest
from drift_world import YAML, reference
from typer.testing import CliRunner

from driftgate.model_repo import parse
from driftgate.suites import Case
from driftgate.unwatched import notes, unmeasured
from services.console.cli import app

EXAMPLE = Path(__file__).parents[2] / "examples" / "support-triage"
CASES = [Case("regression", "accuracy", "r-1", "hola", slices={"language": "es"})]


def noted(old: str, new: str, cases: list[Case] = CASES) -> list[str]:
    text = YAML.replace(old, new)
    assert text != YAML
    return list(notes(parse(text), cases))


def test_what_is_watched_is_not_noted() -> None:
    assert list(notes(parse(YAML), CASES)) == []


def test_protected_slices_need_some_monitor_of_quality() -> None:
    protected = "min_accuracy: 0.05, protected: {language=es: {min_accuracy: 0.7}},"
    assert noted("min_accuracy: 0.05,", protected) == []
    outputs = YAML[: YAML.index("  - {name: errors")] + YAML[YAML.index("  - {name: shares") :]
    config = parse(outputs.replace("min_accuracy: 0.05,", protected))
    (note,) = notes(config, CASES)
    assert note.startswith("gate.protected: language=es: no monitor has signal quality")


@pytest.mark.parametrize(
    ("value", "says"),
    [("wrods", "no router logs a feature 'wrods': did you mean 'words'?"), ("words", None)],
)
def test_a_feature_that_no_router_logs_is_noted_with_the_nearest(
    value: str, says: str | None
) -> None:
    monitor = f"  - {{name: long, signal: input, value: {value}}}\ntriggers:"
    found = noted("triggers:", monitor)
    assert found == [] if says is None else says in found[0]


def test_a_slice_that_no_case_has_is_noted_with_the_nearest() -> None:
    (note,) = noted("language=es", "langauge=es")
    assert note == (
        "monitors: errors: no case of evals/ is in slice 'langauge=es': did you mean 'language=es'?"
    )
    without = [Case("regression", "accuracy", "r-1", "hola")]
    assert noted("language=es", "langauge=es", without) == []  # where none has any, nobody can tell


def test_a_version_whose_cases_have_no_such_slice_is_not_watched_in_it() -> None:
    config = parse(YAML.replace("language=es", "language=fr"))
    assert list(unmeasured(config, reference())) == ["errors (language=fr): no reference for error"]
    assert list(unmeasured(parse(YAML), reference())) == []


def test_what_live_answers_measure_lacks_no_reference() -> None:
    live = YAML.replace("profile: [labels]", "profile: [complaints]").replace("=es", "=fr")
    assert list(unmeasured(parse(live), reference())) == []


def test_check_tells_it_and_finds_all_well(tmp_path: Path) -> None:
    repo = copytree(EXAMPLE, tmp_path / "repo")
    text = (repo / "model.yaml").read_text()
    (repo / "model.yaml").write_text(text.replace("[all, language=es]", "[all, language=se]", 1))
    result = CliRunner().invoke(app, ["check", str(repo)])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "support-triage: 10 labels, all well",
        "note: monitors: errors: no case of evals/ is in slice 'language=se': "
        "did you mean 'language=es'?",
    ]
