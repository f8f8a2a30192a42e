"""The router's HTTP door: OpenAI's chat API, and feedback for who speaks neither Kafka nor gRPC."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from driftgate.dead_letters import MALFORMED
from driftgate.errors import BadConfig, BadInput, DriftgateError
from driftgate.events import Feedback
from driftgate.generator.question import Answer
from driftgate.health import Log
from driftgate.limits import MAX_WORD, check_event, check_size
from driftgate.machine_clock import machine_ms
from driftgate.model_repo import Data
from driftgate.routing import NotReady, NotServed
from services.router import requests
from services.router.chat_reply import HEADERS, Chunks, Head, completion, event, model, models, who
from services.router.chat_request import (
    SYSTEM_HEADER,
    Chat,
    check_format,
    check_system,
    parsed,
)
from services.router.feedback_request import event_of
from services.router.front import Front
from services.router.http_access import ADDRESS, Access, Address
from services.router.http_refusals import (
    OF_CHAT,
    OF_FEEDBACK,
    Refusal,
    Refused,
    not_found,
    refusal_of,
)
from services.router.record import Record
from services.router.sampling_options import SamplingOptions
from services.router.snapshot import Served
from services.router.writing import Begun, Finished, Piece

T = TypeVar("T")
Handle = Callable[[Request, str], Awaitable[Response]]
Pieces = AsyncGenerator[Piece, None]

MAX_BODY = 1_000_000
"""Bytes: a text of the longest kind takes a tenth of it."""

REQUEST_ID = "x-request-id"
# By convention the caller closed the connection. Nobody reads it.
LEFT = 499


@dataclass(frozen=True)
class Door:
    """
    Attributes:
        system: what becomes of a system message that is not the one in force.
    """

    front: Front
    record: Record
    access: Access
    log: Log
    system: Literal["refuse", "ignore"] = "refuse"

    def app(self) -> Starlette:
        routes = [
            ("POST", "/v1/chat/completions", self.told(self.chat, OF_CHAT)),
            ("POST", "/v1/feedback", self.told(self.feedback, OF_FEEDBACK)),
            ("GET", "/v1/models", self.told(self.models)),
            ("GET", "/v1/models/{model:path}", self.told(self.model)),
        ]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=self.access.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=HEADERS,
        )
        return Starlette(
            routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in routes],
            middleware=[cors, Middleware(Guard, self.access)],
            exception_handlers={HTTPException: no_such_path},
        )

    def told(
        self, handle: Handle, names: Mapping[str, str] = MappingProxyType({})
    ) -> Callable[[Request], Awaitable[Response]]:
        """A handler whose errors the caller is told, in OpenAI's shape. names: see `refusal_of`."""

        async def endpoint(request: Request) -> Response:
            request_id = request.headers.get(REQUEST_ID) or uuid4().hex
            try:
                response = await handle(request, request_id)
            except ClientDisconnect:
                return Response(status_code=LEFT)
            except Exception as error:  # noqa: BLE001 - whatever it was, its caller must hear it
                response = refused(self.refusal(error, names))
            response.headers[REQUEST_ID] = request_id[:MAX_WORD]
            return response

        return endpoint

    def refusal(self, error: Exception, names: Mapping[str, str]) -> Refusal:
        """Logs what nobody foresaw."""
        if not isinstance(error, DriftgateError | Refused):
            self.log.error("request failed", error=repr(error))
        return refusal_of(error, names)

    # ------------------------------------------------------------ what is asked

    async def models(self, _: Request, __: str) -> Response:
        return JSONResponse(models(one.routing for one in self.front.snapshot().values()))

    async def model(self, request: Request, _: str) -> Response:
        return JSONResponse(model(self.served(request.path_params["model"]).routing))

    async def chat(self, request: Request, request_id: str) -> Response:
        """The answer, once its log cannot be lost; or piece by piece. A caller who goes away ends
        the writing, and what was written by then is logged."""
        chat = parsed(await body_of(request))
        served = self.served(chat.model)
        ignored = self.ignores_system(request, chat, served)
        check_format(chat.response_format, served.repo.task)
        asked = self.front.request(chat.model, chat.text, request_id, chat.subject, chat.metadata)
        pieces = self.pieces(asked, chat.options)
        begun = await while_there(request, first(pieces))
        headers = who(begun.choice, begun.prompt) | ignored
        head = Head(request_id, asked.time // 1000, chat.model, begun.choice.live.digest)
        if chat.stream:
            chunks = Chunks(head, chat.stream_options.include_usage)
            return Streamed(pieces, self.events(pieces, chunks), headers)
        async with aclosing(pieces):
            done = await while_there(request, last(pieces))
        return JSONResponse(completion(head, done.answer), headers=headers)

    async def feedback(self, request: Request, _: str) -> Response:
        """Takes a feedback once it cannot be lost. As for feedback on Kafka, whether its model and
        its request exist is seen when it is joined."""
        now = self.front.clock.now()
        told = event_of(await body_of(request), now or machine_ms())
        served = self.front.versions.snapshot.get(told["model"])
        codec = self.record.answer_log.codec
        version = codec.schemas.newest[codec.topics[Feedback.TOPIC].subject]
        check_event(Feedback.TOPIC, version, told, served.repo.data if served else Data(), now)
        record = codec.record(Feedback.of(told))
        check_size(*record[1:])
        await self.record.keep_feedback(record)
        return JSONResponse({"feedback_id": told["feedback_id"]}, 202)

    # ------------------------------------------------------------ how it is answered

    def served(self, name: str) -> Served:
        """
        Raises:
            NotReady
            Refused: no such model is served.
        """
        try:
            return self.front.served(name)
        except NotServed as error:
            raise not_found(str(error), "model_not_found", "model") from None

    def ignores_system(self, request: Request, chat: Chat, served: Served) -> dict[str, str]:
        """The header that says that the app's system message is left out, where it is.

        Raises:
            BadInput: it is another than the one in force.
        """
        wish = request.headers.get(SYSTEM_HEADER, self.system)
        if wish not in ("refuse", "ignore"):
            raise BadInput(MALFORMED, SYSTEM_HEADER, wish, "ignore or refuse")
        try:
            check_system(chat.system, served.systems)
        except BadInput:
            if wish == "refuse":
                raise
            return {SYSTEM_HEADER: "ignored"}
        return {}

    def pieces(self, asked: requests.Request, options: SamplingOptions) -> Pieces:
        if self.front.writes(asked.model):
            return self.front.write(asked, options)
        return self.chosen(asked)

    async def chosen(self, asked: requests.Request) -> Pieces:
        """The label of a model that chooses, as if it were written."""
        reply = await self.front.answer(asked)
        yield Begun(reply.choice, "")
        yield reply.said.output
        answer = Answer(reply.said.output, "stop", reply.said.tokens, 0, None)
        yield Finished(answer, reply.choice, "")

    async def events(self, pieces: Pieces, chunks: Chunks) -> AsyncGenerator[str, None]:
        """What is streamed. The status is sent by then: an error is an event too."""
        yield chunks.first()
        try:
            async for piece in pieces:
                if isinstance(piece, Finished):
                    yield chunks.last(uncut(piece).answer)
                elif isinstance(piece, str):
                    yield chunks.added(piece)
        except Exception as error:  # noqa: BLE001 - whatever it was, its caller must hear it
            yield event(self.refusal(error, OF_CHAT).body)


async def first(pieces: Pieces) -> Begun:
    """Who writes. Raises: see `Front.write`."""
    begun = await anext(pieces)
    assert isinstance(begun, Begun)
    return begun


async def last(pieces: Pieces) -> Finished:
    """Raises: see `Front.write`; NotReady where the router ended it."""
    async for piece in pieces:
        if isinstance(piece, Finished):
            return uncut(piece)
    raise AssertionError("the last piece says what became of it")


def uncut(done: Finished) -> Finished:
    """Raises: NotReady where the router ended it, which OpenAI's API has no word for."""
    if done.answer.finish_reason == "cancelled":
        raise NotReady("this router is ending: ask again, of another one or later")
    return done


# ---------------------------------------------------------------- HTTP


async def body_of(request: Request) -> Mapping[str, Any]:
    """
    Raises:
        Refused: it is too large, or none of JSON.
        ClientDisconnect
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(Refusal(415, "content-type: expected application/json", "unsupported_type"))
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > MAX_BODY:
            message = f"body: expected at most {MAX_BODY:,} bytes"
            raise Refused(Refusal(413, message, "too_large", headers={"connection": "close"}))
    try:
        body = json.loads(found)
        json.dumps(body, ensure_ascii=False).encode()  # halves of surrogate pairs cannot be logged
    except (ValueError, RecursionError) as error:
        text = found.decode(errors="replace")
        raise BadInput(MALFORMED, "body", text, f"JSON ({error})") from None
    if not isinstance(body, dict):
        raise BadInput(MALFORMED, "body", body, 'an object, such as {"model": …}')
    return body


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What comes of work, if its caller stays as long.

    Raises:
        ClientDisconnect: the caller has left, and the work is cancelled.
        Exception: of the work.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def left(request: Request) -> None:
    """Until the caller goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Streamed(StreamingResponse):
    """Server-sent events of pieces, which are closed however it ends."""

    media_type = "text/event-stream"

    def __init__(
        self, pieces: Pieces, events: AsyncGenerator[str, None], headers: Mapping[str, str]
    ) -> None:
        # Proxies, such as nginx, collect a reply before they pass it on, unless told otherwise.
        once = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(events, headers={**headers, **once})
        self._pieces, self._events = pieces, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces), aclosing(self._events):
            await super().__call__(scope, receive, send)


