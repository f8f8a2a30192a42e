"""The Ray head of a laptop, started so that two can stand side by side and nothing is left behind.

Ray keeps no state worth saving, so every start begins with an empty folder. A killed `ray start`
leaves its own children running; the next start ends them first.
"""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path

import psutil

OBJECT_STORE = 200 * 10**6
# All of Ray listens on 127.0.0.1 only: this is Ray's own switch for a machine without a cluster.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # A busy laptop may take longer than the 30 s after which Ray gives its own raylet up.
    "RAY_raylet_start_wait_time_s": "120",
}


def command(folder: Path, port: int, client_port: int, cpus: int) -> list[str]:
    """The command line of one head. Every port that is not named is picked free by Ray."""
    return [
        sys.executable,
        *("-m", "ray.scripts.scripts", "start", "--head", "--block"),
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        f"--ray-client-server-port={client_port}",
        "--dashboard-agent-listen-port=0",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--no-monitor",
        "--disable-usage-stats",
        f"--num-cpus={cpus}",
        f"--object-store-memory={OBJECT_STORE}",
        f"--temp-dir={folder}",
    ]


def end_strays(folder: Path) -> None:
    """Kill what an earlier head of this folder left running."""
    strays = [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid()
        and any(f"={folder}/" in word for word in process.info["cmdline"] or ())
    ]
    for stray in strays:
        stray.kill()
    psutil.wait_procs(strays, timeout=10)


def main() -> None:
    """Become the Ray head of a folder."""
    arguments = ArgumentParser(description="one Ray head on this machine")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--port", type=int, default=6379)
    arguments.add_argument("--client-port", type=int, default=10001)
    arguments.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    given = arguments.parse_args()
    end_strays(given.folder)
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    line = command(given.folder, given.port, given.client_port, given.cpus)
    os.execve(line[0], line, os.environ | ENVIRONMENT)  # noqa: S606


if __name__ == "__main__":
    main()
