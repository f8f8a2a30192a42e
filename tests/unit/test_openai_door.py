"""The router's HTTP door over a real socket: the bus behind it in memory, a fake writer inside."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import releasing
from http_door import OpenDoor, opened, until
from releasing import NOW
from router_harness import MODEL, World
from writing_world import WritingWorld

from driftgate.bus import Producer
from driftgate.errors import BusUnavailable
from driftgate.generator.prompt import Prompt
from services.router.http_access import Access, Address, access

SYSTEM = Prompt("Be brief.", "{text}")
TOKEN = "a-token-of-this-test-0123456789"


@pytest.fixture
def world(tmp_path: Path) -> WritingWorld:
    world = WritingWorld(tmp_path)
    world.route(1, [world.arm(1, 10_000)])
    return world


@pytest.fixture
def door(world: WritingWorld) -> Iterator[OpenDoor]:
    with opened(world) as door:
        yield door


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDoor]:
    """For what leaves nothing behind."""
    world = WritingWorld(tmp_path_factory.mktemp("refusing"))
    world.route(1, [world.arm(1, 10_000)])
    with opened(world) as door:
        yield door


def chat(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}]} | more


def post(door: OpenDoor, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{door.url}/{path}", json=body, headers=headers)


def ask(door: OpenDoor, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    return post(door, "chat/completions", chat(**more), **(headers or {}))


def events(reply: httpx.Response) -> list[Any]:
    """Of a stream that ended as it should."""
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


# ---------------------------------------------------------------- answers


def test_a_whole_answer_has_openais_shape_and_is_logged(
    world: WritingWorld, door: OpenDoor
) -> None:
    reply = ask(door, headers={"x-request-id": "r"}, user="ana", metadata={"language": "es"})
    assert reply.status_code == 200
    body = reply.json()
    (event,) = until(lambda: world.read("inferences"))
    assert (body["id"], body["object"], body["model"]) == ("chatcmpl-r", "chat.completion", MODEL)
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": event["output"], "refusal": None}
    assert choice["finish_reason"] == event["finish_reason"] == "length"
    assert body["usage"] == {
        "prompt_tokens": event["tokens_in"],
        "completion_tokens": event["tokens_out"],
        "total_tokens": event["tokens"],
    }
    assert (event["request_id"], event["subject"]) == ("r", "ana")
    assert event["slices"] == {"language": "es"}
    assert reply.headers["x-request-id"] == "r"
    assert reply.headers["x-driftgate-version"] == "1"
    assert reply.headers["x-driftgate-digest"] == event["digest"]
    assert reply.headers["x-driftgate-epoch"] == "1"
    assert reply.headers["x-driftgate-prompt"] == event["prompt"] == SYSTEM.digest
    assert event["digest"].startswith(body["system_fingerprint"])


def test_a_stream_is_the_same_text_in_pieces(world: WritingWorld, door: OpenDoor) -> None:
    whole = ask(door, headers={"x-request-id": "r"}).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    reply = ask(door, headers={"x-request-id": "r"}, **options)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-driftgate-version"] == "1"
    *chunks, usage = events(reply)
    assert {one["object"] for one in chunks} == {"chat.completion.chunk"}
    assert {one["id"] for one in chunks} == {"chatcmpl-r"}
    deltas = [one["choices"][0]["delta"] for one in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert len(deltas) > 3
    said = "".join(delta.get("content", "") for delta in deltas)
    assert said == whole["choices"][0]["message"]["content"]
    assert [one["choices"][0]["finish_reason"] for one in chunks[:-1]] == [None] * len(deltas[1:])
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    plain = events(ask(door, stream=True))
    assert all("usage" not in one for one in plain)


def test_a_request_without_an_id_gets_one(world: WritingWorld, door: OpenDoor) -> None:
    reply = ask(door)
    given = reply.headers["x-request-id"]
    assert reply.json()["id"] == f"chatcmpl-{given}"
    assert until(lambda: world.read("inferences"))[0]["request_id"] == given


def test_a_request_says_how_it_wants_its_text(door: OpenDoor) -> None:
    def told(**more: Any) -> dict[str, Any]:
        found: dict[str, Any] = ask(door, headers={"x-request-id": "r"}, **more).json()
        return found

    for name in ("max_tokens", "max_completion_tokens"):
        assert told(**{name: 3})["usage"]["completion_tokens"] == 3
    text = told()["choices"][0]["message"]["content"]
    stopped = told(stop=text[5])["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["message"]["content"] == text[: text.index(text[5])]
    assert told(stop=["zzz", text[5]])["choices"][0] == stopped
    warm = [told(temperature=1, seed=seed)["choices"] for seed in (7, 7, 8)]
    assert warm[0] == warm[1] != warm[2]


def test_texts_may_stand_in_parts(world: WritingWorld, door: OpenDoor) -> None:
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "it?"}]
    assert ask(door, messages=[{"role": "user", "content": parts}]).status_code == 200
    assert until(lambda: world.read("inferences"))[0]["input"] == "Where is it?"


def test_a_model_that_chooses_answers_with_its_label(world: WritingWorld, door: OpenDoor) -> None:
    chooses = super(WritingWorld, world).arm(1, 10_000)
    repo = releasing.publish_repo(world.home / "labels", world.artifacts, "chooses")
    record = releasing.routing("chooses", repo, 1, [chooses], [], base="base-b")
    world.topics.send("routing", record)
    world.look()
    reply = ask(door, model="chooses")
    label = reply.json()["choices"][0]["message"]["content"]
    assert label.endswith(":hello")
    assert reply.headers["x-driftgate-version"] == "1"
    assert "x-driftgate-prompt" not in reply.headers
    streamed = events(ask(door, model="chooses", stream=True))
    assert [one["choices"][0]["delta"].get("content") for one in streamed] == ["", label, None]


def test_models_are_those_that_are_served(door: OpenDoor) -> None:
    (one,) = httpx.get(f"{door.url}/models").json()["data"]
    assert (one["id"], one["object"], one["owned_by"]) == (MODEL, "model", "driftgate")
    assert one["created"] == NOW // 1000
    assert httpx.get(f"{door.url}/models/{MODEL}").json() == one
    missing = httpx.get(f"{door.url}/models/routed-modle")
    assert missing.status_code == 404
    assert MODEL in missing.json()["error"]["message"]


# ---------------------------------------------------------------- the prompt is policy


def with_system(*texts: str, role: str = "system") -> list[dict[str, str]]:
    told = [{"role": role, "content": text} for text in texts]
    return [*told, {"role": "user", "content": "hello"}]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_prompt_in_force_may_be_sent_and_no_other(
    world: WritingWorld, door: OpenDoor, role: str
) -> None:
    same = ask(door, messages=with_system("Be brief.\n", role=role))
    assert same.status_code == 200
    assert "x-driftgate-system" not in same.headers
    other = ask(door, messages=with_system("Be rude.", role=role))
    assert other.status_code == 400
    error = other.json()["error"]
    assert (error["param"], error["type"]) == ("messages", "invalid_request_error")
    assert "driftgate prompt FOLDER" in error["message"]
    assert SYSTEM.system is not None and SYSTEM.system not in error["message"]
    kind = Prompt("Be rude.", "{text}")
    told = {"digest": kind.digest, "system": kind.system, "template": kind.template}
    world.route(2, [world.arm(1, 10_000, prompt=told)])
    now = ask(door, messages=with_system("Be rude.", role=role))
    assert (now.status_code, now.headers["x-driftgate-prompt"]) == (200, kind.digest)


def test_who_cannot_leave_it_out_may_have_it_ignored(world: WritingWorld) -> None:
    messages = with_system("You are a helpful assistant.")
    with opened(world, system="ignore") as door:
        plain = ask(door, headers={"x-request-id": "r"})
        reply = ask(door, headers={"x-request-id": "r"}, messages=messages)
        assert reply.headers["x-driftgate-system"] == "ignored"
        assert reply.json()["choices"] == plain.json()["choices"]
        strict = ask(door, headers={"x-driftgate-system": "refuse"}, messages=messages)
        assert strict.status_code == 400
    with opened(world) as door:
        lax = ask(door, headers={"x-driftgate-system": "ignore"}, messages=messages)
        assert (lax.status_code, lax.headers["x-driftgate-system"]) == (200, "ignored")
        typo = ask(door, headers={"x-driftgate-system": "ignroe"}, messages=messages)
        assert (typo.status_code, typo.json()["error"]["param"]) == (400, "x-driftgate-system")


# ---------------------------------------------------------------- what cannot be asked


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": with_system("x")[:1]}, "messages", "0 of role user"),
        ({"messages": [*chat()["messages"]] * 2}, "messages", "2 of role user"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role", "one question"),
        ({"messages": [{"role": "usre", "content": "x"}]}, "messages.0.role", "'user'"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content", "a valid string"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "a value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
            "parts",
        ),
        ({"messages": [{"role": "user", "content": " "}]}, "messages", "not empty"),
        ({"messages": "hello"}, "messages", "a valid list"),
        ({"n": 2}, "n", "1, or nothing"),
        ({"tools": [{"type": "function"}]}, "tools", "or nothing"),
        ({"logprobs": True}, "logprobs", "False"),
        ({"response_format": {"type": "json_object"}}, "response_format", "model.yaml"),
        ({"temperature": "hot"}, "temperature", "a valid number"),
        ({"temperature": -1}, "temperature", "at least 0"),
        ({"temperature": True}, "temperature", "a valid number"),
        ({"top_p": 2}, "top_p", "at most"),
        ({"max_tokens": 0}, "max_completion_tokens", "at least 1"),
        ({"max_tokens": 1.5}, "max_tokens", "integer"),
        ({"stop": [""]}, "stop", "not empty"),
        ({"stop": [str(n) for n in range(20)]}, "stop", "at most 16"),
        ({"seed": "x"}, "seed", "integer"),
        ({"user": "u" * 300}, "user", "200 characters"),
        ({"metadata": {"a": 1}}, "metadata.a", "a valid string"),
        ({"metadata": {"a": "x" * 300}}, "metadata['a']", "200 characters"),
        ({"temprature": 1}, "temprature", "'temperature'"),
        ({"model": None}, "model", "a value"),
    ],
)
def test_what_cannot_be_asked_names_the_parameter(
    refusing: OpenDoor, fields: dict[str, Any], param: str, words: str
) -> None:
    reply = ask(refusing, **fields)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert words in error["message"]
    assert error["message"].startswith(param)
    assert reply.headers["x-request-id"]
    assert ask(refusing).status_code == 200


def test_parameters_that_ask_for_nothing_else_pass(door: OpenDoor) -> None:
    asked = {
        "n": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logprobs": False,
        "logit_bias": None,
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "store": True,
        "service_tier": "auto",
        "parallel_tool_calls": True,
        "stream_options": None,
        "safety_identifier": "ana",
    }
    assert ask(door, **asked).status_code == 200


def test_too_long_a_text_is_told_by_openais_word(door: OpenDoor) -> None:
    for text in ("a" * 20_001, "a" * 2_000):  # more characters than may be, more tokens
        reply = post(door, "chat/completions", chat(text))
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"[" * 100_000, b'{"model": "\\ud800"}'])
def test_a_body_that_is_no_object_of_json(refusing: OpenDoor, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    reply = httpx.post(f"{refusing.url}/chat/completions", content=body, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "malformed"


def test_a_form_is_no_request(door: OpenDoor) -> None:
    """Pages of any origin may send one unasked."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"content-type": kind}
        content = json.dumps(chat()).encode()
        reply = httpx.post(f"{door.url}/chat/completions", content=content, headers=headers)
        assert reply.status_code == 415


