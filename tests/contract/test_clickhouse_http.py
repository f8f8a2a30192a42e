"""ClickHouse's HTTP interface on chDB, asked by clickhouse-connect as it is and by raw HTTP."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import clickhouse_connect
import httpx
import lz4.frame
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData
from engine_process import HOST, served

from deploy.local.clickhouse.engine import MERGE_NICENESS

NASTY = 'it\'s a \\ back`tick\n\ttab "quoted" {x:y} % ü 日本 \\N'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    number = free_port()
    with served(tmp_path_factory.mktemp("clickhouse"), number):
        yield number


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with clickhouse_connect.get_client(host=HOST, port=port) as client:
        yield client


@pytest.fixture
def raw(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30) as raw:
        yield raw


@pytest.fixture
def table(client: Client, request: pytest.FixtureRequest) -> str:
    name = f"t_{abs(hash(request.node.name))}"
    client.command(f"DROP TABLE IF EXISTS {name}")
    client.command(f"CREATE TABLE {name} (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    return name


# ---------------------------------------------------------------- answers


def test_ping_and_bare_root_say_ok(raw: httpx.Client) -> None:
    assert raw.get("/ping").text == "Ok.\n"
    assert raw.get("/").text == "Ok.\n"


def test_a_query_comes_by_url_or_by_body(raw: httpx.Client) -> None:
    assert raw.get("/", params={"query": "SELECT 1 + 1"}).text == "2\n"
    assert raw.post("/", content="SELECT 1 + 1").text == "2\n"


def test_format_clause_wins_over_default_format_and_header(raw: httpx.Client) -> None:
    answer = raw.post(
        "/", params={"default_format": "CSV"}, content="SELECT 'a' AS x FORMAT JSONEachRow"
    )
    assert answer.text == '{"x":"a"}\n'
    assert answer.headers["x-clickhouse-format"] == "JSONEachRow"
    assert raw.post("/", params={"default_format": "CSV"}, content="SELECT 'a'").text == '"a"\n'
    by_header = raw.post("/", headers={"X-ClickHouse-Format": "TSVRaw"}, content="SELECT 'a\\tb'")
    assert by_header.text == "a\tb\n"


def test_headers_name_query_zone_server_and_counts(raw: httpx.Client) -> None:
    answer = raw.post(
        "/",
        params={"query_id": "mine", "wait_end_of_query": "1"},
        content="SELECT sum(number) FROM numbers(1000)",
    )
    assert answer.text == "499500\n"
    assert answer.headers["x-clickhouse-query-id"] == "mine"
    assert answer.headers["x-clickhouse-timezone"] == "UTC"
    assert answer.headers["x-clickhouse-server-display-name"]
    assert '"read_rows": "1000"' in answer.headers["x-clickhouse-summary"]


def test_a_statement_without_result_names_no_format(client: Client, table: str) -> None:
    assert client.command(f"SELECT n FROM {table}") == ""
    summary = client.command(f"INSERT INTO {table} VALUES (1, 'a')")
    assert summary.written_rows == 1  # type: ignore[union-attr]


def test_a_large_result_is_streamed_in_blocks(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        sizes = [len(block) for block in blocks]
    assert sum(sizes) == 300_000
    assert len(sizes) > 1


def test_an_error_behind_the_first_block_reaches_the_client(client: Client) -> None:
    query = "SELECT throwIf(number = 150000, 'too far') FROM numbers(200000)"
    with (
        pytest.raises(Exception, match="too far"),
        client.query_row_block_stream(query) as blocks,
    ):
        list(blocks)
    assert client.command("SELECT 1") == 1


# ---------------------------------------------------------------- parameters and settings


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("String", NASTY),
        ("Int64", -(2**63)),
        ("Float64", 0.1),
        ("Bool", True),
        ("Nullable(String)", None),
        ("Array(String)", ["a", "it's", "tab\tnew\nline", NASTY]),
        ("DateTime64(3, 'UTC')", datetime(2024, 2, 29, 12, 0, 0, 125000, tzinfo=UTC)),
        ("Array(Nullable(Float64))", [1.5, None]),
    ],
)
def test_parameters_come_back_as_they_were_sent(client: Client, kind: str, value: object) -> None:
    row = client.query(f"SELECT {{x:{kind}}} AS x", parameters={"x": value}).first_row
    assert row[0] == (value.replace(tzinfo=None) if isinstance(value, datetime) else value)


def test_a_map_parameter_is_clickhouse_text(raw: httpx.Client) -> None:
    answer = raw.post(
        "/",
        params={"param_x": r"{'a':1,'it\'s':2}"},
        content="SELECT arrayJoin(mapKeys({x:Map(String, UInt8)})) FORMAT TSVRaw",
    )
    assert answer.text == "a\nit's\n"


def test_long_parameters_travel_as_a_form(client: Client, port: int) -> None:
    with clickhouse_connect.get_client(
        host=HOST, port=port, form_encode_query_params=True
    ) as by_form:
        text = NASTY * 5000
        result = by_form.query(
            "SELECT {x:String}, {y:Identifier} FROM numbers(2)",
            parameters={"x": text, "y": "number"},
        )
    assert result.result_rows == [(text, 0), (text, 1)]


def test_a_missing_parameter_is_error_456(client: Client) -> None:
    with pytest.raises(DatabaseError, match="456"):
        client.query("SELECT {absent:String}")


def test_url_settings_hold_for_their_request_only(client: Client) -> None:
    query = "SELECT getSetting('max_block_size')"
    before = client.command(query)
    assert client.command(query, settings={"max_block_size": 1234}) == 1234
    assert client.command(query) == before
    client.command("SET max_block_size = 777")
    assert client.command(query) == 777
    assert client.command(query, settings={"max_block_size": 1234}) == 1234
    assert client.command(query) == 777


def test_database_of_the_url_holds_for_its_request_only(client: Client, raw: httpx.Client) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS other")
    query = {"query": "SELECT currentDatabase()"}
    assert raw.get("/", params=query | {"database": "other"}).text == "other\n"
    assert raw.get("/", params=query).text == "default\n"


def test_an_unknown_setting_is_error_115(raw: httpx.Client) -> None:
    answer = raw.post("/", params={"no_such_setting": "1"}, content="SELECT 1")
    assert answer.status_code == 404
    assert answer.headers["x-clickhouse-exception-code"] == "115"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("query", "code", "status", "name"),
    [
        ("SELECT * FROM no_such_table", 60, 404, "UNKNOWN_TABLE"),
        ("SELEC 1", 62, 400, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 62, 400, "SYNTAX_ERROR"),
        ("SELECT no_such_column", 47, 404, "UNKNOWN_IDENTIFIER"),
        ("SELECT no_such_function(1)", 46, 404, "UNKNOWN_FUNCTION"),
        ("SELECT toUInt8('x')", 6, 400, "CANNOT_PARSE_TEXT"),
        ("USE no_such_database", 81, 404, "UNKNOWN_DATABASE"),
        ("SELECT 1 FORMAT NoSuchFormat", 73, 404, "UNKNOWN_FORMAT"),
        ("", 62, 400, "SYNTAX_ERROR"),
    ],
)
def test_errors_carry_clickhouse_code_name_and_status(
    raw: httpx.Client, query: str, code: int, status: int, name: str
) -> None:
    answer = raw.post("/", content=query)
    assert answer.status_code == status
    assert answer.headers["x-clickhouse-exception-code"] == str(code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version 26." in answer.text


def test_get_may_read_but_not_write(raw: httpx.Client, table: str) -> None:
    answer = raw.get("/", params={"query": f"INSERT INTO {table} VALUES (1, 'a')"})
    assert answer.headers["x-clickhouse-exception-code"] == "164"
    assert raw.get("/", params={"query": f"SELECT count() FROM {table}"}).text == "0\n"


def test_an_unknown_path_is_404(raw: httpx.Client) -> None:
    assert raw.get("/nowhere").status_code == 404


def test_a_password_is_asked_for_when_there_is_one(tmp_path: Path) -> None:
    number = free_port()
    with served(tmp_path, number, CLICKHOUSE_PASSWORD="secret"):
        url = f"http://{HOST}:{number}/?query=SELECT+1"
        refused = httpx.get(url)
        assert (refused.status_code, refused.headers["x-clickhouse-exception-code"]) == (403, "516")
        assert httpx.get(url, auth=("default", "wrong")).status_code == 403
        assert httpx.get(url, auth=("default", "secret")).text == "1\n"
        assert httpx.get(url, headers={"X-ClickHouse-Key": "secret"}).text == "1\n"
        with clickhouse_connect.get_client(host=HOST, port=number, password="secret") as client:
            assert client.command("SELECT 1") == 1


# ---------------------------------------------------------------- inserts


def test_native_rows_come_back(client: Client) -> None:
    client.command("DROP TABLE IF EXISTS wide")
    client.command(
        "CREATE TABLE wide (id UInt64, kind LowCardinality(String), note Nullable(String), "
        "tags Array(String), slices Map(String, String), features Map(String, Float64), "
        "score Float32, seen DateTime64(3, 'UTC'), ok Bool, big Int128) "
        "ENGINE = ReplacingMergeTree ORDER BY id"
    )
    seen = datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    rows = [
        [i, f"k{i % 3}", None if i % 2 else NASTY, ["\n\n", NASTY], {"it's": "\n\n;"}, {"a": i / 8},
         0.5, seen, bool(i % 2), 2**100 + i]
        for i in range(70_000)
    ]  # fmt: skip
    assert client.insert("wide", rows).written_rows == len(rows)
    back = client.query("SELECT * FROM wide ORDER BY id").result_rows
    expected = [[seen.replace(tzinfo=None) if x is seen else x for x in row] for row in rows]
    assert [list(row) for row in back] == expected


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_every_compression_of_the_client_works_both_ways(
    port: int, table: str, compress: str | bool
) -> None:
    rows = [[i, f"row {i}\n\n"] for i in range(5000)]
    with clickhouse_connect.get_client(host=HOST, port=port, compress=compress) as client:
        client.insert(table, rows, column_names=["n", "s"])
        back = client.query(f"SELECT n, s FROM {table} ORDER BY n").result_rows
    assert [list(row) for row in back] == rows


def test_arrow_goes_in_and_out(client: Client, table: str) -> None:
    sent = pa.table(
        {"n": pa.array(range(1000), pa.uint64()), "s": [f"\n\n{i}" for i in range(1000)]}
    )
    client.insert_arrow(table, sent)
    back = client.query_arrow(f"SELECT n, s FROM {table} ORDER BY n", use_strings=True)
    assert back.to_pydict() == sent.to_pydict()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("JSONEachRow", '{"n":1,"s":"a"}\n\n\n{"n":2,"s":"b\\n\\n"}\n'),
        ("CSV", '1,"a"\n2,"b\n\n"\n'),
        ("TabSeparated", "1\ta\n2\tb\\n\\n\n"),
        ("Values", "(1, 'a'), (2, concat('b', '\n\n'))"),
        ("JSONCompactEachRow", '[1, "a"]\n[2, "b\\n\\n"]'),
    ],
)
@pytest.mark.parametrize("where", ["url", "body"])
def test_text_formats_insert(
    client: Client, raw: httpx.Client, table: str, name: str, data: str, where: str
) -> None:
    statement = f"INSERT INTO {table} (n, s) FORMAT {name}"
    if where == "url":
        answer = raw.post("/", params={"query": statement}, content=data)
    else:
        answer = raw.post("/", content=f"{statement}\n{data}")
    assert answer.status_code == 200, answer.text
    rows = client.query(f"SELECT * FROM {table} ORDER BY n").result_rows
    assert rows == [(1, "a"), (2, "b\n\n")]


def test_a_bad_row_inserts_nothing_and_says_where(
    client: Client, raw: httpx.Client, table: str
) -> None:
    data = '{"n":1,"s":"a"}\n{"n":"x","s":"b"}\n{"n":3,"s":"c"}\n'
    answer = raw.post(
        "/", params={"query": f"INSERT INTO {table} FORMAT JSONEachRow"}, content=data
    )
    assert answer.status_code == 400
    assert "row 2" in answer.text
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_insert_parameters_settings_and_comments(
    client: Client, raw: httpx.Client, table: str
) -> None:
    answer = raw.post(
        "/",
        params={
            "query": "/* why */ INSERT INTO {t:Identifier} (n, s) -- rows\n"
            "SETTINGS input_format_allow_errors_num = 1 FORMAT CSV",
            "param_t": table,
        },
        content="1,a\nbad\n2,b\n",
    )
    assert answer.status_code == 200, answer.text
    assert client.command(f"SELECT sum(n) FROM {table}") == 3
    client.command(
        f"INSERT INTO {table} VALUES ({{n:UInt64}}, {{s:String}})", parameters={"n": 9, "s": NASTY}
    )
    assert (
        client.command(f"SELECT s = {{s:String}} FROM {table} WHERE n = 9", parameters={"s": NASTY})
        == 1
    )


def test_an_insert_may_select_from_its_data(client: Client, raw: httpx.Client, table: str) -> None:
    """A column may be called `input`, and the condition may ask another table."""
    client.command(f"INSERT INTO {table} VALUES (5, 'limit')")
    answer = raw.post(
        "/",
        content=f"INSERT INTO {table} (n, s) /* mine */ SELECT input AS n, s "
        f"FROM input('input UInt64, s String') WHERE n < (SELECT max(n) FROM {table}) "
        "FORMAT CSV\n1,a\n7,b\n2,FORMAT\n",
    )
    assert answer.status_code == 200, answer.text
    assert client.command(f"SELECT groupArray(s) FROM (SELECT * FROM {table} ORDER BY n)") == (
        "['a','FORMAT','limit']"
    )


def test_a_repeated_token_is_stored_once(client: Client, table: str) -> None:
    client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 100")
    for _ in range(2):
        client.insert(table, [[1, "a"]], settings={"insert_deduplication_token": "one"})
    client.insert(table, [[1, "a"]], settings={"insert_deduplication_token": "two"})
    assert client.command(f"SELECT count() FROM {table}") == 2


def test_external_tables_live_for_one_query(client: Client) -> None:
    data = ExternalData(
        file_name="wanted.csv", data=b"1,one\n2,two\n", fmt="CSV", structure=["n UInt8", "s String"]
    )
    for _ in range(2):
        rows = client.query("SELECT s FROM wanted ORDER BY n", external_data=data).result_rows
        assert rows == [("one",), ("two",)]


# ---------------------------------------------------------------- content codings


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstandard.compress),
    ],
)
def test_bodies_may_be_encoded_in_several_frames(
    client: Client, raw: httpx.Client, table: str, coding: str, encode: object
) -> None:
    whole = b"".join(b"%d,row\n" % i for i in range(20_000))
    frames = [whole] if coding == "deflate" else [whole[:50_000], whole[50_000:]]
    body = b"".join(encode(frame) for frame in frames)  # type: ignore[operator]
    answer = raw.post(
        "/",
        params={"query": f"INSERT INTO {table} FORMAT CSV"},
        headers={"Content-Encoding": coding},
        content=body,
    )
    assert answer.status_code == 200, answer.text
    assert client.command(f"SELECT count() FROM {table}") == 20_000


def test_results_are_encoded_only_as_far_as_the_client_accepts(raw: httpx.Client) -> None:
    query = {"query": "SELECT number FROM numbers(1000)"}
    plain = raw.get("/", params=query, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    zipped = raw.get("/", params=query, headers={"Accept-Encoding": "br, gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.text == plain.text
    switched_off = raw.get(
        "/", params=query | {"enable_http_compression": "0"}, headers={"Accept-Encoding": "gzip"}
    )
    assert "content-encoding" not in switched_off.headers


def test_broken_and_unknown_codings_are_refused(raw: httpx.Client) -> None:
    for coding, status in (("lz4", 400), ("zstd", 400), ("gzip", 400), ("snappy", 415)):
        answer = raw.post("/", headers={"Content-Encoding": coding}, content=b"\x00not that")
        assert answer.status_code == status
        assert coding in answer.text


# ---------------------------------------------------------------- sessions


def test_a_session_keeps_set_use_and_temporary_tables(raw: httpx.Client) -> None:
    mine, other = {"session_id": "a"}, {"session_id": "b"}
    raw.post("/", params=mine, content="CREATE TEMPORARY TABLE kept (x UInt8)")
    raw.post("/", params=mine, content="INSERT INTO kept VALUES (7)")
    raw.post("/", params=mine, content="SET max_threads = 1")
    raw.post("/", params=mine, content="USE system")
    assert raw.post("/", params=mine, content="SELECT x FROM kept").text == "7\n"
    question = "SELECT getSetting('max_threads') = 1, currentDatabase()"
    assert raw.post("/", params=mine, content=question).text == "true\tsystem\n".replace(
        "true", "1"
    )
    assert raw.post("/", params=other, content=question).text == "0\tdefault\n"
    assert raw.post("/", params=other, content="SELECT x FROM kept").status_code == 404
    assert raw.post("/", content="SELECT x FROM kept").status_code == 404


def test_session_check_and_timeout_have_clickhouse_errors(raw: httpx.Client) -> None:
    for params, code in (
        ({"session_id": "none", "session_check": "1"}, "372"),
        ({"session_id": "none", "session_timeout": "x"}, "374"),
        ({"session_id": "none", "session_timeout": "999999"}, "374"),
    ):
        answer = raw.post("/", params=params, content="SELECT 1")
        assert answer.headers["x-clickhouse-exception-code"] == code


def test_a_session_ends_when_it_idles(raw: httpx.Client) -> None:
    params = {"session_id": "short", "session_timeout": "0"}
    raw.post("/", params=params, content="CREATE TEMPORARY TABLE gone (x UInt8)")
    assert raw.post("/", params=params, content="SELECT * FROM gone").status_code == 404


def test_one_session_serves_one_request_at_a_time(raw: httpx.Client) -> None:
    def ask(_: int) -> httpx.Response:
        return raw.post(
            "/", params={"session_id": "busy"}, content="SELECT sleepEachRow(0.5) FROM numbers(2)"
        )

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(ask, range(2)), key=lambda answer: answer.status_code)
    assert answers[0].status_code == 200
    assert answers[1].headers["x-clickhouse-exception-code"] == "373"


# ---------------------------------------------------------------- concurrency and durability


def test_readers_and_writers_work_side_by_side(port: int, table: str) -> None:
    def write(worker: int) -> None:
        with clickhouse_connect.get_client(host=HOST, port=port) as client:
            for batch in range(5):
                first = worker * 10_000 + batch * 200
                client.insert(table, [[first + i, "x"] for i in range(200)])

    def look(_: int) -> int:
        with clickhouse_connect.get_client(host=HOST, port=port) as client:
            counts = [int(client.command(f"SELECT count() FROM {table}")) for _ in range(10)]
        assert counts == sorted(counts)
        return counts[-1]

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, worker) for worker in range(3)]
        readers = [pool.submit(look, worker) for worker in range(3)]
        for job in [*writers, *readers]:
            job.result()
    with clickhouse_connect.get_client(host=HOST, port=port) as client:
        assert client.command(f"SELECT count(), uniqExact(n) FROM {table}") == ["3000", "3000"]


def test_acknowledged_rows_outlive_sigkill_and_sigterm(tmp_path: Path) -> None:
    number = free_port()
    stored = 0
    for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        with served(tmp_path, number) as process:
            with clickhouse_connect.get_client(host=HOST, port=number) as client:
                client.command(
                    "CREATE TABLE IF NOT EXISTS kept (n UInt64) ENGINE = MergeTree ORDER BY n"
                )
                assert client.command("SELECT count() FROM kept") == stored
                for _ in range(5):
                    client.insert("kept", [[stored + i] for i in range(1000)])
                    stored += 1000
            process.send_signal(end)
            process.wait(30)
    with served(tmp_path, number):
        answer = httpx.get(f"http://{HOST}:{number}/?query=SELECT+count(),uniqExact(n)+FROM+kept")
        assert answer.text == f"{stored}\t{stored}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_merges_yield_to_queries(tmp_path: Path) -> None:
    with served(tmp_path / "db", free_port()) as process:
        threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
        niceness = {
            os.getpriority(os.PRIO_PROCESS, thread)
            for thread in threads
            if Path(f"/proc/{thread}/comm").read_text().startswith("Merge")
        }
    assert niceness == {MERGE_NICENESS}
