"""OpenAI's own clients, unmodified, at the router's HTTP door: Python's, and Node's where Node is.

`OPENAI_NODE` names the folder with Node's client; without it npm fetches one into the test's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from http_door import OpenDoor, opened, until
from openai import OpenAI
from router_harness import MODEL
from writing_world import WritingWorld

from services.router.http_access import Address, access

TOKEN = "a-token-of-this-test-0123456789"
NODE_CLIENT = "openai@6"
SCRIPT = Path(__file__).parents[1] / "openai_client.mjs"


@pytest.fixture
def world(tmp_path: Path) -> WritingWorld:
    world = WritingWorld(tmp_path)
    world.route(1, [world.arm(1, 10_000)])
    return world


@pytest.fixture
def door(world: WritingWorld) -> Iterator[OpenDoor]:
    with opened(world, access(Address("127.0.0.1", 0), TOKEN, "")) as door:
        yield door


@pytest.fixture
def client(door: OpenDoor) -> Iterator[OpenAI]:
    with OpenAI(base_url=door.url, api_key=TOKEN, max_retries=0) as client:
        yield client


def asked(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]} | more


def test_a_whole_answer(world: WritingWorld, client: OpenAI) -> None:
    answer = client.chat.completions.create(
        **asked(extra_headers={"x-request-id": "r"}, user="ana", temperature=0.5, seed=3)
    )
    (event,) = until(lambda: world.read("inferences"))
    assert answer.choices[0].message.content == event["output"]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.total_tokens == event["tokens"]
    assert answer._request_id == event["request_id"] == "r"
    assert event["subject"] == "ana"


def test_who_answered_stands_in_the_headers(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**asked())
    assert raw.headers["x-driftgate-version"] == "1"
    assert raw.parse().choices[0].message.content


def test_a_streamed_answer(world: WritingWorld, client: OpenAI) -> None:
    stream = client.chat.completions.create(
        **asked(stream=True, stream_options={"include_usage": True})
    )
    *chunks, usage = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    (event,) = until(lambda: world.read("inferences"))
    assert text == event["output"]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert usage.usage is not None and usage.usage.completion_tokens == event["tokens_out"]


def test_the_helper_that_collects_a_stream(world: WritingWorld, client: OpenAI) -> None:
    with client.chat.completions.stream(**asked(stop="e")) as stream:
        found = stream.get_final_completion()
    (event,) = until(lambda: world.read("inferences"))
    assert found.choices[0].message.content == event["output"]


def test_a_stream_that_is_closed_leaves_an_event(world: WritingWorld, client: OpenAI) -> None:
    world.writer.holds_at = 5 + len(world.writer.steps)
    stream = client.chat.completions.create(**asked(stream=True))
    while not next(stream).choices[0].delta.content:
        pass
    (call,) = world.writing._calls
    stream.close()
    client.close()
    until(lambda: call.left)
    world.writer.may_step.set()
    (event,) = until(lambda: world.read("inferences"))
    assert event["finish_reason"] == "cancelled"


def test_models(client: OpenAI) -> None:
    assert [one.id for one in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "driftgate"


def test_errors_are_the_clients_own(world: WritingWorld, door: OpenDoor, client: OpenAI) -> None:
    def fails(error: type[openai.APIStatusError], **more: Any) -> openai.APIStatusError:
        with pytest.raises(error) as caught:
            client.chat.completions.create(**asked(**more))
        return caught.value

    assert fails(openai.NotFoundError, model="nobody").code == "model_not_found"
    assert fails(openai.BadRequestError, temperature=-1).param == "temperature"
    long = [{"role": "user", "content": "a" * 20_001}]
    assert fails(openai.BadRequestError, messages=long).code == "context_length_exceeded"
    world.writer._places, world.writer._queue = 0, 0
    assert fails(openai.RateLimitError).code == "queue_full"
    world.writer._places = 16
    world.writer.fails = RuntimeError("out of memory")
    assert "memory" in str(fails(openai.InternalServerError))
    world.writer.fails = None
    stranger = OpenAI(base_url=door.url, api_key="somebody-else-0123456789", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError, match="authorization"):
        stranger.models.list()
    world.front.ending = True
    assert fails(openai.InternalServerError).status_code == 503


def test_an_error_midway_is_raised(world: WritingWorld, client: OpenAI) -> None:
    world.writer.may_step.clear()
    stream = client.chat.completions.create(**asked(stream=True))
    assert next(stream).choices[0].delta.role == "assistant"
    world.writer.fails = RuntimeError("out of memory")
    world.writer.may_step.set()
    with pytest.raises(openai.APIError, match="memory"):
        list(stream)


def test_a_full_queue_is_asked_again(world: WritingWorld, door: OpenDoor) -> None:
    """The client waits as `retry-after` says."""
    world.writer._places, world.writer._queue = 0, 0
    open_ = world.writer.open
    asks: list[Any] = []

    def counted(question: Any) -> int:
        asks.append(question)
        if len(asks) == 2:
            world.writer._places = 16
        return open_(question)

    world.writer.open = counted  # type: ignore[method-assign]
    with OpenAI(base_url=door.url, api_key=TOKEN) as client:
        assert client.chat.completions.create(**asked()).choices[0].message.content
    assert len(asks) == 2


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Node's client. It is no part of what `make install` fetches, and a machine may lack Node."""
    if given := os.environ.get("OPENAI_NODE"):
        return Path(given)
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("neither node nor npm is on this machine")
    folder = tmp_path_factory.mktemp("node")
    fetch = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), NODE_CLIENT]
    fetched = subprocess.run(fetch, capture_output=True, text=True, timeout=200, check=False)
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch {NODE_CLIENT}: {fetched.stderr[-300:]}")
    return folder


def test_nodes_client(world: WritingWorld, door: OpenDoor, node_modules: Path) -> None:
    world.writer.holds_at = 85 + len(world.writer.steps)  # in the third text
    script = node_modules / SCRIPT.name
    shutil.copy(SCRIPT, script)  # Node looks for modules from where the script is
    node = subprocess.Popen(
        ["node", str(script), door.url, TOKEN, MODEL],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, _ = node.communicate(timeout=120)
    assert node.returncode == 0, said
    until(lambda: all(call.left for call in world.writing._calls))
    world.writer.may_step.set()
    events = until(lambda: len(world.read("inferences")) == 3 and world.read("inferences"))
    assert sorted(event["finish_reason"] for event in events) == ["cancelled", "length", "length"]
