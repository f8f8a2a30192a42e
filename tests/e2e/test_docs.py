"""README and docs do what they say: every command that they show is run, in their order, as a
reader would run it, in a copy of the checkout. The first part is the way from a clone to the first
gated answer of one's own model."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import runpy
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fastavro
import pytest
from docs_commands import PYTHON, SHELL, Shown, shown_in
from kafka import KafkaProducer

from deploy.local.plan import PORTS, free_ports
from driftgate.codec import Codec
from driftgate.store import Store

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs",
    "schemas/README.md",
    "examples/support-triage/README.md",
    "examples/ticket-extract/README.md",
)
COMMAND_SECONDS = 600
FIRST_ANSWER = "driftgate ask my-model"
NOT_RUN = {
    "make demo": "a quarter of an hour: `make bench NAME=loop` runs it, with its figures",
    "make demo PACED=1": "half an hour: `make bench NAME=loop ARGS=--paced` runs it",
    "make demo EXAMPLE=ticket-extract": "under 45 minutes: `make bench NAME=loop` can play it",
    "make demo DATA=pairs.jsonl TASK=generation": "the pairs are the reader's own",
    "make demo PROFILE=corrections": "six minutes: `make bench NAME=profiles` runs it, paced",
    "make test": "this is a test of it",
    "make install TORCH=cpu": "from PyTorch's own registry, which not every machine reaches",
    "make lock": "asks the registry for newer versions of everything",
    "make bench NAME=cli": "writes into bench/RESULTS.md",
    "make bench NAME=canary-judge": "writes into bench/RESULTS.md",
    "make bench NAME=drift-quality": "writes into bench/RESULTS.md",
    "make bench NAME=loop-peers": "an hour, and writes into bench/RESULTS.md",
    "driftgate backtest MODEL --monitors other.yaml --since 2027-01-01 "
    "--incident 2027-03-02..2027-03-09": "model and monitors are the reader's own",
    "driftgate backtest MODEL --monitors model.yaml --file answers.csv --reference 1000": (
        "model and file are the reader's own"
    ),
    "driftgate clusters MODEL": "the model is the reader's own",
    "driftgate clusters MODEL --incident ID": "the incident is the reader's own",
    "driftgate clusters MODEL --since 7d --json": "the model is the reader's own",
    "DRIFTGATE_KAFKA_PORT=9192 make up": "the same as `make up`, on another port",
    ".venv/bin/driftgate up --clock world --state .driftgate/demo": "needs what a demo left",
    "driftgate init DIR --task generation --data pairs.jsonl": "the pairs are the reader's own",
    'driftgate prompt DIR --reason "replies were too long"': "the model repo is the reader's own",
    "driftgate import tensorzero http://USER:PASSWORD@HOST:8123/tensorzero --function reply "
    "--model my-replies": "the tables are the reader's own",
    "DRIFTGATE_SUBJECT_KEY=… driftgate subject support-triage c-17": "the key is the reader's own",
}
# A world of four weeks is too short for the loop to hold for sure; that it is played is the test.
# A command that says no says why.
MAY_SAY_NO = {
    '.venv/bin/driftgate rollback my-model --reason "complaints"',  # its only version stays
    ".venv/bin/driftgate simulate my-model world.csv --state .driftgate/world",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """One command and how it ended."""

    shown: Shown
    status: int
    seconds: float
    said: str


@dataclass
class Reader:
    """Someone who types what the pages show, in a folder of their own."""

    folder: Path
    ports: dict[str, int]
    dead_letters: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ports = {f"DRIFTGATE_{name.upper()}_PORT": str(p) for name, p in self.ports.items()}
        # What a `make test ARGS=...` around these tests was given is not what a reader types.
        alien = ("DRIFTGATE_", "MAKE", "MFLAGS", "ARGS")
        own = {k: v for k, v in os.environ.items() if not k.startswith(alien)}
        return own | ports | {"DRIFTGATE_SCHEMAS": str(self.folder / "schemas")}

    def own_ports(self, text: str) -> str:
        """A text with the usual ports of the stack as they are here."""
        for name in ("kafka", "router", "clickhouse"):
            text = text.replace(f"127.0.0.1:{PORTS[name]}", f"127.0.0.1:{self.ports[name]}")
        return text

    def types(self, shown: Shown) -> Ran:
        if shown.kind == PYTHON:
            command = [str(self.folder / ".venv/bin/python"), "-c", self.own_ports(shown.text)]
        else:
            text = shown.text
            for shown_place, place in self.dead_letters.items():
                text = text.replace(shown_place, place)
            for program in ("driftgate", "pytest"):
                if text.startswith(f"{program} "):
                    text = f".venv/bin/{text}"
            command = ["bash", "-c", text]
        begun = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input="y\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        seconds = time.monotonic() - begun
        return Ran(shown, done.returncode, seconds, done.stdout + done.stderr)

    def types_all(self, commands: Sequence[str]) -> None:
        """What a page takes for granted."""
        for text in commands:
            ran = self.types(Shown("before", SHELL, text))
            assert ran.status == 0, f"{text}\n{ran.said}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A copy of the checkout with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("reader") / "driftgate"
    tracked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\n")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    write_files(folder)
    found = Reader(folder, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    try:
        yield found
    finally:
        for command in ("make down", ".venv/bin/driftgate down --state .driftgate/world"):
            found.types(Shown("after", SHELL, command))


def write_files(folder: Path) -> None:
    """`labelled.csv` with 600 rows as an office has them, `world.csv` to play, two schemas, and
    what other systems export."""
    write_exports(folder)
    example = ROOT / "examples" / "support-triage" / "world.py"
    whole = folder / "whole.csv"
    runpy.run_path(str(example))["write_world"](whole, seed=3, per_day=60)
    with whole.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    launch = [row for row in rows if row["time"] < rows[2500]["time"]]
    known = {row["label"] for row in launch}
    chosen = random.Random(1).sample(launch, 600)
    for row in chosen[::40]:
        row["label"] = f" {row['label'].upper()}"  # as typed by hand
    chosen[7]["text"] = ""
    write_csv(folder / "labelled.csv", chosen, ";")
    later = [row for row in rows[2500:] if row["label"] in known]
    spanish = [row for row in later if row["language"] == "es"][:400]
    others = [row for row in later if row["language"] != "es"][:500]
    for row in others[::3]:  # a launch of this size has enough of the slice that init protects
        row["channel"] = "app"
    write_csv(folder / "world.csv", [*spanish, *others], ",")
    whole.unlink()
    newest = sorted((folder / "schemas" / "inference").glob("v*.avsc"))[-1]
    schema = json.loads(newest.read_text())
    for name, column in (("my-inference.avsc", "tenant"), ("new.avsc", "region")):
        added = {"name": column, "type": ["null", "string"], "default": None, "doc": "an example"}
        schema["fields"].append(added)
        (folder / name).write_text(json.dumps(schema))


def write_exports(folder: Path) -> None:
    """What docs/import.md imports."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    (folder / "train.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    generation = {
        "id": "o",
        "trace_id": "t",
        "type": "GENERATION",
        "input": "Hi",
        "output": "Hello",
    }
    (folder / "langfuse-export").mkdir()
    (folder / "langfuse-export" / "1.jsonl").write_text(json.dumps(generation) + "\n")


