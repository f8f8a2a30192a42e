"""Who keeps time writes ticks: when they are due, once, and in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from driftgate.bus_memory import MemoryBus
from driftgate.codec import Codec
from driftgate.errors import BusUnavailable
from driftgate.events import Model, Tick
from driftgate.health import Health, log_for
from driftgate.runtime.ticker import Ticker
from driftgate.system_clock import Clock
from services.clock.keeper import Keeper

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")
NOON = 1_800_000_000_000


@dataclass
class Machine:
    """A machine's clock, and a bus."""

    at: int = NOON
    passed: float = 0.0
    bus: MemoryBus = field(default_factory=MemoryBus)

    def __post_init__(self) -> None:
        self.bus.machine = lambda: self.at
        self.bus.ensure(CODEC.topics.by_name.values())

    def keeper(self, replica: str = "0", pace: float = 1.0) -> Keeper:
        return Keeper(
            bus=self.bus,
            codec=CODEC,
            replica=replica,
            every_seconds=10,
            pace=pace,
            log=log_for("clock"),
            health=Health("clock"),
            machine=lambda: self.at,
            elapsed=lambda: self.passed,
        )

    def play(self, seconds: int, *keepers: Keeper) -> None:
        members = [
            (
                keeper,
                self.bus.consumer(
                    ["clock"], "clock", f"clock-{keeper.replica}", keeper, exclusive=True
                ),
                Ticker(self.bus, CODEC, "live", keeper.pace),
            )
            for keeper in keepers
        ]
        for _ in range(seconds):
            for keeper, consumer, ticker in members:
                keeper.step(consumer, ticker)
            self.at += 1000
            self.passed += 1
        for _, consumer, _ in members:
            consumer.close()

    @property
    def ticks(self) -> list[Tick]:
        found = [CODEC.event("clock", record.value) for record in self.bus.read_all(["clock"])]
        return [tick for tick in found if isinstance(tick, Tick)]


def test_a_tick_stands_at_each_multiple_of_the_pause_and_says_what_lies_before_it() -> None:
    machine = Machine()
    machine.play(15, machine.keeper())
    declared = Model(model="a", repo_hash="1", repo_uri="", actor="", time=NOON)
    machine.bus.producer().send(*CODEC.record(declared))
    machine.play(10, machine.keeper())
    assert [tick.time for tick in machine.ticks] == [NOON, NOON + 10_000, NOON + 20_000]
    assert [tick.positions.get("models-0", 0) for tick in machine.ticks] == [0, 0, 1]
    assert {tick.pace for tick in machine.ticks} == {1.0}
    assert not any(
        name.startswith(("clock", "audit")) for t in machine.ticks for name in t.positions
    )


def test_two_replicas_write_each_tick_once() -> None:
    machine = Machine()
    machine.play(30, machine.keeper("0"), machine.keeper("1"))
    assert [tick.time for tick in machine.ticks] == [NOON, NOON + 10_000, NOON + 20_000]


def test_a_paced_clock_runs_faster_and_goes_on_after_a_restart() -> None:
    machine = Machine()
    machine.play(20, machine.keeper(pace=1000))
    first = machine.ticks[0].time
    assert [tick.time - first for tick in machine.ticks] == [0, 10_000_000]
    machine.at += 20_000  # away for 20 s
    machine.play(11, machine.keeper(pace=1000))
    assert machine.ticks[2].time - first >= 3 * 10_000_000
    assert machine.ticks[-1].time - first >= 4 * 10_000_000


def test_time_never_goes_back_when_the_machine_s_clock_does() -> None:
    machine = Machine()
    machine.play(11, machine.keeper())
    machine.at = NOON - 3_600_000
    machine.play(30, machine.keeper())
    assert [tick.time for tick in machine.ticks] == [NOON, NOON + 10_000]


def test_the_time_between_ticks_is_the_machine_s_at_the_tick_s_pace() -> None:
    machine = Machine()
    clock = Clock(machine=lambda: machine.at)
    assert clock.now() == 0
    clock.advance(Tick(world="w", time=5_000, pace=100.0), NOON)
    machine.at = NOON + 10
    assert clock.now() == 6_000
    clock.advance(Tick(world="w", time=4_000), NOON)  # older: passed over
    assert clock.now() == 6_000
    clock.advance(Tick(world="w", time=9_000), NOON + 10)
    machine.at = NOON + 60_000
    assert clock.now() == 9_000  # a world's time stands still between its ticks


DAY_MS = 86_400_000


def test_a_jump_of_the_machine_s_clock_passes_no_time() -> None:
    machine = Machine()
    broker = NOON
    machine.bus.machine = lambda: broker + round(machine.passed * 1000)
    keeper = machine.keeper()
    machine.play(11, keeper)
    machine.at += 30 * DAY_MS
    machine.play(100, keeper)
    assert {tick.time for tick in machine.ticks} == {NOON, NOON + 10_000}
    keeper.health.watch(keeper.overdue)
    keeper.health.sample()
    assert keeper.health.lag == 9
    assert "no tick is written" in keeper.health.detail["waiting"]
    machine.play(20, machine.keeper())  # a restart: the broker's clock says that no month passed
    assert {tick.time for tick in machine.ticks} == {NOON, NOON + 10_000}
    machine.at -= 30 * DAY_MS
    machine.play(2, keeper)
    assert machine.ticks[-1].time > NOON + 100_000
    assert keeper.health.detail["waiting"] is None


def test_time_that_passed_while_nobody_kept_it_passes() -> None:
    machine = Machine()
    machine.play(11, machine.keeper())
    machine.at += 3 * DAY_MS
    machine.play(20, machine.keeper())
    assert machine.ticks[-1].time >= NOON + 3 * DAY_MS
    machine.at += 3 * DAY_MS  # asleep, and the count went on
    machine.passed += 3 * DAY_MS / 1000
    machine.play(20, machine.keeper())
    assert machine.ticks[-1].time >= NOON + 6 * DAY_MS


def test_a_night_without_kafka_at_the_start_stops_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    machine.play(11, machine.keeper())
    machine.at += 3 * DAY_MS
    write, away = Ticker.write, iter([True])

    def sometimes(ticker: Ticker, time: int) -> None:
        if next(away, False):
            raise BusUnavailable("Kafka is starting too")
        write(ticker, time)

    monkeypatch.setattr(Ticker, "write", sometimes)
    keeper = machine.keeper()
    with pytest.raises(BusUnavailable):
        machine.play(1, keeper)
    machine.play(20, keeper)
    assert machine.ticks[-1].time >= NOON + 3 * DAY_MS


def test_live_time_follows_a_world_s_whenever_that_was() -> None:
    machine = Machine()
    Ticker(machine.bus, CODEC, "2020", 0.0).write(NOON - 2000 * DAY_MS)
    machine.play(11, machine.keeper())
    assert machine.ticks[-1].time == NOON + 10_000