def test_a_large_body_is_refused_before_it_is_held(door: OpenDoor) -> None:
    headers = {"content-type": "application/json"}
    path = f"{door.url}/chat/completions"
    assert httpx.post(path, content=b" " * 1_000_001, headers=headers).status_code == 413
    link = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
    link.putrequest("POST", "/v1/chat/completions")
    link.putheader("content-type", "application/json")
    link.putheader("transfer-encoding", "chunked")
    link.endheaders()
    part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(16):
        link.send(part)  # and no end of it
    assert link.getresponse().status == 413


def test_statuses_tell_whether_to_ask_again(world: WritingWorld, door: OpenDoor) -> None:
    unknown = ask(door, model="routed-modle")
    assert unknown.status_code == 404
    error = unknown.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert MODEL in error["message"]
    world.writer._places, world.writer._queue = 0, 0
    full = ask(door)
    assert (full.status_code, full.headers["retry-after"]) == (429, "1")
    assert full.json()["error"]["code"] == "queue_full"
    world.writer._places = 16
    world.writer.fails = RuntimeError("out of memory")
    broken = ask(door)
    assert (broken.status_code, broken.json()["error"]["type"]) == (500, "server_error")
    world.writer.fails = None
    world.front.ending = True
    away = ask(door)
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert httpx.get(f"{door.url}/models").status_code == 503


