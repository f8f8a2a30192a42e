"""`make bench NAME=…`: runs one benchmark, prints its result and writes it into RESULTS.md.

A benchmark is a module `bench/NAME.py` with a docstring that says what is measured, and
`run(args) -> list[Figure]`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.figure import Figure

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "ray",
    "river",
    "faust-streaming",
    "kafka-python",
    "chdb",
    "clickhouse-connect",
    "confluent-kafka",
    "fastavro",
    "pyarrow",
    "pyruhvro",
)


def main() -> None:
    others = {"__init__", "run", "figure"}
    names = sorted(p.stem.replace("_", "-") for p in HERE.glob("*.py") if p.stem not in others)
    parser = argparse.ArgumentParser(description="Runs one benchmark.")
    parser.add_argument("name", choices=names, help="which")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="arguments of the benchmark")
    given = parser.parse_args()
    module = importlib.import_module(f"bench.{given.name.replace('-', '_')}")
    figures: list[Figure] = module.run(given.args)
    title = " ".join([given.name, *given.args])
    show(title, figures)
    command = f"make bench NAME={given.name}"
    if given.args:
        command += f" ARGS={shlex.quote(' '.join(given.args))}"
    write(title, (module.__doc__ or "").strip(), command, figures)
    sys.exit(0 if all(figure.good is not False for figure in figures) else 1)


def show(title: str, figures: list[Figure]) -> None:
    table = Table("what", "measured", "goal", "", title=title, title_justify="left")
    for figure in figures:
        table.add_row(figure.what, figure.value, figure.goal, figure.mark)
    Console().print(table)


def write(title: str, says: str, command: str, figures: list[Figure]) -> None:
    """Replaces the section of the benchmark, with these arguments, in RESULTS.md."""
    rows = "\n".join(f"| {f.what} | {f.value} | {f.goal} | {f.mark} |" for f in figures)
    section = (
        f"## {title}\n\n{says}\n\n"
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}; {versions()}\n\n"
        f"| what | measured | goal | |\n|---|---|---|---|\n{rows}\n"
    )
    kept = [part for part in sections() if not part.startswith(f"## {title}\n")]
    head = "# Results\n\nEach section was written by the command it names.\n"
    RESULTS.write_text("\n".join([head, *sorted([*kept, section])]), encoding="utf-8")


def sections() -> list[str]:
    if not RESULTS.exists():
        return []
    return ["## " + part.strip() + "\n" for part in RESULTS.read_text().split("\n## ")[1:]]


def machine() -> str:
    """Processor, cores and memory, without a name."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = found[0].partition(": ")[2] if found else cpu
    memory = round(psutil.virtual_memory().total / 2**30)
    return f"{os.cpu_count()} cores ({cpu}), {memory} GiB, load {os.getloadavg()[0]:.1f}"


def versions() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"commit {commit or 'unknown'}, Python {platform.python_version()}, {packages}"


if __name__ == "__main__":
    main()
