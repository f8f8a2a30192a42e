"""What the console reads of services' /healthz."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.local.plan import StackConfig
from services.console import waiting
from services.console.health import body

ANSWERS = {
    "/trainer": (200, b'{"activity": "training triage@4: 42 %, 6 s left"}'),
    "/evaluator": (503, b'{"activity": "judging triage-2@1: task, 3 s left"}'),
    "/router": (200, b'{"ready": true, "activity": null}'),
    "/proxy": (502, b"<html>"),
}


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, content = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_service_that_is_not_well_is_heard_all_the_same(address: str) -> None:
    assert body(f"{address}/evaluator")["activity"].startswith("judging")


def test_a_stack_knows_where_each_service_answers(tmp_path: Path) -> None:
    config = StackConfig(tmp_path, services=("ingest_logger", "router"))
    healthz = config.healthz
    assert set(healthz) == {"clock", "ingest-logger", "router"}
    assert set(replace(config, clock="world").healthz) == {"ingest-logger", "router"}
    assert healthz["router"] == "http://127.0.0.1:9406/healthz"


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/healthz"])
def test_who_does_not_answer_says_nothing(url: str) -> None:
    assert body(url) == {}


def test_what_is_no_json_says_nothing(address: str) -> None:
    assert body(f"{address}/proxy") == {}


def test_only_work_on_the_model_is_shown(address: str) -> None:
    urls = {name: f"{address}/{name}" for name in ("trainer", "evaluator", "router")}
    work = {"trainer": "training triage@4: 42 %, 6 s left"}
    assert waiting.activities(urls, "triage") == work
    assert waiting.activities(urls, "tri") == {}
    assert waiting.names("loading epoch 1 of triage", "triage")
