"""A router's HTTP door on a real socket, for clients in the test's own thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from patience import attempts
from router_harness import World

from services.router.http_access import Access, Address
from services.router.openai_door import Door, Listening, listen

HERE = Address("127.0.0.1", 0)
ANYBODY = Access()


@dataclass(frozen=True)
class OpenDoor:
    """
    Attributes:
        loop: of the router.
    """

    port: int
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def opened(
    world: World, access: Access = ANYBODY, grace: int = 1, **settings: Any
) -> Iterator[OpenDoor]:
    """As the router's process has it, but in a thread."""
    found: list[OpenDoor] = []
    up, ending = Event(), Event()

    async def live() -> None:
        door = Door(world.front, world.record_of_answers, access, world.log, **settings)
        listening: Listening = listen(door.app(), HERE, grace)
        answering = asyncio.create_task(world.predictor.run())
        found.append(OpenDoor(listening.port, asyncio.get_running_loop()))
        up.set()
        await asyncio.to_thread(ending.wait)
        await listening.stop()
        await world.writing.end(5)
        answering.cancel()

    thread = Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert up.wait(20)
    try:
        yield found[0]
    finally:
        ending.set()
        thread.join(30)
    assert not thread.is_alive()


def until(holds: Callable[[], Any], seconds: float = 60) -> Any:
    """What holds, once it does."""
    for _ in attempts(seconds):
        if value := holds():
            return value
    raise AssertionError("it never held")
