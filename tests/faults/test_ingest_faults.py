"""Ingestion under faults: whatever is killed, every record is a row or a dead letter, once. The
short form of `make bench NAME=ingest-faults`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingesting import whole

from bench.parts import faults
from bench.parts.bed import Bed
from bench.parts.ledger import Ledger
from deploy.local import stack as local
from deploy.local.plan import StackConfig
from driftgate.bus import Position
from driftgate.errors import StoreRefused, StoreUnavailable
from driftgate.store import Store
from services.ingest_logger.fence import Owner, is_fenced, note
from services.ingest_logger.rows import Table

pytestmark = pytest.mark.stack
POSITION = Position("inferences", 0)
KILLS, REBALANCES = 3, 4


def silent(_: str) -> None:
    """Nobody watches."""


@pytest.fixture
def ledger(stack: StackConfig, tmp_path: Path) -> Iterator[Ledger]:
    bed = Bed(stack, tmp_path)
    yield Ledger(bed, rate=300)
    bed.close()


def check(ledger: Ledger) -> None:
    """Lets ingestion finish, and compares."""
    with ledger.bed.ingesting():
        ledger.bed.wait("not all was read", lambda: ledger.bed.behind() == 0)
    found = ledger.check()
    assert found.faults == 0, found
    assert found.answers > 500


def test_killed_at_random_points_under_load(ledger: Ledger) -> None:
    with ledger.sending():
        faults.kills(ledger, KILLS, silent)
    check(ledger)


def test_outcomes_sent_again_after_a_kill_are_stored_once(ledger: Ledger) -> None:
    with ledger.sending():
        faults.kills_between_outcomes_and_mark(ledger, KILLS, silent)
    check(ledger)
    (sent, stored) = ledger.outcomes_sent(), ledger.bed.rows("outcomes")
    assert sent > stored, "no kill came between sending and marking: the test proves nothing"


def test_members_join_leave_and_are_killed(ledger: Ledger) -> None:
    with ledger.sending():
        faults.rebalances(ledger, REBALANCES, silent)
    check(ledger)


def test_a_frozen_member_wakes_up_after_its_partitions_went_to_another(ledger: Ledger) -> None:
    with ledger.sending():
        faults.frozen(ledger, silent)
    check(ledger)


def test_the_store_goes_away_and_comes_back(ledger: Ledger) -> None:
    with ledger.sending(), ledger.bed.ingesting() as process:
        ledger.bed.wait("no progress", lambda: ledger.bed.rows() > 100)
        local.kill(ledger.bed.stack.state_dir, "clickhouse")
        rows = ledger.answers
        ledger.bed.wait("it does not go on", lambda: ledger.bed.rows() > rows)
        assert process.poll() is None, "it waits for the store, it does not die of it"
        assert "retrying" in ledger.bed.log("0").read_text()
    check(ledger)


@pytest.fixture
def insert(ledger: Ledger) -> object:
    """Inserts a row as an owner, whatever else the condition says."""
    table, store = Table.of("inferences", ledger.bed.codec), ledger.bed.store
    event = whole(ledger.bed.codec, "inferences", ledger.bed.traffic.inference(1))
    rows = [{"topic": POSITION.topic, "partition": 0, "offset": n} | event for n in range(50)]

    def insert(owner: Owner, more: str = "true") -> None:
        condition = f"{owner.condition(POSITION)} AND {more}"
        store.append_columns("inferences", table.arrow(rows), owner.name, condition, note(POSITION))

    return insert


def test_an_insert_of_a_former_owner_is_refused(ledger: Ledger, insert) -> None:  # type: ignore[no-untyped-def]
    store = ledger.bed.store
    first, second = Owner(store, "first"), Owner(store, "second")
    first.take([POSITION])
    insert(first)
    second.take([POSITION])
    with pytest.raises(StoreRefused) as refused:
        insert(first)
    assert is_fenced(refused.value)
    assert ledger.bed.rows() == 50


def test_an_insert_that_is_under_way_ends_when_another_takes_over(ledger: Ledger, insert) -> None:  # type: ignore[no-untyped-def]
    store = ledger.bed.store
    first, second = Owner(store, "first"), Owner(store, "second")
    first.take([POSITION])
    errors: list[Exception] = []

    def slowly() -> None:
        try:
            insert(first, "sleepEachRow(0.05) = 0")
        except (StoreRefused, StoreUnavailable) as error:
            errors.append(error)

    thread = threading.Thread(target=slowly)
    thread.start()
    ledger.bed.wait("it does not begin", lambda: is_inserting(store), 30)
    second.take([POSITION])
    assert not is_inserting(store), "nothing of the former owner's can come any more"
    thread.join(30)
    assert len(errors) == 1
    assert ledger.bed.rows() == 0


def is_inserting(store: Store) -> bool:
    sql = "SELECT count() AS n FROM system.processes WHERE query LIKE '%/* ingest inferences-0 */%'"
    return bool(store.query(f"{sql} AND query_kind = 'Insert'")[0]["n"])
