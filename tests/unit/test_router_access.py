"""Who may use the router's HTTP door, and what a router refuses to start with."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from deploy.local.plan import StackConfig
from driftgate.config import load
from driftgate.errors import BadConfig
from services.router.http_access import Address, access, address_of
from services.router.main import door_of, tokens_of
from services.router.openai_door import listen

LOOPBACK, EVERYWHERE = Address("127.0.0.1", 8088), Address("0.0.0.0", 8088)
TOKEN = "a-token-of-this-test-0123456789"


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:8088", ("127.0.0.1", 8088), True),
        ("127.8.0.1:0", ("127.8.0.1", 0), True),
        ("localhost:1", ("localhost", 1), True),
        ("[::1]:80", ("::1", 80), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),
        ("[::]:80", ("::", 80), False),
        ("desk.example.com:80", ("desk.example.com", 80), False),
        ("127.0.0.1.example.com:80", ("127.0.0.1.example.com", 80), False),
    ],
)
def test_addresses(text: str, address: tuple[str, int], is_loopback: bool) -> None:
    assert address_of(text) == address
    assert address_of(text).is_loopback is is_loopback


@pytest.mark.parametrize("text", ["8088", ":8088", "localhost:", "localhost:x", "a:70000", "a:²"])
def test_no_address(text: str) -> None:
    with pytest.raises(BadConfig, match="DRIFTGATE_HTTP_DOOR: got"):
        address_of(text)


def test_beyond_this_machine_nobody_is_let_in_without_a_token() -> None:
    with pytest.raises(BadConfig, match="set DRIFTGATE_HTTP_DOOR_TOKENS"):
        access(EVERYWHERE, " ,\n", "")
    assert access(EVERYWHERE, TOKEN, "").refusal({}) is not None
    assert access(EVERYWHERE, TOKEN, "").refusal({"authorization": f"bearer {TOKEN}"}) is None


def test_a_token_that_can_be_guessed_is_refused_and_never_shown() -> None:
    for weak in ("secret", "pässword-pässword", "x" * 15):
        with pytest.raises(BadConfig, match="token 2 of 2 has") as told:
            access(LOOPBACK, f"{TOKEN},{weak}", "")
        assert weak not in str(told.value)
        assert TOKEN not in str(told.value)


@pytest.mark.parametrize("origins", ["desk.example.com", "https://a/b", "https://", "*"])
def test_origins_are_named_in_full(origins: str) -> None:
    with pytest.raises(BadConfig, match="DRIFTGATE_HTTP_DOOR_ORIGINS: got"):
        access(LOOPBACK, "", origins)


def test_tokens_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\nanother-0123456789\n")
    told = load({"DRIFTGATE_HTTP_DOOR_TOKENS": f"@{path}"})
    assert len(access(EVERYWHERE, tokens_of(told), "").tokens) == 2
    with pytest.raises(BadConfig, match=r"DRIFTGATE_HTTP_DOOR_TOKENS: .*no-file"):
        tokens_of(load({"DRIFTGATE_HTTP_DOOR_TOKENS": "@no-file"}))
    told = load({"DRIFTGATE_HTTP_DOOR_TOKENS": TOKEN})
    assert tokens_of(told) == TOKEN
    assert TOKEN not in repr(told)


def test_a_router_does_not_start_where_anybody_could_ask() -> None:
    anything: Any = None
    with pytest.raises(BadConfig, match=r"DRIFTGATE_HTTP_DOOR: 0\.0\.0\.0 is beyond this machine"):
        door_of(load({"DRIFTGATE_HTTP_DOOR": "0.0.0.0:8088"}), anything, anything, anything)
    assert door_of(load({"DRIFTGATE_HTTP_DOOR": ""}), anything, anything, anything) is None


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadConfig, match=f"127.0.0.1:{port} cannot be listened on"):
            listen(Starlette(), Address("127.0.0.1", port), 1)


def test_the_local_stack_says_where_the_door_is(tmp_path: Path) -> None:
    here = StackConfig.default(tmp_path, {})
    assert load(dict(here.environment)).http_door == "127.0.0.1:8088"
    moved = StackConfig.default(tmp_path, {"DRIFTGATE_HTTP_DOOR_PORT": "9999"})
    assert load(dict(moved.environment)).http_door == "127.0.0.1:9999"
