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
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadConfig, BadInput, BusUnavailable
from driftgate.events import HOUR_MS
from driftgate.store import Store, migrate
from services.console import dlq_cli, letterbox, letters
from services.console.letterbox import Letterbox
from services.console.letters import Filter, Letter, Place

SCHEMAS = Path(__file__).parents[2] / "schemas"
NOW = NOON + 10 * HOUR_MS


@pytest.fixture(scope="module")
def engine() -> Iterator[Store]:
    store = Store.in_process()
    store.command("CREATE DATABASE IF NOT EXISTS letters_unit")
    store.command("USE letters_unit")
    migrate(store, SCHEMAS / "store")
    yield store
    store.command("DROP DATABASE letters_unit")
    store.close()


class Desk:
    """Dead letters in a store, a bus to send on, and the commands."""

    def __init__(self, store: Store, codec: Codec, folder: Path) -> None:
        self.store, self.codec = store, codec
        self.bus, self.artifacts = MemoryBus(), Artifacts(f"file://{folder}")
        self.bus.ensure(codec.topics.by_name.values())
        self.written = 0

    def box(self) -> Letterbox:
        return Letterbox(self.store, self.bus, self.codec, self.artifacts)

    def post(self, *records: Record, error: BadInput, note: str = "", **changes: Any) -> None:
        """Letters about records, as ingest-logger stores them."""
        rows = []
        for record in records:
            told = dict(dead_letters.letter(record, error, "ingest-logger", NOON).event) | changes
            source = {f"source_{name}": told.pop(name) for name in ("topic", "partition", "offset")}
            told["message"] += note
            place = {"topic": f"{record.topic}.dlq", "partition": 0, "offset": self.written}
            rows.append(told | source | place)
            self.written += 1
        self.store.append("dead_letters", rows)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(dlq_cli.app, list(words), env={"COLUMNS": "200"})

    def sent(self, *topics: str) -> list[tuple[bytes | None, bytes | None]]:
        return [(record.key, record.value) for record in self.bus.read_all(topics)]

    def audit(self) -> list[dict[str, Any]]:
        return [self.codec.decode("audit", value) for _, value in self.sent("audit")]


@pytest.fixture
def desk(engine: Store, codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    engine.command("TRUNCATE TABLE dead_letters")
    found = Desk(engine, codec, tmp_path)

    @contextmanager
    def opened(_: Settings) -> Iterator[tuple[Settings, Letterbox]]:
        yield Settings(), found.box()

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
    "unknown_request": ("request_id", "r1", "the id of a live inference"),
    "unhandled": ("repo_uri", "sha256:ab", "a readable model repo"),
}


@pytest.mark.parametrize("reason", sorted(dead_letters.REASONS))
def test_a_letter_of_each_reason_is_listed_and_shown_with_what_was_expected(
    desk: Desk, codec: Codec, reason: str
) -> None:
    field, value, expected = FIELDS[reason]
    desk.post(asked(codec, 7), error=BadInput(reason, field, value, expected))
    listed = desk.run("list", "--reason", reason).output
    assert "inferences/0/7" in listed
    assert reason in listed
    shown = desk.run("show", "inferences/0/7").output
    assert f"{reason}: {field}: got {value!r}, expected {expected}" in shown
    assert '"request_id": "r7"' in shown
    newest = codec.schemas.newest["inference"]
    assert f"schema id: {newest.id}, inference version {newest.number}" in shown


def test_what_cannot_be_decoded_is_shown_as_bytes(desk: Desk, codec: Codec) -> None:
    error = BadInput("malformed", "value", b"", "Avro")
    desk.post(Record("inferences", 0, 1, None, b'{"json": 1}'), error=error)
    desk.post(Record("inferences", 0, 2, b"\xff", b"\0\0\0\xff\xff" + bytes(300)), error=error)
    shown = desk.run("show", "inferences/0/1").output
    assert '7b 22 6a 73 6f 6e 22 3a 20 31 7d                 {"json": 1}' in shown
    assert "schema id: none" in shown
    shown = desk.run("show", "inferences/0/2").output
    known = [version.id for version in codec.schemas.versions("inference")]
    assert f"65535, which is not registered; inference has {known}" in shown
    assert "49 more bytes" in shown


def test_a_record_with_several_letters_is_listed_once(desk: Desk, codec: Codec) -> None:
    desk.post(*[asked(codec, 3)] * 3, error=LABEL)
    assert desk.run("list").output.count("inferences/0/3") == 1
    assert desk.run("show", "inferences/0/3").output.count("letter inferences.dlq/0/") == 3


