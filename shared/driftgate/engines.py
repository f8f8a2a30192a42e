"""What computes answers: one engine for a base, with all of its versions resident beside each
other. The task says which engine serves its kind, and imports it when it is first made."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from pydantic import SecretStr

from driftgate.errors import DriftgateError
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Question, Written
from driftgate.tasks import Task, kind_of


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer.

    confidence: from 0 to 1; None where the engine has none. features: numbers about the input that
    the engine found. tokens: what it read and wrote.
    """

    output: str
    confidence: float | None
    features: Mapping[str, float]
    tokens: int


class Base(NamedTuple):
    """A base as versions name it, and the kind of task that it serves. digest: SHA-256, hex; empty
    leaves it unpinned."""

    task: str
    name: str
    digest: str


class Engine(Protocol):
    """A base with resident versions, by the digests of their adapters. It gets one call at a time,
    from whatever thread its caller keeps for it; only `resident` may be asked from any other."""

    def load(self, name: str, folder: Path) -> None:
        """Makes a version resident; one that is resident is left as it is.

        Raises:
            Corrupt: the folder's files are not those of a version.
            BadConfig: it was trained on another base.
        """

    def unload(self, name: str) -> None:
        """Forgets a version; one that is not resident is no error."""

    def resident(self) -> frozenset[str]:
        """The versions that can answer now."""


class Predictor(Engine, Protocol):
    """An engine that chooses: it answers whole batches."""

    def predict_many(
        self, asked: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Sequence[Prediction]]:
        """Each version's answers to its texts, in their order.

        Raises:
            BadConfig: a version is not resident.
        """


class Writer(Engine, Protocol):
    """An engine that writes, token by token, many answers at once."""

    def prompt(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        """An input as a question has it. Any thread may ask.

        Raises:
            BadConfig: the base's chat template refuses the texts.
        """

    def open(self, question: Question) -> int:
        """A handle for the answer that the next steps write.

        Raises:
            BadConfig: the version is not resident.
            BadInput: the prompt is empty or too long.
            QueueFull: as many questions wait as may.
        """

    def cancel(self, handle: int) -> None:
        """The next step ends the answer; one that has ended is no error."""

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""

    def step(self) -> list[Written]:
        """One piece of work: what it added to which answers. Nothing where nothing is open."""

    def answers(self, questions: Sequence[Question]) -> list[Answer | DriftgateError]:
        """Whole answers, in the order of the questions, or why there is none. What others have open
        stands still meanwhile, or is written and told by the next `step`.

        Raises:
            BadConfig: a version is not resident.
        """


@dataclass
class Engines:
    """Makes engines. A base has one for each kind of task, also where records of an older release
    name it by another digest.

    Attributes:
        threads: of each engine.
        upstreams: by the names of bases of models that write, the server that computes them.
        token: what it is shown.
    """

    threads: int = 1
    upstreams: Mapping[str, str] = field(default_factory=dict)
    token: SecretStr = field(default_factory=lambda: SecretStr(""))
    _made: WeakValueDictionary[tuple[str, Hashable], Engine] = field(
        default_factory=WeakValueDictionary
    )
    _making: Lock = field(default_factory=Lock)

    def of(self, task: str, base: str, base_digest: str = "") -> Engine:
        """The engine of a base for a kind of task. An empty digest leaves the base unpinned;
        versions name theirs all the same.

        Raises:
            BadConfig: there is no such kind; or the base is not found, or is another one.
            Corrupt: its bytes are not what they should be.
        """
        kind = kind_of(task)
        found = kind.base(base, base_digest)
        with self._making:
            engine = self._made.get((task, found))
            if engine is None:
                engine = self._made[task, found] = self._engine(kind, found)
            return engine

    def _engine(self, kind: type[Task], base: Any) -> Engine:
        url = self.upstreams.get(base.name)
        if url is None or not kind.writes:
            return kind.engine(base, self.threads)
        from driftgate.generator.upstream import Upstream

        return Upstream(base, url, self.token)
