"""The records of files, each with the place where it stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from driftgate.errors import BadConfig
from driftgate.labelled import files
from driftgate.labelled.arrow_files import DAMAGED
from driftgate.labelled.delimited import lines
from driftgate.labelled.encoding import decode
from driftgate.labelled.files import Content
from driftgate.labelled.findings import Findings
from driftgate.labelled.json_files import BLANKS, NOT_JSON

Record = Mapping[str, Any]
Placed = tuple[str, Record]

# Under which a page of an API, or a session, holds its records.
LISTS = ("data", "traces")
NO_OBJECT = "it is no JSON object"
WIDTH = "it has another number of fields than the header"


def read(path: Path, findings: Findings, encoding: str | None = None) -> Iterator[Placed]:
    """Every record of a file, of a folder, or of an archive. What is none is counted; of several
    files, those that cannot be read are named.

    Raises:
        BadConfig: there is nothing to read, or the only file is not of a kind that is read.
    """
    contents, _ = files.contents(path)
    for content in contents:
        try:
            yield from records(content, findings, encoding)
        except BadConfig as error:
            if len(contents) == 1:
                raise
            findings.notes.append(f"not read: {error}")


def records(content: Content, findings: Findings, encoding: str | None) -> Iterator[Placed]:
    """
    Raises:
        BadConfig
    """
    if content.fault:
        raise BadConfig(content.fault)
    for where, record in numbered(content, findings, encoding):
        findings.rows += 1
        place = f"{content.name}, {where}"
        if isinstance(record, Mapping):
            yield place, record
        else:
            findings.leave_out(record, place)


def numbered(
    content: Content, findings: Findings, encoding: str | None
) -> Iterator[tuple[str, Record | str]]:
    """Records, or why they are none, by line or row.

    Raises:
        BadConfig
    """
    if not content.data.strip():
        raise BadConfig(f"{content.name}: the file is empty; expected records")
    if content.data.startswith(b"PAR1"):
        return of_parquet(content)
    decoded = decode(content.data, content.name, encoding)
    if decoded.guess:
        findings.notes.append(
            f"{content.name}: read as {decoded.guess}, by its letters; --encoding says otherwise"
        )
    text = decoded.text.removeprefix("\ufeff")
    return of_json(text) if text.lstrip(BLANKS).startswith(("{", "[")) else of_csv(text)


def of_parquet(content: Content) -> Iterator[tuple[str, Record | str]]:
    try:
        table = pq.ParquetFile(io.BytesIO(content.data))
        number = 0
        for batch in table.iter_batches(batch_size=1000):
            for record in batch.to_pylist(maps_as_pydicts="lossy"):
                number += 1
                yield f"row {number}", record
    except DAMAGED as error:
        raise BadConfig(f"{content.name}: the Parquet file is damaged: {error}") from None


def of_json(text: str) -> Iterator[tuple[str, Record | str]]:
    """Of one document, or of a line each. A list that is broken somewhere is read by its lines, as
    exports write one record on each."""
    document = parsed(text)
    if document is None:
        for number, line in enumerate(lines(text), 1):
            if (line := line.strip(f"{BLANKS},")) not in ("", "[", "]"):
                yield f"line {number}", record_of(line)
        return
    if isinstance(document, Mapping):
        inner = (document[name] for name in LISTS if isinstance(document.get(name), list))
        document = next(inner, [document])
    for number, record in enumerate(document, 1):
        yield f"row {number}", record if isinstance(record, Mapping) else NO_OBJECT


def record_of(line: str) -> Record | str:
    found = parsed(line)
    if found is None:
        return NOT_JSON
    return found if isinstance(found, Mapping) else NO_OBJECT


def parsed(text: str) -> Any:
    """None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def of_csv(text: str) -> Iterator[tuple[str, Record | str]]:
    """Delimited by commas; the first line is the header."""
    reader = csv.reader(lines(text))
    header: list[str] = next(filter(None, reader), [])
    begin = reader.line_num + 1
    for row in reader:
        where, begin = f"line {begin}", reader.line_num + 1
        if row:
            yield where, dict(zip(header, row, strict=True)) if len(row) == len(header) else WIDTH
