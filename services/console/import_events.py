"""Imported answers and feedback, sent as an app would send them: held to the rules of ingestion, by
the ordinary client. What is refused is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from driftgate.bus import Bus
from driftgate.bus_memory import MemoryBus
from driftgate.client import Client
from driftgate.codec import Codec
from driftgate.errors import BadConfig, BadInput
from driftgate.events import Fields
from driftgate.imports.history import Answer, History, Word
from driftgate.labelled.findings import Findings
from driftgate.limits import check_length
from driftgate.tasks import Said, Task
from driftgate.tasks.text_generation import TextGeneration

ANSWER_REFUSED = "its answer was left out"


@dataclass
class Sender:
    """Sends answers with their feedback.

    Attributes:
        task: what the model does, as it is declared; None where that is not known: then it writes,
            and any text will do.
    """

    client: Client
    model: str
    version: int
    task: Task | None
    findings: Findings
    _causes: dict[tuple[str, str], str] = field(default_factory=dict)
    _sent: set[str] = field(default_factory=set)

    def send(self, history: History, each: Callable[[], None]) -> None:
        """`each` is called after each event.

        Raises:
            BusUnavailable: Kafka went away. What was sent stays, and may be sent again.
        """
        for answer in history.answers:
            self._try(answer, self._answer)
            each()
        for word in history.words:
            if word.answer in self._sent:
                self._try(word, self._word)
            else:
                self.findings.rows += 1
                self.findings.leave_out(ANSWER_REFUSED, word.place)
            each()
        self.client.flush()

    def _try(self, event: Any, send: Callable[[Any], None]) -> None:
        self.findings.rows += 1
        try:
            send(event)
        except BadInput as error:
            # Values are texts of people, and limits of time move: neither may part a cause.
            words = f"{error.field}: expected {error.expected}"
            cause = self._causes.setdefault((error.reason, error.field), words)
            self.findings.leave_out(cause, event.place)
        else:
            self.findings.kept += 1

    def _answer(self, answer: Answer) -> None:
        check_length("input", answer.text, self._longest)
        check_length("output", answer.output, self._longest)
        if self.task:
            self.task.check_output(answer.output)
        self.client.inference(
            self.model,
            self.version,
            answer.text,
            answer.output,
            request_id=answer.id,
            subject=answer.subject,
            slices=answer.slices,
            time=answer.time,
            task=self.task.kind if self.task else TextGeneration.kind,
            **answer.more,
        )
        self._sent.add(answer.id)

    def _word(self, word: Word) -> None:
        about: dict[str, Any] = {"feedback_id": word.id, "time": word.time}
        if word.metric is not None and word.value is not None:
            self.client.metric(self.model, word.answer, word.metric, word.value, **about)
            return
        # Where answers are words of a closed set, what should have been answered is a label.
        closed = self.task is not None and self.task.outputs is not None
        said = Said(None, word.rating, word.edited)
        if closed:
            said = Said(word.edited, word.rating, None)
        check_length("edited", said.edited, self._longest)
        check_length("reason", word.reason, self._longest)
        if self.task:
            self.task.check_feedback(said)
        self.client.feedback(self.model, word.answer, **said._asdict(), reason=word.reason, **about)

    @property
    def _longest(self) -> int | None:
        return self.task.longest if self.task else TextGeneration.longest


# ---------------------------------------------------------------- where events go


@dataclass
class Diverted:
    """Reads from a bus and writes nothing to it: what is sent goes to `write`, decoded."""

    bus: Bus
    codec: Codec
    write: Callable[[str, Fields], None]

    def producer(self, give_up_seconds: float = 0) -> Diverted:
        return self

    def send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.write(topic, self.codec.decode(topic, value))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bus, name)


def diverted(bus: Bus, codec: Codec, write: Callable[[str, Fields], None]) -> Bus:
    return cast(Bus, Diverted(bus, codec, write))


def without_kafka(codec: Codec) -> Bus:
    """A bus on which nobody has written, so that the time is the machine's."""
    bus = MemoryBus()
    bus.ensure(codec.topics.by_name.values())
    return bus


@contextmanager
def event_file(path: Path) -> Iterator[Callable[[str, Fields], None]]:
    """Writes a JSON object a line: topic and event. The file appears once all is written.

    Raises:
        BadConfig: it is there.
    """
    if path.exists():
        raise BadConfig(f"{path} exists: name another file by --events")
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield lambda topic, event: line(file, topic, event)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def line(file: TextIO, topic: str, event: Fields) -> None:
    said = {"topic": topic, "event": dict(event)}
    file.write(json.dumps(said, ensure_ascii=False, default=str) + "\n")
