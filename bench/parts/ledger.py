"""What was sent, and whether that is what is stored: by place on Kafka, by id and by content."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.parts.bed import Bed, Sender
from bench.parts.traffic import FEEDBACK_EVERY
from driftgate.subjects import subject_hash

POISON_EVERY = 100
CHUNK = 50
PLACES = "uniqExact(topic, partition, offset)"
# Each table holds as many rows as different values of this.
ONCE = (
    ("inferences", PLACES),
    ("inferences", "uniqExact(request_id)"),
    ("feedback", PLACES),
    ("outcomes", "uniqExact(outcome_id)"),
)
COMPARED = (
    *("request_id", "version", "input", "features", "slices", "output", "confidence"),
    *("tokens", "subject"),
)
TIME = "toUnixTimestamp64Milli(time) AS ms"


@dataclass(frozen=True, slots=True)
class Findings:
    """Counts; all but the first three are faults."""

    answers: int
    feedback: int
    poison: int
    lost: int
    doubled: int
    changed: int
    outcomes_lost: int
    outcomes_wrong: int
    dead_letters_lost: int

    @property
    def faults(self) -> int:
        wrong = (self.lost, self.doubled, self.changed)
        return sum(wrong) + self.outcomes_lost + self.outcomes_wrong + self.dead_letters_lost


@dataclass
class Ledger:
    """Sends answers, feedback before and after them, and poison, at a rate; knows what it sent."""

    bed: Bed
    rate: float
    chance: random.Random = field(default_factory=lambda: random.Random(11))
    answers: int = 0
    told: set[int] = field(default_factory=set)
    poison: int = 0

    @property
    def sent(self) -> int:
        """Records, those among them that still wait to be sent."""
        return self.answers + len(self.told) + self.poison

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Sends in a thread while the block runs."""
        stop = threading.Event()
        sender = threading.Thread(target=self._send, args=(stop,))
        sender.start()
        try:
            yield
        finally:
            stop.set()
            sender.join()

    def _send(self, stop: threading.Event) -> None:
        sender, due = self.bed.sender(), time.monotonic()
        while not stop.is_set():
            for n in range(self.answers, self.answers + CHUNK):
                self._send_one(sender, n)
            self.answers += CHUNK
            due += CHUNK / self.rate
            stop.wait(max(0.0, due - time.monotonic()))
        sender.flush()

    def _send_one(self, sender: Sender, n: int) -> None:
        traffic = self.bed.traffic
        about = n + self.chance.randint(-20 * CHUNK, CHUNK // 2)  # mostly later, some earlier
        if n % FEEDBACK_EVERY == 0 and about >= 0 and about not in self.told:
            sender.send("feedback", traffic.feedback(about))
            self.told.add(about)
        sender.send("inferences", traffic.inference(n))
        if n % POISON_EVERY == 0:
            sender.send_raw("inferences", None, traffic.poison(self.poison))
            self.poison += 1

    def check(self) -> Findings:
        """Compares, once all is read. Feedback about answers that were never sent is no matter."""
        told = {n for n in self.told if n < self.answers}
        rows = self.bed.store.query(f"SELECT {', '.join(COMPARED)}, {TIME} FROM inferences")
        stored = {row["request_id"]: row for row in rows}
        expected = {n: self.bed.traffic.request_id(n) for n in range(self.answers)}
        kept = self._count("feedback", "uniqExact(feedback_id)")
        known = [n for n, request_id in expected.items() if request_id in stored]
        missing, wrong = self._outcomes(told)
        return Findings(
            answers=self.answers,
            feedback=len(told),
            poison=self.poison,
            lost=self.answers - len(known) + len(self.told) - kept,
            doubled=sum(self._count(table) - self._count(table, once) for table, once in ONCE),
            changed=sum(not self._same(n, stored[expected[n]]) for n in known),
            outcomes_lost=missing,
            outcomes_wrong=wrong,
            dead_letters_lost=self.poison - self._letters(),
        )

    def outcomes_sent(self) -> int:
        """Records on topic `outcomes`, those among them that a crash had sent again."""
        ends = self.bed.bus.ends(["outcomes"])
        return sum(end - self.bed.starts.get(position, 0) for position, end in ends.items())

    def _count(self, table: str, what: str = "count()") -> int:
        return int(self.bed.store.query(f"SELECT {what} AS n FROM {table}")[0]["n"])

    def _same(self, n: int, row: dict[str, Any]) -> bool:
        traffic = self.bed.traffic
        sent = traffic.inference(n)
        key = self.bed.stack.environment["DRIFTGATE_SUBJECT_KEY"].encode()
        sent["input"] = traffic.masked[n % len(traffic.masked)]
        sent["subject"] = subject_hash(key, sent["subject"])
        return row["ms"] == sent["time"] and all(row[name] == sent[name] for name in COMPARED)

    def _outcomes(self, told: set[int]) -> tuple[int, int]:
        """Outcomes that miss, and that say something else than they should."""
        traffic = self.bed.traffic
        rows = self.bed.store.query(
            "SELECT outcome_id, request_id, version, was_correct FROM outcomes"
        )
        found = {row["outcome_id"]: row for row in rows}
        wrong = missing = 0
        for n in told:
            answer, feedback = traffic.inference(n), traffic.feedback(n)
            row = found.pop(feedback["feedback_id"], None)
            if row is None:
                missing += 1
                continue
            right = (answer["request_id"], answer["version"], answer["output"] == feedback["label"])
            wrong += (row["request_id"], row["version"], row["was_correct"]) != right
        return missing, wrong + len(found)

    def _letters(self) -> int:
        """Poison that has a letter, with its bytes."""
        sql = "SELECT uniqExact(value) AS n FROM dead_letters WHERE startsWith(value, {p:String})"
        start = f"poison {self.bed.model} "
        return int(self.bed.store.query(sql, p=start)[0]["n"])
