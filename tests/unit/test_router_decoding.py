"""A writer on its thread: what fails leaves no trace, and who is needed is not forgotten."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from writing_world import PacedWriter

from driftgate.engines import Writer
from driftgate.errors import QueueFull
from driftgate.generator.question import Answer, Question, Sampling
from services.router.decoding import Decoder, Stream


@pytest.fixture
def decoder(tmp_path: Path) -> Decoder:
    writer = PacedWriter("", places=1, queue=2)
    writer._versions.add("v")
    return Decoder(writer, ThreadPoolExecutor(1))


def asks(engine: Writer) -> Question:
    return Question("v", (65,), Sampling(max_new_tokens=3))


async def whole(stream: Stream) -> str:
    async for piece in stream:
        if isinstance(piece, Answer):
            return piece.text
    raise AssertionError


def test_an_engine_that_failed_while_its_queue_was_full_takes_questions_again(
    decoder: Decoder,
) -> None:
    writer = decoder.engine
    assert isinstance(writer, PacedWriter)

    async def said() -> None:
        writer.may_step.clear()
        first = await decoder.open(asks)
        queued = [asyncio.ensure_future(decoder.open(asks)) for _ in range(2)]
        await asyncio.sleep(0)
        writer.fails = RuntimeError("out of memory")
        writer.may_step.set()
        for stream in [first, *await asyncio.gather(*queued)]:
            with pytest.raises(RuntimeError):
                await whole(stream)
        writer.fails = None
        for _ in range(2):
            try:
                stream = await decoder.open(asks)
            except QueueFull:
                continue
            assert await whole(stream)
            return
        raise AssertionError("it is full for ever")

    asyncio.run(said())


def test_who_is_being_opened_is_not_idle(decoder: Decoder) -> None:
    free = Event()

    async def said() -> None:
        assert decoder.idle
        decoder.thread.submit(free.wait, 20)
        opening = asyncio.ensure_future(decoder.open(asks))
        await asyncio.sleep(0)
        assert not decoder.idle
        free.set()
        assert await whole(await opening)
        assert decoder.idle

    asyncio.run(said())
