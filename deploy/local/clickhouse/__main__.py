"""`python -m deploy.local.clickhouse DIRECTORY`: the ClickHouse of a laptop."""

from __future__ import annotations

import os
import signal
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

KEEP_ALIVE_S = 120
DRAIN_S = 10


def main() -> None:
    """Own a chDB directory and serve it until SIGTERM."""
    arguments = ArgumentParser(description="ClickHouse's HTTP interface on a chDB directory")
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=8123)
    given = arguments.parse_args()

    # The engine reads the zone once, when it is loaded: times in rows must not hang on the laptop.
    os.environ["TZ"] = "UTC"
    time.tzset()
    import uvicorn

    from deploy.local.clickhouse.engine import Engine
    from deploy.local.clickhouse.http import app

    given.directory.mkdir(parents=True, exist_ok=True)
    engine = Engine(given.directory.resolve())
    # uvicorn drains at SIGTERM, then raises it anew for whoever handled it before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        uvicorn.run(
            app(engine, os.environ.get("CLICKHOUSE_PASSWORD", "")),
            host=given.host,
            port=given.port,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
            http="httptools",  # the other parser takes twice as long for a large body
        )
    finally:
        engine.close()


if __name__ == "__main__":
    main()
