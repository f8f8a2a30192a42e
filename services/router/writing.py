"""Answers requests to versions that write: piece by piece, logged once the text is whole. A caller
who leaves ends the writing; what was written by then is logged all the same. Shadows write
afterwards, few at a time while somebody waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

from driftgate.engines import Writer
from driftgate.errors import BadConfig, BadInput, QueueFull, UpstreamUnavailable
from driftgate.events import Inference, Role
from driftgate.generator.question import Answer, Question
from driftgate.generator.whole_answers import predicted
from driftgate.routing import Arm, Choice, NotServed
from driftgate.tasks import kind_of, task_of
from services.router.answers import Ask, Logged, Routed, VersionFailed, checked, inference, route
from services.router.background import Background
from services.router.decoding import Decoder, Stream
from services.router.record import Record, shed
from services.router.sampling_options import SamplingOptions, sampling, seed_of
from services.router.versions import Versions

# Requests whose shadows may wait: an hour's worth of a busy core, of a minute's text each.
CAPACITY = 256
# Shadows that write at once: where nobody waits, and beside who does.
SHADOWS, SHADOWS_BESIDE = 8, 1


@dataclass(frozen=True, slots=True)
class Begun:
    """Who writes, and the digest of what they are asked with."""

    choice: Choice
    prompt: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a request.

    Attributes:
        prompt: digest of what it was asked with.
    """

    answer: Answer
    choice: Choice
    prompt: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """A version's whole answer, and when it began and ended, s of the clock of `Ask.arrived`."""

    answer: Answer
    first: float | None
    ended: float


Piece = Begun | str | Finished


@dataclass(eq=False)
class Call:
    """A request on its way.

    Attributes:
        live: what the heard version writes, once it is asked.
        left: nobody waits for it any more.
    """

    ask: Ask
    options: SamplingOptions
    pieces: asyncio.Queue[Piece | Exception] = field(default_factory=asyncio.Queue)
    live: Stream | None = None
    left: bool = False

    def leave(self) -> None:
        self.left = True
        if self.live is not None:
            self.live.cancel()