def test_the_list_shows_the_newest_and_counts_all(desk: Desk, codec: Codec) -> None:
    for n in range(6):
        desk.post(asked(codec, n), error=LABEL, first_seen=NOON + n)
    output = desk.run("list", "--limit", "2").output
    assert [n for n in range(6) if f"inferences/0/{n}" in output] == [4, 5]
    assert "6" in output.splitlines()[-2]


def matched(desk: Desk, **fields: Any) -> list[int]:
    return [one.place.offset for one in desk.box().matching(Filter(**fields))]


def test_filters_hold_together(desk: Desk, codec: Codec) -> None:
    desk.post(asked(codec, 1, model="other"), error=LABEL, first_seen=NOON)
    desk.post(asked(codec, 2), error=LABEL, first_seen=NOON + HOUR_MS)
    desk.post(asked(codec, 3), error=BadInput("bad_time", "time", 0, "REFUND's quote: '"))
    desk.post(said(codec, 4), error=LABEL)
    assert matched(desk) == [4, 1, 2, 3]
    assert matched(desk, topic="inferences") == [1, 2, 3]
    assert matched(desk, reason="unknown_label") == [4, 1, 2]
    assert matched(desk, since=NOON + 1) == [2]
    assert matched(desk, until=NOON) == [4, 1, 3]
    assert matched(desk, contains="refund's quote: '") == [3]
    assert matched(desk, model="other") == [1]
    assert matched(desk, places=(Place("inferences", 0, 2), Place("feedback", 1, 4))) == [4, 2]
    assert matched(desk, topic="inferences", reason="unknown_label", since=NOON + 1) == [2]
    assert matched(desk, topic="feedback", reason="bad_time") == []


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
    desk: Desk, words: list[str], hint: str
) -> None:
    result = desk.run(*words)
    assert result.exit_code == 2
    assert hint in result.output


def test_times_are_spans_or_dates() -> None:
    assert letters.moment("--since", "2h", NOON) == NOON - 2 * HOUR_MS
    assert letters.moment("--since", "2026-01-05", 0) == NOON
    assert letters.moment("--since", "2026-01-05T01:00:00+01:00", 0) == NOON


# ---------------------------------------------------------------- replay and drop


def test_a_replay_sends_the_original_bytes_once(desk: Desk, codec: Codec) -> None:
    records = [asked(codec, n) for n in range(3)]
    desk.post(*records, error=LABEL)
    result = desk.run("replay", "--reason", "unknown_label", "--yes")
    assert result.exit_code == 0, result.output
    assert sorted(desk.sent("inferences")) == sorted((r.key, r.value) for r in records)
    assert "replayed" in desk.run("list").output
    assert "nothing to send" in desk.run("replay", "--everything", "--yes").output
    assert len(desk.sent("inferences")) == 3
    desk.run("replay", "inferences/0/1", "--again", "--yes")
    assert len(desk.sent("inferences")) == 4
    assert "2 dead letters replayed" not in desk.run("show", "inferences/0/1").output
    assert desk.run("show", "inferences/0/1").output.count("dlq.replay") == 2


def test_a_dry_run_and_a_no_send_nothing(desk: Desk, codec: Codec) -> None:
    desk.post(asked(codec, 1), error=LABEL)
    assert "would send 1" in desk.run("replay", "--everything", "--dry-run").output
    assert desk.run("replay", "--everything").exit_code == 1  # asked, and nobody said yes
    assert desk.sent("inferences", "audit") == []


def test_the_audit_says_who_sent_what(desk: Desk, codec: Codec) -> None:
    declared = {"model": "triage", "repo_hash": "", "repo_uri": "", "actor": "", "time": 0}
    producer = desk.bus.producer()
    producer.send("models", b"triage", codec.encode("models", declared))
    producer.flush()
    desk.post(asked(codec, 1), asked(codec, 2, model="made up"), error=LABEL)
    desk.run("replay", "--topic", "inferences", "--yes")
    desk.run("replay", "--topic", "inferences", "--again", "--yes")
    entries = desk.audit()
    assert [(e["service"], e["model"], e["decision"]) for e in entries] == [
        ("console", "triage", "dlq.replay"),
        ("console", "-", "dlq.replay"),
    ] * 2
    assert '"filters":{"topic":"inferences"},"letters":["inferences/0/1"]' in entries[0]["inputs"]
    assert broken_links(entries) == []


