"""What a statement says of itself: its verb, its format, where its data begin. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLANK = rb"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_VERB = re.compile(_BLANK + rb"\(*([A-Za-z]+)", re.DOTALL)
_FORMAT = re.compile(
    rb"\bFORMAT\s+([A-Za-z][A-Za-z0-9]*)\s*(?:SETTINGS\s[^;]*)?[\s;]*$", re.IGNORECASE
)
_TOKEN = re.compile(
    rb"""\s+|--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|\w+|.""",
    re.DOTALL,
)
_OPENS = re.compile(rb"\s*\(")
_AFTER_FORMAT = re.compile(rb"\s+(\w+)[ \t\f]*\r?\n?")


def verb_of(statement: bytes) -> str:
    """First keyword in capitals, '' if there is none."""
    found = _VERB.match(statement)
    return found.group(1).decode().upper() if found else ""


def format_of(statement: bytes) -> str:
    """Name in the FORMAT clause at the end, '' if there is none."""
    found = _FORMAT.search(statement[-4096:])
    return found.group(1).decode() if found else ""


@dataclass(frozen=True, slots=True)
class Insert:
    """`INSERT INTO t (a, b)` with its data apart. Where the head selects from `input(…)`,
    `source` is where that word stands in it."""

    head: bytes
    format: str
    data: memoryview
    source: slice | None = None


def insert_of(statement: bytes) -> Insert | None:
    """Cut an INSERT behind its FORMAT; None if its rows come from VALUES, a table or a file."""
    depth, selects, source = 0, False, None
    for token in _TOKEN.finditer(statement):
        word = token.group().upper()
        depth += (word == b"(") - (word == b")")
        if word == b"INPUT" and _OPENS.match(statement, token.end()):
            source = slice(*token.span())
        if depth:
            continue
        if word == b"VALUES" or (word == b"FROM" and not selects):
            return None
        selects |= word in (b"SELECT", b"WITH")
        if word == b"FORMAT" and (name := _AFTER_FORMAT.match(statement, token.end())):
            if selects and not source:
                return None
            data = memoryview(statement)[name.end() :]
            return Insert(statement[: token.start()], name.group(1).decode(), data, source)
    return None
