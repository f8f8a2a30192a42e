from __future__ import annotations

from pathlib import Path

import pytest

from driftgate import model_repo, scaffold
from driftgate.artifacts import Artifacts
from driftgate.errors import BadConfig

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support-triage"
TEXT = (EXAMPLE / "model.yaml").read_text()


def line_of(fragment: str, text: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if fragment in line)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind: lora ", "kind: lorra ", "did you mean 'lora'?"),
        ("  batch_size:", "  batchsize:", "did you mean 'batch_size'?"),
        ("signal: quality", "signal: qualty", "did you mean 'quality'?"),
        ("    tolerance: 0.03", "    tolerence: 0.03", "did you mean 'tolerance'?"),
        ("test_share: 0.25", "test_share: 25", "less than or equal to 1"),
        ("kinds: [email, phone,", "kinds: [email, phon,", "did you mean 'phone'?"),
        ("percent: 50", "percent: 3", "must rise to 100"),
        ("cooldown_days: 10", "cooldown_days: soon", "valid number"),
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


def test_what_init_writes_is_valid_and_never_overwritten(tmp_path: Path) -> None:
    declaration = scaffold.Declaration("my-model", ["delivery", "refund"], protected="language=es")
    repo = scaffold.write(tmp_path, declaration, scaffold.STARTER)
    assert list(repo.config.gate.protected) == ["language=es"]
    with pytest.raises(BadConfig, match="exists"):
        scaffold.write(tmp_path, declaration, scaffold.STARTER)


def test_what_init_writes_names_every_key(tmp_path: Path) -> None:
    """Complete: whoever reads it sees all that can be set."""
    declaration = scaffold.Declaration("my-model", ["delivery", "refund"], protected="language=es")
    scaffold.write(tmp_path, declaration, scaffold.STARTER)
    text = (tmp_path / "model.yaml").read_text()
    parts = [
        model_repo.ModelYaml,
        *(f.annotation for f in model_repo.ModelYaml.model_fields.values()),
    ]
    names = {
        name
        for part in (model_repo.inner_model(part) for part in parts)
        if part
        for name in part.model_fields
    }
    assert sorted(name for name in names if f"{name}:" not in text) == []


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    artifacts = Artifacts("memory://repo-hash")
    declaration = scaffold.Declaration("my-model", ["delivery", "refund"])
    scaffold.write(tmp_path / "a", declaration, scaffold.STARTER)
    scaffold.write(tmp_path / "b", declaration, scaffold.STARTER)
    first, uri = model_repo.publish(tmp_path / "a", artifacts)
    second, _ = model_repo.publish(tmp_path / "b", artifacts)
    assert first.hash == second.hash
    assert model_repo.fetch(uri, artifacts, tmp_path / "cache").config == first.config
    (tmp_path / "b" / "notes.txt").write_text("not part of the declaration")
    assert model_repo.publish(tmp_path / "b", artifacts)[0].hash == first.hash
