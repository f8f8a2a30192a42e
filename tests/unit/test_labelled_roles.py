"""Roles of columns where a few rows do not tell: what recurs in a long file."""

from __future__ import annotations

from pathlib import Path

from driftgate.labelled.reading import read


def test_titles_that_recur_are_joined_with_their_bodies(tmp_path: Path) -> None:
    path = tmp_path / "issues.csv"
    lines = [
        f"The app crashes on page {n % 40},It happens each time {n},bug{n % 3}" for n in range(300)
    ]
    path.write_text("\n".join(["title,body,label", *lines]))
    assert read(path).texts[0] == "The app crashes on page 0\n\nIt happens each time 0"


def test_names_of_persons_in_a_subject_column_are_no_titles(tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    lines = [f"Ann Miller{n % 40},It happens each time {n},bug{n % 3}" for n in range(300)]
    path.write_text("\n".join(["subject,text,label", *lines]))
    found = read(path)
    assert found.texts[0] == "It happens each time 0"
    assert found.subjects[0] == "Ann Miller0"
