"""`driftgate init` on a file of a million rows, `--yes`: reading, checking, counting, proposing and
writing, Python's start included. Texts of some 80 characters, 150 labels, ISO dates, two further
columns. Beside it, in the same run, what pandas takes to load the same file as strings."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from bench.figure import Figure

ROWS = 1_000_000
GOAL_S, GOAL_GB = 60, 2.0
LABELS = 150
DRIFTGATE = str(Path(sys.executable).parent / "driftgate")
WORDS = """
my parcel has not arrived and nobody answers please help card refund order app login price
delivery late broken wrong size colour invoice account password change cancel return offer
""".split()  # noqa: SIM905
PANDAS = "import pandas, sys; pandas.read_csv(sys.argv[1], dtype=str, keep_default_na=False)"


def run(arguments: list[str]) -> list[Figure]:
    """`--rows N` for another size."""
    count = int(arguments[arguments.index("--rows") + 1]) if arguments else ROWS
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (folder / "rows.csv", folder / "rows.jsonl"):
            write(path, count)
            took, peak = measured(
                [DRIFTGATE, "init", path.stem + path.suffix[1:], "--data", path.name, "--yes"],
                folder,
            )
            figures += [
                Figure(
                    f"init, {count:,} rows, {path.suffix}",
                    f"{took:.1f} s",
                    f"≤ {GOAL_S} s",
                    took <= GOAL_S,
                ),
                Figure("its most memory", f"{peak:.2f} GB", f"≤ {GOAL_GB:g} GB", peak <= GOAL_GB),
            ]
        took, peak = measured([sys.executable, "-c", PANDAS, "rows.csv"], folder)
        figures.append(Figure("pandas.read_csv of the same CSV", f"{took:.1f} s, {peak:.2f} GB"))
    return figures


def rows(count: int) -> Iterator[dict[str, str]]:
    draw = random.Random(5)
    begin = datetime(2021, 1, 1, tzinfo=UTC)
    for number in range(count):
        label = draw.randrange(LABELS)
        words = draw.choices(WORDS, k=10)
        yield {
            "text": f"{' '.join(words)} {WORDS[label % len(WORDS)]}{label} {number}",
            "label": f"label-{label}",
            "created_at": (begin + timedelta(minutes=2 * number)).isoformat(),
            "language": "es" if number % 4 == 0 else "en",
            "ticket": str(number),
        }


def write(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, list(next(rows(1))))
            writer.writeheader()
            writer.writerows(rows(count))
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows(count))


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds, and the most resident memory in GB."""
    begun = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    most = 0

    def watch() -> None:
        nonlocal most
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                most = max(most, seen.memory_info().rss)
            except psutil.Error:
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if process.wait() != 0:
        raise RuntimeError(f"{command} failed")
    watcher.join()
    return time.monotonic() - begun, most / 1e9
