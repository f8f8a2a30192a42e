"""A Schema Registry for tests: the endpoints that Confluent publishes, with Avro's own check."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.schema import make_avsc_object
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass
class RegistryServer:
    """What it holds, and how it answers. `credentials`, USER:PASSWORD, are asked for if set;
    `broken`, an HTTP status, is all that it answers if set."""

    subjects: dict[str, list[int]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)  # the schema of id 101 + index
    asked: list[str] = field(default_factory=list)
    credentials: str = ""
    broken: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self, schema_id: int) -> str:
        return self.texts[schema_id - 101]

    def put(self, subject: str, text: str) -> int:
        """Registers without any check, as a registry of compatibility NONE does."""
        if text not in self.texts:
            self.texts.append(text)
        schema_id = self.texts.index(text) + 101
        ids = self.subjects.setdefault(subject, [])
        if schema_id not in ids:
            ids.append(schema_id)
        return schema_id

    # ------------------------------------------------------------ endpoints

    def versions(self, request: Request) -> Response:
        subject = request.path_params["subject"]
        if subject not in self.subjects:
            return refusal(404, 40401, f"Subject '{subject}' not found.")
        return answer(list(range(1, len(self.subjects[subject]) + 1)))

    def version(self, request: Request) -> Response:
        subject, number = request.path_params["subject"], request.path_params["version"]
        if subject not in self.subjects:
            return refusal(404, 40401, f"Subject '{subject}' not found.")
        if not 1 <= number <= len(self.subjects[subject]):
            return refusal(404, 40402, f"Version {number} not found.")
        schema_id = self.subjects[subject][number - 1]
        told = {"subject": subject, "version": number, "id": schema_id}
        return answer({**told, "schema": self.text(schema_id)})

    def by_id(self, request: Request) -> Response:
        schema_id = request.path_params["id"]
        if not 101 <= schema_id < 101 + len(self.texts):
            return refusal(404, 40403, "Schema not found")
        if not request.url.path.endswith("/versions"):
            return answer({"schema": self.text(schema_id)})
        return answer(
            [
                {"subject": subject, "version": ids.index(schema_id) + 1}
                for subject, ids in self.subjects.items()
                if schema_id in ids
            ]
        )

    async def register(self, request: Request) -> Response:
        subject, text = request.path_params["subject"], (await request.json())["schema"]
        reasons = self.against(text, self.subjects.get(subject, []))
        if reasons is None:
            return refusal(422, 42201, "Invalid Avro schema")
        if reasons and self.known(text) not in self.subjects.get(subject, []):
            return refusal(409, 409, f"Schema being registered is incompatible: {reasons}")
        return answer({"id": self.put(subject, text)})

    async def compatibility(self, request: Request) -> Response:
        subject, text = request.path_params["subject"], (await request.json())["schema"]
        if subject not in self.subjects:
            return refusal(404, 40401, f"Subject '{subject}' not found.")
        reasons = self.against(text, self.subjects[subject][-1:])
        if reasons is None:
            return refusal(422, 42201, "Invalid Avro schema")
        return answer({"is_compatible": not reasons, "messages": reasons})

    def known(self, text: str) -> int:
        return self.texts.index(text) + 101 if text in self.texts else 0

    def against(self, text: str, ids: list[int]) -> list[str] | None:
        """Why a schema cannot read these; None when it is no schema."""
        reasons: list[str] = []
        try:
            reader = make_avsc_object(json.loads(text))
        except (AvroException, ValueError):
            return None
        for schema_id in ids:
            writer = make_avsc_object(json.loads(self.text(schema_id)))
            found = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
            if found.compatibility is not SchemaCompatibilityType.compatible:
                reasons += sorted(found.messages)
        return reasons

    def app(self) -> Starlette:
        one = "/subjects/{subject}/versions"
        routes = [
            Route("/schemas/ids/{id:int}", self.by_id),
            Route("/schemas/ids/{id:int}/versions", self.by_id),
            Route(one, self.versions),
            Route(one, self.register, methods=["POST"]),
            Route(one + "/{version:int}", self.version),
            Route("/compatibility" + one + "/latest", self.compatibility, methods=["POST"]),
        ]

        async def guard(request: Request, proceed: Any) -> Response:
            self.asked.append(f"{request.method} {request.url.path}")
            wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
            if self.broken:
                return refusal(self.broken, self.broken * 100 + 1, "cannot at present")
            if self.credentials and request.headers.get("authorization") != wanted:
                return refusal(401, 401, "Unauthorized")
            if request.method == "POST" and request.headers["content-type"] != CONTENT_TYPE:
                return refusal(415, 415, "Unsupported media type")
            return await proceed(request)

        return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)])


def answer(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type=CONTENT_TYPE)


def refusal(status: int, code: int, message: str) -> Response:
    return answer({"error_code": code, "message": message}, status)


@contextmanager
def serving(registry: RegistryServer) -> Iterator[RegistryServer]:
    """Answers on a free port until the end of the block."""
    server = uvicorn.Server(uvicorn.Config(registry.app(), log_level="error", access_log=False))
    # Only a socket that says it is TCP answers without Nagle's 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # connections queue from here on
    registry.port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
