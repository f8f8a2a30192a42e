"""What every door of the router does with a request: holds it to the limits, and has it answered by
the engine that serves its model."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from uuid import uuid4

from driftgate import metrics
from driftgate.dead_letters import UNKNOWN_MODEL
from driftgate.engines import Prediction
from driftgate.errors import BadInput
from driftgate.generator.whole_answers import predicted
from driftgate.machine_clock import machine_ms
from driftgate.routing import Choice, NotReady, pick
from driftgate.runtime import Clock
from driftgate.tasks import kind_of
from services.router.answers import Ask
from services.router.predictor import Predictor
from services.router.requests import Request, check
from services.router.sampling_options import SamplingOptions
from services.router.snapshot import Served, Snapshot
from services.router.versions import Versions
from services.router.writing import Finished, Piece, Writing

AS_DECLARED = SamplingOptions()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, and who gave it."""

    said: Prediction
    choice: Choice


@dataclass
class Front:
    """
    Attributes:
        ending: new calls are refused.
    """

    versions: Versions
    predictor: Predictor
    writing: Writing
    clock: Clock
    ending: bool = False

    def snapshot(self) -> Snapshot:
        """All that is served. Raises: NotReady."""
        if self.ending:
            raise NotReady("this router is ending: ask again, of another one or later")
        if not self.versions.snapshot:
            raise NotReady("no routing is served yet: ask again later")
        return self.versions.snapshot

    def served(self, model: str) -> Served:
        """Raises: NotReady, NotServed."""
        return pick(self.snapshot(), model)

    def request(
        self,
        model: str,
        text: str,
        request_id: str = "",
        subject: str = "",
        slices: Mapping[str, str] | None = None,
        time_ms: int = 0,
    ) -> Request:
        """What an app asks. Without an id it gets one, without a time that of the clock.

        Raises:
            NotReady, NotServed, BadInput
        """
        now = self.clock.now()
        request = Request(
            model,
            text,
            request_id or uuid4().hex,
            subject,
            dict(slices or {}),
            time_ms or now or machine_ms(),
        )
        check(request, now, self.served(model).repo.data)
        return request

    async def answer(self, request: Request, waits_for_log: bool = False) -> Reply:
        """The whole answer of a model of any kind.

        Raises:
            DriftgateError: see `Predictor.predict` and `Writing.write`.
        """
        with metrics.PREDICT_SECONDS.labels(request.model).time():
            if self.writes(request.model):
                done = await self.text(request, AS_DECLARED, waits_for_log)
                return Reply(predicted(done.answer), done.choice)
            answered = await self.predictor.predict(request, waits_for_log)
        return Reply(answered.said, answered.choice)

    async def text(
        self, request: Request, options: SamplingOptions, waits_for_log: bool = False
    ) -> Finished:
        """What became of a text, once it is whole. Raises: see `write`."""
        async with aclosing(self.write(request, options, waits_for_log)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finished):
                    return piece
        raise AssertionError("the last piece says what became of it")

    def write(
        self, request: Request, options: SamplingOptions, waits_for_log: bool = False
    ) -> AsyncGenerator[Piece, None]:
        """Who writes, and the pieces of the text.

        Raises:
            BadInput: the model writes none.
            DriftgateError: see `Writing.write`.
        """
        if not self.writes(request.model):
            wanted = "a model of kind text-generation; Predict answers for this one"
            raise BadInput(UNKNOWN_MODEL, "model", request.model, wanted)
        return self.writing.write(Ask(request, time.perf_counter(), waits_for_log), options)

    def writes(self, model: str) -> bool:
        """Whether a model answers with texts."""
        return kind_of(self.served(model).repo.task.kind).writes
