"""`/healthz`, `/readyz` and `/metrics` of a service, and its structured log."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client import make_wsgi_app

Log = structlog.stdlib.BoundLogger


@dataclass
class Health:
    """Live while it moves, ready once it can serve.

    Attributes:
        patience: seconds without a sign of progress after which the service is not live.
    """

    service: str
    patience: float = 60.0
    ready: bool = False
    detail: dict[str, Any] = field(default_factory=dict)
    _moved: float = field(default_factory=time.monotonic)

    def moved(self, **detail: Any) -> None:
        """A sign of progress: a poll came back, a record was handled, a step was trained."""
        self._moved = time.monotonic()
        self.detail.update(detail)

    @property
    def live(self) -> bool:
        return time.monotonic() - self._moved < self.patience

    def body(self) -> dict[str, Any]:
        idle = round(time.monotonic() - self._moved, 1)
        return {"service": self.service, "ready": self.ready, "idle_seconds": idle, **self.detail}


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Probes are not worth a line each."""


def serve(health: Health, port: int, host: str = "127.0.0.1") -> int:
    """Serves the three paths from a thread of its own; returns the port (0 asks for a free one)."""
    metrics = make_wsgi_app()
    answers: dict[str, Callable[[], bool]] = {
        "/healthz": lambda: health.live,
        "/readyz": lambda: health.live and health.ready,
    }

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        good = answers.get(environ["PATH_INFO"])
        if good is None:
            return metrics(environ, start)
        status = "200 OK" if good() else "503 Service Unavailable"
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(health.body(), default=str).encode()]

    server = make_server(host, port, app, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return int(server.server_port)


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
    return structlog.get_logger(service=service)
