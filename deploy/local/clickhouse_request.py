"""What one HTTP request asks of ClickHouse, and how ClickHouse words its refusals. Pure.

The meaning of every parameter and header follows ClickHouse's "HTTP Interface" page; the map from
error to status follows its `exceptionCodeToHTTPStatus`.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message

import lz4.frame
import zstandard

MAX_BODY = 256 * 2**20
DEFAULT_FORMAT = "TabSeparated"
SESSION_TIMEOUT_S = 60
MAX_SESSION_TIMEOUT_S = 3600

# What HTTP itself consumes; every other parameter is a setting of the engine.
TRANSPORT = frozenset(
    {"query", "query_id", "database", "default_format", "user", "password", "quota_key", "role"}
    | {"session_id", "session_timeout", "session_check", "close_session", "wait_end_of_query"}
    | {"buffer_size", "compress", "decompress", "stacktrace", "client_protocol_version"}
)
STATUS = {
    401: "REQUIRED_PASSWORD",
    403: "UNKNOWN_USER WRONG_PASSWORD AUTHENTICATION_FAILED SET_NON_GRANTED_ROLE ACCESS_DENIED",
    400: "BAD_ARGUMENTS CANNOT_COMPILE_REGEXP CANNOT_PARSE_TEXT CANNOT_PARSE_ESCAPE_SEQUENCE "
    "CANNOT_PARSE_QUOTED_STRING CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME CANNOT_PARSE_NUMBER "
    "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING CANNOT_PARSE_IPV4 CANNOT_PARSE_IPV6 CANNOT_PARSE_UUID "
    "CANNOT_PARSE_INPUT_ASSERTION_FAILED DUPLICATE_COLUMN ILLEGAL_COLUMN THERE_IS_NO_COLUMN "
    "UNKNOWN_ELEMENT_IN_AST UNKNOWN_TYPE_OF_AST_NODE TOO_DEEP_AST TOO_BIG_AST "
    "UNEXPECTED_AST_STRUCTURE SYNTAX_ERROR INCORRECT_DATA TYPE_MISMATCH "
    "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    404: "UNKNOWN_TABLE UNKNOWN_FUNCTION UNKNOWN_IDENTIFIER UNKNOWN_TYPE UNKNOWN_STORAGE "
    "UNKNOWN_DATABASE UNKNOWN_SETTING UNKNOWN_DIRECTION_OF_SORTING UNKNOWN_AGGREGATE_FUNCTION "
    "UNKNOWN_FORMAT UNKNOWN_DATABASE_ENGINE UNKNOWN_TYPE_OF_QUERY UNKNOWN_ROLE",
    408: "TIMEOUT_EXCEEDED",
    411: "HTTP_LENGTH_REQUIRED",
    413: "QUERY_IS_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    501: "NOT_IMPLEMENTED",
    503: "SOCKET_TIMEOUT CANNOT_OPEN_FILE CANNOT_SCHEDULE_TASK",
}
STATUS_OF = {name: status for status, names in STATUS.items() for name in names.split()}
CODE_OF = {
    "BAD_ARGUMENTS": 36,
    "NOT_IMPLEMENTED": 48,
    "SYNTAX_ERROR": 62,
    "READONLY": 164,
    "QUERY_IS_TOO_LARGE": 223,
    "SESSION_NOT_FOUND": 372,
    "SESSION_IS_LOCKED": 373,
    "INVALID_SESSION_TIMEOUT": 374,
    "INCORRECT_DATA": 117,
    "AUTHENTICATION_FAILED": 516,
    "UNSUPPORTED_MEDIA_TYPE": 758,
}
CONTENT_TYPE = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}

_ERROR = re.compile(r"Code: (\d+)\. DB::Exception: ")
_VERSION = re.compile(r" \(version [^)]*\)")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)\s*$")
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


class Refusal(Exception):
    """ClickHouse's answer "no". `code` and `name` are ClickHouse's own."""

    def __init__(self, name: str, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.code = CODE_OF[name] if code is None else code

    @property
    def status(self) -> int:
        return STATUS_OF.get(self.name, 500)

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """The engine's error text, taken apart."""
        text = str(error)
        at = _ERROR.search(text)
        if at is None:
            return cls("STD_EXCEPTION", f"{text}. (STD_EXCEPTION)", 1001)
        message = _VERSION.sub("", text[at.end() :]).strip()
        name = _NAME.search(message)
        return cls(name.group(1) if name else "UNKNOWN_EXCEPTION", message, int(at.group(1)))

    def body(self, version: str) -> str:
        """The line that ClickHouse sends as the body of a failed request."""
        named = self.message if self.name in self.message else f"{self.message} ({self.name})"
        return f"Code: {self.code}. DB::Exception: {named} (version {version} (official build))\n"