def test_a_request_outside_the_scope_is_no_missing_model(
    world: WritingWorld, door: OpenDoor
) -> None:
    world.route(2, [world.arm(1, 10_000)], scope={"language": "es"})
    reply = ask(door)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "out_of_scope"
    assert ask(door, metadata={"language": "es"}).status_code == 200


def test_what_breaks_midway_ends_the_stream_with_an_error(
    world: WritingWorld, door: OpenDoor
) -> None:
    world.writer.may_step.clear()
    with httpx.stream(
        "POST", f"{door.url}/chat/completions", json=chat(stream=True), timeout=20
    ) as reply:
        lines = reply.iter_lines()
        assert "assistant" in next(lines)
        world.writer.fails = RuntimeError("out of memory")
        world.writer.may_step.set()
        (told,) = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert told["error"]["type"] == "server_error"
    assert "memory" in told["error"]["message"]


def test_paths_and_methods_that_are_not_there(door: OpenDoor) -> None:
    for method, path, status in [
        ("GET", "/chat/completions", 405),
        ("POST", "/embeddings", 404),
        ("GET", "/../metrics", 404),
    ]:
        reply = httpx.request(method, f"{door.url}{path}")
        assert reply.status_code == status
        assert reply.json()["error"]["code"] == "not_found"


