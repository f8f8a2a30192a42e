"""JSON Lines and JSON documents as tables, in the shapes in which tools write rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from driftgate.errors import BadConfig
from driftgate.labelled import exports
from driftgate.labelled.arrow_files import class_of
from driftgate.labelled.delimited import lines
from driftgate.labelled.names import TEXT, is_known, rank
from driftgate.labelled.table import Record, Table, of_records

NESTED = 3  # so deep inside a JSON document the list of rows is looked for
# Beside the text and the label of a pair, as CLINC150 has them.
PAIR = ("text", "label")
BLANKS = " \t\r\n\ufeff"  # marks of UTF-8 also stand between files that were put together
PROBED = 20  # lines that tell whether a broken document is JSON Lines
COMMENT, SAMPLE = re.compile(r"^\s*//", re.MULTILINE), 10_000
ROWS_EXPECTED = 'expected [{"text": …, "label": …}, …], one such object a line, or columns as lists'
NOT_JSON, NO_OBJECT = "is not JSON", 'is not an object such as {"text": …, "label": …}'


def is_json(begin: str) -> bool:
    """Whether the first line is JSON with something in it, or the beginning of it."""
    line = begin.partition("\n")[0].strip()
    parsed = exports.parsed(line)
    return line in ("[", "{", "[{") or (isinstance(parsed, (Mapping, list)) and bool(parsed))


def json_text(text: str, name: str) -> Table:
    """One JSON document, or JSON Lines, or documents one after another.

    Raises:
        BadConfig: it is none of these, or holds no rows.
    """
    begin = len(text) - len(text.lstrip(BLANKS))
    try:
        document, end = json.JSONDecoder().raw_decode(text, begin)
    except RecursionError:
        raise BadConfig(f"{name}: is nested too deeply; {ROWS_EXPECTED}") from None
    except ValueError as error:
        first, *more = islice((line for line in lines(text) if line.strip(BLANKS)), PROBED)
        commented = bool(COMMENT.search(text[:SAMPLE])) and not is_object(first)
        if not commented and any(map(is_object, [first, *more])):
            return json_lines(text, name)
        remedy = "write the file anew, or mend it there"
        if commented:
            remedy = "delete the comments (//), which JSON does not have"
        raise BadConfig(f"{name}: is not whole JSON: {error}; {remedy}") from None
    if not text[end:].strip(BLANKS):
        return json_document(document, name)
    if "\n" in text[begin:end]:
        return table_of(name, "row", json_documents(text, begin, name))
    return json_lines(text, name)


def is_object(line: str) -> bool:
    found = exports.parsed(line.strip(BLANKS))
    return isinstance(found, Mapping) and bool(found)


def json_lines(text: str, name: str) -> Table:
    """One JSON object a line."""
    bad: list[tuple[int, str]] = []

    def rows() -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(lines(text), 1):
            if line.strip():
                try:
                    yield number, json.loads(line.strip(BLANKS))
                except (ValueError, RecursionError):
                    bad.append((number, NOT_JSON))

    table = table_of(name, "line", rows())
    table.left_out += bad
    return table


def json_documents(text: str, at: int, name: str) -> Iterator[tuple[int, Any]]:
    """JSON objects one after another, each over several lines."""
    decoder, number = json.JSONDecoder(), 0
    while at < len(text):
        number += 1
        try:
            found, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise BadConfig(
                f"{name}: object {number} is not whole JSON: {error}; mend it there"
            ) from None
        yield number, found
        while at < len(text) and text[at] in BLANKS:
            at += 1


def json_document(document: Any, name: str) -> Table:
    """A JSON document that holds rows: a list of them, or an object in which such lists stand.

    Raises:
        BadConfig: it holds none.
    """
    if isinstance(document, Mapping) and all(
        isinstance(document.get(key), list) for key in ("features", "rows")
    ):
        document = {"rows": with_classes(document)}
    lists = [(place, found) for place, found in row_lists(document) if found]
    if not lists:
        raise BadConfig(f"{name}: no list of rows is found in it; {ROWS_EXPECTED}")
    _, most = max(lists, key=lambda one: (has_text(one[1][0]), len(one[1])))
    alike = [(place, found) for place, found in lists if shape(found[0]) == shape(most[0])]
    rows = [row for _, found in alike for row in found]
    table = table_of(name, "row", enumerate(rows, 1))
    if len(lists) > 1:
        table.notes.append(f"rows of {', '.join(place for place, _ in alike)}")
    others = [place for place, found in lists if shape(found[0]) != shape(most[0])]
    if others:
        table.notes.append(f"not read, since their rows are of another kind: {', '.join(others)}")
    return table


def shape(row: Any) -> Any:
    return frozenset(row) if isinstance(row, Mapping) else list


def has_text(row: Any) -> bool:
    return not isinstance(row, Mapping) or any(rank(name, TEXT) is not None for name in row)


def with_classes(page: Mapping[str, Any]) -> list[Any]:
    """Rows of Hugging Face's datasets-server, with the names of their classes."""
    classes = {
        feature["name"]: feature["type"]["names"]
        for feature in page["features"]
        if isinstance(feature, Mapping)
        and isinstance(feature.get("type"), Mapping)
        and "name" in feature
        and isinstance(feature["type"].get("names"), list)
    }
    rows = [one.get("row") for one in page.get("rows") or [] if isinstance(one, Mapping)]
    return [
        {k: class_of(v, classes[k]) if k in classes else v for k, v in row.items()}
        for row in rows
        if isinstance(row, Mapping)
    ]