def test_what_a_replay_would_spoil_is_refused(desk: Desk, codec: Codec) -> None:
    lost = BadInput("unknown_request", "request_id", "r1", "the id of a live inference")
    unhandled = BadInput("unhandled", "repo_uri", "sha256:ab", "a readable model repo")
    desk.post(said(codec, 1), error=lost)
    desk.post(said(codec, 1), error=unhandled)
    desk.post(Record("models", 0, 1, b"triage", b"old"), error=unhandled)
    desk.post(Record("inferences.dlq", 0, 1, b"k", b"?"), error=BadInput("malformed", "", "", ""))
    result = desk.run("replay", "--everything", "--again", "--yes")
    assert "this feedback is stored" in " ".join(result.output.split())
    assert result.output.count("refused") == 3
    assert "refused" in desk.run("replay", "--reason", "unhandled", "--yes").output
    assert desk.sent("feedback", "models", "inferences.dlq") == []


def test_a_dropped_letter_is_hidden_and_kept(desk: Desk, codec: Codec) -> None:
    desk.post(asked(codec, 1), asked(codec, 2), error=LABEL)
    assert "1 dropped" in desk.run("drop", "inferences/0/1", "--yes").output
    assert "inferences/0/1" not in desk.run("list").output
    assert "inferences/0/1" in desk.run("list", "--all").output
    assert "1 replayed" in desk.run("replay", "--everything", "--yes").output
    assert "nothing to drop" in desk.run("drop", "--everything", "--yes").output


def test_what_was_parked_is_sent_from_its_artifact(desk: Desk, codec: Codec) -> None:
    record = asked(codec, 1, input="long")
    uri, gone = desk.artifacts.put(record.value or b""), "sha256:" + "0" * 64
    note = "; its value is artifact "
    desk.post(record, error=LABEL, note=note + uri, value=None)
    desk.post(asked(codec, 2), error=LABEL, note=note + gone, value=None)
    assert matched(desk, model="triage") == [1]
    result = desk.run("replay", "--everything", "--yes")
    assert result.exit_code == 2
    assert f"inferences/0/2: artifact {gone}" in result.output
    assert desk.sent("inferences") == [(record.key, record.value)]
    assert [one.state for one in desk.box().matching(Filter())] == ["replayed", "open"]


def test_an_artifact_that_a_record_only_speaks_of_is_not_read() -> None:
    uri = "sha256:" + "0" * 64
    assert letters.parked(f"output: got '; its value is artifact {uri}', expected a label") == {}
    both = f"too long; its value is artifact {uri}; its key is artifact {uri}"
    assert letters.parked(both) == {"value": uri, "key": uri}


def test_a_crash_before_the_audit_leaves_the_letter_open(
    desk: Desk, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise BusUnavailable("away")

    desk.post(asked(codec, 1), error=LABEL)
    with monkeypatch.context() as broken:
        broken.setattr(letterbox, "publish", away)
        assert desk.run("replay", "--everything", "--yes").exit_code == 3
    assert len(desk.sent("inferences")) == 1
    assert "1 replayed" in desk.run("replay", "--everything", "--yes").output
    assert len(desk.sent("inferences")) == 2, "sent twice; nothing is lost"


def test_what_a_replay_leads_to_is_not_replayed_with_it(
    desk: Desk, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letterbox, "QUERY_LETTERS", 1)
    monkeypatch.setattr(letters, "PAGE_LETTERS", 1)
    desk.post(asked(codec, 1), asked(codec, 2), error=LABEL)
    box = desk.box()
    asked_ = letterbox.Asked(Filter(), "tester", NOW)
    pages = 0
    for number, _ in enumerate(box.decide(letters.REPLAY, box.matching(Filter()), asked_)):
        desk.post(asked(codec, 10 + number), error=LABEL, stored_at=box.as_of + 1000)
        pages += 1
    assert pages == 2
    assert len(desk.sent("inferences")) == 2


def test_pages_are_bounded_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "PAGE_LETTERS", 3)
    monkeypatch.setattr(letters, "PAGE_BYTES", 100)

    def sizes(*given: int) -> list[list[int]]:
        place = Place("inferences", 0, 0)
        made = (Letter(place, "", "", frozenset(), 0, size, "open") for size in given)
        return [[letter.size for letter in page] for page in letters.pages(made)]

    assert sizes(1, 1, 1, 1) == [[1, 1, 1], [1]]
    assert sizes(500, 60, 40, 1) == [[500], [60, 40], [1]]
    assert sizes() == []


def test_wrong_place() -> None:
    with pytest.raises(BadConfig, match="expected TOPIC/PARTITION/OFFSET"):
        Place.parse("inferences/0/x", Codec.load(SCHEMAS).topics)