# ---------------------------------------------------------------- callers who leave


def leave(world: WritingWorld, door: OpenDoor, after: bytes, **more: Any) -> None:
    """Asks, and hangs up once the reply holds something; at once, for nothing."""
    body = json.dumps(chat(**more)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:{door.port}\r\nx-request-id: r\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as link:
        link.sendall(head.encode() + body)
        until(lambda: world.writing._calls)
        (call,) = world.writing._calls
        until(lambda: call.live)
        heard = b""
        while after not in heard:
            heard += link.recv(65_536)
    until(lambda: call.left)
    world.writer.may_step.set()


def test_who_goes_away_midway_ends_the_writing_and_leaves_an_event(
    world: WritingWorld, door: OpenDoor
) -> None:
    world.writer.holds_at = 5 + len(world.writer.steps)
    leave(world, door, b'"delta":{"content"', stream=True)
    (event,) = until(lambda: world.read("inferences"))
    assert (event["request_id"], event["finish_reason"]) == ("r", "cancelled")
    assert event["output"]
    assert 0 < event["tokens_out"] < 40
    until(lambda: not world.writer.busy)
    assert ask(door).status_code == 200


def test_who_waits_for_a_whole_answer_and_goes_leaves_an_event_too(
    world: WritingWorld, door: OpenDoor
) -> None:
    world.writer.may_step.clear()
    leave(world, door, b"")
    (event,) = until(lambda: world.read("inferences"))
    assert (event["request_id"], event["finish_reason"]) == ("r", "cancelled")
    assert event["tokens_out"] <= 1
    until(lambda: not world.writer.busy)


# ---------------------------------------------------------------- feedback


def say(door: OpenDoor, **fields: Any) -> httpx.Response:
    return post(door, "feedback", {"model": MODEL, "request_id": "r"} | fields)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"rating": 0}, "rating"),
        ({"rating": 1.0, "reason": "quick"}, "rating"),
        ({"edited": "Dear Ana,"}, "edit"),
        ({"label": "refund"}, "correction"),
        ({"label": "refund", "reviewer": "bo"}, "review"),
    ],
)
def test_feedback_goes_to_its_topic(
    world: WritingWorld, door: OpenDoor, said: dict[str, Any], kind: str
) -> None:
    world.tick(NOW)
    reply = say(door, **said)
    assert reply.status_code == 202
    (event,) = until(lambda: world.read("feedback"))
    assert event["feedback_id"] == reply.json()["feedback_id"]
    assert (event["request_id"], event["kind"]) == ("r", kind)
    assert {name: event[name] for name in said} == said
    assert event["time"] >= NOW