@dataclass
class Writing:
    """Answers requests, on the loop."""

    versions: Versions
    record: Record
    _decoders: dict[Writer, Decoder] = field(default_factory=dict)
    _shadows: deque[tuple[Routed, SamplingOptions]] = field(default_factory=deque)
    _shadowing: int = 0
    _calls: set[Call] = field(default_factory=set)
    _under_way: Background = field(default_factory=Background)
    _ending: bool = False

    async def write(self, ask: Ask, options: SamplingOptions) -> AsyncGenerator[Piece, None]:
        """Who writes, once they are asked; the pieces of the text as they are written; at the end
        what became of it, once that cannot be lost, or is on Kafka together with what the shadows
        wrote. Who closes it before ends the writing.

        Raises:
            BadInput: the prompt is too long, or an option cannot be.
            UpstreamUnavailable: who computes the version is away; ask again later.
            QueueFull, NotServed, VersionFailed, SpoolFull: see `Predictor.predict`.
        """
        call = Call(ask, options)
        self._calls.add(call)
        self._under_way.spawn(self.answer(call))
        try:
            while True:
                piece = await call.pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if isinstance(piece, Finished):
                    return
        finally:
            call.leave()

    async def answer(self, call: Call) -> None:
        """From the request to its log, whoever still listens."""
        try:
            call.pieces.put_nowait(await self.finish(call))
        except Exception as error:  # noqa: BLE001 - whatever it was, its asker must hear it
            call.pieces.put_nowait(error)
        finally:
            self._calls.discard(call)
            self.go_on()

    async def finish(self, call: Call) -> Finished:
        """
        Raises:
            BadInput, QueueFull, UpstreamUnavailable, NotServed, VersionFailed, SpoolFull
        """
        routed, stream = await self.begin(call)
        prompt = routed.served.prompt(routed.choice.live).digest
        call.live = stream
        call.pieces.put_nowait(Begun(routed.choice, prompt))
        if call.left:
            stream.cancel()
        try:
            spoken = await self.spoken(routed, routed.choice.live, "live", stream, call)
        except VersionFailed as failure:
            self.fail(failure, routed, call.options)
            raise
        log = written(routed, routed.choice.live, "live", spoken, call.ask.arrived)
        place = await self.record.keep([log])  # first, since shadows may take long
        if call.ask.waits_for_log and not call.left:
            shadows = await self.shadow(routed, call.options)
            place = max(place, await self.record.keep(shadows))
            await asyncio.wrap_future(self.record.answer_log.delivery.acknowledged(place))
        else:
            self.queue(routed, call.options)
        return Finished(spoken.answer, routed.choice, prompt)

    async def begin(self, call: Call) -> tuple[Routed, Stream]:
        """Who answers, and what it writes. A version may be unloaded between the two, since another
        record is served by now: then that one says who answers."""
        while True:
            snapshot = self.versions.snapshot
            routed = route(snapshot, call.ask)
            if isinstance(routed, NotServed):
                raise routed
            arm = routed.choice.live
            try:
                return routed, await self.open(routed, arm, call.options)
            except (BadInput, QueueFull, UpstreamUnavailable):
                raise
            except Exception as error:
                if isinstance(error, BadConfig) and snapshot is not self.versions.snapshot:
                    continue
                failure = failed(routed, arm, "live", error)
                self.fail(failure, routed, call.options)
                raise failure from error

    def fail(self, failure: VersionFailed, routed: Routed, options: SamplingOptions) -> None:
        """Who was heard could not answer. Its shadows try the same, so that what breaks all is not
        blamed on it."""
        self.record.tell([failure])
        self.queue(routed, options)

    async def open(self, routed: Routed, arm: Arm, options: SamplingOptions) -> Stream:
        """
        Raises:
            BadInput, QueueFull: the request cannot be asked, or not now.
            Exception: the version cannot be asked.
        """
        request, served = routed.ask.request, routed.served
        how = sampling(served.sampling, options)
        seed = seed_of(options, request.request_id)

        def question(engine: Writer) -> Question:
            prompt = engine.prompt(served.prompt(arm), request.text)
            return Question(arm.digest, prompt, how, seed)

        return await self.decoder(served.writer(arm)).open(question)

    async def spoken(
        self, routed: Routed, arm: Arm, role: Role, stream: Stream, call: Call | None = None
    ) -> Spoken:
        """What a version writes; a call is handed the pieces.

        Raises:
            VersionFailed, UpstreamUnavailable
        """
        first: float | None = None
        try:
            async for piece in stream:
                if isinstance(piece, Answer):
                    usable(piece)
                    return Spoken(piece, first, time.perf_counter())
                first = first or time.perf_counter()
                if call is not None:
                    call.pieces.put_nowait(piece)
        except UpstreamUnavailable:
            raise  # an outage is nobody's fault
        except Exception as error:
            raise failed(routed, arm, role, error) from error
        raise AssertionError("a stream ends with an answer or an error")

    # ------------------------------------------------------------ shadows

    def queue(self, routed: Routed, options: SamplingOptions) -> None:
        """Shadows that nobody can be made to wait for."""
        if not routed.choice.shadows:
            return
        if self._ending or len(self._shadows) >= CAPACITY:
            shed(routed, routed.choice.shadows)
            return
        self._shadows.append((routed, options))

    def go_on(self) -> None:
        """Begins the next shadows, as many as may write now. Engines that nobody can be given any
        more are forgotten."""
        while self._shadows and self._shadowing < (SHADOWS_BESIDE if self._calls else SHADOWS):
            routed, options = self._shadows.popleft()
            self._shadowing += len(routed.choice.shadows)
            self._under_way.spawn(self.answer_unheard(routed, options))
        used = {one for served in self.versions.snapshot.values() for one in served.writers}
        for engine, decoder in list(self._decoders.items()):
            if decoder.idle and engine not in used:
                del self._decoders[engine]

    async def answer_unheard(self, routed: Routed, options: SamplingOptions) -> None:
        """What goes wrong with shadows concerns no request."""
        try:
            await self.record.keep(await self.shadow(routed, options))
        except Exception as error:  # noqa: BLE001 - whatever it was, it must stay where it arose
            self.record.log.error("shadows not logged", error=repr(error), requests=1)
            shed(routed, routed.choice.shadows)
        except asyncio.CancelledError:
            shed(routed, routed.choice.shadows)
            raise
        finally:
            self._shadowing -= len(routed.choice.shadows)
            self.go_on()

    async def shadow(self, routed: Routed, options: SamplingOptions) -> list[Logged]:
        """What the shadows of a request write, those that can. Their latency is told as if they had
        been heard."""
        found = await asyncio.gather(
            *(self.shadowed(routed, arm, options) for arm in routed.choice.shadows)
        )
        return [log for log in found if log is not None]

    async def shadowed(self, routed: Routed, arm: Arm, options: SamplingOptions) -> Logged | None:
        begun = time.perf_counter()
        if not kind_of(arm.task).writes or not resident(routed, arm):
            shed(routed, [arm])
            return None
        try:
            stream = await self.open(routed, arm, options)
            spoken = await self.spoken(routed, arm, "shadow", stream)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must stay where it arose
            if isinstance(error, QueueFull | UpstreamUnavailable) or not resident(routed, arm):
                shed(routed, [arm])
                return None
            if not isinstance(error, VersionFailed):
                error = failed(routed, arm, "shadow", error)
            self.record.tell([error])
            return None
        return written(routed, arm, "shadow", spoken, begun)

    # ------------------------------------------------------------ life

    def decoder(self, engine: Writer) -> Decoder:
        """Who steps an engine."""
        if engine not in self._decoders:
            self._decoders[engine] = Decoder(engine, self.versions.thread(engine))
        return self._decoders[engine]

    async def end(self, seconds: float) -> None:
        """Ends what is written yet, once no more requests come, and logs it; waits for no longer
        than that. Shadows that wait are given up."""
        self._ending = True
        while self._shadows:
            routed, _ = self._shadows.popleft()
            shed(routed, routed.choice.shadows)
        for call in list(self._calls):
            call.leave()
        await self._under_way.wait(seconds)
        await self._under_way.cancel()


