"""Which of the store's errors may pass: a full disk is waited for, a wrong statement is not."""

from __future__ import annotations

import socket

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from driftgate.errors import StoreRefused, StoreUnavailable
from driftgate.store import Store, guarded


def said(code: int, name: str) -> DatabaseError:
    """As the client tells what ClickHouse answered."""
    return DatabaseError(f"Received ClickHouse exception, code: {code}, server response: {name}")


def failing(error: Exception) -> None:
    def work() -> None:
        raise error

    guarded("insert", work)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (159, "TIMEOUT_EXCEEDED"),
        (164, "READONLY"),
        (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
        (209, "SOCKET_TIMEOUT"),
        (210, "NETWORK_ERROR"),
        (241, "MEMORY_LIMIT_EXCEEDED"),
        (242, "TABLE_IS_READ_ONLY"),
        (243, "NOT_ENOUGH_SPACE"),
        (252, "TOO_MANY_PARTS"),
        (319, "UNKNOWN_STATUS_OF_INSERT"),
        (394, "QUERY_WAS_CANCELLED"),
    ],
)
def test_what_may_pass_is_waited_for(code: int, name: str) -> None:
    with pytest.raises(StoreUnavailable, match=name):
        failing(said(code, name))


@pytest.mark.parametrize(
    ("code", "name"),
    [(16, "NO_SUCH_COLUMN_IN_TABLE"), (53, "TYPE_MISMATCH"), (60, "UNKNOWN_TABLE"), (62, "SYNTAX")],
)
def test_what_will_not_pass_is_refused_with_its_code(code: int, name: str) -> None:
    with pytest.raises(StoreRefused, match=name) as refused:
        failing(said(code, name))
    assert refused.value.code == code


@pytest.mark.parametrize("error", [OperationalError("connection refused"), ConnectionResetError()])
def test_no_answer_is_waited_for(error: Exception) -> None:
    with pytest.raises(StoreUnavailable):
        failing(error)


def test_a_store_that_does_not_answer_is_waited_for_no_longer_than_it_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreUnavailable, match="connect"):
            Store.connect(url, timeout_seconds=1)