def test_the_same_feedback_has_the_same_id(door: OpenDoor) -> None:
    ids = [
        say(door, **said).json()["feedback_id"]
        for said in (
            {"rating": 1},
            {"rating": 1},
            {"rating": 0},
            {"rating": 1, "time_ms": NOW},
            {"rating": 1, "feedback_id": "mine"},
        )
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert ids[-1] == "mine"


def test_feedback_names_an_answer_by_its_own_id(world: WritingWorld, door: OpenDoor) -> None:
    answer = ask(door).json()
    said = {"model": MODEL, "completion_id": answer["id"], "edited": "So."}
    assert post(door, "feedback", said).status_code == 202
    (event,) = until(lambda: world.read("feedback"))
    (inference,) = until(lambda: world.read("inferences"))
    assert event["request_id"] == inference["request_id"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "feedback"),
        ({"rating": 1, "label": "x"}, "feedback"),
        ({"rating": 2}, "rating"),
        ({"rating": True}, "rating"),
        ({"edited": " "}, "edited"),
        ({"edited": 3}, "edited"),
        ({"rating": 1, "request_id": " "}, "request_id"),
        ({"rating": 1, "request_id": None}, "request_id"),
        ({"rating": 1, "completion_id": "chatcmpl-r"}, "request_id"),
        ({"rating": 1, "request_id": None, "completion_id": "r"}, "completion_id"),
        ({"rating": 1, "model": None}, "model"),
        ({"rating": 1, "time_ms": -1}, "time_ms"),
        ({"rating": 1, "stars": 5}, "stars"),
    ],
)
def test_feedback_that_cannot_be_used_names_the_field(
    refusing: OpenDoor, fields: dict[str, Any], param: str
) -> None:
    reply = say(refusing, **fields)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
    assert say(refusing, rating=1).status_code == 202


