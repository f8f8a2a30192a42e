"""A folder of fetched artifacts keeps what is needed, and nothing in part."""

from __future__ import annotations

import os
from pathlib import Path

from driftgate import artifact_cache

A, B, KEY = "a" * 64, "b" * 64, "0" * 32


def folder_in(cache: Path, name: str, age_s: float = 0) -> Path:
    (cache / name).mkdir(parents=True)
    (cache / name / "adapter").write_bytes(b"weights")
    aged(cache / name, age_s)
    return cache / name


def aged(path: Path, age_s: float) -> None:
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))


def names(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_what_nobody_needs_is_taken_away_in_one_step(tmp_path: Path) -> None:
    for name in (A, B, "routing.json"):
        folder_in(tmp_path, name)
    (aside,) = artifact_cache.set_aside(tmp_path, {A})
    assert names(tmp_path) == {A, "routing.json", aside.name}
    artifact_cache.remove([aside])
    assert names(tmp_path) == {A, "routing.json"}
    assert artifact_cache.set_aside(tmp_path / "missing", set()) == []


def test_leftovers_are_swept_but_not_what_another_process_may_be_writing(tmp_path: Path) -> None:
    old = 2 * artifact_cache.LEFTOVER_SECONDS
    folder_in(tmp_path, f"{A}.{KEY}", old)
    fresh = folder_in(tmp_path, f"{B}.{KEY}")
    kept = folder_in(tmp_path, A, old)
    part = tmp_path / f".routing.json.{KEY}.part"
    part.touch()
    aged(part, old)
    artifact_cache.sweep(tmp_path)
    assert names(tmp_path) == {fresh.name, kept.name}
    artifact_cache.sweep(tmp_path / "missing")
