"""What reads a file: told by its first bytes, not by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from driftgate.errors import BadConfig
from driftgate.labelled import arrow_files, delimited, fasttext, files, json_files, spreadsheets
from driftgate.labelled.encoding import Decoded, decode
from driftgate.labelled.files import Content
from driftgate.labelled.rows import Asked
from driftgate.labelled.table import Table

DELIMITED = {".csv", ".tsv", ".tab", ".psv", ".txt"}
SPLITS = {"train", "training", "test", "testing", "dev", "val", "valid", "validation", "eval"}
# Text of other kinds, by how it begins.
REFUSED_TEXTS = {
    re.compile(
        r"(?:#.*\n|---\s*\n)*(?:version:.*\n\s*)?(?:[\w-]+:\s*\n\s*)?- [\w-]+:.*\n\s+[\w-]+:"
    ): "YAML: save its rows as JSON or CSV",
    re.compile(
        r"(?:#.*\n\s*)*\[\[[\w.-]+\]\]\s*\n\s*[\w-]+ *="
    ): "TOML: save its rows as JSON or CSV",
    re.compile(r"(?:(?://.*\n|/\*(?s:.*?)\*/)\s*)+[\[{]"): "JSON with comments: delete these",
}
MOST_GUESSES = 5  # texts of which words are shown
NO_FOLDER = "it stands above the folders that are labels"


def table_of(content: Content, asked: Asked) -> Table:
    """A file's table, by its first bytes.

    Raises:
        BadConfig: see `read`.
    """
    data, name = content.data, content.name
    if content.fault:
        raise BadConfig(content.fault)
    if not data.strip():
        raise BadConfig(f"{name}: the file is empty; expected rows of two columns or more")
    if data.startswith(b"PAR1") and files.is_binary(data):
        return arrow_files.parquet(data, name)
    if data.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return arrow_files.arrow(data, name)
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return spreadsheets.spreadsheet(data, name)
    decoded = decode(data, name, asked.encoding)
    what = refused_text(decoded.text)
    if what:
        raise BadConfig(f"{name}: this is {what}. {files.READ} can be read")
    table = text_reader(decoded.text, content.suffix)(decoded.text, name)
    if decoded.guess:
        said = f"read as {decoded.guess}, by its letters; --encoding says otherwise"
        table.notes.insert(0, said)
        table.screen = in_words([decoded])
    return table


def in_words(guessed: Sequence[Decoded]) -> list[str]:
    """Words of the texts that show whether an encoding was guessed well."""
    words = " ".join(one.words for one in guessed[:MOST_GUESSES] if one.words)
    return [f"words of it in that encoding: {words}"] if words else []


def refused_text(text: str) -> str | None:
    """What a text is that holds no rows that are read, and what to do; None for others."""
    begin = text[:10_000].lstrip("\ufeff \t\r\n").replace("\r\n", "\n")
    return next((what for found, what in REFUSED_TEXTS.items() if found.match(begin)), None)


def text_reader(text: str, suffix: str) -> Callable[[str, str], Table]:
    """What reads a text, by how it begins."""
    begin = text[:10_000].lstrip("\ufeff \t\r\n")
    if begin.startswith(fasttext.FASTTEXT):
        return fasttext.fasttext
    if begin.startswith(("{", "[")) and (suffix not in DELIMITED or json_files.is_json(begin)):
        return json_files.json_text
    return delimited.read


def text_folders(found: Sequence[Content], asked: Asked) -> Table | None:
    """Texts that are sorted into folders named after their labels; None where it is otherwise: one
    file in each folder, or folders for training and testing, hold tables."""
    if any(one.suffix != ".txt" or one.fault for one in found):
        return None
    above = {folder for one in found for folder in Path(one.name).parent.parents}
    loose = [at for at, one in enumerate(found, 1) if Path(one.name).parent in above]
    numbers = [at for at in range(1, len(found) + 1) if at not in set(loose)]
    found = [found[at - 1] for at in numbers]
    folders = {content.parent for content in found}
    if len(folders) < 2 or len(found) <= len(folders) or SPLITS & {one.lower() for one in folders}:
        return None
    decoded = [decode(content.data, content.name, asked.encoding) for content in found]
    columns: dict[str, list[Any]] = {
        "text": [one.text for one in decoded],
        "label": [content.parent for content in found],
        "file": [content.name for content in found],
    }
    notes = ["labels are the names of folders"]
    guessed = [one for one in decoded if one.guess]
    if guessed:
        encodings = ", ".join(sorted({one.guess for one in guessed}))
        notes.append(
            f"{len(guessed):,} texts are not UTF-8 and read as {encodings}, by their letters; "
            "--encoding says otherwise"
        )
    left_out = [(at, NO_FOLDER) for at in loose]
    screen = in_words(guessed)
    return Table(
        "the folder", "file", columns, numbers, left_out=left_out, notes=notes, screen=screen
    )