def test_feedback_outlives_kafkas_absence_and_a_router_that_ends(
    world: WritingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Producer:
        raise BusUnavailable("away")

    world.delivery.connect = away
    with opened(world) as door:
        world.front.ending = True
        assert say(door, edited="Dear Ana,").status_code == 202
    assert world.read("feedback") == []
    world.start()
    (event,) = until(lambda: world.read("feedback"))
    assert event["edited"] == "Dear Ana,"


def test_feedback_is_never_dropped(world: WritingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Producer:
        raise BusUnavailable("away")

    world.when_full = "shed"
    world.start()
    world.route(1, [world.arm(1, 10_000)])
    world.delivery.connect = away
    monkeypatch.setattr("services.router.delivery.AWAY_SECONDS", 0.01)
    text = "a" * 100_000
    with opened(world) as door:
        statuses = [say(door, edited=f"{text}{n}").status_code for n in range(30)]
    assert statuses[0] == 202
    assert statuses[-1] == 503
    kept = statuses.count(202)
    world.start()
    assert len(until(lambda: len(world.read("feedback")) == kept and world.read("feedback")))


# ---------------------------------------------------------------- who may ask


def test_other_hosts_names_are_refused(door: OpenDoor) -> None:
    """A page whose name was pointed at this machine (DNS rebinding)."""
    for host, status in [
        ("localhost", 200),
        (f"localhost:{door.port}", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8088", 200),
        ("desk.example.com", 403),
        ("localhost.example.com", 403),
        ("127.0.0.1@evil", 403),
        ("", 403),
    ]:
        reply = httpx.get(f"{door.url}/models", headers={"host": host})
        assert reply.status_code == status, host


def test_pages_of_other_origins_are_refused(world: WritingWorld) -> None:
    desk = "https://desk.example.com"
    with opened(world, access(Address("127.0.0.1", 0), "", desk)) as door:
        for origin, status in [(desk, 202), ("https://evil.example.com", 403), ("null", 403)]:
            said = {"model": MODEL, "request_id": "r", "rating": 1}
            reply = post(door, "feedback", said, origin=origin)
            assert reply.status_code == status
            allowed = reply.headers.get("access-control-allow-origin")
            assert allowed == (desk if status == 202 else None)
        preflight = httpx.options(
            f"{door.url}/feedback",
            headers={
                "origin": desk,
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type,x-stainless-lang",
            },
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == desk
        assert "x-stainless-lang" in preflight.headers["access-control-allow-headers"]
        seen = ask(door, headers={"origin": desk}).headers["access-control-expose-headers"]
        assert {"x-request-id", "x-driftgate-version"} <= {*seen.split(", ")}


def test_with_tokens_each_request_has_one(
    world: WritingWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "another-token-0123456789"
    allowed = access(Address("0.0.0.0", 0), f"{other},\n{TOKEN}", "*")
    assert TOKEN not in repr(allowed)
    with opened(world, allowed) as door:
        for token in (other, TOKEN):
            reply = ask(door, headers={"authorization": f"Bearer {token}", "host": "desk"})
            assert reply.status_code == 200
        for wrong in (f"Bearer {TOKEN}x", "Bearer", "", TOKEN, f"Basic {TOKEN}", "Bearer é" * 9):
            reply = httpx.get(
                f"{door.url}/models", headers={"authorization": wrong.encode("latin-1")}
            )
            assert reply.status_code == 401
            assert reply.json()["error"]["code"] == "invalid_api_key"
            assert reply.headers["www-authenticate"] == "Bearer"
        preflight = httpx.options(
            f"{door.url}/feedback",
            headers={"origin": "https://any.org", "access-control-request-method": "POST"},
        )
        assert preflight.status_code == 200
    assert TOKEN not in "".join(capsys.readouterr())


def test_an_open_stream_does_not_keep_a_router_from_ending(world: WritingWorld) -> None:
    world.writer.holds_at = 3 + len(world.writer.steps)
    with opened(world, grace=1) as door:
        link = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
        headers = {"content-type": "application/json"}
        link.request("POST", "/v1/chat/completions", json.dumps(chat(stream=True)), headers)
        assert link.getresponse().readline().startswith(b"data:")
        (call,) = world.writing._calls
        call_leaves = call.leave

        def leave() -> None:
            call_leaves()
            world.writer.may_step.set()

        call.leave = leave  # type: ignore[method-assign]
    (event,) = until(lambda: world.read("inferences"))
    assert event["finish_reason"] == "cancelled"


def test_no_routing_yet_is_told_as_such(tmp_path: Path) -> None:
    with opened(World(tmp_path), Access()) as door:
        assert ask(door).status_code == 503
        assert say(door, rating=1).status_code == 202