@dataclass(frozen=True, slots=True)
class SessionWish:
    """Which session, for how long it may idle (seconds), and whether it must exist already."""

    id: str
    timeout_s: int
    must_exist: bool


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """A table that lives for one query. `columns` is the list between a CREATE TABLE's brackets."""

    name: str
    columns: str
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Insert:
    """`INSERT INTO t (a, b)` with its data apart. Where the head selects from `input(…)`,
    `source` is where that word stands in it."""

    head: bytes
    format: str
    data: memoryview
    source: slice | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One statement (its inline data included) and all that qualifies it."""

    statement: bytes
    parameters: dict[str, str]
    settings: dict[str, str]
    database: str | None
    default_format: str
    session: SessionWish | None
    query_id: str
    read_only: bool
    buffered: bool
    compressed: bool
    tables: tuple[ExternalTable, ...]

    @property
    def verb(self) -> str:
        """First keyword of the statement in capitals, '' if there is none."""
        found = _VERB.match(self.statement)
        return found.group(1).decode().upper() if found else ""

    @property
    def format(self) -> str:
        """Format of the result: the statement's own FORMAT clause before the default."""
        found = _FORMAT.search(self.statement[-4096:])
        return found.group(1).decode() if found else self.default_format

    @property
    def insert(self) -> Insert | None:
        """The statement as INSERT … FORMAT NAME followed by data, None if it is not one.

        The engine would read such data itself, but it takes an empty line for the end.
        """
        return insert_of(self.statement) if self.verb == "INSERT" else None


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
    if headers.get("content-type", "").startswith("multipart/form-data"):
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
        session=session_wish(form),
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


def session_wish(form: Mapping[str, str]) -> SessionWish | None:
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
    return SessionWish(form["session_id"], int(text), form.get("session_check") == "1")


# ---------------------------------------------------------------- multipart bodies

EXTERNAL_PARTS = ("structure", "types", "format")


def multipart(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Text fields and files of a form (RFC 7578). A part with a file name is a file."""
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str):
        raise Refusal("BAD_ARGUMENTS", "multipart/form-data without a boundary.")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        message = Message()
        for line in head.decode().strip().splitlines():
            name, _, value = line.partition(":")
            message[name] = value.strip()
        name = str(message.get_param("name", "", "content-disposition"))
        if message.get_filename() is None:
            fields[name] = content.decode()
        else:
            files[name] = content
    return fields, files


def external(name: str, form: Mapping[str, str], data: bytes) -> ExternalTable:
    """A query's external table: NAME_structure, or NAME_types for columns called _1, _2, …"""
    columns = form.get(f"{name}_structure")
    if columns is None:
        types = form.get(f"{name}_types")
        if types is None:
            raise Refusal(
                "BAD_ARGUMENTS", f"Neither {name}_structure nor {name}_types tells its columns."
            )
        columns = ", ".join(f"_{i} {t}" for i, t in enumerate(types.split(","), start=1))
    return ExternalTable(name, columns, form.get(f"{name}_format", "TabSeparated"), data)


# ---------------------------------------------------------------- content codings


def decoded(body: bytes, coding: str) -> bytes:
    """A body without its Content-Encoding. Frames that follow each other are joined.

    Raises:
        Refusal: the coding is unknown, the bytes are broken, or more than `MAX_BODY` come out.
    """
    if not coding or coding == "identity":
        return body
    if coding not in DECODERS:
        raise Refusal(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Unknown Content-Encoding '{coding}': valid are {', '.join(DECODERS)}.",
        )
    try:
        plain = DECODERS[coding](io.BytesIO(body))
    except (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError) as error:
        raise Refusal("INCORRECT_DATA", f"Broken {coding} body: {error}.") from None
    if len(plain) > MAX_BODY:
        raise Refusal("QUERY_IS_TOO_LARGE", f"The body is larger than {MAX_BODY} bytes.")
    return plain


def _inflate(body: io.BytesIO) -> bytes:
    return zlib.decompressobj().decompress(body.read(), MAX_BODY + 1)


def _gunzip(body: io.BytesIO) -> bytes:
    with gzip.GzipFile(fileobj=body) as file:
        return file.read(MAX_BODY + 1)


def _unlz4(body: io.BytesIO) -> bytes:
    with lz4.frame.open(body) as file:
        return file.read(MAX_BODY + 1)


def _unzstd(body: io.BytesIO) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as file:
        return file.read(MAX_BODY + 1)


DECODERS: dict[str, Callable[[io.BytesIO], bytes]] = {
    "gzip": _gunzip,
    "deflate": _inflate,
    "lz4": _unlz4,
    "zstd": _unzstd,
}


class Encoder:
    """A result's Content-Encoding, piece by piece."""

    def __init__(self, coding: str | None) -> None:
        self.coding = coding
        self._begin = b""
        if coding == "lz4":
            frame = lz4.frame.LZ4FrameCompressor()
            self._begin = frame.begin()
            self._more, self._end = frame.compress, frame.flush
        elif coding == "zstd":
            stream = zstandard.ZstdCompressor(level=1).compressobj()
            self._more, self._end = stream.compress, stream.flush
        elif coding in ("gzip", "deflate"):
            deflate = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
            self._more, self._end = deflate.compress, deflate.flush
        else:
            self._more, self._end = lambda piece: piece, lambda: b""

    def more(self, piece: bytes) -> bytes:
        begin, self._begin = self._begin, b""
        return begin + self._more(piece)

    def end(self) -> bytes:
        begin, self._begin = self._begin, b""
        return begin + self._end()


def coding_for(accept: str) -> str | None:
    """The first coding of an Accept-Encoding that we can write, None for none."""
    for offer in accept.split(","):
        name = offer.partition(";")[0].strip().lower()
        if name in DECODERS:
            return name
    return None


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
