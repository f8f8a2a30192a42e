"""Parquet, Arrow, spreadsheets, archives and folders; what is refused, with cause and remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sqlite3
import tarfile
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from labelled_files import Case, holds, json_lines, lines, ods, table, xlsx, zipped
from pyarrow import feather, ipc

from driftgate.errors import BadConfig
from driftgate.labelled.reading import read
from driftgate.labelled.rows import Asked

TWO, AB = ["the first message", "the second message"], ["a", "b"]
CSV = lines("text,label", "the first message,a", "the second message,b")
JSONL = json_lines({"text": TWO[0], "label": "a"}, {"text": TWO[1], "label": "b"})
FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": AB, "_type": "ClassLabel"},
}


def parquet(columns: Any, **metadata: Any) -> bytes:
    buffer = io.BytesIO()
    found = columns if isinstance(columns, pa.Table) else pa.table(columns)
    if metadata:
        found = found.replace_schema_metadata({k: json.dumps(v) for k, v in metadata.items()})
    pq.write_table(found, buffer)
    return buffer.getvalue()


def stream(columns: Any) -> bytes:
    found, sink = pa.table(columns), io.BytesIO()
    with ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return sink.getvalue()


def arrow_file(columns: Any) -> bytes:
    found, sink = pa.table(columns), io.BytesIO()
    with ipc.new_file(sink, found.schema) as writer:
        writer.write_table(found)
    return sink.getvalue()


def feathered(columns: Any, version: int) -> bytes:
    sink = io.BytesIO()
    feather.write_feather(pa.table(columns), sink, version=version)
    return sink.getvalue()


def kept(name: str, data: Any, file: str, **more: Any) -> Case:
    """A file that holds the two messages."""
    return Case(name, data, file, texts=TWO, labels=AB, **more)


@table(
    kept("Parquet", parquet({"text": TWO, "label": AB}), "data.parquet"),
    kept("Parquet without a suffix", parquet({"text": TWO, "label": AB}), "data"),
    kept(
        "names of classes in the schema",
        parquet({"text": TWO, "label": [0, 1]}, huggingface={"info": {"features": FEATURES}}),
        "data.parquet",
        told=("names of classes in column 'label' from the schema",),
    ),
    Case(
        "a class of -1 is none",
        parquet(
            {"text": [*TWO, "the third"], "label": [0, 1, -1]},
            huggingface={"info": {"features": FEATURES}},
        ),
        "data.parquet",
        asked=Asked(left_out=0.5),
        texts=TWO,
        labels=AB,
        left_out={"the label is empty": 1},
    ),
    Case(
        "metadata of another shape",
        parquet({"text": TWO, "label": [0, 1]}, huggingface={"info": None}),
        "data.parquet",
        labels=["0", "1"],
    ),
    Case(
        "metadata that is a list",
        parquet({"text": TWO, "label": [0, 1]}, huggingface=[1]),
        "data.parquet",
        labels=["0", "1"],
    ),
    Case(
        "classes that are no list",
        parquet(
            {"text": TWO, "label": [0, 1]},
            huggingface={"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}},
        ),
        "data.parquet",
        labels=["0", "1"],
    ),
    kept(
        "dictionary-encoded columns",
        parquet({"text": TWO, "label": pa.array(AB).dictionary_encode()}),
        "data.parquet",
    ),
    kept(
        "large strings",
        parquet({"text": pa.array(TWO, pa.large_string()), "label": AB}),
        "data.parquet",
    ),
    kept(
        "string views",
        parquet({"text": pa.array(TWO, pa.string_view()), "label": AB}),
        "data.parquet",
    ),
    kept(
        "bytes",
        parquet({"text": [t.encode() for t in TWO], "label": [x.encode() for x in AB]}),
        "data.parquet",
    ),
    Case(
        "bytes that are no text",
        parquet(
            {
                "text": [b"\xff\xfe", *(f"message {n}".encode() for n in range(9))],
                "label": ["a", *("ab"[n % 2] for n in range(9))],
            }
        ),
        "data.parquet",
        left_out={"its bytes are no text": 1},
    ),
    kept("lists of one label", parquet({"text": TWO, "label": [["a"], ["b"]]}), "data.parquet"),
    kept(
        "tokens",
        parquet({"tokens": [t.split() for t in TWO], "label": AB}),
        "data.parquet",
        asked=Asked(text=("tokens",)),
    ),
    kept(
        "structs",
        parquet({"data": [{"text": TWO[n], "label": AB[n]} for n in range(2)]}),
        "data.parquet",
    ),
    kept(
        "dates of days",
        parquet({"text": TWO, "label": AB, "date": [date(2025, 3, 5), date(2025, 3, 6)]}),
        "data.parquet",
        times=["2025-03-05", "2025-03-06"],
    ),
    kept(
        "a date that is missing",
        parquet(
            {
                "text": [*TWO, "third"],
                "label": [*AB, "a"],
                "time": pa.array([datetime(2025, 3, 5), datetime(2025, 3, 6), None]),
            }
        ),
        "data.parquet",
        asked=Asked(left_out=0.5),
        left_out={"its date cannot be read": 1},
    ),
    Case(
        "moments beyond all",
        parquet({"text": TWO, "label": AB, "time": pa.array([2**50, 2**50], pa.timestamp("s"))}),
        "data.parquet",
        refused=("data.parquet", "time", "--time none"),
    ),
    Case(
        "moments of the year 1",
        parquet(
            {"text": TWO, "label": AB, "time": pa.array([-62_000_000_000] * 2, pa.timestamp("s"))}
        ),
        "data.parquet",
        refused=("time", "--time none"),
    ),
    kept(
        "decimals, times and durations beside",
        parquet(
            {
                "text": TWO,
                "label": AB,
                "d": pa.array([1, 2], pa.decimal128(5, 2)),
                "t": pa.array([1, 2], pa.time32("s")),
                "u": pa.array([1, 2], pa.duration("s")),
            }
        ),
        "data.parquet",
    ),
    kept(
        "maps beside",
        parquet(
            {
                "text": TWO,
                "label": AB,
                "m": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
            }
        ),
        "data.parquet",
    ),
    kept(
        "two columns of one name",
        parquet(
            pa.Table.from_arrays(
                [pa.array(TWO), pa.array(AB), pa.array([1, 2]), pa.array([3, 4])],
                ["text", "label", "x", "x"],
            )
        ),
        "data.parquet",
    ),
    kept(
        "a column of nulls",
        parquet({"text": TWO, "label": AB, "n": pa.nulls(2)}),
        "data.parquet",
        slices={},
    ),
    Case(
        "strings that are no text",
        parquet(
            {
                "text": pa.array([b"sch\xf6n", *(b"message %d" % n for n in range(9))]).view(
                    pa.string()
                ),
                "label": ["a", *("ab"[n % 2] for n in range(9))],
            }
        ),
        "data.parquet",
        left_out={"its bytes are no text": 1},
    ),
    Case(
        "no rows",
        parquet({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}),
        "data.parquet",
        refused=("data.parquet",),
    ),
    Case(
        "cut off",
        parquet({"text": TWO, "label": AB})[:-30],
        "data.parquet",
        refused=("data.parquet", "damaged"),
    ),
    Case(
        "cut in the middle",
        parquet({"text": [f"{n}" * 90 for n in range(900)], "label": AB * 450})[:3000],
        "data.parquet",
        refused=("data.parquet", "damaged"),
    ),
    kept("Feather", feathered({"text": TWO, "label": AB}, 2), "data.feather"),
    kept("an Arrow file", arrow_file({"text": TWO, "label": AB}), "data.arrow"),
    kept("an Arrow stream", stream({"text": TWO, "label": AB}), "data.arrow"),
    Case(
        "an Arrow stream that is cut off",
        stream({"text": TWO, "label": AB})[:200],
        "data.arrow",
        refused=("data.arrow", "damaged"),
    ),
)
def test_parquet_and_arrow(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


HEAD = ["text", "label"]
ROWS = [[TWO[0], "a"], [TWO[1], "b"]]


def hidden_first() -> bytes:
    """A workbook whose first sheet is hidden and has most rows."""
    lists = [HEAD, *([f"option {n}", "c"] for n in range(9))]
    with zipfile.ZipFile(io.BytesIO(xlsx({"Lists": lists, "Data": [HEAD, *ROWS]}))) as book:
        parts = {one: book.read(one) for one in book.namelist()}
    parts["xl/workbook.xml"] = parts["xl/workbook.xml"].replace(
        b'name="Lists"', b'name="Lists" state="hidden"'
    )
    return zipped(parts)


@table(
    kept("XLSX", xlsx({"Sheet1": [HEAD, *ROWS]}), "data.xlsx"),
    kept("XLSX named .csv", xlsx({"Sheet1": [HEAD, *ROWS]}), "data.csv"),
    kept(
        "titles above the header",
        xlsx({"Sheet1": [["Tickets of the year"], [], ["Exported by Ann"], HEAD, *ROWS]}),
        "data.xlsx",
    ),
    kept(
        "a title and its date above the header",
        xlsx(
            {
                "S": [
                    ["Tickets", date(2025, 3, 5)],
                    ["text", "label", "team"],
                    [TWO[0], "a", "x"],
                    [TWO[1], "b", "y"],
                ]
            }
        ),
        "data.xlsx",
    ),
    kept(
        "several sheets",
        xlsx({"About": [["Tickets of the year"]], "Data": [HEAD, *ROWS], "More": [HEAD, *ROWS]}),
        "data.xlsx",
        told=("sheets 'Data', 'More' have the same header and are read; not read: 'About'",),
        left_out={"it repeats an earlier row": 2},
    ),
    kept(
        "a sheet of more rows whose header names no columns",
        xlsx(
            {
                "Codes": [["Field", "Meaning"], *[[f"f{n}", f"it is {n}"] for n in range(9)]],
                "Data": [HEAD, *ROWS],
            }
        ),
        "data.xlsx",
        told=("data.xlsx, sheet 'Data': 2 rows", "sheet 'Data' is read; not read: 'Codes'"),
    ),
    Case(
        "sheets of one header",
        xlsx(
            {
                month: [["Export"], HEAD, *([f"{month} {n}", "ab"[n % 2]] for n in range(9)), *more]
                for month, more in (("Jan", []), ("Feb", [[None, "a"]]))
            }
        ),
        "data.xlsx",
        texts=[f"{month} {n}" for month in ("Jan", "Feb") for n in range(9)],
        told=("sheets 'Jan', 'Feb' have the same header", "data.xlsx, row 12 of sheet 'Feb'"),
        left_out={"the text is empty": 1},
    ),
    kept("a hidden sheet", hidden_first(), "data.xlsx", told=("not read: 'Lists' (hidden)",)),
    Case(
        "sheets of which no header names columns",
        xlsx({"A": [["x", "y"], [1, 2], [3, 4], [5, 6]], "B": [["z", "y"], [1, 2]]}),
        "data.xlsx",
        refused=("data.xlsx, sheet 'A' (not read: 'B'): ",),
    ),
    kept(
        "dates as cells",
        xlsx(
            {
                "S": [
                    [*HEAD, "date"],
                    [*ROWS[0], datetime(2025, 3, 5, 14, 30)],
                    [*ROWS[1], date(2025, 3, 6)],
                ]
            }
        ),
        "data.xlsx",
        times=["2025-03-05 14:30", "2025-03-06"],
    ),
    kept(
        "dates as cells and as text",
        xlsx(
            {
                "S": [
                    [*HEAD, "date"],
                    [*ROWS[0], datetime(2025, 3, 5, 14, 30)],
                    [*ROWS[1], "2025-03-06"],
                ]
            }
        ),
        "data.xlsx",
        times=["2025-03-05 14:30", "2025-03-06"],
    ),
    kept(
        "numbers, flags and errors beside",
        xlsx(
            {
                "S": [
                    [*HEAD, "n", "ok", "e"],
                    [*ROWS[0], 1.5, True, "#N/A"],
                    [*ROWS[1], 2.0, False, "#REF!"],
                ]
            }
        ),
        "data.xlsx",
    ),
    Case(
        "labels as numbers",
        xlsx({"S": [HEAD, [TWO[0], 1], [TWO[1], 2]]}),
        "data.xlsx",
        texts=TWO,
        labels=["1", "2"],
    ),
    Case(
        "an empty text",
        xlsx({"S": [HEAD, *ROWS, [None, "a"], *([f"message {n}", "a"] for n in range(9))]}),
        "data.xlsx",
        left_out={"the text is empty": 1},
        told=("data.xlsx, row 4",),
    ),
    kept(
        "columns and rows that are empty",
        xlsx({"S": [[None, *HEAD], [None, *ROWS[0]], [], [None, *ROWS[1]]]}),
        "data.xlsx",
    ),
    kept(
        "a time of day in a column of its own",
        xlsx(
            {
                "S": [
                    [*HEAD, "date", "time"],
                    [*ROWS[0], date(2025, 3, 5), "14:30"],
                    [*ROWS[1], date(2025, 3, 6), "09:05"],
                ]
            }
        ),
        "data.xlsx",
        times=["2025-03-05 14:30", "2025-03-06 09:05"],
    ),
    Case("an empty workbook", xlsx({"S": []}), "data.xlsx", refused=("data.xlsx", "no sheet")),
    Case("a header only", xlsx({"S": [HEAD]}), "data.xlsx", refused=("data.xlsx",)),
    Case("a header twice", xlsx({"S": [HEAD, HEAD]}), "data.xlsx", refused=("data.xlsx",)),
    Case("cut off", xlsx({"S": [HEAD, *ROWS]})[:-200], "data.xlsx", refused=("data.xlsx",)),
    Case(
        "damaged inside",
        zipped({"[Content_Types].xml": "<a", "xl/workbook.xml": "<b"}),
        "data.xlsx",
        refused=("data.xlsx", "cannot be read"),
    ),
    Case(
        "a Word document",
        zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": "<b/>"}),
        "data.docx",
        refused=("data.docx", "Word document", "XLSX"),
    ),
    Case(
        "an old binary that is none",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
        "data.xls",
        refused=("data.xls", "cannot be read"),
    ),
    kept("ODS", ods([HEAD, *ROWS]), "data.ods"),
    kept(
        "ODS with dates",
        ods([[*HEAD, "date"], [*ROWS[0], date(2025, 3, 5)], [*ROWS[1], date(2025, 3, 6)]]),
        "data.ods",
        times=["2025-03-05", "2025-03-06"],
    ),
    Case(
        "a table of HTML named .xls",
        "<table><tr><td>text</td></tr></table>",
        "data.xls",
        refused=("data.xls", "web page", "XLSX or CSV"),
    ),
    Case(
        "a page of HTML named .xls",
        '\ufeff\n<html xmlns:o="urn"><table></table></html>',
        "data.xls",
        refused=("data.xls", "web page"),
    ),
    Case(
        "XML named .xls",
        '<?xml version="1.0"?><Workbook/>',
        "data.xls",
        refused=("data.xls", "XML"),
    ),
)
def test_spreadsheets(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


def test_a_cell_in_the_last_corner_of_a_sheet(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(xlsx({"S": [HEAD, *ROWS]}))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    stray = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].replace(b"</sheetData>", stray)
    refused = ("data.xlsx", "a cell far from the others", "1,048,576", "delete")
    holds(Case("", zipped(parts), "data.xlsx", refused=refused), tmp_path)


def test_places_are_rows_of_the_sheet(tmp_path: Path) -> None:
    path = tmp_path / "data.xlsx"
    path.write_bytes(xlsx({"S": [[], [], HEAD, ROWS[0], [], ROWS[1]]}))
    assert list(read(path).places) == ["data.xlsx, row 4", "data.xlsx, row 6"]


def tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("data.csv")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def sqlite(folder: Path) -> bytes:
    path = folder / "made.db"
    connection = sqlite3.connect(path)
    connection.execute("create table t (text, label)")
    connection.commit()
    connection.close()
    return path.read_bytes()


PAGE = gzip.compress(CSV.encode())


@table(
    kept("gzip", PAGE, "data.csv.gz"),
    kept("gzip without a suffix", PAGE, "data"),
    kept("gzip of gzip", gzip.compress(PAGE), "data.csv.gz.gz"),
    kept("bzip2", bz2.compress(JSONL.encode()), "data.jsonl.bz2"),
    kept("xz", lzma.compress(JSONL.encode()), "data.jsonl.xz"),
    kept("zstd", zstandard.compress(JSONL.encode()), "data.jsonl.zst"),
    kept(
        "zip of a Mac",
        zipped({"data.csv": CSV, "__MACOSX/._data.csv": b"\0\5\x16\7", ".DS_Store": b"\0"}),
        "data.zip",
    ),
    kept(
        "zip with a README",
        zipped({"README.txt": "This is what it is.\n", "data.csv": CSV}),
        "data.zip",
        told=("README.txt",),
    ),
    kept("zip in a zip", zipped({"inner.zip": zipped({"data.csv": CSV})}), "data.zip"),
    Case("an empty zip", zipped({}), "data.zip", refused=("data.zip",)),
    Case(
        "zip without data",
        zipped({"photo.png": b"\x89PNG"}),
        "data.zip",
        refused=("data.zip", "no file in this zip"),
    ),
    Case("gzip cut off", PAGE[:-12], "data.csv.gz", refused=("data.csv.gz", "damaged")),
    Case(
        "gzip with another sum",
        PAGE[:-8] + b"\0" * 8,
        "data.csv.gz",
        refused=("data.csv.gz", "damaged"),
    ),
    Case(
        "gzip damaged inside",
        PAGE[:14] + b"\xff" * 20 + PAGE[34:],
        "data.csv.gz",
        refused=("data.csv.gz", "damaged"),
    ),
    Case(
        "bzip2 cut off",
        bz2.compress(JSONL.encode())[:-9],
        "data.bz2",
        refused=("data.bz2", "damaged"),
    ),
    Case(
        "xz cut off", lzma.compress(JSONL.encode())[:-9], "data.xz", refused=("data.xz", "damaged")
    ),
    Case(
        "zstd cut off",
        zstandard.compress(JSONL.encode())[:-9],
        "data.zst",
        refused=("data.zst", "damaged"),
    ),
    Case(
        "zip cut off", zipped({"data.csv": CSV})[:-30], "data.zip", refused=("data.zip", "damaged")
    ),
    Case(
        "zip damaged inside",
        zipped({"data.csv": CSV}).replace(b"first", b"fisrt"),
        "data.zip",
        refused=("data.zip", "damaged"),
    ),
    Case("tar", tar(CSV.encode()), "data.tar", refused=("data.tar", "tar archive", "unpack")),
    Case(
        "tar of gzip",
        gzip.compress(tar(CSV.encode())),
        "data.tar.gz",
        refused=("data.tar", "tar archive"),
    ),
    Case("PDF", b"%PDF-1.7\n%\xe2\xe3\n", "data.pdf", refused=("data.pdf", "PDF", "CSV or XLSX")),
    Case(
        "a pickle",
        pickle.dumps({"text": TWO}),
        "data.pkl",
        refused=("data.pkl", "pickle", "never read"),
    ),
    Case(
        "an old pickle",
        pickle.dumps({"text": TWO, "label": AB}, 0),
        "data.pkl",
        refused=("data.pkl",),
    ),
    Case(
        "a picture",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 9,
        "data.png",
        refused=("data.png", "neither text"),
    ),
    Case("ORC", b"ORC\x08\x03\x10\0" + bytes(50) + b"ORC", refused=("data.csv", "ORC", "Parquet")),
    Case("any bytes", bytes(range(256)) * 40, "data.bin", refused=("data.bin",)),
    Case("zeros", b"\0" * 5000, "data.csv", refused=("data.csv",)),
    Case(
        "an LFS pointer",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "data.csv",
        refused=("data.csv", "Git LFS"),
    ),
    Case(
        "Apple's Numbers",
        zipped({"Index/Document.iwa": "x", "Data/preview.txt": "text,label"}),
        "data.numbers",
        refused=("data.numbers", "Numbers", "export it as CSV"),
    ),
    Case(
        "YAML",
        lines("- text: late, again", "  label: a", "- text: no", "  label: b"),
        "data.yaml",
        refused=("data.yaml", "YAML", "save its rows as JSON or CSV"),
    ),
    Case(
        "Rasa's YAML",
        lines('version: "3.1"', "", "nlu:", "- intent: late", "  examples: |", "    - is it late"),
        "nlu.yml",
        refused=("nlu.yml", "YAML"),
    ),
    Case(
        "TOML",
        lines("# rows", "[[row]]", 'text = "late"', 'label = "a"'),
        "data.toml",
        refused=("data.toml", "TOML", "save its rows as JSON or CSV"),
    ),
    Case(
        "a comment above JSON",
        lines("// by hand", '[{"text": "one", "label": "a"}]'),
        "data.json",
        refused=("data.json", "comments", "delete"),
    ),
    Case(
        "a comment inside JSON",
        lines("[", "  // by hand", '  {"text": "one", "label": "a"}', "]"),
        "data.json",
        refused=("data.json", "delete the comments"),
    ),
    Case(
        "texts that begin with a hyphen",
        lines("- note: late, again;a", "- note: no;b", "- note: yes;a"),
        texts=["- note: late, again", "- note: no", "- note: yes"],
    ),
)
def test_archives_and_strangers(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


def test_sqlite_is_refused(tmp_path: Path) -> None:
    holds(Case("", sqlite(tmp_path), "data.db", refused=("data.db", "SQLite", "CSV")), tmp_path)


STATE = json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None})
INFO = json.dumps({"features": FEATURES, "builder_name": "csv"})
LABELLED = {"text": TWO, "label": AB}
WITH_CLASSES = pa.table({"text": TWO, "label": [0, 1]}).replace_schema_metadata(
    {"huggingface": json.dumps({"info": {"features": FEATURES}})}
)


@table(
    kept(
        "save_to_disk",
        {
            "data-00000-of-00001.arrow": stream(WITH_CLASSES),
            "dataset_info.json": INFO,
            "state.json": STATE,
        },
        "saved",
    ),
    kept(
        "save_to_disk of several parts",
        {
            "dataset_dict.json": '{"splits": ["train"]}',
            "train/data-00000-of-00001.arrow": stream(LABELLED),
            "train/dataset_info.json": INFO,
            "train/state.json": STATE,
        },
        "saved",
    ),
    kept(
        "as on the hub",
        {
            "README.md": "---\nlicense: mit\n---\n",
            ".gitattributes": "*.parquet",
            "data/train-00000-of-00001.parquet": parquet(LABELLED),
        },
        "repo",
        told=("not read: 1 other files, such as README.md",),
    ),
    Case(
        "as on the hub, two parts",
        {
            "data/test-00000-of-00001.parquet": parquet({"text": ["third"], "label": ["a"]}),
            "data/train-00000-of-00001.parquet": parquet(LABELLED),
        },
        "repo",
        texts=["third", *TWO],
        labels=["a", *AB],
    ),
    Case(
        "texts in folders",
        {
            "spam/1.txt": "win now",
            "spam/2.txt": "win again\n",
            "ham/1.txt": "see you at nine",
            "ham/2.txt": "schön".encode("cp1252"),
        },
        "corpus",
        texts=["see you at nine", "schön", "win now", "win again"],
        labels=["ham", "ham", "spam", "spam"],
    ),
    Case(
        "texts in folders of train and test, as of IMDB",
        {
            f"{part}/{label}/{n}.txt": f"{part} {label} {n}"
            for part in ("test", "train")
            for label in ("neg", "pos")
            for n in range(2)
        },
        "aclImdb",
        labels=["neg", "neg", "pos", "pos"] * 2,
    ),
    Case(
        "an empty text in folders",
        {
            **{f"{label}/{n}.txt": f"text {label} {n}" for label in ("a", "b") for n in range(9)},
            "a/empty.txt": " ",
        },
        "corpus",
        left_out={"the text is empty": 1},
    ),
    Case(
        "texts in folders in an encoding that is said",
        {f"{k}/{n}.txt": f"{k} schön {n}".encode("mac-roman") for k in "ab" for n in range(2)},
        "corpus",
        asked=Asked(encoding="mac-roman"),
        texts=["a schön 0", "a schön 1", "b schön 0", "b schön 1"],
    ),
    Case(
        "texts in folders in an encoding that is guessed",
        {f"{k}/{n}.txt": f"{k} schön {n}".encode("cp1252") for k in "ab" for n in range(2)},
        "corpus",
        texts=["a schön 0", "a schön 1", "b schön 0", "b schön 1"],
        told=("4 texts are not UTF-8 and read as cp1252", "--encoding says otherwise", "schön"),
    ),
    Case(
        "a text above the folders of texts has no label",
        {
            **{f"{label}/{n}.txt": f"text {label} {n}" for label in ("a", "b") for n in range(3)},
            "README.txt": "What this is.",
        },
        "corpus",
        labels=["a"] * 3 + ["b"] * 3,
        slices={},
        left_out={"it stands above the folders": 1},
        told=("the folder, file 1",),
    ),
    Case(
        "tables in .txt files in folders of train and test",
        {
            "train/data.txt": lines("text\tlabel", "one\ta", "two\tb"),
            "test/data.txt": lines("text\tlabel", "three\ta", "four\tb"),
        },
        "corpus",
        texts=["three", "four", "one", "two"],
        labels=AB * 2,
    ),
    Case(
        "several tables in .txt files in folders of train and test",
        {
            f"{part}/{n}.txt": lines("text\tlabel", f"{part} {n}\ta", f"so {part} {n}\tb")
            for part in ("dev", "train")
            for n in range(2)
        },
        "corpus",
        labels=AB * 4,
    ),
    Case(
        "one table in a .txt file in each of two folders",
        {
            "en/data.txt": lines("text\tlabel", "one\ta", "two\tb"),
            "de/data.txt": lines("text\tlabel", "drei\ta", "vier\tb"),
        },
        "corpus",
        labels=AB * 2,
    ),
    Case(
        "a slice that says the same in each file",
        {
            f"{language}.csv": lines(
                "text,label,language",
                *(f"{language} {n},{'ab'[n % 2]},{language}" for n in range(4)),
            )
            for language in ("de", "en")
        },
        "languages",
        slices={"language": ["de"] * 4 + ["en"] * 4},
        told=("column 'language': slice 'language' (2 values)",),
    ),
    Case(
        "a column that is few values in each file, and many in all",
        {
            f"{part}.csv": lines(
                "text,label,city", *(f"{part} {n},{'ab'[n % 2]},{part}{n % 7}" for n in range(40))
            )
            for part in "xy"
        },
        "cities",
        slices={},
        told=("14 values, more than 12",),
    ),
    Case(
        "slices of files where one lacks a column",
        {
            "1.csv": lines(
                "text,label,plan", *(f"one {n},{'ab'[n % 2]},p{n % 3}" for n in range(6))
            ),
            "2.csv": lines("text,label", *(f"two {n},{'ab'[n % 2]}" for n in range(2))),
        },
        "plans",
        slices={"plan": ["p0", "p1", "p2"] * 2 + ["", ""]},
    ),
    Case(
        "a file without labels beside a good one",
        {"test.csv": lines("text,label", "one,", "two,"), "train.csv": CSV},
        "split",
        texts=TWO,
        labels=AB,
        left_out={"no row of its file has a label": 2},
        told=("4 rows read, 2 kept", "test.csv, line 2"),
    ),
    Case(
        "a file whose labels are all -1 beside a good one with dates",
        {
            "test.csv": lines("text,label", "one,-1", "two,-1"),
            "train.csv": lines("text,label,time", "three,0,2025-03-05", "four,1,2025-03-06"),
        },
        "split",
        labels=["0", "1"],
        times=["2025-03-05", "2025-03-06"],
        left_out={"no row of its file has a label": 2},
    ),
    Case(
        "a file whose labels are all -1, with another column that is called like a label",
        {
            "test.csv": lines("text,label,rating", "one,-1,5", "two,-1,4"),
            "train.csv": lines("text,label,rating", "three,0,5", "four,1,4", "five,1,5"),
        },
        "split",
        labels=["0", "1", "1"],
        left_out={"no row of its file has a label": 2},
    ),
    Case(
        "a file whose labels are empty, with another column that is called like a label",
        {
            "test.csv": lines("text,label,rating", "one,,5", "two,,4"),
            "train.csv": lines("text,label,rating", "three,a,5", "four,b,4", "five,b,5"),
        },
        "split",
        labels=["a", "b", "b"],
        left_out={"no row of its file has a label": 2},
    ),
    Case(
        "no file has labels",
        {"1.csv": lines("text,label", "one,", "two,"), "2.csv": lines("text,label", "x,", "y,")},
        "split",
        refused=("1.csv", "no column looks like the label"),
    ),
    Case(
        "a file of each month",
        {"2025-01.csv": CSV, "2025-02.csv": lines("text,label", "third,a")},
        "months",
        texts=[*TWO, "third"],
    ),
    Case(
        "files with and without dates",
        {
            "1.csv": lines("text,label,time", "one,a,2025-03-05", "two,b,2025-03-06"),
            "2.csv": lines("text,label", "three,a", "four,b"),
        },
        "mixed",
        texts=["one", "two", "three", "four"],
        times=["", "", "", ""],
        told=("dates are not used",),
    ),
    kept(
        "a broken file beside a good one",
        {"a.csv": CSV, "b.parquet": b"PAR1 broken"},
        "mixed",
        told=("not read: b.parquet",),
    ),
    kept(
        "an empty file beside a good one",
        {"a.csv": CSV, "b.csv": ""},
        "mixed",
        told=("not read: b.csv",),
    ),
    Case(
        "a folder without data",
        {"README.md": "hello"},
        "empty",
        refused=("empty", "no file in this folder"),
    ),
    Case("an empty folder", {}, "empty", refused=("empty", "no file in this folder")),
    Case("nothing fits", {"a.csv": "one\n", "b.csv": "two\n"}, "none", refused=("a.csv",)),
    Case(
        "columns in another order in another file",
        {"a.csv": CSV, "b.csv": lines("label,text", "a,third one", "b,fourth one")},
        "mixed",
        texts=[*TWO, "third one", "fourth one"],
        labels=AB * 2,
    ),
)
def test_folders(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="there is no such file or folder"):
        read(tmp_path / "nothing.csv")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe would be waited for; a folder may have a link to itself."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadConfig, match="neither a file nor a folder"):
        read(tmp_path / "pipe")
    (tmp_path / "data.csv").write_text(CSV)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "lost.csv").symlink_to(tmp_path / "nowhere")
    assert read(tmp_path).texts == TWO


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_a_file_that_must_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(CSV)
    path.chmod(0)
    with pytest.raises(BadConfig, match="cannot be read"):
        read(path)
