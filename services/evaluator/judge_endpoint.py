"""Asks model judges over HTTP, each question once: judgements are kept by content."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import httpx
from pydantic import SecretStr

from driftgate.artifacts import Artifacts
from driftgate.scorers import Judge, names_of
from driftgate.tasks import Task
from services.evaluator import judging
from services.evaluator.exam import Result
from services.evaluator.judging import Judged, Judgement, Question
from services.evaluator.weighting import Weighing

LARGEST_REPLY = 1_000_000
"""Bytes; a score needs fewer than a thousand."""

TRY_AGAIN = frozenset({408, 409, 429, *range(500, 600)})
NO_TIME, GIVEN_UP = "no time left", "given up"


class Limits(NamedTuple):
    """How long a judge is waited for.

    Attributes:
        seconds: of one call, whatever trickles in. attempts: of one question.
        pause: before the second attempt, s; twice as long before each further one.
        longest_pause: s, where the server asks for a longer one than that (`Retry-After`).
        at_once: open calls.
        total_seconds: of all questions; what is left then is not judged.
        failures: so many questions in a row without a judgement, and the others are not asked.
    """

    seconds: float = 30.0
    attempts: int = 4
    pause: float = 2.0
    longest_pause: float = 60.0
    at_once: int = 8
    total_seconds: float = 600.0
    failures: int = 24


LIMITS = Limits()


class Failed(Exception):
    """A call without a judgement, and why, in words that hold nothing of the reply. `pause`: s
    that the server wants to be left alone."""

    def __init__(self, why: str, again: bool, pause: float = 0.0) -> None:
        super().__init__(why)
        self.why, self.again, self.pause = why, again, pause


@dataclass(frozen=True)
class JudgeEndpoint:
    """
    Attributes:
        url: of judges that name none. token: sent to judges, empty: none.
        artifacts: where judgements are kept; None: nowhere.
    """

    url: str
    token: SecretStr
    artifacts: Artifacts | None
    limits: Limits = LIMITS

    def judgements(self, judge: Judge, questions: Sequence[Question]) -> dict[Question, Judgement]:
        """A judgement of each question, or why there is none. Never raises for what the server
        does."""
        found: dict[Question, Judgement] = {}
        for question in questions:
            if (score := self.kept(judge, question)) is not None:
                found[question] = score
        left = [question for question in questions if question not in found]
        url = judge.url or self.url
        if not url:
            why = "no address: set url of the judge in model.yaml, or DRIFTGATE_JUDGE_URL"
            return found | dict.fromkeys(left, why)
        if left:
            run = Run(self, judge, f"{url.rstrip('/')}/chat/completions", found)
            with ThreadPoolExecutor(1) as thread:  # the caller may stand in a loop of its own
                thread.submit(asyncio.run, run.ask(left)).result()
        return {question: found[question] for question in questions}

    def kept(self, judge: Judge, question: Question) -> float | None:
        found = self.artifacts and self.artifacts.ref(ref(judge, question))
        return float(found["score"]) if found else None

    def keep(self, judge: Judge, question: Question, score: float) -> float:
        """The judgement that counts: the first one that was kept."""
        if self.artifacts is None:
            return score
        return float(self.artifacts.set_ref(ref(judge, question), {"score": score})["score"])


def advice(
    endpoint: JudgeEndpoint, task: Task, found: Sequence[Result], weighing: Weighing
) -> tuple[list[Judged], list[Result]]:
    """What the task's judges say, and the cases with it. They share the time that there is."""
    told, shown = [], list(found)
    limits = endpoint.limits
    share = limits._replace(total_seconds=limits.total_seconds / max(1, len(task.judges)))
    endpoint = replace(endpoint, limits=share)
    for name, judge in zip(names_of(task.judges), task.judges, strict=True):
        said = endpoint.judgements(judge, judging.questions(found))
        told.append(judging.judged(name, judge, found, said, weighing))
        shown = judging.with_scores(shown, name, said)
    return told, shown


def ref(judge: Judge, question: Question) -> str:
    return f"evals/judgements/{judging.key(judge, question)}"


@dataclass
class Run:
    """Asks one judge many questions; `found` gets what comes of each."""

    endpoint: JudgeEndpoint
    judge: Judge
    url: str
    found: dict[Question, Judgement]
    _failures: int = field(default=0, init=False)

    async def ask(self, questions: Sequence[Question]) -> None:
        limits = self.endpoint.limits
        turns = asyncio.Semaphore(limits.at_once)
        async with httpx.AsyncClient(timeout=limits.seconds) as client:
            try:
                async with asyncio.timeout(limits.total_seconds):
                    await asyncio.gather(*(self.judged(client, q, turns) for q in questions))
            except TimeoutError:
                for question in questions:
                    self.found.setdefault(question, NO_TIME)

    async def judged(
        self, client: httpx.AsyncClient, question: Question, turns: asyncio.Semaphore
    ) -> None:
        async with turns:
            if self._failures >= self.endpoint.limits.failures:
                self.found[question] = GIVEN_UP
                return
            try:
                score = await self.score(client, question)
            except Failed as error:
                self._failures += 1
                self.found[question] = error.why
            else:
                self._failures = 0
                self.found[question] = self.endpoint.keep(self.judge, question, score)

    async def score(self, client: httpx.AsyncClient, question: Question) -> float:
        """
        Raises:
            Failed: no attempt got one; says why the last did not.
        """
        limits = self.endpoint.limits
        for attempt in range(1, limits.attempts + 1):
            try:
                return await self.attempt(client, question)
            except Failed as error:
                if attempt == limits.attempts or not error.again:
                    raise
                wanted = min(error.pause, limits.longest_pause)
            await asyncio.sleep(max(wanted, limits.pause * 2 ** (attempt - 1)))
        raise AssertionError("at least one attempt")

    async def attempt(self, client: httpx.AsyncClient, question: Question) -> float:
        """
        Raises:
            Failed
        """
        try:
            async with asyncio.timeout(self.endpoint.limits.seconds):
                reply = await self.reply(client, question)
        except (TimeoutError, httpx.TimeoutException):
            raise Failed("timeout", again=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            again = isinstance(error, httpx.HTTPError)
            raise Failed(f"no reply ({type(error).__name__})", again) from None
        try:
            return judging.score_in(reply)
        except ValueError as error:
            raise Failed(str(error), again=True) from None

    async def reply(self, client: httpx.AsyncClient, question: Question) -> bytes:
        token = self.endpoint.token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = judging.request(self.judge, question)
        async with client.stream("POST", self.url, json=body, headers=headers) as response:
            if response.status_code != 200:
                again = response.status_code in TRY_AGAIN
                raise Failed(f"HTTP {response.status_code}", again, pause_of(response))
            found = b""
            async for part in response.aiter_bytes():
                found += part
                if len(found) > LARGEST_REPLY:
                    raise Failed("reply is too large", again=False)
            return found


def pause_of(response: httpx.Response) -> float:
    """Seconds of its `Retry-After`; 0 where it has none, or a date."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() else 0.0
