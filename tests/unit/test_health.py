"""Health is progress: what a service says of itself, and what waits for it."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from driftgate.health import LAG_KEEPS_SECONDS, Health, serve
from driftgate.metrics import RECORDS

PATIENCE = 60.0


class Consumer:
    """A service on a clock that is set by hand; `waiting` records are on the bus."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waiting = 0
        self.bus_is_up = True
        self.health = Health("svc", patience=PATIENCE, clock=lambda: self.now)

    def lag(self) -> int:
        if not self.bus_is_up:
            raise ConnectionError("no broker")
        return self.waiting

    def for_seconds(self, seconds: float, loop: Callable[[], None]) -> None:
        """The loop of the service, with a sample every five seconds."""
        for _ in range(int(seconds / 5)):
            self.now += 5
            loop()
            self.health.sample()

    def polls(self) -> None:
        self.health.heartbeat()

    def hangs(self) -> None: ...


@pytest.fixture
def watched() -> Consumer:
    consumer = Consumer()
    consumer.health.watch(consumer.lag)
    return consumer


def test_an_idle_consumer_with_nothing_to_read_is_live(watched: Consumer) -> None:
    watched.for_seconds(10 * PATIENCE, watched.polls)
    assert watched.health.live


@pytest.mark.parametrize("loop", ["polls", "hangs"])
def test_a_consumer_that_handles_nothing_while_records_wait_is_not_live(
    watched: Consumer, loop: str
) -> None:
    watched.for_seconds(300, watched.polls)
    watched.waiting = 1
    watched.for_seconds(PATIENCE - 5, getattr(watched, loop))
    assert watched.health.live
    watched.for_seconds(5, getattr(watched, loop))
    assert not watched.health.live
    assert watched.health.body()["lag"] == 1


def test_one_record_after_a_long_silence_is_no_fault(watched: Consumer) -> None:
    watched.for_seconds(100 * PATIENCE, watched.polls)
    watched.waiting = 1
    watched.health.sample()
    assert watched.health.live


def test_a_position_that_moves_is_progress_however_much_waits(watched: Consumer) -> None:
    watched.waiting = 10**6
    for offset in range(100):
        watched.for_seconds(20, lambda at=offset: watched.health.heartbeat(**{"topic-0": at}))  # type: ignore[misc]
        assert watched.health.live


def test_the_same_position_again_and_again_is_no_progress(watched: Consumer) -> None:
    watched.waiting = 1
    watched.for_seconds(2 * PATIENCE, lambda: watched.health.heartbeat(**{"topic-0": 7}))
    assert not watched.health.live


def test_a_long_piece_of_work_is_live_as_long_as_it_gets_on(watched: Consumer) -> None:
    watched.waiting = 1
    for done in range(10):
        watched.for_seconds(30, lambda at=done: watched.health.heartbeat(progress=at / 10))  # type: ignore[misc]
        assert watched.health.live
    watched.for_seconds(PATIENCE, lambda: watched.health.heartbeat(progress=0.9))
    assert not watched.health.live


def test_a_consumer_that_got_on_again_is_live_again(watched: Consumer) -> None:
    watched.waiting = 1
    watched.for_seconds(2 * PATIENCE, watched.hangs)
    assert not watched.health.live
    watched.health.heartbeat(**{"topic-0": 8})
    assert watched.health.live


@pytest.mark.parametrize("is_watched", [True, False])
def test_while_the_lag_is_unknown_a_poll_counts(is_watched: bool) -> None:
    consumer = Consumer()
    consumer.bus_is_up = False
    if is_watched:
        consumer.health.watch(consumer.lag)
    consumer.for_seconds(10 * PATIENCE, consumer.polls)
    assert consumer.health.live
    assert "lag" not in consumer.health.body()
    consumer.for_seconds(PATIENCE, consumer.hangs)
    assert not consumer.health.live


def test_an_outage_of_the_bus_is_not_held_against_who_polls_after_it(watched: Consumer) -> None:
    watched.bus_is_up = False
    watched.for_seconds(10 * PATIENCE, watched.polls)
    watched.bus_is_up, watched.waiting = True, 5
    watched.health.sample()
    assert watched.health.live


def test_a_lag_that_nobody_tells_any_more_is_unknown(watched: Consumer) -> None:
    watched.waiting = 3
    watched.health.sample()
    watched.now += LAG_KEEPS_SECONDS
    watched.health.heartbeat()
    assert watched.health.live


# ---------------------------------------------------------------- over HTTP


def ask(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_three_paths() -> None:
    health = Health("svc")
    port = serve(health, 0)
    RECORDS.labels("a-topic-of-this-test").inc()
    health.heartbeat(activity="starting")
    assert ask(port, "/healthz").status_code == 200
    assert ask(port, "/readyz").status_code == 503
    health.ready = True
    ready = ask(port, "/readyz")
    assert ready.status_code == 200
    assert ready.json().items() >= {"service": "svc", "ready": True, "activity": "starting"}.items()
    metrics = ask(port, "/metrics")
    assert 'driftgate_records_total{topic="a-topic-of-this-test"} 1.0' in metrics.text
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert ask(port, "/else").status_code == 404


def test_a_service_without_progress_answers_that_it_is_not_live() -> None:
    health = Health("svc", patience=0.05, ready=True)
    health.watch(lambda: 1)
    port = serve(health, 0)
    until(lambda: ask(port, "/healthz").status_code == 503)
    assert ask(port, "/readyz").status_code == 503


def test_a_lag_source_that_hangs_does_not_hang_the_answer() -> None:
    health, asked, hangs = Health("svc"), threading.Event(), threading.Event()

    def lag() -> int:
        asked.set()
        hangs.wait(60)
        return 0

    health.watch(lag)
    port = serve(health, 0)
    assert asked.wait(30)
    assert ask(port, "/healthz").status_code == 200
    hangs.set()


def test_a_taken_port_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        serve(Health("svc"), other.getsockname()[1])


def test_signals_stay_with_the_service() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    port = serve(Health("svc"), 0)
    assert ask(port, "/healthz").status_code == 200
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_service_shows_pages_of_its_own() -> None:
    health = Health("svc")
    health.pages["looks"] = {"triage": {"harm": float("inf")}}
    port = serve(health, 0)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/looks").json() == {"triage": {"harm": "inf"}}
        health.pages["looks"] = {}
        assert client.get("/looks").json() == {}
        assert client.get("/other").status_code == 404
        assert client.get("/healthz").json()["service"] == "svc"
