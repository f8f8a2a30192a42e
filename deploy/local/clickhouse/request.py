"""What one HTTP request asks of ClickHouse. Pure.

The meaning of every parameter and header follows ClickHouse's "HTTP Interface" page.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deploy.local.clickhouse.coding import decoded
from deploy.local.clickhouse.form import EXTERNAL_PARTS, FORM, ExternalTable, external, multipart
from deploy.local.clickhouse.refusal import Refusal
from deploy.local.clickhouse.statement import Insert, format_of, insert_of, verb_of

DEFAULT_FORMAT = "TabSeparated"
SESSION_TIMEOUT_S = 60
MAX_SESSION_TIMEOUT_S = 3600

# What HTTP itself consumes; every other parameter is a setting of the engine.
TRANSPORT = frozenset(
    {"query", "query_id", "database", "default_format", "user", "password", "quota_key", "role"}
    | {"session_id", "session_timeout", "session_check", "close_session", "wait_end_of_query"}
    | {"buffer_size", "compress", "decompress", "stacktrace", "client_protocol_version"}
)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Which session, for how long it may idle (seconds), and whether it must exist already."""

    id: str
    timeout_s: int
    must_exist: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One statement (its inline data included) and all that qualifies it."""

    statement: bytes
    parameters: dict[str, str]
    settings: dict[str, str]
    database: str | None
    default_format: str
    session: SessionOptions | None
    query_id: str
    read_only: bool
    buffered: bool
    compressed: bool
    tables: tuple[ExternalTable, ...]

    @property
    def verb(self) -> str:
        """First keyword of the statement in capitals, '' if there is none."""
        return verb_of(self.statement)

    @property
    def format(self) -> str:
        """Format of the result: the statement's own FORMAT clause before the default."""
        return format_of(self.statement) or self.default_format

    @property
    def insert(self) -> Insert | None:
        """The statement as INSERT … FORMAT NAME followed by data, None if it is not one.

        The engine would read such data itself, but it takes an empty line for the end.
        """
        return insert_of(self.statement) if self.verb == "INSERT" else None


def read(
    method: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str], body: bytes
) -> Request:
    """The request that a URL, headers (lower-case names) and a raw body make.

    Raises:
        Refusal: the body's coding is unknown or broken, or a parameter has a bad value.
    """
    form = dict(query)
    data = decoded(body, headers.get("content-encoding", ""))
    files: dict[str, bytes] = {}
    if headers.get("content-type", "").startswith(FORM):
        fields, files = multipart(headers["content-type"], data)
        form |= fields
        data = b""
    if form.get("compress") == "1" or form.get("decompress") == "1":
        raise Refusal(
            "NOT_IMPLEMENTED",
            "compress=1 and decompress=1 are not served here: "
            "use Accept-Encoding and Content-Encoding (gzip, deflate, lz4, zstd).",
        )
    tables = tuple(external(name, form, content) for name, content in files.items())
    described = {f"{table.name}_{part}" for table in tables for part in EXTERNAL_PARTS}
    return Request(
        statement=joined(form.get("query", ""), b"" if method == "GET" else data),
        parameters={k[6:]: v for k, v in form.items() if k.startswith("param_")},
        settings={
            name: value
            for name, value in form.items()
            if name not in TRANSPORT and not name.startswith("param_") and name not in described
        },
        database=form.get("database") or headers.get("x-clickhouse-database"),
        default_format=form.get("default_format")
        or headers.get("x-clickhouse-format")
        or DEFAULT_FORMAT,
        session=session_options(form),
        query_id=form.get("query_id") or str(uuid.uuid4()),
        read_only=method in ("GET", "HEAD"),
        buffered=form.get("wait_end_of_query") == "1",
        compressed=form.get("enable_http_compression", "1") not in ("0", "false"),
        tables=tables,
    )


def joined(query: str, data: bytes) -> bytes:
    """The URL's query and the body are one text, so that a body may carry an insert's data."""
    if not query:
        return data
    return query.encode() + b"\n" + data if data else query.encode()


def session_options(form: Mapping[str, str]) -> SessionOptions | None:
    """The session asked for, if any."""
    if "session_id" not in form:
        return None
    text = form.get("session_timeout", str(SESSION_TIMEOUT_S))
    if not text.isdigit():
        raise Refusal("INVALID_SESSION_TIMEOUT", f"Invalid session timeout: '{text}'.")
    if int(text) > MAX_SESSION_TIMEOUT_S:
        raise Refusal(
            "INVALID_SESSION_TIMEOUT",
            f"Session timeout {text} is above max_session_timeout: {MAX_SESSION_TIMEOUT_S}.",
        )
    return SessionOptions(form["session_id"], int(text), form.get("session_check") == "1")


# ---------------------------------------------------------------- who asks


def credentials(query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """User and password by HTTP Basic, X-ClickHouse-User/-Key or the URL, in that order."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(token).decode().partition(":")
        except ValueError:
            raise Refusal("AUTHENTICATION_FAILED", "Broken Authorization header.") from None
        return user, password
    return (
        headers.get("x-clickhouse-user") or query.get("user", "default"),
        headers.get("x-clickhouse-key") or query.get("password", ""),
    )
