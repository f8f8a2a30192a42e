from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driftgate import model_repo, suites, yaml_problems
from driftgate.artifacts import Artifacts
from driftgate.errors import BadConfig
from driftgate.scaffold import writing
from driftgate.tasks import task_of

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support-triage"
TEXT = (EXAMPLE / "model.yaml").read_text()


def line_of(fragment: str, text: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if fragment in line)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind: lora ", "kind: lorra ", "did you mean 'lora'?"),
        ("kind: text-classi", "kind: text-clasi", "did you mean 'text-classification'?"),
        ("  batch_size:", "  batchsize:", "did you mean 'batch_size'?"),
        ("signal: quality", "signal: qualty", "did you mean 'quality'?"),
        ("    tolerance: 0.03", "    tolerence: 0.03", "did you mean 'tolerance'?"),
        ("test_share: 0.15", "test_share: 25", "less than or equal to 1"),
        ("kinds: [email, phone,", "kinds: [email, phon,", "did you mean 'phone'?"),
        ("percent: 50", "percent: 3", "must rise to 100"),
        ("cooldown_days: 7", "cooldown_days: soon", "valid number"),
        ("cadence_days: null", "cron: 6 o'clock", "has not five fields"),
        ("cadence_days: null", "cron: 0 6 30 2 *", "is never due"),
        ("cadence_days: null", "new_pair: 100", "did you mean 'new_pairs'?"),
        ("new_pairs: 240", "new_pairs: 20000", "less than or equal to 10000"),
        ("cadence_days: null", "seasons: [{name: s, from: 02-30, to: 03-01}]", "is no day"),
        ("cadence_days: null", "learned_seasons: wiat", "did you mean 'wait'?"),
        ("cadence_days: null", "budget: {runs: 0}", "greater than or equal to 1"),
        ("cadence_days: null", "quiet: [{begin: '25:00', end: '06:00'}]", "should match pattern"),
        ("cooldown_days: 7", "cooldown_days: .inf", "finite number"),
        ("  - name: shares", "  - name: ''", "at least 1 character"),
        ("  - name: shares", "  - name: errors", "need different names"),
    ],
)
def test_a_mistake_is_told_with_line_value_and_the_nearest_valid_one(
    old: str, new: str, says: str
) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(BadConfig, match=r"model.yaml:\d+: ") as caught:
        model_repo.parse(text)
    assert says in str(caught.value)
    if "need" not in says and "rise" not in says:
        assert f"model.yaml:{line_of(new, text)}:" in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "kind", "says"),
    [
        ("haed", "lora", "recipe 'haed' is none of text-classification: did you mean 'head'"),
        ("sft", "lora", "recipe 'sft' is none of text-classification"),
        ("head", "qlora", "`method.kind` is 'qlora': recipe head trains no adapter"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipe: str, kind: str, says: str) -> None:
    with pytest.raises(BadConfig, match=rf"model.yaml:\d+: .*{says}"):
        model_repo.parse(of_recipe(recipe, kind))


def of_recipe(recipe: str, kind: str = "lora") -> str:
    text = TEXT.replace("recipe: classifier", f"recipe: {recipe}")
    return text.replace("kind: lora ", f"kind: {kind} ")


def of_texts(recipe: str) -> str:
    """The same for a model that writes, without monitors."""
    labels = TEXT[TEXT.index("  kind: text-class") : TEXT.index("base:")]
    text = of_recipe(recipe).replace(labels, "  kind: text-generation\n")
    text = text[: text.index("monitors:")] + "monitors: []\n" + text[text.index("triggers:") :]
    return "".join(line for line in text.splitlines(keepends=True) if "new_label:" not in line)


def test_no_head_is_trained_for_texts() -> None:
    with pytest.raises(BadConfig, match=r"recipe 'head' is none of text-generation: .*sft"):
        model_repo.parse(of_texts("head"))


def test_texts_have_no_labels_whose_names_could_be_learned() -> None:
    text = of_texts("sft").replace("recipe: sft", "label_names: 3\n  recipe: sft")
    with pytest.raises(BadConfig, match=r"label_names 3: text-generation has no labels"):
        model_repo.parse(text)


def test_a_recipe_is_chosen_by_one_word_and_old_files_keep_theirs() -> None:
    assert model_repo.parse(of_recipe("head")).method.settings == {"recipe": "head", "seed": 7}
    named = model_repo.parse(of_recipe("head\n  label_names: 3")).method
    assert named.settings == {"recipe": "head", "seed": 7, "label_names": 3}
    both = model_repo.parse(of_recipe("auto")).method
    assert both.settings == {**model_repo.parse(TEXT).method.settings, "recipe": "auto"}
    assert [both.by(recipe).name for recipe in ("head", "classifier")] == ["head", "lora"]
    old = "".join(line for line in TEXT.splitlines(keepends=True) if "  recipe:" not in line)
    assert model_repo.parse(old).method == model_repo.parse(TEXT).method


@pytest.mark.parametrize(
    ("monitor", "old", "new", "says"),
    [
        ("errors", "value: error", "value: eror", "is none of signal quality: .* 'error'?"),
        ("errors", "value: error", "value: share", "'share' is of signal output, not quality"),
        ("shares", "value: share", "value: s", "output: valid are estimated_error, low_conf"),
        ("strangeness", "low_similarity", "error", "'error' is of signal quality, not input"),
        ("errors", "value: error", "value: error\n    both_sides: true", "features, and error is"),
        (
            "confidence",
            "value: low_confidence",
            "value: estimated_error",
            "severity is critical: expected warning, since estimated_error",
        ),
    ],
)
def test_a_monitor_of_what_there_is_not_is_told_with_what_there_is(
    monitor: str, old: str, new: str, says: str
) -> None:
    line = line_of(f"- name: {monitor}", TEXT)
    with pytest.raises(BadConfig, match=rf"model.yaml:{line}: .*{says}"):
        model_repo.parse(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(("said", "pairs"), [("true", 10), ("false", None), ("25", 25)])
def test_enough_of_what_is_new_may_be_said_by_true(said: str, pairs: int | None) -> None:
    text = TEXT.replace("new_label: 10", f"new_label: {said}")
    assert model_repo.parse(text).triggers.new_label == pairs


def test_triggers_that_can_never_ask_are_refused() -> None:
    """A new label of a model that writes; a new value of a slice that nobody names."""
    text = of_texts("sft")
    labels = text.replace("cadence_days: null", "new_label: true")
    with pytest.raises(BadConfig, match=r"`triggers.new_label` is 10, and the task has no labels"):
        model_repo.parse(labels)
    nowhere = text.replace("    language=es: {min_accuracy: 0.62,", "    all: {min_accuracy: 0.62,")
    with pytest.raises(BadConfig, match=r"`triggers.new_source` is 10, and no slice is named"):
        model_repo.parse(nowhere.replace("cadence_days: null", "new_source: true"))


def test_what_may_only_warn_warns_and_keeps_its_own_tolerance() -> None:
    text = TEXT.replace(
        "monitors:", "monitors:\n  - {name: slow, signal: operation, value: latency}"
    )
    slow, errors, *_ = model_repo.parse(text).monitors
    assert (slow.severity, slow.tolerance) == ("warning", 0.05)
    assert errors.severity == "critical"


def test_a_missing_key_and_broken_yaml_are_told() -> None:
    with pytest.raises(BadConfig, match="key `gate` is missing"):
        model_repo.parse(TEXT[: TEXT.index("gate:")] + TEXT[TEXT.index("rollout:") :])
    with pytest.raises(BadConfig, match=r"model.yaml:\d+"):
        model_repo.parse("model: [unclosed")
    with pytest.raises(BadConfig, match="expected keys"):
        model_repo.parse("just text")


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(TEXT)
    with pytest.raises(BadConfig, match=r"regression.jsonl is missing: `driftgate init"):
        model_repo.read(tmp_path)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A valid model repo."""
    folder = tmp_path / "repo"
    writing.write(folder, writing.Declaration("my-model", ["delivery", "refund"]), writing.STARTER)
    return folder


def waive(repo: Path, *suites: str) -> None:
    path = repo / "model.yaml"
    text = path.read_text()
    assert "waived: [] " in text
    path.write_text(text.replace("waived: [] ", f"waived: [{', '.join(suites)}] "))


def test_the_problems_of_both_suites_are_told_together_before_anything_is_stored(
    repo: Path,
) -> None:
    (repo / "evals" / "regression.jsonl").write_text('{"text": "x", "label": "refnd"}\n{\n')
    (repo / "evals" / "probes.yaml").write_text("minimum:\n  - {text: x, lable: refund}\n")
    artifacts = Artifacts("memory://broken-suites")
    with pytest.raises(BadConfig) as caught:
        model_repo.publish(repo, artifacts)
    said = str(caught.value)
    assert "regression.jsonl:1: `label` is 'refnd'" in said and "did you mean 'refund'" in said
    assert "regression.jsonl:2: got '{'" in said
    assert "probes.yaml:2: key `minimum.0.lable` is unknown: did you mean 'label'?" in said


@pytest.mark.parametrize(
    ("suite", "file", "text"),
    [
        ("regression", "regression.jsonl", "\n"),
        ("probes", "probes.yaml", "# nothing yet\n"),
        ("probes", "probes.yaml", "invariance: {perturbations: [lowercase], texts: [money]}\n"),
    ],
)
def test_a_suite_that_asks_nothing_is_refused_unless_it_is_waived(
    repo: Path, suite: str, file: str, text: str
) -> None:
    (repo / "evals" / file).write_text(text)
    says = rf"{file}: no cases.*add some.*`waived: \[{suite}\]` under `gate`"
    with pytest.raises(BadConfig, match=says):
        model_repo.read(repo)
    waive(repo, suite)
    assert model_repo.read(repo).config.gate.waived == [suite]


def test_the_file_of_a_waived_suite_may_be_absent_and_no_other(repo: Path) -> None:
    (repo / "evals" / "probes.yaml").unlink()
    waive(repo, "regression")
    with pytest.raises(BadConfig, match=r"probes\.yaml is missing.*`waived: \[probes\]`"):
        model_repo.read(repo)
    waive_both = (repo / "model.yaml").read_text().replace("[regression]", "[regression, probes]")
    (repo / "model.yaml").write_text(waive_both)
    artifacts = Artifacts("memory://waived")
    _, uri = model_repo.publish(repo, artifacts)
    fetched = model_repo.fetch(uri, artifacts, repo.parent / "cache")
    regression, probe = suites.frozen(fetched.folder, task_of(fetched.config.task), ["probes"])
    assert (len(regression.cases), probe.cases) == (len(writing.STARTER), ())


def test_a_suite_to_waive_is_one_of_two(repo: Path) -> None:
    waive(repo, "regresion")
    with pytest.raises(BadConfig, match=r"`gate\.waived\.0` is 'regresion': did you mean 'regress"):
        model_repo.read(repo)


STAGES = TEXT[TEXT.index("    - {name: shadow") : TEXT.index("  margin: 0.1  ")]
SHADOW = "    - {name: shadow, percent: 0}\n"
CANARY = "    - {name: canary, percent: 5}\n"
FULL = "    - {name: full, percent: 100}\n"


def with_rollout(stages: str, *more: tuple[str, str]) -> str:
    text = TEXT.replace(STAGES, stages)
    for old, new in more:
        assert old in text
        text = text.replace(old, new, 1)
    return text


UNREVIEWED = (
    ("  profile: [complaints, review]", "  profile: [complaints]"),
    ("share: 0.03", "share: 0"),
)
LABELS = ("  profile: [complaints, review]", "  profile: [labels]"), ("share: 0.03", "share: 0")


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        (
            with_rollout(CANARY.replace("5", "0") + FULL, *UNREVIEWED),
            "name: canary",
            "`rollout.stages.0.percent` is 0.0, expected above 0: the last stage before 100 % has "
            "to show that a version is not worse, and under the feedback profile ['complaints'] "
            "only who hears a version says anything of it. Add a stage",
        ),
        (
            with_rollout(SHADOW + CANARY.replace("5", "0.004") + FULL),
            "name: canary",
            "`rollout.stages.1.percent` is 0.004, expected 0, or from 0.01 to 99.99, or 100",
        ),
        (
            with_rollout(CANARY.replace("5", "99.999") + FULL),
            "name: canary",
            "`rollout.stages.0.percent` is 99.999, expected 0, or from 0.01 to 99.99, or 100",
        ),
        (
            with_rollout(STAGES, ("hold_back: 5 ", "hold_back: 0.001 ")),
            "hold_back:",
            "`rollout.hold_back` is 0.001, expected 0, or at least 0.01",
        ),
        (
            with_rollout(STAGES, ("percent: 5, soak: 1d", "percent: 5, soak: 22d")),
            "name: canary-5",
            "`rollout.stages.1.soak` is 22.0, expected at most `rollout.max_days`, 21 days",
        ),
        (
            with_rollout(STAGES, ("shadow_share: 1.0", "shadow_share: 0.0")),
            "shadow_share:",
            "`rollout.shadow_share` is 0.0, expected more than 0: versions are compared",
        ),
        (
            with_rollout(STAGES, *UNREVIEWED, ("max_days: 21", "max_days: 3")),
            "max_days:",
            "`rollout.max_days` is 3.0, expected more days than the 72 hours of "
            "`feedback.settled_hours`",
        ),
    ],
)
def test_a_rollout_that_no_version_could_pass_is_refused_and_a_stored_one_goes_on(
    repo: Path, tmp_path: Path, text: str, at: str, says: str
) -> None:
    (repo / "model.yaml").write_text(text)
    with pytest.raises(BadConfig) as caught:
        model_repo.read(repo)
    told = str(caught.value)
    assert told.startswith(f"{repo / 'model.yaml'}:{line_of(at, text)}: {says}")
    artifacts = Artifacts("memory://cannot-be-proven")
    fetched = model_repo.fetch(artifacts.put_folder(repo), artifacts, tmp_path / "cache")
    assert fetched.config.model == "support-triage"


@pytest.mark.parametrize(
    "text",
    [
        with_rollout(SHADOW + FULL),  # reviewers judge what nobody heard
        with_rollout(SHADOW + FULL, *LABELS),
        with_rollout(SHADOW + CANARY + FULL, *UNREVIEWED),
        with_rollout(CANARY.replace("5", "0.01") + FULL),
        with_rollout(STAGES, ("max_days: 21", "max_days: 3")),  # reviewers need no silence
        with_rollout(FULL, *UNREVIEWED, ("shadow_share: 1.0", "shadow_share: 0.0")),
        with_rollout(FULL.replace("100", "100, soak: 90d")),  # it is watched for `watch_days`
    ],
)
def test_a_rollout_that_a_version_can_pass_is_read(repo: Path, text: str) -> None:
    (repo / "model.yaml").write_text(text)
    assert model_repo.read(repo).config.rollout.stages[-1].percent == 100


def test_all_that_keeps_every_version_from_full_traffic_is_told_together(repo: Path) -> None:
    more = ("shadow_share: 1.0", "shadow_share: 0.0"), ("max_days: 21", "max_days: 6h")
    (repo / "model.yaml").write_text(with_rollout(STAGES, *more))
    with pytest.raises(BadConfig) as caught:
        model_repo.read(repo)
    assert len(str(caught.value).splitlines()) == 4


def test_a_repo_that_was_stored_under_older_rules_stops_no_service(
    repo: Path, tmp_path: Path
) -> None:
    (repo / "evals" / "regression.jsonl").write_text("")
    (repo / "evals" / "probes.yaml").write_text("minimun: []")
    artifacts = Artifacts("memory://older-rules")
    uri = artifacts.put_folder(repo)
    assert model_repo.fetch(uri, artifacts, tmp_path / "cache").config.model == "my-model"


def test_what_cannot_be_read_as_text_is_said(repo: Path) -> None:
    (repo / "model.yaml").write_bytes(b"model: \xff")
    with pytest.raises(BadConfig, match=r"model\.yaml: cannot be read as UTF-8 text"):
        model_repo.read(repo)


def test_reading_a_model_repo_loads_nothing_heavy() -> None:
    """`driftgate check` is run after each edit; these take longer to load than it has."""
    heavy = ["torch", "numpy", "pandas", "requests", "fsspec", "kafka", "ray", "jinja2"]
    code = (
        "import sys, pathlib, driftgate.model_repo as m;"
        f"m.read(pathlib.Path({str(EXAMPLE)!r}));"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_what_init_writes_is_valid_and_never_overwritten(tmp_path: Path) -> None:
    declaration = writing.Declaration("my-model", ["delivery", "refund"], protected="language=es")
    repo = writing.write(tmp_path, declaration, writing.STARTER)
    assert list(repo.config.gate.protected) == ["language=es"]
    with pytest.raises(BadConfig, match="exists"):
        writing.write(tmp_path, declaration, writing.STARTER)


def test_what_init_writes_names_every_key(tmp_path: Path) -> None:
    """Complete: whoever reads it sees all that can be set."""
    declaration = writing.Declaration("my-model", ["delivery", "refund"], protected="language=es")
    writing.write(tmp_path, declaration, writing.STARTER)
    text = (tmp_path / "model.yaml").read_text()
    text += writing.rendered("generation.yaml.j2", declaration, system=True, json=True)
    parts = [
        model_repo.ModelYaml,
        *(f.annotation for f in model_repo.ModelYaml.model_fields.values()),
    ]
    names = {
        name
        for part in parts
        for name in next((m.model_fields for m in yaml_problems.models(part)), ())
    }
    assert sorted(name for name in names if f"{name}:" not in text) == []


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    artifacts = Artifacts("memory://repo-hash")
    declaration = writing.Declaration("my-model", ["delivery", "refund"])
    writing.write(tmp_path / "a", declaration, writing.STARTER)
    writing.write(tmp_path / "b", declaration, writing.STARTER)
    first, uri = model_repo.publish(tmp_path / "a", artifacts)
    second, _ = model_repo.publish(tmp_path / "b", artifacts)
    assert first.hash == second.hash
    assert model_repo.fetch(uri, artifacts, tmp_path / "cache").config == first.config
    (tmp_path / "b" / "notes.txt").write_text("not part of the declaration")
    assert model_repo.publish(tmp_path / "b", artifacts)[0].hash == first.hash
