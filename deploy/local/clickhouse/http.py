"""ClickHouse's HTTP interface on the chDB engine, for any ClickHouse client."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from deploy.local.clickhouse.coding import MAX_BODY, Encoder, coding_for
from deploy.local.clickhouse.engine import Answer, Engine
from deploy.local.clickhouse.refusal import Refusal
from deploy.local.clickhouse.request import Request, credentials, read

DISPLAY_NAME = "driftgate"
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
# Blocks of these formats may be sent one after the other; the others have a head or a foot.
STREAMED = frozenset(["Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"])


def app(engine: Engine, password: str = "") -> Starlette:
    """The HTTP application. `password` is the default user's; empty: none is asked."""

    async def query(http: HttpRequest) -> Response:
        try:
            authenticate(http.query_params, http.headers, password)
            if http.method in ("GET", "HEAD") and "query" not in http.query_params:
                return PlainTextResponse("Ok.\n")
            body = await body_of(http)
            request = read(http.method, http.query_params.multi_items(), http.headers, body)
            accept = http.headers.get("accept-encoding", "") if request.compressed else ""
            return await run_in_threadpool(answered, engine, request, coding_for(accept))
        except Refusal as refusal:
            return refused(refusal, engine.version)

    async def alive(_: HttpRequest) -> Response:
        return PlainTextResponse("Ok.\n")

    return Starlette(
        routes=[
            Route("/ping", alive),
            Route("/replicas_status", alive),
            Route("/", query, methods=["GET", "POST"]),
        ]
    )


def authenticate(query: Mapping[str, str], headers: Mapping[str, str], password: str) -> None:
    """Raises Refusal unless the default user comes with the right password."""
    user, given = credentials(query, headers)
    if user != "default" or not secrets.compare_digest(given.encode(), password.encode()):
        raise Refusal(
            "AUTHENTICATION_FAILED",
            f"{user}: Authentication failed: password is incorrect, "
            "or there is no user with such name.",
        )


async def body_of(http: HttpRequest) -> bytes:
    """The raw body, refused once it passes `MAX_BODY`."""
    pieces, size = [], 0
    async for piece in http.stream():
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BODY:
            raise Refusal("QUERY_IS_TOO_LARGE", f"The body is larger than {MAX_BODY} bytes.")
    return b"".join(pieces)


def answered(engine: Engine, request: Request, coding: str | None) -> Response:
    """Run the request; raises Refusal as long as nothing was sent."""
    headers = headers_of(engine, request, coding)
    if request.format in STREAMED and not request.buffered and request.verb in ("SELECT", "WITH"):
        return streamed(engine, request, headers, Encoder(coding))
    with engine.connection(request.session) as connection:
        try:
            connection.prepare(request)
            answer = connection.answer(request)
        finally:
            connection.tidy(request)
    headers["X-ClickHouse-Summary"] = summary(answer)
    if not answer.has_result:
        del headers["X-ClickHouse-Format"]
    encoder = Encoder(coding)
    return Response(encoder.more(answer.body) + encoder.end(), headers=headers)


def streamed(
    engine: Engine, request: Request, headers: dict[str, str], encoder: Encoder
) -> Response:
    """A result sent while it is made. The connection is given back with the last block."""
    with ExitStack() as until_sent:
        connection = until_sent.enter_context(engine.connection(request.session))
        until_sent.callback(connection.tidy, request)
        connection.prepare(request)
        pieces = connection.pieces(request)
        until_sent.callback(pieces.close)  # type: ignore[attr-defined]
        first = next(pieces, b"")
        held = until_sent.pop_all()
    tag = secrets.token_hex(8)
    headers["X-ClickHouse-Exception-Tag"] = tag

    def blocks() -> Iterator[bytes]:
        yield encoder.more(first)
        try:
            for piece in pieces:
                yield encoder.more(piece)
        except Refusal as refusal:
            yield encoder.more(late_error(refusal.body(engine.version), tag))
        yield encoder.end()

    async def body() -> AsyncIterator[bytes]:
        with held:
            made = blocks()
            while (piece := await run_in_threadpool(next, made, None)) is not None:
                if piece:
                    yield piece

    return StreamingResponse(body(), headers=headers)


def late_error(message: str, tag: str) -> bytes:
    """ClickHouse's mark for an error after the head was sent (servers since 25.11)."""
    text = message.rstrip("\n")
    length = len(text.encode()) + 1
    return f"\r\n__exception__\r\n{tag}\r\n{text}\n{length} {tag}\r\n__exception__\r\n".encode()


def headers_of(engine: Engine, request: Request, coding: str | None) -> dict[str, str]:
    headers = {
        "Content-Type": CONTENT_TYPE.get(request.format, "text/plain; charset=UTF-8"),
        "X-ClickHouse-Query-Id": request.query_id,
        "X-ClickHouse-Format": request.format,
        "X-ClickHouse-Timezone": engine.timezone,
        "X-ClickHouse-Server-Display-Name": DISPLAY_NAME,
    }
    if coding:
        headers["Content-Encoding"] = coding
    return headers


def refused(refusal: Refusal, version: str) -> Response:
    return PlainTextResponse(
        refusal.body(version),
        refusal.status,
        headers={
            "X-ClickHouse-Exception-Code": str(refusal.code),
            "X-ClickHouse-Server-Display-Name": DISPLAY_NAME,
        },
    )


def summary(answer: Answer) -> str:
    """The X-ClickHouse-Summary header: counts as decimal strings, as ClickHouse writes them."""
    return json.dumps(
        {
            "read_rows": str(answer.read_rows),
            "read_bytes": str(answer.read_bytes),
            "written_rows": str(answer.written_rows),
            "written_bytes": str(answer.written_bytes),
            "total_rows_to_read": "0",
            "result_rows": str(answer.result_rows or answer.written_rows),
            "result_bytes": str(len(answer.body) or answer.written_bytes),
            "elapsed_ns": str(answer.elapsed_ns),
        }
    )