@dataclass(frozen=True)
class Guard:
    """Lets through who may use the door."""

    app: ASGIApp
    access: Access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.access.refusal(Headers(scope=scope))
        await (self.app if refusal is None else refused(refusal))(scope, receive, send)


def refused(refusal: Refusal) -> Response:
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


async def no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    headers = dict(error.headers or {})
    return refused(Refusal(error.status_code, message, "not_found", headers=headers))


class Server(uvicorn.Server):
    """Leaves the signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Listening:
    """A server that answers."""

    port: int
    server: Server
    running: asyncio.Task[None]

    async def stop(self) -> None:
        """Returns once all that was asked is answered, or cut off after the grace."""
        self.server.should_exit = True
        await self.running


def listen(app: ASGIApp, address: Address, grace: int) -> Listening:
    """Answers from now on, on the running loop. grace: for what is under way at the end, s.

    Raises:
        BadConfig: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server(tuple(address), family=family, backlog=1024)
    except OSError as error:
        raise BadConfig(
            f"{ADDRESS}: {address.host}:{address.port} cannot be listened on ({error}): choose "
            "another, or nothing for no HTTP"
        ) from error
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=grace,
    )
    server = Server(config)
    running = asyncio.create_task(server.serve([listener]))
    return Listening(int(listener.getsockname()[1]), server, running)
