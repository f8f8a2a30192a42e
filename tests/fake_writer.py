"""A writer without a network: the next character follows from the version and the text so far."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from driftgate.errors import BadConfig, BadInput, Corrupt, DriftgateError, QueueFull
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Finish, Question, Written
from driftgate.generator.streaming import settled
from driftgate.generator.whole_answers import whole_answers

ALPHABET = "etaoin shrdlu\né😀"
CHANCE = 1 / len(ALPHABET)


@dataclass
class Begun:
    question: Question
    text: str = ""
    shown: str = ""
    cancelled: bool = False


class FakeWriter:
    """Keeps `driftgate.engines.Writer`. A token is a character; `base` is what adapters name as
    theirs."""

    def __init__(self, base: str, places: int = 16, queue: int = 64) -> None:
        self._base, self._places, self._queue = base, places, queue
        self._versions: set[str] = set()
        self._begun: dict[int, Begun] = {}
        self._handles = 0
        self._kept: list[Written] = []

    def load(self, name: str, folder: Path) -> None:
        try:
            json.loads((folder / "adapter_config.json").read_text("utf-8"))
            with safe_open(folder / "adapter_model.safetensors", framework="np") as file:
                base = (file.metadata() or {}).get("base_sha256")
        except (OSError, ValueError, SafetensorError) as error:
            raise Corrupt(f"version {folder}: {error}") from error
        if base != self._base:
            raise BadConfig(f"version {folder}: trained on base {base}")
        self._versions.add(name)

    def unload(self, name: str) -> None:
        self._versions.discard(name)

    def resident(self) -> frozenset[str]:
        return frozenset(self._versions)

    def prompt(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        return tuple(map(ord, f"{prompt.system or ''}\n{prompt.user(text)}\n"))

    def open(self, question: Question) -> int:
        if question.version not in self._versions:
            raise BadConfig(f"version {question.version} is not resident")
        count, limit = len(question.prompt), question.sampling.max_input_tokens
        if not 0 < count <= limit:
            raise BadInput("too_large", "prompt", f"{count} tokens", f"1 to {limit} tokens")
        if len(self._begun) >= self._places + self._queue:
            raise QueueFull("ask again later")
        self._handles += 1
        self._begun[self._handles] = Begun(question)
        return self._handles

    def cancel(self, handle: int) -> None:
        if handle in self._begun:
            self._begun[handle].cancelled = True

    @property
    def busy(self) -> bool:
        return bool(self._begun or self._kept)

    def step(self) -> list[Written]:
        kept, self._kept = self._kept, []
        ended = [h for h, one in self._begun.items() if one.cancelled]
        found = kept + [self._ended(handle, "cancelled") for handle in ended]
        for handle in list(self._begun)[: self._places]:
            found.append(self._next(handle))
        return found

    def _next(self, handle: int) -> Written:
        one = self._begun[handle]
        sampling, question = one.question.sampling, one.question
        seed = question.seed if sampling.temperature else 0
        told = json.dumps([question.version, question.prompt, one.text, seed])
        one.text += ALPHABET[hashlib.sha256(told.encode()).digest()[0] % len(ALPHABET)]
        text, stopped = settled(one.text, sampling.stop)
        if stopped or len(one.text) == sampling.max_new_tokens:
            return self._ended(handle, "stop" if stopped else "length")
        added, one.shown = text[len(one.shown) :], text
        return Written(handle, added)

    def _ended(self, handle: int, reason: Finish) -> Written:
        one = self._begun.pop(handle)
        text, _ = settled(one.text, one.question.sampling.stop, ended=True)
        count = len(one.text)
        mean = math.log(CHANCE) if count else None
        answer = Answer(text, reason, len(one.question.prompt), count, mean)
        return Written(handle, text[len(one.shown) :], answer)

    def answers(self, questions: Sequence[Question]) -> list[Answer | DriftgateError]:
        found, self._kept = whole_answers(self, questions)
        return found
