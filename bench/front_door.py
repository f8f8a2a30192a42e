"""From a clean clone to the first answer of a version that passed its gate, on a file of one's own:
the README's own commands in their order, in a new folder with a new virtual environment; `make up`
installs, from the cache of packages where there is one. The file has 600 rows of the shipped world,
with semicolons, a byte-order mark and labels in several spellings."""

from __future__ import annotations

import csv
import os
import random
import re
import runpy
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figure import Figure
from deploy.local.plan import PORTS, free_ports

ROOT = Path(__file__).resolve().parents[1]
GOAL_MINUTES, GOAL_COMMANDS = 30, 10
ROWS = 600
LAST = ".venv/bin/driftgate ask"


def run(_: list[str]) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "driftgate"
        begun = time.monotonic()
        took = {"git clone": run_in(Path(name), f"git clone -q {ROOT} {folder}")}
        write_rows(folder / "labelled.csv")
        try:
            for command in steps((folder / "README.md").read_text(encoding="utf-8")):
                took[command] = run_in(folder, command)
        finally:
            run_in(folder, "make down")
        minutes = sum(took.values()) / 60
        print(f"{time.monotonic() - begun:.0f} s with taking it down")
    return [
        *(Figure(command, f"{seconds:.1f} s") for command, seconds in took.items()),
        Figure("all", f"{minutes:.1f} min", f"≤ {GOAL_MINUTES} min", minutes <= GOAL_MINUTES),
        Figure("commands", str(len(took)), f"≤ {GOAL_COMMANDS}", len(took) <= GOAL_COMMANDS),
    ]


def steps(readme: str) -> list[str]:
    """The commands from `make up` to the first answer."""
    found = re.findall(r"^    ((?:make up|\.venv/bin/driftgate).*?)(?: +# .*)?$", readme, re.M)
    shown = [command.strip() for command in found]
    begin = shown.index("make up")
    end = next(n for n, command in enumerate(shown) if command.startswith(LAST))
    return shown[begin : end + 1]


def run_in(folder: Path, command: str) -> float:
    """Seconds."""
    begun = time.monotonic()
    subprocess.run(["bash", "-c", command], cwd=folder, env=environment(), check=True)
    return time.monotonic() - begun


def environment() -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    return own | {f"DRIFTGATE_{name.upper()}_PORT": str(port) for name, port in CHOSEN.items()}


CHOSEN = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))


def write_rows(path: Path) -> None:
    whole = path.with_name("whole.csv")
    example = ROOT / "examples" / "support-triage" / "world.py"
    runpy.run_path(str(example))["write_world"](whole, seed=3, per_day=60)
    with whole.open(encoding="utf-8", newline="") as file:
        rows = random.Random(1).sample(list(csv.DictReader(file)), ROWS)
    for row in rows[::40]:
        row["label"] = f" {row['label'].upper()}"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