def resident(routed: Routed, arm: Arm) -> bool:
    """Whether a version is in memory still: another epoch may be served meanwhile."""
    return arm.digest in routed.served.writer(arm).resident()


def usable(answer: Answer) -> None:
    """
    Raises:
        Unusable: it is none.
    """
    said = checked(predicted(answer))
    if isinstance(said, Exception):
        raise said


def failed(routed: Routed, arm: Arm, role: Role, error: Exception) -> VersionFailed:
    return VersionFailed(routed.served.routing, arm.version, role, error, routed.key)


def written(routed: Routed, arm: Arm, role: Role, spoken: Spoken, begun: float) -> Logged:
    """The log of one version's answer. `begun`: when it was asked, s."""
    answer, served = spoken.answer, routed.served
    task = task_of(served.repo.task)
    first = None if spoken.first is None else (spoken.first - begun) * 1000
    event: Inference = replace(
        inference(routed, arm, role, predicted(answer), (spoken.ended - begun) * 1000),
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        finish_reason=answer.finish_reason,
        first_token_ms=first,
        logprob=answer.mean_log_probability,
        prompt=served.prompt(arm).digest,
        refused=task.is_refusal(answer.text),
        broken=task.is_broken(answer.text),
    )
    return Logged(routed, (event,), ())
