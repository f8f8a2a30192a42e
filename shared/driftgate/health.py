"""`/healthz`, `/readyz` and `/metrics` of a service, pages of its own, and its structured log."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from driftgate.codec import canonical

Log = structlog.stdlib.BoundLogger

SAMPLE_SECONDS = 5.0
# A lag source that hangs says nothing; the bus clients' own time limits are shorter than this.
LAG_KEEPS_SECONDS = 60.0
ABSENT = object()


@dataclass
class Health:
    """Live while it makes progress, ready once it can serve.

    A service with a lag source (`watch`) is live while something it says of itself changes (a
    position, how far a training got) or nothing waits for it. Being called is no progress: a
    consumer that polls and handles nothing while records wait is not live after `patience`.

    Without a lag source, and while the lag is unknown, every call of `heartbeat` counts.

    Attributes:
        patience: seconds without progress after which the service is not live.
        pages: what else it shows, as JSON, by path without the slash.
        clock: seconds, monotonic.
    """

    service: str
    patience: float = 60.0
    ready: bool = False
    detail: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _progress: float = field(init=False)
    _source: Callable[[], int] | None = field(default=None, init=False)
    _lag: int | None = field(default=None, init=False)
    _sampled: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._progress = self.clock()

    def heartbeat(self, **detail: Any) -> None:
        """What the service does now: the next offset of a partition, how far a step of work got.

        Progress if a detail changed, or if the lag is unknown.
        """
        changed = any(self.detail.get(name, ABSENT) != value for name, value in detail.items())
        self.detail.update(detail)
        if changed or self.lag is None:
            self._progress = self.clock()

    def watch(self, lag: Callable[[], int]) -> None:
        """Names what tells how many records wait for this service.

        `lag` is called every few seconds from a thread of its own: it may take long, and must not
        use a consumer that belongs to another thread. Where it raises, the lag is unknown.
        """
        self._source = lag

    def sample(self) -> None:
        """Asks the lag source once."""
        if self._source is None:
            return
        try:
            lag = self._source()
        except Exception:  # noqa: BLE001 - whatever fails, it says nothing about the consumer
            self._lag = None
            return
        self._lag, self._sampled = lag, self.clock()
        if lag <= 0:
            self._progress = self._sampled

    @property
    def lag(self) -> int | None:
        """Records that wait; None where that is not known."""
        fresh = self.clock() - self._sampled < LAG_KEEPS_SECONDS
        return self._lag if fresh else None

    @property
    def live(self) -> bool:
        return self.clock() - self._progress < self.patience

    def body(self) -> dict[str, Any]:
        idle = round(self.clock() - self._progress, 1)
        lag = {} if self.lag is None else {"lag": self.lag}
        return {
            "service": self.service,
            "ready": self.ready,
            "idle_seconds": idle,
            **lag,
            **self.detail,
        }


def serve(health: Health, port: int, host: str = "127.0.0.1") -> int:
    """Serves all paths from a thread of its own; returns the port (0 asks for a free one).

    Raises:
        OSError: the port is taken.
    """
    listener = socket.create_server((host, port))
    server = uvicorn.Server(
        uvicorn.Config(
            app(health), log_config=None, log_level="warning", access_log=False, lifespan="off"
        )
    )
    # Outside the main thread uvicorn leaves the signals to the service.
    background(lambda: server.run(sockets=[listener]), "health")
    background(lambda: keep_sampling(health), "lag")
    return int(listener.getsockname()[1])


def app(health: Health) -> Starlette:
    async def healthz(_: Request) -> Response:
        return answer(health, health.live)

    async def readyz(_: Request) -> Response:
        return answer(health, health.live and health.ready)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def page(request: Request) -> Response:
        shown = health.pages.get(request.path_params["page"])
        if shown is None:
            return Response(status_code=404)
        return Response(canonical(shown), media_type="application/json")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/{page}", page),
        ]
    )


def answer(health: Health, good: bool) -> Response:
    body = json.dumps(health.body(), default=str)
    return Response(body, 200 if good else 503, media_type="application/json")


def keep_sampling(health: Health) -> NoReturn:
    while True:
        health.sample()
        time.sleep(min(SAMPLE_SECONDS, health.patience / 4))


def background(run: Callable[[], None], name: str) -> None:
    threading.Thread(target=run, name=name, daemon=True).start()


def log_for(service: str) -> Log:
    """JSON lines on standard output; the supervisor keeps one file per service."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
    # kafka-python warns of each step of its event loop that took 0.1 s, however loaded the machine.
    logging.getLogger("kafka").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    log: Log = structlog.get_logger(service=service)
    return log
