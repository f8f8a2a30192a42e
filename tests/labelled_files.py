"""Small files as people have them, and what is to come out of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from driftgate.errors import BadConfig
from driftgate.labelled.reading import Labelled, read
from driftgate.labelled.rows import Asked

AS_IT_IS = Asked()


@dataclass(frozen=True)
class Case:
    """A file and the right outcome. What is None is not looked at.

    Attributes:
        data: the file's bytes, or files by their path in a folder.
        left_out: cause (its beginning) → rows.
        told: fragments that the lines of the findings hold.
        refused: fragments of the message; the file is not read.
    """

    name: str
    data: bytes | str | Mapping[str, bytes | str]
    file: str = "data.csv"
    asked: Asked = AS_IT_IS
    texts: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    times: Sequence[str] | None = None
    subjects: Sequence[str | None] | None = None
    ids: Sequence[str | None] | None = None
    slices: Mapping[str, Sequence[str]] | None = None
    left_out: Mapping[str, int] | None = None
    joined: Mapping[str, Mapping[str, int]] | None = None
    told: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def table(*cases: Case) -> pytest.MarkDecorator:
    assert len({case.name for case in cases}) == len(cases), "names of cases differ"
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def as_bytes(data: bytes | str) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def put(case: Case, folder: Path) -> Path:
    """The case's file or folder on disk."""
    path = folder / case.file
    if not isinstance(case.data, Mapping):
        path.write_bytes(as_bytes(case.data))
        return path
    path.mkdir()
    for name, data in case.data.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(as_bytes(data))
    return path


def holds(case: Case, folder: Path) -> None:
    """Reads the case's file and compares what comes out."""
    path = put(case, folder)
    if case.refused:
        with pytest.raises(BadConfig) as caught:
            read(path, case.asked)
        message = str(caught.value)
        missing = [part for part in case.refused if part not in message]
        assert not missing, message
        return
    compare(case, read(path, case.asked))


def compare(case: Case, found: Labelled) -> None:
    told = "\n".join(found.findings.lines())
    got = {
        "texts": found.texts,
        "labels": found.labels,
        "times": [iso(time) for time in found.times],
        "subjects": found.subjects,
        "ids": found.ids,
        "slices": found.slices,
        "joined": {k: dict(v) for k, v in found.findings.joined.items()},
    }
    for what, value in got.items():
        wanted = getattr(case, what)
        if wanted is not None:
            assert value == (dict(wanted) if isinstance(wanted, Mapping) else list(wanted)), told
    if case.left_out is not None:
        rows = {cause: one.rows for cause, one in found.findings.left_out.items()}
        assert len(rows) == len(case.left_out), told
        for cause, count in case.left_out.items():
            assert [n for c, n in rows.items() if c.startswith(cause)] == [count], told
    missing = [part for part in case.told if part not in told]
    assert not missing, told
    lost = sum(one.rows for one in found.findings.left_out.values())
    assert found.findings.rows == found.findings.kept + lost, told
    assert found.findings.kept == len(found) == len(found.places), told


def iso(time: int | None) -> str:
    """Such as 2025-03-05 14:30, UTC; empty for none."""
    if time is None:
        return ""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}".removesuffix(":00").removesuffix(" 00:00")


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def json_lines(*rows: Any) -> str:
    return lines(*(json.dumps(row) for row in rows))


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


XML = '<?xml version="1.0" encoding="UTF-8"?>'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OPEN_XML = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def xlsx(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    """A workbook as Excel writes it, with dates as numbers that are formatted as dates."""
    files = {
        "[Content_Types].xml": f'{XML}<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{OPEN_XML}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{OPEN_XML}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" '
            f'ContentType="{OPEN_XML}.worksheet+xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        + "</Types>",
        "_rels/.rels": f'{XML}<Relationships xmlns="{PACKAGE}/relationships"><Relationship '
        f'Id="r0" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'{XML}<Relationships xmlns="{PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="r{n}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        + f'<Relationship Id="rs" Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'{XML}<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    for n, rows in enumerate(sheets.values(), 1):
        body = "".join(
            f'<row r="{r}">{"".join(cell(value, r, c) for c, value in enumerate(row))}</row>'
            for r, row in enumerate(rows, 1)
        )
        files[f"xl/worksheets/sheet{n}.xml"] = (
            f'{XML}<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'
        )
    return zipped(files)


def cell(value: Any, row: int, column: int) -> str:
    at = f"{chr(65 + column)}{row}"
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{at}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date):
        moment = datetime(*value.timetuple()[:6])
        days = (moment - datetime(1899, 12, 30)).total_seconds() / 86_400
        return f'<c r="{at}" s="1"><v>{days!r}</v></c>'
    if isinstance(value, (int, float)):
        return f'<c r="{at}"><v>{value}</v></c>'
    if value.startswith("#"):
        return f'<c r="{at}" t="e"><v>{value}</v></c>'
    return f'<c r="{at}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def ods(rows: Sequence[Sequence[Any]]) -> bytes:
    """A spreadsheet as LibreOffice writes it."""
    spaces = "urn:oasis:names:tc:opendocument:xmlns"
    kind = "application/vnd.oasis.opendocument.spreadsheet"

    def one(value: Any) -> str:
        if isinstance(value, date):
            told = f'office:value-type="date" office:date-value="{value.isoformat()}"'
            return f"<table:table-cell {told}><text:p>{value}</text:p></table:table-cell>"
        told = 'office:value-type="string"'
        return f"<table:table-cell {told}><text:p>{escape(str(value))}</text:p></table:table-cell>"

    body = "".join(f"<table:table-row>{''.join(map(one, row))}</table:table-row>" for row in rows)
    content = (
        f'{XML}<office:document-content xmlns:office="{spaces}:office:1.0" '
        f'xmlns:table="{spaces}:table:1.0" xmlns:text="{spaces}:text:1.0" office:version="1.2">'
        '<office:body><office:spreadsheet><table:table table:name="Sheet1">'
        f"{body}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    manifest = (
        f'{XML}<manifest:manifest xmlns:manifest="{spaces}:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/>'
        '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
        "</manifest:manifest>"
    )
    return zipped({"mimetype": kind, "META-INF/manifest.xml": manifest, "content.xml": content})
