"""A writer on its thread: questions come in from the loop, and what is written goes back to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from driftgate.engines import Writer
from driftgate.generator.question import Answer, Question, Written


@dataclass(eq=False)
class Stream:
    """One answer as it is written. Used on the loop."""

    cancel: Callable[[], object]
    _pieces: asyncio.Queue[Written | Exception] = field(default_factory=asyncio.Queue)

    def put(self, piece: Written | Exception) -> None:
        self._pieces.put_nowait(piece)

    async def __aiter__(self) -> AsyncIterator[str | Answer]:
        """What is added each time, and the whole answer at the end.

        Raises:
            Exception: why there is none.
        """
        while True:
            piece = await self._pieces.get()
            if isinstance(piece, Exception):
                raise piece
            if piece.text:
                yield piece.text
            if piece.error is not None:
                raise piece.error
            if piece.answer is not None:
                yield piece.answer
                return


@dataclass(eq=False)
class Decoder:
    """Steps an engine as long as it has something to write.

    Attributes:
        thread: the one on which the engine is used. Between two steps it does what else is asked of
            it, such as loading a version.
    """

    engine: Writer
    thread: Executor
    _streams: dict[int, Stream] = field(default_factory=dict)
    _steps: bool = False
    _opening: int = 0

    async def open(self, ask: Callable[[Writer], Question]) -> Stream:
        """The stream of an answer. `ask` makes the question, on the thread.

        Raises:
            BadConfig: the version is not resident, or the base's chat template refuses the texts.
            BadInput: the prompt is too long.
            QueueFull
        """
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(self.thread, self._open, ask, loop)
        self._opening += 1
        opening.add_done_callback(self._opened)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:  # nobody would ever end it
            opening.add_done_callback(cancel_opened)
            raise

    @property
    def idle(self) -> bool:
        """Whether nothing of it is under way: another one may step its engine from now on."""
        return not (self._opening or self._streams or self._steps)

    def _opened(self, _: asyncio.Future[Stream]) -> None:
        self._opening -= 1

    # ------------------------------------------------------------ on the thread

    def _open(self, ask: Callable[[Writer], Question], loop: asyncio.AbstractEventLoop) -> Stream:
        question = ask(self.engine)
        try:
            handle = self.engine.open(question)
        finally:  # also where it is full of what was given up, which a step clears away
            if self.engine.busy and not self._steps:
                self._steps = True
                self.thread.submit(self._step, loop)
        stream = Stream(lambda: self.thread.submit(self.engine.cancel, handle))
        self._streams[handle] = stream
        return stream

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            written = [(self._streams.get(one.handle), one) for one in self.engine.step()]
        except Exception as error:  # noqa: BLE001 - whatever it was, who waits must hear it
            self._give_up(error, loop)
            return
        told = [(stream, one) for stream, one in written if stream is not None]
        for _, one in told:
            if one.answer is not None or one.error is not None:
                del self._streams[one.handle]
        self._steps = self.engine.busy
        if self._steps:
            self.thread.submit(self._step, loop)
        if told:
            loop.call_soon_threadsafe(hand_out, told)

    def _give_up(self, error: Exception, loop: asyncio.AbstractEventLoop) -> None:
        """All that is open ends with an error; what comes next begins anew."""
        told = [(stream, error) for stream in self._streams.values()]
        for handle in self._streams:
            self.engine.cancel(handle)
        self._streams.clear()
        self._steps = False
        loop.call_soon_threadsafe(hand_out, told)


def hand_out(told: Sequence[tuple[Stream, Written | Exception]]) -> None:
    for stream, piece in told:
        stream.put(piece)


def cancel_opened(opening: asyncio.Future[Stream]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().cancel()
