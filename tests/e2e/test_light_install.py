"""`pip install .` without an extra: an app in an environment of its own, against real Kafka."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from docs_commands import PYTHON, shown_in

from deploy.local.plan import PORTS, StackConfig
from driftgate.artifacts import Artifacts
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import Arm, Routing

pytestmark = [pytest.mark.stack, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
UV = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
ABSENT = [
    "torch",
    "ray",
    "faust",
    "chdb",
    "transformers",
    "peft",
    "bitsandbytes",
    "pandas",
    "pyarrow",
    "numpy",
    "clickhouse_connect",
]
APP = """
import importlib.util, json, sys
from driftgate.client import Client

kafka, model, absent = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with Client(kafka) as client:
    route = client.route(model, "r-1", "ana", {"language": "en"})
    request = client.inference(
        model, route.version, "Where is it?", "delivery", 0.9, epoch=route.epoch
    )
    client.feedback(model, request, label="refund")
found = [name for name in absent if importlib.util.find_spec(name)]
print(json.dumps({"request": request, "version": route.version, "found": found}))
"""


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel and what it needs, in the versions of requirements.lock."""

    folder: Path

    def runs(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [self.folder / "bin" / program, *words]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    built, folder = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("light") / "venv"
    lock = str(ROOT / "requirements.lock")
    uv("build", "--wheel", "-o", str(built), str(ROOT))
    uv("venv", "--python", sys.executable, str(folder))
    (wheel,) = built.glob("*.whl")
    uv("pip", "install", "--python", str(folder), "-c", lock, str(wheel))
    return Installed(folder)


def uv(*words: str) -> None:
    done = subprocess.run([UV, "-q", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def publish(kafka: KafkaBus, codec: Codec, model: str, adapter_uri: str) -> None:
    """Version 7 of a model at full traffic."""
    arm = Arm(version=7, digest="d", adapter_uri=adapter_uri, weight=10_000)
    routing = Routing(
        model=model,
        epoch=3,
        base="b",
        base_digest="bd",
        arms=(arm,),
        shadows=(),
        salt=model,
        sticky_by="subject",
        repo_hash="h",
        time=1,
    )
    producer = kafka.producer()
    producer.send(*codec.record(routing))
    producer.flush()
    producer.close()


def test_an_app_routes_and_reports_with_the_client_alone(
    light: Installed, stack: StackConfig, kafka: KafkaBus, codec: Codec
) -> None:
    model = f"light-{uuid4().hex[:8]}"
    publish(kafka, codec, model, "sha256:d")
    ran = light.runs("python", "-I", "-c", APP, stack.kafka, model, json.dumps(ABSENT))
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["version"], said["found"]) == (7, [])
    events = {
        topic: [
            event
            for record in kafka.read_all([topic])
            if (event := codec.decode(topic, record.value))["request_id"] == said["request"]
        ]
        for topic in ("inferences", "feedback")
    }
    ((answer,), (feedback,)) = events.values()
    assert (answer["model"], answer["version"], answer["epoch"]) == (model, 7, 3)
    assert (feedback["kind"], feedback["label"]) == ("correction", "refund")


def test_what_the_docs_show_works_with_the_client_alone(
    light: Installed, stack: StackConfig, kafka: KafkaBus, codec: Codec
) -> None:
    artifacts = Artifacts(f"file://{light.folder}/.driftgate/artifacts")
    publish(kafka, codec, "my-model", artifacts.put_folder(ROOT / "examples" / "support-triage"))
    shown = shown_in(ROOT / "docs" / "client.md", ROOT)
    (program,) = (one.text for one in shown if one.kind == PYTHON)
    program = program.replace(f"127.0.0.1:{PORTS['kafka']}", stack.kafka)
    ran = light.runs("python", "-I", "-c", program)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "rating: got 4, expected a number from 0 to 1\n"
    assert list((light.folder / "adapters").rglob("model.yaml"))


def test_the_command_helps_and_names_the_extra_that_it_needs(light: Installed) -> None:
    assert "Declare and train a model" in light.runs("driftgate", "--help").stdout
    checked = light.runs("driftgate", "check", str(ROOT / "examples" / "support-triage"))
    assert checked.returncode == 0, checked.stderr
    for words in (("up",), ("ask", "m", "x"), ("traffic", "m"), ("eval", str(ROOT), ".")):
        ran = light.runs("driftgate", *words)
        (line,) = ran.stderr.splitlines()
        assert (ran.returncode, line.endswith("pip install 'driftgate[services]'")) == (2, True)
