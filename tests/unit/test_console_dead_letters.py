"""Dead letters as an operator meets them: listed, shown, sent again or given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ingesting import NOON, feedback, inference
from typer.testing import CliRunner, Result

from driftgate import dead_letters
from driftgate.artifacts import Artifacts
from driftgate.audit import broken_links
from driftgate.bus import Record
from driftgate.bus_memory import MemoryBus
from driftgate.bus_tools import events, publish
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, BadInput, BusUnavailable
from driftgate.events import HOUR_MS, AuditEntry, Model
from driftgate.store import Store, migrate
from services.console import dead_letter_queue, dlq_cli
from services.console import dead_letter_selection as selection
from services.console.dead_letter_queue import DeadLetterQueue
from services.console.dead_letter_selection import DeadRecord, Filter, Place

SCHEMAS = Path(__file__).parents[2] / "schemas"
NOW = NOON + 10 * HOUR_MS


@pytest.fixture(scope="module")
def engine() -> Iterator[Store]:
    store = Store.in_process()
    store.command("CREATE DATABASE IF NOT EXISTS dead_letters_unit")
    store.command("USE dead_letters_unit")
    migrate(store, SCHEMAS / "store")
    yield store
    store.command("DROP DATABASE dead_letters_unit")
    store.close()


class Harness:
    """Dead letters in a store, a bus to send on, and the commands."""

    def __init__(self, store: Store, codec: Codec, folder: Path) -> None:
        self.store, self.codec = store, codec
        self.bus, self.artifacts = MemoryBus(), Artifacts(f"file://{folder}")
        self.bus.ensure(codec.topics.by_name.values())
        self.written = 0

    def queue(self) -> DeadLetterQueue:
        return DeadLetterQueue(self.store, self.bus, self.codec, self.artifacts)

    def post(self, *records: Record, error: BadInput, note: str = "", **changes: Any) -> None:
        """Letters about records, as ingest-logger stores them."""
        rows = []
        for record in records:
            letter = dead_letters.dead_letter(record, error, "ingest-logger", NOON)
            row = letter.as_dict() | changes
            source = {f"source_{name}": row.pop(name) for name in ("topic", "partition", "offset")}
            row["message"] += note
            place = {"topic": f"{record.topic}.dlq", "partition": 0, "offset": self.written}
            rows.append(row | source | place)
            self.written += 1
        self.store.append("dead_letters", rows)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(dlq_cli.app, list(words), env={"COLUMNS": "200"})

    def sent(self, *topics: str) -> list[tuple[bytes | None, bytes | None]]:
        return [(record.key, record.value) for record in self.bus.read_all(topics)]

    def audit(self) -> list[AuditEntry]:
        return list(events(self.bus, self.codec, AuditEntry))


@pytest.fixture
def harness(
    engine: Store, codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Harness:
    engine.command("TRUNCATE TABLE dead_letters")
    found = Harness(engine, codec, tmp_path)

    @contextmanager
    def opened(_: Settings) -> Iterator[tuple[Settings, DeadLetterQueue]]:
        yield Settings(), found.queue()

    monkeypatch.setattr(dlq_cli, "opened", opened)
    monkeypatch.setattr(dlq_cli, "settings", lambda *_: Settings())
    monkeypatch.setattr(dlq_cli, "now", lambda _: NOW)
    return found


LABEL = BadInput(
    "unknown_label", "output", "refnd", "a label of task.labels: did you mean 'refund'?"
)


def asked(codec: Codec, offset: int, **changes: Any) -> Record:
    event = inference(f"r{offset}", **changes)
    value = codec.encode("inferences", event)
    return Record("inferences", 0, offset, event["request_id"].encode(), value)


def said(codec: Codec, offset: int) -> Record:
    return Record("feedback", 1, offset, b"r", codec.encode("feedback", feedback(f"r{offset}")))


# ---------------------------------------------------------------- list and show

FIELDS = {
    "malformed": ("value", b"{}", "a zero byte, four of schema id, Avro"),
    "unknown_schema": ("schema id", 65535, "one of [1] (inference)"),
    "too_large": ("value", 5_000_000, "at most 1000000 bytes with its key"),
    "bad_time": ("time", "1970-01-01T00:00:00Z", "from 2025 to 2026"),
    "bad_number": ("confidence", float("nan"), "a number from 0 to 1"),
    "empty": ("input", "", "a text that is not blank"),
    "unknown_model": ("model", "triag", "did you mean 'triage'?"),
    "unknown_label": ("output", "refnd", "did you mean 'refund'?"),
    "bad_format": ("edited", "{team: billing}", "JSON"),
    "unknown_request": ("request_id", "r1", "the id of a live inference"),
    "unhandled": ("repo_uri", "sha256:ab", "a readable model repo"),
}


@pytest.mark.parametrize("reason", sorted(dead_letters.REASONS))
def test_a_letter_of_each_reason_is_listed_and_shown_with_what_was_expected(
    harness: Harness, codec: Codec, reason: str
) -> None:
    field, value, expected = FIELDS[reason]
    harness.post(asked(codec, 7), error=BadInput(reason, field, value, expected))
    listed = harness.run("list", "--reason", reason).output
    assert "inferences/0/7" in listed
    assert reason in listed
    shown = harness.run("show", "inferences/0/7").output
    assert f"{reason}: {field}: got {value!r}, expected {expected}" in shown
    assert '"request_id": "r7"' in shown
    newest = codec.schemas.newest["inference"]
    assert f"schema id: {newest.id}, inference version {newest.number}" in shown


def test_what_cannot_be_decoded_is_shown_as_bytes(harness: Harness, codec: Codec) -> None:
    error = BadInput("malformed", "value", b"", "Avro")
    harness.post(Record("inferences", 0, 1, None, b'{"json": 1}'), error=error)
    harness.post(Record("inferences", 0, 2, b"\xff", b"\0\0\0\xff\xff" + bytes(300)), error=error)
    shown = harness.run("show", "inferences/0/1").output
    assert '7b 22 6a 73 6f 6e 22 3a 20 31 7d                 {"json": 1}' in shown
    assert "schema id: none" in shown
    shown = harness.run("show", "inferences/0/2").output
    known = [version.id for version in codec.schemas.versions("inference")]
    assert f"65535, which is not registered; inference has {known}" in shown
    assert "49 more bytes" in shown


def test_a_record_with_several_letters_is_listed_once(harness: Harness, codec: Codec) -> None:
    harness.post(*[asked(codec, 3)] * 3, error=LABEL)
    assert harness.run("list").output.count("inferences/0/3") == 1
    assert harness.run("show", "inferences/0/3").output.count("letter inferences.dlq/0/") == 3


def test_the_list_shows_the_newest_and_counts_all(harness: Harness, codec: Codec) -> None:
    for n in range(6):
        harness.post(asked(codec, n), error=LABEL, first_seen=NOON + n)
    output = harness.run("list", "--limit", "2").output
    assert [n for n in range(6) if f"inferences/0/{n}" in output] == [4, 5]
    assert "6" in output.splitlines()[-2]


def matched(harness: Harness, **fields: Any) -> list[int]:
    return [one.place.offset for one in harness.queue().matching(Filter(**fields))]


def test_filters_hold_together(harness: Harness, codec: Codec) -> None:
    harness.post(asked(codec, 1, model="other"), error=LABEL, first_seen=NOON)
    harness.post(asked(codec, 2), error=LABEL, first_seen=NOON + HOUR_MS)
    harness.post(asked(codec, 3), error=BadInput("bad_time", "time", 0, "REFUND's quote: '"))
    harness.post(said(codec, 4), error=LABEL)
    assert matched(harness) == [4, 1, 2, 3]
    assert matched(harness, topic="inferences") == [1, 2, 3]
    assert matched(harness, reason="unknown_label") == [4, 1, 2]
    assert matched(harness, since=NOON + 1) == [2]
    assert matched(harness, until=NOON) == [4, 1, 3]
    assert matched(harness, contains="refund's quote: '") == [3]
    assert matched(harness, model="other") == [1]
    assert matched(harness, places=(Place("inferences", 0, 2), Place("feedback", 1, 4))) == [4, 2]
    assert matched(harness, topic="inferences", reason="unknown_label", since=NOON + 1) == [2]
    assert matched(harness, topic="feedback", reason="bad_time") == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["list", "--topic", "inference"], "did you mean 'inferences'?"),
        (["list", "--reason", "unknown_lable"], "did you mean 'unknown_label'?"),
        (["list", "--since", "yesterday"], "a span such as 30m, 2h or 3d"),
        (["show", "inferences-0-1"], "TOPIC/PARTITION/OFFSET"),
        (["show", "inferences/0/999"], "there is no dead letter inferences/0/999"),
        (["replay"], "--everything"),
        (["drop"], "--everything"),
        (["replay", "inferences/0/998"], "no dead letter is like that: inferences/0/998"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(
    harness: Harness, words: list[str], hint: str
) -> None:
    result = harness.run(*words)
    assert result.exit_code == 2
    assert hint in result.output


def test_times_are_spans_or_dates() -> None:
    assert selection.moment("--since", "2h", NOON) == NOON - 2 * HOUR_MS
    assert selection.moment("--since", "2026-01-05", 0) == NOON
    assert selection.moment("--since", "2026-01-05T01:00:00+01:00", 0) == NOON


# ---------------------------------------------------------------- replay and drop


def test_a_replay_sends_the_original_bytes_once(harness: Harness, codec: Codec) -> None:
    records = [asked(codec, n) for n in range(3)]
    harness.post(*records, error=LABEL)
    result = harness.run("replay", "--reason", "unknown_label", "--yes")
    assert result.exit_code == 0, result.output
    assert sorted(harness.sent("inferences")) == sorted((r.key, r.value) for r in records)
    assert "replayed" in harness.run("list").output
    assert "nothing to send" in harness.run("replay", "--everything", "--yes").output
    assert len(harness.sent("inferences")) == 3
    harness.run("replay", "inferences/0/1", "--again", "--yes")
    assert len(harness.sent("inferences")) == 4
    assert "2 dead letters replayed" not in harness.run("show", "inferences/0/1").output
    assert harness.run("show", "inferences/0/1").output.count("dlq.replay") == 2


def test_a_dry_run_and_a_no_send_nothing(harness: Harness, codec: Codec) -> None:
    harness.post(asked(codec, 1), error=LABEL)
    assert "would send 1" in harness.run("replay", "--everything", "--dry-run").output
    assert harness.run("replay", "--everything").exit_code == 1  # asked, and nobody said yes
    assert harness.sent("inferences", "audit") == []


def test_the_audit_says_who_sent_what(harness: Harness, codec: Codec) -> None:
    declared = Model(model="triage", repo_hash="", repo_uri="", actor="", time=0)
    publish(harness.bus.producer(), codec, [declared])
    harness.post(asked(codec, 1), asked(codec, 2, model="made up"), error=LABEL)
    harness.run("replay", "--topic", "inferences", "--yes")
    harness.run("replay", "--topic", "inferences", "--again", "--yes")
    entries = harness.audit()
    assert [(e.service, e.model, e.decision) for e in entries] == [
        ("console", "triage", "dlq.replay"),
        ("console", "-", "dlq.replay"),
    ] * 2
    assert '"filters":{"topic":"inferences"},"letters":["inferences/0/1"]' in entries[0].inputs
    assert broken_links(entries) == []


def test_what_a_replay_would_spoil_is_refused(harness: Harness, codec: Codec) -> None:
    lost = BadInput("unknown_request", "request_id", "r1", "the id of a live inference")
    unhandled = BadInput("unhandled", "repo_uri", "sha256:ab", "a readable model repo")
    harness.post(said(codec, 1), error=lost)
    harness.post(said(codec, 1), error=unhandled)
    harness.post(Record("models", 0, 1, b"triage", b"old"), error=unhandled)
    harness.post(
        Record("inferences.dlq", 0, 1, b"k", b"?"), error=BadInput("malformed", "", "", "")
    )
    result = harness.run("replay", "--everything", "--again", "--yes")
    assert "this feedback is stored" in " ".join(result.output.split())
    assert result.output.count("refused") == 3
    assert "refused" in harness.run("replay", "--reason", "unhandled", "--yes").output
    assert harness.sent("feedback", "models", "inferences.dlq") == []


def test_a_dropped_letter_is_hidden_and_kept(harness: Harness, codec: Codec) -> None:
    harness.post(asked(codec, 1), asked(codec, 2), error=LABEL)
    assert "1 dropped" in harness.run("drop", "inferences/0/1", "--yes").output
    assert "inferences/0/1" not in harness.run("list").output
    assert "inferences/0/1" in harness.run("list", "--all").output
    assert "1 replayed" in harness.run("replay", "--everything", "--yes").output
    assert "nothing to drop" in harness.run("drop", "--everything", "--yes").output


def test_what_was_parked_is_sent_from_its_artifact(harness: Harness, codec: Codec) -> None:
    record = asked(codec, 1, input="long")
    uri, gone = harness.artifacts.put(record.value or b""), "sha256:" + "0" * 64
    note = "; its value is artifact "
    harness.post(record, error=LABEL, note=note + uri, value=None)
    harness.post(asked(codec, 2), error=LABEL, note=note + gone, value=None)
    assert matched(harness, model="triage") == [1]
    result = harness.run("replay", "--everything", "--yes")
    assert result.exit_code == 2
    assert f"inferences/0/2: artifact {gone}" in result.output
    assert harness.sent("inferences") == [(record.key, record.value)]
    assert [one.state for one in harness.queue().matching(Filter())] == ["replayed", "open"]


def test_an_artifact_that_a_record_only_speaks_of_is_not_read() -> None:
    uri = "sha256:" + "0" * 64
    assert selection.parked(f"output: got '; its value is artifact {uri}', expected a label") == {}
    both = f"too long; its value is artifact {uri}; its key is artifact {uri}"
    assert selection.parked(both) == {"value": uri, "key": uri}


def test_a_crash_before_the_audit_leaves_the_letter_open(
    harness: Harness, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise BusUnavailable("away")

    harness.post(asked(codec, 1), error=LABEL)
    with monkeypatch.context() as broken:
        broken.setattr(dead_letter_queue, "publish", away)
        assert harness.run("replay", "--everything", "--yes").exit_code == 3
    assert len(harness.sent("inferences")) == 1
    assert "1 replayed" in harness.run("replay", "--everything", "--yes").output
    assert len(harness.sent("inferences")) == 2, "sent twice; nothing is lost"


def test_what_a_replay_leads_to_is_not_replayed_with_it(
    harness: Harness, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queue, "QUERY_RECORDS", 1)
    monkeypatch.setattr(selection, "PAGE_RECORDS", 1)
    harness.post(asked(codec, 1), asked(codec, 2), error=LABEL)
    queue = harness.queue()
    run = dead_letter_queue.Run(Filter(), "tester", NOW)
    pages = 0
    for number, _ in enumerate(queue.decide(selection.REPLAY, queue.matching(Filter()), run)):
        harness.post(asked(codec, 10 + number), error=LABEL, stored_at=queue.as_of + 1000)
        pages += 1
    assert pages == 2
    assert len(harness.sent("inferences")) == 2


def test_pages_are_bounded_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "PAGE_RECORDS", 3)
    monkeypatch.setattr(selection, "PAGE_BYTES", 100)

    def sizes(*given: int) -> list[list[int]]:
        place = Place("inferences", 0, 0)
        made = (DeadRecord(place, "", "", frozenset(), 0, size, "open") for size in given)
        return [[record.size for record in page] for page in selection.pages(made)]

    assert sizes(1, 1, 1, 1) == [[1, 1, 1], [1]]
    assert sizes(500, 60, 40, 1) == [[500], [60, 40], [1]]
    assert sizes() == []


def test_wrong_place() -> None:
    with pytest.raises(BadConfig, match="expected TOPIC/PARTITION/OFFSET"):
        Place.parse("inferences/0/x", Codec.load(SCHEMAS).topics)
