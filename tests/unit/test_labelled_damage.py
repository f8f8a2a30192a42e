"""Whatever happens to a file on its way, it is read or refused: no other error, and no hang."""

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
import test_labelled_dates
import test_labelled_delimited
import test_labelled_exports
import test_labelled_kinds
import test_labelled_labels
from labelled_files import Case, as_bytes, lines

from driftgate.errors import BadConfig
from driftgate.labelled.reading import Labelled, read

MODULES = (
    test_labelled_dates,
    test_labelled_delimited,
    test_labelled_exports,
    test_labelled_kinds,
    test_labelled_labels,
)
STRAY = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b"\n", b"\r", b",", b";", b"\t"),
    *(b"{", b"}", b"[", b"]", b"[]", b"{}", b"null", b"NaN", b"1e999", b"9" * 30, b"__label__"),
)
SECONDS = 20


def cases() -> list[Case]:
    """Every file of the other tests."""
    found = []
    for module in MODULES:
        for thing in vars(module).values():
            for mark in getattr(thing, "pytestmark", []):
                if mark.args[0] == "case":
                    found += [case for case in mark.args[1] if not isinstance(case.data, Mapping)]
    return found


def damaged(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Cut off, changed in a byte, with something stray, with a hole, or with a piece of another."""
    at = chance.randrange(len(data) + 1)
    to = chance.randrange(at, len(data) + 1)
    piece = chance.randrange(len(other) + 1)
    ways = (
        data[:at],
        data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
        data[:at] + chance.choice(STRAY) + data[at:],
        data[:at] + data[to:],
        data[:at] + data[max(0, at - 50) : at] + data[at:],
        data[:at] + other[piece : piece + 40] + data[at:],
    )
    return chance.choice(ways)


def can_be_written(found: Labelled) -> None:
    rows = [asdict(row) for row in found.rows()]
    json.dumps([rows, list(found.findings.lines())], ensure_ascii=False).encode()
    json.dumps([found.findings.card(), list(found.places)], ensure_ascii=False).encode()


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_read_or_refused(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    every = cases()
    for case in chance.sample(every, 40):
        data = as_bytes(case.data)
        for _ in range(chance.choice((1, 1, 3))):
            data = damaged(data, as_bytes(chance.choice(every).data), chance)
        path = tmp_path / case.file
        path.write_bytes(data)
        begin = time.monotonic()
        try:
            can_be_written(read(path, case.asked))
        except BadConfig as error:
            str(error).encode()
        except Exception as error:
            raise AssertionError(f"{case.name}: {data!r}") from error
        assert time.monotonic() - begin < SECONDS, f"{case.name}: {data!r}"
        path.unlink()


def test_a_header_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    good = lines(*(f"schöne Grüße {n},{'ab'[n % 2]},x{n % 3}" for n in range(30))).encode()
    path.write_bytes(b"text,label,gr\xf6\xdfe\n" + good)
    with pytest.raises(BadConfig, match="names of columns: its bytes are no text"):
        read(path)


def test_a_slice_or_person_that_is_no_text(tmp_path: Path) -> None:
    rows = [f"schöne Grüße {n},{'ab'[n % 2]},x{n % 3},p{n % 5}" for n in range(30)]
    path = tmp_path / "data.csv"
    bad = b"fine,a,gr\xf6\xdfe,p1\nfine too,a,x1,gr\xf6\xdfe\n"
    path.write_bytes(lines("text,label,size,customer", *rows).encode() + bad)
    found = read(path)
    can_be_written(found)
    assert found.findings.left_out["its bytes are no text in the file's encoding"].places == [
        "data.csv, line 32",
        "data.csv, line 33",
    ]


def test_an_arrow_file_with_offsets_that_lead_backwards(tmp_path: Path) -> None:
    offsets = pa.py_buffer(struct.pack("<3i", 0, 5, 2))
    texts = pa.Array.from_buffers(pa.utf8(), 2, [None, offsets, pa.py_buffer(b"seven letters")])
    found = pa.table({"text": texts, "label": ["a", "b"]})
    path = tmp_path / "data.arrow"
    with pa.ipc.new_file(path, found.schema) as writer:
        writer.write_table(found)
    with pytest.raises(BadConfig, match="the Arrow file is damaged"):
        read(path)
