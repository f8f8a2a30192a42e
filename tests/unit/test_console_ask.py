"""`driftgate ask` against a router in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner, Result

from driftgate.router_pb import router_pb2, router_pb2_grpc
from services.console import cli


class Router(router_pb2_grpc.RouterServicer):
    """Answers refund, or refuses with a status."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.refusal: tuple[Any, str] | None = None

    def Predict(self, asked: Any, context: Any) -> Any:  # noqa: N802 - named by the proto
        self.asked.append(asked)
        if self.refusal:
            context.abort(*self.refusal)
        return router_pb2.PredictReply(
            request_id="r-1", label="[refund]", confidence=0.93, version=3
        )


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[Router]:
    server, router = grpc.server(ThreadPoolExecutor(1)), Router()
    router_pb2_grpc.add_RouterServicer_to_server(router, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("DRIFTGATE_ROUTER", f"127.0.0.1:{port}")
    yield router
    server.stop(None)


def ask(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["ask", "triage", *words, "--state", "/nowhere"])


def test_the_answer_is_printed_with_its_version_and_request(router: Router) -> None:
    result = ask("Where is my money?", "--slice", "language=en", "--slice", "q=a=b")
    assert result.exit_code == 0, result.output
    label, about = result.stdout.splitlines()
    assert label == "[refund]"
    assert about == "confidence 0.930, triage@3, request r-1"
    (asked,) = router.asked
    assert (asked.model, asked.text) == ("triage", "Where is my money?")
    assert dict(asked.slices) == {"language": "en", "q": "a=b"}


def test_scripts_get_json(router: Router) -> None:
    answer = json.loads(ask("x", "--subject", "c-17", "--json").stdout)
    assert answer == {"label": "[refund]", "confidence": 0.93, "version": 3, "request_id": "r-1"}
    assert router.asked[0].subject == "c-17"


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        (grpc.StatusCode.UNAVAILABLE, 3, "`driftgate retrain triage --wait --state /nowhere`"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 3, "`driftgate audit triage --state /nowhere`"),
        (grpc.StatusCode.FAILED_PRECONDITION, 2, "`driftgate audit MODEL --state /nowhere`"),
        (grpc.StatusCode.INVALID_ARGUMENT, 2, "because"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(
    router: Router, code: Any, status: int, hint: str
) -> None:
    router.refusal = code, "because"
    result = ask("x")
    assert (result.exit_code, result.stdout) == (status, "")
    assert "because" in result.stderr
    assert hint in result.stderr


@pytest.mark.parametrize("word", ["language", "=en", "language="])
def test_a_slice_is_a_name_and_a_value(word: str) -> None:
    result = ask("x", "--slice", word)
    assert result.exit_code == 2
    assert f"got {word!r}, expected NAME=VALUE" in result.stderr
