"""Many versions that write, on one base, their answers decoded side by side.

A version is resident under the name of its digest. A question joins the batch at any step and
leaves it when its answer ends. `step` does one piece of work, so that its caller sees new questions
and cancellations in between: it reads a part of the prompts that wait, or writes one token of every
open answer, in turns, so that neither a long prompt nor many answers hold up the other.

The same question gets the same answer whatever else is in the batch: prompts are read one by one,
in pieces of a fixed size, attention is computed for each answer alone, and in bfloat16 batches of
up to 16 answers are computed as one of 16, to the same bits. Fp32 is not padded, since that would
take one answer twice its time: there the order of sums, and so the last bit, depends on how many
are written together, and the likelier of two tokens may change where all but that bit is equal.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from driftgate.bases import BaseRef
from driftgate.dead_letters import MALFORMED
from driftgate.errors import BadConfig, BadInput, Corrupt, DriftgateError, QueueFull
from driftgate.frozen import device_of
from driftgate.generator.adapter import Adapter
from driftgate.generator.attention import Cache
from driftgate.generator.chat import Chat
from driftgate.generator.network import Network, Piece, Precision
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Finish, Question, Written
from driftgate.generator.sampling import drawn
from driftgate.generator.streaming import settled
from driftgate.generator.whole_answers import whole_answers

OPEN = 16
"""Answers written at once: a product in bfloat16 takes as long for one row as for 16."""

QUEUE = 64
"""Questions that may wait beside them."""

READ = 256
"""Tokens of prompts read in one step: some 0.2 s for a base of 135 M parameters on one core."""


@dataclass
class _Open:
    """A question and what has been written so far.

    read: tokens of the prompt that are in the cache. tokens: written. log_probability: of all of
    these together. shown: what was handed out of the text.
    """

    handle: int
    question: Question
    adapter: Adapter
    cache: Cache
    chances: random.Random
    read: int = 0
    tokens: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    shown: str = ""
    cancelled: bool = False

    @property
    def unread(self) -> bool:
        return self.read < len(self.question.prompt)

    def show(self, text: str) -> str:
        """What of the text was not shown yet. Tokenizers with bytes for rare characters read a row
        of them anew with each byte, so that a text may become shorter until it is whole."""
        added = text[len(self.shown) :]
        self.shown += added
        return added


class Generator:
    """One base and its resident versions. One thread uses it; any may ask who is resident."""

    def __init__(
        self,
        base: BaseRef,
        threads: int = 1,
        device: str = "auto",
        precision: Precision = "auto",
        places: int = OPEN,
        queue: int = QUEUE,
    ) -> None:
        """
        Args:
            places: answers written at once.
            queue: questions that may wait beside them.

        Raises:
            BadConfig: the base is none that can be asked, or none that this engine computes.
        """
        torch.set_num_threads(threads)
        self.chat = Chat.of(base)
        self._network = Network(base, device_of(device), precision, slots=places)
        self._places, self._queue = places, queue
        self._versions: dict[str, Adapter] = {}
        self._waiting: deque[_Open] = deque()
        self._open: list[_Open] = []
        self._handles = 0
        self._has_read = False

    # ------------------------------------------------------------ versions

    def load(self, name: str, folder: Path) -> None:
        """Make a version resident under its digest; a name already resident is left as it is.

        Raises:
            Corrupt: the folder's files are not those of a version.
            BadConfig: it was trained on another base, or is no plain LoRA.
        """
        if name not in self._versions:
            self._versions = {**self._versions, name: self._network.adapter(folder)}

    def unload(self, name: str) -> None:
        """Forget a version; one that is not resident is no error. Answers that were asked for are
        still written by it."""
        self._versions = {other: held for other, held in self._versions.items() if other != name}

    def resident(self) -> frozenset[str]:
        """The names that can answer now."""
        return frozenset(self._versions)

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
        adapter = self._versions.get(question.version)
        if adapter is None:
            raise BadConfig(
                f"version {question.version} is not resident: load it before it answers"
            )
        self._require_readable(question)
        if len(self._waiting) >= self._queue + max(0, self._places - len(self._open)):
            raise QueueFull(f"{len(self._waiting)} questions wait already; ask again later")
        room = len(question.prompt) + question.sampling.max_new_tokens
        cache = Cache(min(room, self._network.positions))
        self._handles += 1
        chances = random.Random(question.seed)
        self._waiting.append(_Open(self._handles, question, adapter, cache, chances))
        return self._handles

    def cancel(self, handle: int) -> None:
        """The next step ends the answer; one that has ended is no error."""
        for one in (*self._open, *self._waiting):
            one.cancelled |= one.handle == handle

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._open or self._waiting)

    def step(self) -> list[Written]:
        """One piece of work: what it added to which answers. Nothing where nothing is open."""
        ended = self._without_cancelled()
        while self._waiting and len(self._open) < self._places:
            self._open.append(self._waiting.popleft())
        unread = [one for one in self._open if one.unread]
        writing = [one for one in self._open if not one.unread]
        self._has_read = bool(unread) and not (writing and self._has_read)
        found = self._read(unread) if self._has_read else self._write(writing)
        over = {one.handle for one in found if one.answer or one.error}
        self._open = [one for one in self._open if one.handle not in over]
        return ended + found

    # ------------------------------------------------------------ whole answers

    def answers(self, questions: Sequence[Question]) -> list[Answer | DriftgateError]:
        """Whole answers, in the order of the questions, or why there is none. What others have open
        stands still meanwhile: behind a full queue the first token would take minutes.

        Raises:
            BadConfig: a version is not resident.
        """
        others = self._open, self._waiting
        self._open, self._waiting = [], deque()
        try:
            found, _ = whole_answers(self, questions)
        finally:
            self._open, self._waiting = others
        return found

    # ------------------------------------------------------------ one step

    def _require_readable(self, question: Question) -> None:
        question.check(self._network.positions)
        odd = [id for id in question.prompt if not 0 <= id < self._network.vocabulary]
        if odd:
            raise BadInput(
                MALFORMED, "prompt", odd[0], f"token ids below {self._network.vocabulary}"
            )

    def _without_cancelled(self) -> list[Written]:
        ended = [one for one in (*self._open, *self._waiting) if one.cancelled]
        if ended:
            self._open = [one for one in self._open if not one.cancelled]
            self._waiting = deque(one for one in self._waiting if not one.cancelled)
        return [self._ended(one, "cancelled") for one in ended]

    def _read(self, unread: Sequence[_Open]) -> list[Written]:
        """A piece of the first prompt, and of the next ones as long as there is room."""
        found: list[Written] = []
        room = READ
        for one in unread:
            tokens = one.question.prompt[one.read : one.read + READ]
            room -= len(tokens)
            if room < 0:
                break
            logits = self._network.read(Piece(tokens, one.cache, one.adapter))
            one.read += len(tokens)
            if not one.unread:
                found += self._chosen([one], logits[None])
        return found

    def _write(self, writing: Sequence[_Open]) -> list[Written]:
        if not writing:
            return []
        pieces = [Piece(one.tokens[-1:], one.cache, one.adapter) for one in writing]
        return self._chosen(writing, self._network.write(pieces))

    def _chosen(self, ones: Sequence[_Open], logits: Tensor) -> list[Written]:
        """The next token of each, from logits [answers, vocabulary]."""
        likeliest = logits.argmax(1).tolist()
        whole = torch.logsumexp(logits, 1).tolist()
        found = []
        for row, one in enumerate(ones):
            if not math.isfinite(whole[row]):
                told = f"version {one.question.version}: it computes numbers that are not finite"
                found.append(Written(one.handle, error=Corrupt(told)))
                continue
            sampling = one.question.sampling
            token = likeliest[row]
            if sampling.temperature:
                token = drawn(logits[row], sampling, one.chances.random())
            one.tokens.append(token)
            one.log_probability += float(logits[row, token]) - whole[row]
            found.append(self._told(one))
        return found

    def _told(self, one: _Open) -> Written:
        """What an answer's last token makes of it."""
        sampling = one.question.sampling
        if one.tokens[-1] in self.chat.ends:
            return self._ended(one, "stop")
        full = len(one.tokens) >= sampling.max_new_tokens or (
            len(one.question.prompt) + len(one.tokens) > self._network.positions
        )
        text, stopped = settled(self.chat.text(one.tokens), sampling.stop)
        if stopped or full:
            return self._ended(one, "stop" if stopped else "length")
        return Written(one.handle, one.show(text))

    def _ended(self, one: _Open, reason: Finish) -> Written:
        text, _ = settled(self.chat.text(one.tokens), one.question.sampling.stop, ended=True)
        added, count = one.show(text), len(one.tokens)
        answer = Answer(
            text=one.shown,
            finish_reason=reason,
            tokens_in=len(one.question.prompt),
            tokens_out=count,
            mean_log_probability=one.log_probability / count if count else None,
        )
        return Written(one.handle, added, answer)