def row_lists(node: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """Every list of rows in a document, with its key."""
    if isinstance(node, list):
        if node and all(isinstance(row, (Mapping, list)) for row in node):
            yield place or "the document", node
    elif isinstance(node, Mapping):
        columns = by_column(node)
        if columns:
            yield place or "the document", columns
        elif depth < NESTED:
            for name, value in node.items():
                yield from row_lists(value, f"{place}.{name}" if place else name, depth + 1)


def by_column(node: Mapping[str, Any]) -> list[Any]:
    """Rows of what pandas writes: names apart from data, or columns as mappings by index or as
    lists. Empty where it is none of these."""
    values = list(node.values())
    if isinstance(node.get("data"), list):
        if isinstance(node.get("columns"), list):
            names = [str(name) for name in node["columns"]]
            lists = [row for row in node["data"] if isinstance(row, list)]
            return [dict(zip(names, row, strict=False)) for row in lists]
        return list(node["data"]) if isinstance(node.get("schema"), Mapping) else []
    if len(values) < 2 or not values[0]:
        return []
    if all(isinstance(v, Mapping) for v in values) and any(map(is_known, values[0])):
        rows = [dict(v) for v in values]
    elif all(isinstance(v, Mapping) and set(v) == set(values[0]) for v in values):
        rows = [{name: node[name][key] for name in node} for key in values[0]]
    elif all(isinstance(v, list) and len(v) == len(values[0]) for v in values):
        rows = [dict(zip(node, row, strict=True)) for row in zip(*values, strict=True)]
    else:
        rows = []
    nested = any(isinstance(cell, (Mapping, list)) for row in rows for cell in row.values())
    return [] if nested else rows


def table_of(name: str, unit: str, numbered: Iterable[tuple[int, Any]]) -> Table:
    """A table of JSON rows: objects, or lists such as [text, label]."""
    left_out: list[tuple[int, str]] = []
    lost: Counter[str] = Counter()

    def records() -> Iterator[tuple[int, Record]]:
        for number, row in numbered:
            record = record_of(row)
            if isinstance(record, str):
                left_out.append((number, record))
            else:
                if (loss := exports.loses(row) if isinstance(row, Mapping) else None) is not None:
                    lost[loss] += 1
                yield number, record

    table = of_records(name, unit, records())
    table.left_out = left_out
    table.notes += exports.losses(lost)
    return table


def record_of(row: Any) -> Record | str:
    """A JSON row as a record, or why it is none."""
    if isinstance(row, list) and len(row) == 2 and isinstance(row[1], Mapping):
        row = {"text": row[0], **row[1]}  # spaCy's pairs
    if isinstance(row, list):
        names = PAIR if len(row) == 2 else [f"column {n}" for n in range(1, len(row) + 1)]
        return dict(zip(names, row, strict=True))
    if isinstance(row, Mapping):
        record = exports.unwrapped(row)
        return exports.NO_ANNOTATION if record is None else record
    return NO_OBJECT