def write_csv(path: Path, rows: Sequence[dict[str, str]], delimiter: str) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def leave_dead_letters(reader: Reader) -> None:
    """What docs/dead-letters.md looks at: records of a label that was never declared. Where they
    lie depends on what the pages before it sent."""
    codec = Codec.load(reader.folder / "schemas")
    line = json.dumps(json.loads((ROOT / "schemas/inference/examples/v1-1.json").read_text()))
    schema = json.loads((ROOT / "schemas/inference/v1.avsc").read_text())
    (event,) = fastavro.json_reader(io.StringIO(line), schema)
    producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{reader.ports['kafka']}")
    event |= {"model": "support-triage", "output": "refnd", "time": int(time.time() * 1000)}
    bad = codec.encode("inferences", event)
    for partition, count, shown_place in ((0, 30, "inferences/0/17"), (1, 10, "inferences/1/4")):
        sent = [
            producer.send("inferences", key=b"r", value=bad, partition=partition)
            for _ in range(count)
        ]
        last = sent[-1].get(timeout=60).offset
        reader.dead_letters[shown_place] = f"inferences/{partition}/{last}"
    producer.close()
    store = Store.connect(f"http://127.0.0.1:{reader.ports['clickhouse']}", "driftgate")
    deadline = time.monotonic() + 180
    while store.query("SELECT count() AS n FROM dead_letters FINAL")[0]["n"] < 40:
        assert time.monotonic() < deadline, "the dead letters are not stored"
        time.sleep(0.2)
    store.close()


# Parts of files for those who change the project: tests/unit/test_extending.py runs their like.
PARTS = ROOT / "docs" / "extending.md"


def pages() -> list[Path]:
    found: list[Path] = []
    for name in PAGES:
        path = ROOT / name
        found += sorted(path.rglob("*.md")) if path.is_dir() else [path]
    return [page for page in found if page != PARTS]


def test_what_is_not_run_is_still_shown() -> None:
    shown = {one.text for page in pages() for one in shown_in(page, ROOT)}
    assert set(NOT_RUN) <= shown, "take out of NOT_RUN what no page shows any more"


def test_every_command_works_as_it_is_shown(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = []
    begun = time.monotonic()
    readme = ROOT / "README.md"
    for page in pages():
        shown = [one for one in shown_in(page, ROOT) if one.text not in NOT_RUN]
        if page.name == "dead-letters.md":
            leave_dead_letters(reader)
        if page.name == "command-line.md":  # begins anew with `init my-model`
            shutil.rmtree(reader.folder / "my-model")
        for one in shown:
            ran = reader.types(one)
            with capsys.disabled():
                title = "its Python" if one.kind == PYTHON else one.text
                print(f"\n{ran.seconds:6.1f} s  {ran.status}  {one.place}  {title}", end="")
                if page == readme and FIRST_ANSWER in one.text:
                    minutes = (time.monotonic() - begun) / 60
                    print(f"\n          the first gated answer after {minutes:.1f} minutes", end="")
            if ran.status not in ((0, 1) if one.text in MAY_SAY_NO else (0,)):
                failed.append(f"{one.place}: {one.text}\nexit {ran.status}\n{ran.said[-2000:]}")
        if page == readme:  # the other pages speak of a system that runs, and of the example
            reader.types_all(
                ["make up", "driftgate resume my-model", "driftgate apply examples/support-triage"]
            )
    assert not failed, "\n\n".join(failed)
