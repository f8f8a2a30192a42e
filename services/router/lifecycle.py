"""From the last good routing to the last answer: what a router does when it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from driftgate.health import Log
from driftgate.runtime import Runtime
from services.router.delivery import Delivery
from services.router.follower import Follower
from services.router.front import Front
from services.router.openai_door import Listening
from services.router.server import Router, health_checks, listen, show

# So long calls are refused before the server stops, s: what it has not admitted by then is
# cancelled by gRPC, and apps do not try that again.
REFUSING_SECONDS = 0.3
# What was admitted is answered before the process ends, s.
GRACE_SECONDS = 10
# So long what answers beside has to be finished, s: a few batches of shadows.
SHADOW_SECONDS = 2
# So long Kafka has to take what was answered, s. The rest stays in the spool for the next start.
DELIVER_SECONDS = 5


async def live(
    follower: Follower,
    runtime: Runtime,
    front: Front,
    delivery: Delivery,
    address: str,
    door: Callable[[], Listening] | None,
    log: Log,
) -> None:
    """Serves until SIGTERM or SIGINT. What crashes ends the process, which is then restarted.
    `door` begins to listen for HTTP, where that is wanted."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    checks = await health_checks()
    follower.shown = lambda: asyncio.run_coroutine_threadsafe(show(checks, ready=True), loop)
    delivery.start()  # what the process before left
    await asyncio.to_thread(follower.recall)
    http = door() if door else None
    server, port = await listen(Router(front), checks, address)
    log.info("listening", port=port, http_port=http.port if http else None)
    following = asyncio.create_task(asyncio.to_thread(runtime.run))
    answering = asyncio.create_task(front.predictor.run())
    waits = {asyncio.create_task(stopped.wait()), following, answering}
    waits |= {http.running} if http else set()
    ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    follower.end()
    await checks.enter_graceful_shutdown()
    front.ending = True
    await asyncio.sleep(REFUSING_SECONDS)
    await asyncio.gather(server.stop(GRACE_SECONDS), *([http.stop()] if http else []))
    runtime.stopping.set()
    await front.writing.end(SHADOW_SECONDS)
    await front.predictor.end(answering, SHADOW_SECONDS)
    await asyncio.to_thread(delivery.stop, DELIVER_SECONDS)
    for task in ended:
        task.result()
