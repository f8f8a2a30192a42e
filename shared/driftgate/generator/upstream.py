"""Many versions that write, on one base that another server computes: vLLM, or any that speaks
OpenAI's completions and vLLM's calls for adapters.

Prompts are made here, by the base's own chat template, and sent as token ids; so the same question
is the same tokens whoever computes it. Answers come as streams, which a thread beside reads: `step`
waits a moment at most, and hands on one piece of each answer. What is shown of a text, and which
errors an answer has, is as with the local engine; an error of the server is that of its own
question alone.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from pydantic import SecretStr

from driftgate.bases import BaseRef, configuration
from driftgate.errors import (
    BadConfig,
    DriftgateError,
    QueueFull,
    UpstreamUnavailable,
    WrongAdapter,
)
from driftgate.generator.adapter import checked
from driftgate.generator.chat import Chat
from driftgate.generator.probe import probe_of, read_record
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Finish, Question, Written
from driftgate.generator.streaming import settled
from driftgate.generator.upstream_api import Api, NotLoaded
from driftgate.generator.upstream_messages import Piece, completion, odd
from driftgate.generator.upstream_versions import Versions
from driftgate.generator.whole_answers import whole_answers

OPEN = 128
"""Answers asked for at once; vLLM takes 256 by default, and others may ask it too."""

QUEUE = 256
"""Questions that may wait beside them."""

PATIENCE = 60.0
"""Seconds without a byte after which a call has failed. A busy server reads a long prompt late."""

PROVEN_SECONDS = 30.0
"""Between two proofs of a version. Each asks for a token after 24 beginnings of one short text, of
it and of the base."""

WAIT = 0.01
"""Seconds that a step waits for news, so that its caller neither spins nor waits long to open."""

NOBODY = SecretStr("")


class News(NamedTuple):
    """What the reading thread tells of one answer: a piece, or why it ended without its last."""

    handle: int
    told: Piece | DriftgateError


@dataclass
class _Open:
    """A question and what has been heard so far.

    reading: the stream, once it was asked for. shown: how much of the text was handed out.
    """

    handle: int
    question: Question
    reading: Future[None] | None = None
    news: deque[Piece | DriftgateError] = field(default_factory=deque)
    text: str = ""
    tokens: int = 0
    log_probability: float = 0.0
    shown: int = 0
    cancelled: bool = False


class Upstream:
    """One base and its resident versions. One thread uses it; any may ask who is resident."""

    def __init__(
        self,
        base: BaseRef,
        url: str,
        token: SecretStr = NOBODY,
        places: int = OPEN,
        queue: int = QUEUE,
        patience: float = PATIENCE,
        proven_seconds: float = PROVEN_SECONDS,
    ) -> None:
        """
        Args:
            url: of the server, with or without `/v1`.
            token: sent as a bearer token; empty: none is.
            places: answers asked for at once.
            queue: questions that may wait beside them.
            patience: seconds without a byte after which a call has failed.
            proven_seconds: between two proofs that a version is what it should be.

        Raises:
            BadConfig: the base is none that can be asked.
        """
        self._base, self.chat = base, Chat.of(base)
        self._positions = int(configuration(base).get("max_position_embeddings") or 2**31)
        self._places, self._queue = places, queue
        self._waiting: deque[_Open] = deque()
        self._open: dict[int, _Open] = {}
        self._loaded: frozenset[str] = frozenset()
        self._leaving: frozenset[str] = frozenset()
        self._handles = 0
        self._kept: list[Written] = []
        self._news: SimpleQueue[News] = SimpleQueue()
        self._api = Api(url, token, patience, streams=places)
        self._versions = Versions(self._api, probe_of(self.chat))
        self._loop = asyncio.new_event_loop()
        Thread(target=_run, args=(self._loop, self._api.close), daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        self._begin(self._versions.watch(proven_seconds))

    # ------------------------------------------------------------ versions

    def load(self, name: str, folder: Path) -> None:
        """Make a version resident under its digest; a name already resident is left as it is.

        Raises:
            Corrupt: the folder's files are not those of a version.
            BadConfig: it was trained on another base, is no plain LoRA, or the server refuses it.
            WrongAdapter: the server answers with something else under that name.
            UpstreamUnavailable: it does not answer.
        """
        if name in self.resident():
            return
        checked(folder, self._base)
        self._leaving -= {name}
        self._begin(self._versions.load(name, folder, read_record(folder))).result()
        self._loaded |= {name}
        told = self._begin(self._versions.base()).result().positions
        self._positions = min(self._positions, told or self._positions)

    def unload(self, name: str) -> None:
        """Forget a version; one that is not resident is no error. Answers that were asked for are
        still written by it."""
        self._loaded -= {name}
        self._leaving |= {name}
        self._unload_idle()

    def resident(self) -> frozenset[str]:
        """The names that can answer now."""
        return frozenset(name for name in self._loaded if not self._versions.wrong(name))

    # ------------------------------------------------------------ answers, token by token

    def prompt(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        """An input as a question has it. Any thread may ask.

        Raises:
            BadConfig: the base's chat template refuses the texts.
        """
        return tuple(self.chat.prompt(prompt.system, prompt.user(text)))

    def open(self, question: Question) -> int:
        """A handle for the answer that the next steps write.

        Raises:
            BadConfig: the version is not resident.
            BadInput: the prompt is empty or too long.
            QueueFull: as many questions wait as may.
        """
        if question.version not in self.resident():
            raise BadConfig(
                f"version {question.version} is not resident: load it before it answers"
            )
        question.check(self._positions)
        if len(self._waiting) >= self._queue + max(0, self._places - len(self._open)):
            raise QueueFull(f"{len(self._waiting)} questions wait already; ask again later")
        self._handles += 1
        self._waiting.append(_Open(self._handles, question))
        return self._handles

    def cancel(self, handle: int) -> None:
        """The next step ends the answer; one that has ended is no error."""
        for one in (*self._open.values(), *self._waiting):
            one.cancelled |= one.handle == handle

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._open or self._waiting or self._kept)

    def step(self) -> list[Written]:
        """One piece of work: what it added to which answers. Nothing where nothing is open."""
        kept, self._kept = self._kept, []
        ended = self._without_cancelled() + self._without_lost()
        while self._waiting and len(self._open) < self._places:
            self._ask(self._waiting.popleft())
        if self._open:
            self._hear(patient=not (kept or ended))
        found = [self._told(one) for one in list(self._open.values()) if one.news]
        self._unload_idle()
        return kept + ended + found

    # ------------------------------------------------------------ whole answers

    def answers(self, questions: Sequence[Question]) -> list[Answer | DriftgateError]:
        """Whole answers, in the order of the questions, or why there is none. What others have open
        is written meanwhile, and told by the next `step`.

        Raises:
            BadConfig: a version is not resident.
        """
        found, self._kept = whole_answers(self, questions)
        return found

    # ------------------------------------------------------------ one step

    def _ask(self, one: _Open) -> None:
        room = self._positions - len(one.question.prompt)
        body = completion(one.question, room, self.chat.ends)
        reading = _read(self._api, self._versions, one.handle, body, self._news)
        one.reading = self._begin(reading)
        self._open[one.handle] = one

    def _hear(self, patient: bool) -> None:
        """Sorts the news; where there are none of any answer, waits a moment for some."""
        patient &= not any(one.news for one in self._open.values())
        try:
            while True:
                handle, told = self._news.get(timeout=WAIT) if patient else self._news.get_nowait()
                patient = False
                if handle in self._open:
                    self._open[handle].news.append(told)
        except Empty:
            return

    def _told(self, one: _Open) -> Written:
        """What the next news of an answer makes of it."""
        told = one.news.popleft()
        if isinstance(told, DriftgateError):
            return self._failed(one, told)
        one.text += told.text
        one.tokens += len(told.log_probabilities)
        one.log_probability += sum(told.log_probabilities)
        text, stopped = settled(one.text.lstrip(), one.question.sampling.stop)
        if stopped or told.finish:
            if text and not one.tokens:
                return self._failed(one, odd(told.text, "`logprobs` with the answer"))
            return self._ended(one, "stop" if stopped else told.finish or "stop")
        added, one.shown = text[one.shown :], max(one.shown, len(text))
        return Written(one.handle, added)

    def _without_cancelled(self) -> list[Written]:
        ended = [one for one in (*self._open.values(), *self._waiting) if one.cancelled]
        return [self._ended(one, "cancelled") for one in ended]

    def _without_lost(self) -> list[Written]:
        """Ends the answers of versions that are no longer what they were."""
        asked = [*self._open.values(), *self._waiting]
        wrong = {name: self._versions.wrong(name) for name in {a.question.version for a in asked}}
        return [
            self._failed(one, WrongAdapter(why))
            for one in asked
            if (why := wrong[one.question.version])
        ]

    def _ended(self, one: _Open, reason: Finish) -> Written:
        self._forget(one)
        text, _ = settled(one.text.lstrip(), one.question.sampling.stop, ended=True)
        answer = Answer(
            text=text,
            finish_reason=reason,
            tokens_in=len(one.question.prompt),
            tokens_out=one.tokens,
            mean_log_probability=one.log_probability / one.tokens if one.tokens else None,
        )
        return Written(one.handle, text[one.shown :], answer)

    def _failed(self, one: _Open, error: DriftgateError) -> Written:
        self._forget(one)
        return Written(one.handle, error=error)

    def _forget(self, one: _Open) -> None:
        if one.reading:
            one.reading.cancel()
        if self._open.pop(one.handle, None) is None:
            self._waiting.remove(one)

    def _unload_idle(self) -> None:
        """Unloads who shall go and has no answer under way."""
        if not self._leaving:
            return
        asked = {one.question.version for one in (*self._open.values(), *self._waiting)}
        for name in self._leaving - asked:
            self._begin(self._versions.unload(name))
        self._leaving &= asked

    def _begin(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


async def _read(
    api: Api, versions: Versions, handle: int, body: Mapping[str, Any], news: SimpleQueue[News]
) -> None:
    """Hands on the pieces of an answer. A version that the server lost is loaded again first."""
    try:
        try:
            await _pieces(api, handle, body, news)
        except NotLoaded:
            await versions.restore(body["model"])
            await _pieces(api, handle, body, news)
    except DriftgateError as error:
        news.put(News(handle, error))
    except Exception as error:  # noqa: BLE001 - whatever it was, its asker must hear it
        news.put(News(handle, UpstreamUnavailable(f"upstream: {error!r}")))


async def _pieces(api: Api, handle: int, body: Mapping[str, Any], news: SimpleQueue[News]) -> None:
    async for piece in api.stream(body):
        news.put(News(handle, piece))


def _run(loop: asyncio.AbstractEventLoop, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The reading thread, until its loop is stopped."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(close())
    loop.close()
