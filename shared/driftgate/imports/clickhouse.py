"""Rows of TensorZero's tables, read from ClickHouse's HTTP interface. Nothing is written there."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit, urlunsplit

import requests

from driftgate.errors import BadConfig, Retriable, StoreRefused
from driftgate.imports.records import Placed, record_of
from driftgate.imports.tensorzero import FEEDBACK, INFERENCES
from driftgate.labelled.encoding import BROKEN
from driftgate.labelled.findings import Findings
from driftgate.store import RETRIABLE_CODES

CONNECT_SECONDS, READ_SECONDS = 10, 300
UNKNOWN_TABLE = 60


def is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def read(url: str, where: str, findings: Findings) -> Iterator[Placed]:
    """Every row of the tables that are there, with its table and number.

    Args:
        url: http://USER:PASSWORD@HOST:8123/DATABASE.
        where: SQL that an inference has to meet; empty: none.

    Raises:
        BadConfig: no table of inferences is there.
        Retriable, StoreRefused
    """
    found = 0
    for table in (*INFERENCES, *FEEDBACK):
        condition = f" WHERE {where}" if where and table in INFERENCES else ""
        rows = selected(url, f"SELECT * FROM {table}{condition} FORMAT JSONEachRow")  # noqa: S608
        if rows is None:
            findings.notes.append(f"there is no table {table}")
            continue
        found += table in INFERENCES
        for number, row in enumerate(rows, 1):
            findings.rows += 1
            place, record = f"{table}, row {number}", record_of(row.decode("utf-8", BROKEN))
            if isinstance(record, str):
                findings.leave_out(record, place)
            else:
                yield place, record
    if not found:
        raise BadConfig(
            f"{without_password(url)}: expected TensorZero's tables {' and '.join(INFERENCES)}; "
            "name their database in the URL, http://HOST:8123/DATABASE"
        )


def selected(url: str, sql: str) -> Iterator[bytes] | None:
    """The lines of a query's answer; None where its table does not exist. The server answers once
    the query is done: what fails on the way has a status and is no broken line.

    Raises:
        Retriable, StoreRefused
    """
    parts = urlsplit(url)
    settings = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if database := parts.path.strip("/"):
        settings["database"] = database
    settings["wait_end_of_query"] = "1"
    try:
        answer = requests.post(
            urlunsplit((parts.scheme, parts.netloc, "/", "", "")),
            params=settings,
            data=sql.encode(),
            stream=True,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
        )
        if answer.ok:
            return lines(answer)
        code = int(answer.headers.get("X-ClickHouse-Exception-Code", 0))
        words = answer.text.strip()[:500]
    except requests.RequestException as error:  # its words hold the URL with the password
        raise Retriable(f"{without_password(url)} does not answer") from error
    if code == UNKNOWN_TABLE or "UNKNOWN_TABLE" in words:
        return None
    message = f"{without_password(url)}: {words}"
    raise (Retriable(message) if code in RETRIABLE_CODES else StoreRefused(code, message))


def lines(answer: requests.Response) -> Iterator[bytes]:
    """Raises: Retriable"""
    try:
        with answer:
            yield from (line for line in answer.iter_lines(1 << 20, delimiter=b"\n") if line)
    except requests.RequestException as error:
        raise Retriable("the connection broke while rows were read: try again") from error


def without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
