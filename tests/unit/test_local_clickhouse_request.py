"""What the ClickHouse endpoint makes of a request, apart from engine and network."""

from __future__ import annotations

import os

import lz4.frame
import pytest

from deploy.local.clickhouse.coding import Encoder, coding_for, decoded
from deploy.local.clickhouse.form import multipart
from deploy.local.clickhouse.refusal import Refusal
from deploy.local.clickhouse.request import credentials, joined, read
from deploy.local.clickhouse.statement import insert_of


def test_url_query_and_body_are_one_statement() -> None:
    assert (
        joined("INSERT INTO t FORMAT Native", b"\n\x00") == b"INSERT INTO t FORMAT Native\n\n\x00"
    )
    assert joined("", b"SELECT 1") == b"SELECT 1"
    assert joined("SELECT 1", b"") == b"SELECT 1"


def test_only_what_http_does_not_consume_is_a_setting() -> None:
    query = {"query": "SELECT 1", "max_threads": "2", "param_a": "x", "session_id": "s"}
    request = read("POST", query.items(), {}, b"")
    assert request.settings == {"max_threads": "2"}
    assert request.parameters == {"a": "x"}
    assert request.session is not None
    assert not request.read_only


@pytest.mark.parametrize(
    ("statement", "head", "name", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\n\n\x01", b"INSERT INTO t ", "Native", b"\n\n\x01"),
        (b"insert into t (a, b) format CSV 1,2", b"insert into t (a, b) ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV\r\n1", b"INSERT INTO t ", "CSV", b"1"),
        (
            b"/* FORMAT x */ INSERT INTO `format` (`values`) SETTINGS a = 'FORMAT' FORMAT CSV\n1",
            b"/* FORMAT x */ INSERT INTO `format` (`values`) SETTINGS a = 'FORMAT' ",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO t -- FORMAT y\nFORMAT TSV\n1", b"INSERT INTO t -- FORMAT y\n", "TSV", b"1"),
    ],
)
def test_an_insert_is_cut_behind_its_format(
    statement: bytes, head: bytes, name: str, data: bytes
) -> None:
    insert = insert_of(statement)
    assert insert is not None
    assert (insert.head, insert.format, insert.data.tobytes()) == (head, name, data)


@pytest.mark.parametrize(
    "statement",
    [
        b"INSERT INTO t VALUES ('FORMAT CSV')",
        b"INSERT INTO t SELECT 1 FORMAT Null",
        b"INSERT INTO t (a) WITH 1 AS x SELECT x",
        b"INSERT INTO t FROM INFILE 'a.csv' FORMAT CSV",
    ],
)
def test_other_inserts_are_left_to_the_engine(statement: bytes) -> None:
    assert insert_of(statement) is None


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1\nformat CSV;\n", "CSV"),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "JSON"),
        (b"SELECT format FROM t", "TabSeparated"),
    ],
)
def test_the_format_clause_is_found(statement: bytes, expected: str) -> None:
    assert read("POST", (), {}, statement).format == expected


@pytest.mark.parametrize(
    ("text", "code", "name", "status"),
    [
        ("Code: 60. DB::Exception: no t. (UNKNOWN_TABLE)", 60, "UNKNOWN_TABLE", 404),
        ("x: Code: 62. DB::Exception: e. (SYNTAX_ERROR) (version 26.9)", 62, "SYNTAX_ERROR", 400),
        (
            "Code: 241. DB::Exception: big. (MEMORY_LIMIT_EXCEEDED)",
            241,
            "MEMORY_LIMIT_EXCEEDED",
            500,
        ),
        ("something else", 1001, "STD_EXCEPTION", 500),
    ],
)
def test_an_engine_error_is_taken_apart(text: str, code: int, name: str, status: int) -> None:
    refusal = Refusal.of(RuntimeError(text))
    assert (refusal.code, refusal.name, refusal.status) == (code, name, status)
    body = refusal.body("26.9")
    assert body.startswith(f"Code: {code}. DB::Exception: ")
    assert body.count("version 26.9") == 1


@pytest.mark.parametrize("coding", ["gzip", "deflate", "lz4", "zstd"])
def test_what_is_encoded_in_pieces_is_decoded_whole(coding: str) -> None:
    pieces = [b"", os.urandom(70_000), b"x" * 300_000, b"\n"]
    encoder = Encoder(coding)
    body = b"".join(encoder.more(piece) for piece in pieces) + encoder.end()
    assert decoded(body, coding) == b"".join(pieces)


def test_an_empty_result_is_a_valid_frame() -> None:
    assert lz4.frame.decompress(Encoder("lz4").end()) == b""


def test_the_first_known_coding_is_taken() -> None:
    assert coding_for("br;q=1, zstd, gzip") == "zstd"
    assert coding_for("br, *") is None
    assert coding_for("") is None


def test_form_parts_are_kept_byte_by_byte() -> None:
    data = bytes(range(256)) + b"\r\n--\r\n\r\n"
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT \xc3\xbc\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="t"; filename="t.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--xyz--\r\n"
    )
    fields, files = multipart('multipart/form-data; boundary="xyz"', body)
    assert fields == {"query": "SELECT ü"}
    assert files == {"t": data}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"no form"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT \xff\r\n--x--\r\n',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\n2',
        ),
    ],
    ids=["no boundary", "no form", "no UTF-8", "cut off"],
)
def test_a_broken_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Refusal, match="multipart/form-data") as caught:
        multipart(content_type, body)
    assert caught.value.status == 400


def test_external_tables_need_columns() -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    request = read("POST", [("query", "SELECT _1 FROM t"), ("t_types", "UInt8")], headers, body)
    assert request.tables[0].columns == "_1 UInt8"
    assert request.settings == {}
    with pytest.raises(Refusal, match="t_structure"):
        read("POST", (), headers, body)


def test_credentials_come_by_basic_header_or_url() -> None:
    assert credentials({}, {}) == ("default", "")
    assert credentials({}, {"authorization": "Basic dTpwOnE="}) == ("u", "p:q")
    assert credentials({"user": "u", "password": "p"}, {}) == ("u", "p")
    assert credentials({"password": "p"}, {"x-clickhouse-key": "k"}) == ("default", "k")
