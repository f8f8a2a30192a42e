"""A model that writes, on real Kafka: the promoter says who answers and how it is asked, the router
answers by a real network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from promotion import Promotion, promoting
from releasing import NOW, RouterProcess, model_yaml, until
from tiny_adapters import tiny_adapter
from tiny_llama import tiny_llama
from typer.testing import CliRunner, Result

from deploy.local.stack import StackConfig
from driftgate import model_repo
from driftgate.bases import BaseRef, resolve
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.generator.prompt import Prompt
from driftgate.router_pb import router_pb2, router_pb2_grpc
from services.console import cli

pytestmark = pytest.mark.stack

M = "writes-replies"
MODEL_YAML = """
model: {model}
task: {{kind: text-generation, system: system.txt, max_new_tokens: 12, max_input_tokens: 300}}
base: {{name: {base}}}
monitors: []
gate: {{min_accuracy: 0.8, waived: [regression, probes]}}
feedback: {{profile: [edits]}}
rollout: {{stages: [{{name: full, percent: 100}}]}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseRef:
    return resolve(str(tiny_llama(tmp_path_factory.mktemp("llama"))))


@pytest.fixture
def repo(base: BaseRef, tmp_path: Path) -> Path:
    folder = tmp_path / "writes"
    (folder / "evals").mkdir(parents=True)
    (folder / "evals" / "regression.jsonl").touch()
    (folder / "evals" / "probes.yaml").touch()
    (folder / "model.yaml").write_text(MODEL_YAML.format(model=M, base=base.name))
    (folder / "system.txt").write_text("Be brief.")
    return folder


@pytest.fixture
def promotion(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, repo: Path, tmp_path: Path
) -> Iterator[Promotion]:
    with promoting(M, stack, kafka, codec, tmp_path) as made:
        made.repo = model_repo.publish(repo, made.artifacts)[0].hash
        yield made


@pytest.fixture
def router(stack: StackConfig, tmp_path: Path) -> Iterator[RouterProcess]:
    router = RouterProcess(dict(stack.environment), tmp_path / "router").start(REPLICA="writes")
    yield router
    assert router.stop() == 0


@pytest.fixture
def types(stack: StackConfig, tmp_path: Path) -> Callable[..., Result]:
    def typed(*words: str) -> Result:
        elsewhere = ["--state", str(tmp_path / "no-stack")]
        environment = {**stack.environment, "USER": "ana"}
        return CliRunner().invoke(cli.app, [*words, *elsewhere], env=environment)

    return typed


def ask(router: RouterProcess, request_id: str) -> Any:
    asked = router_pb2.GenerateRequest(
        model=M, text="Where is my parcel?", request_id=request_id, time_ms=NOW
    )
    with grpc.insecure_channel(router.address) as channel:
        return router_pb2_grpc.RouterStub(channel).Generate(asked, timeout=60)


def served(router: RouterProcess, prompt: Prompt, version: int) -> Any:
    """A reply once the version answers with a prompt."""

    def found() -> Any:
        try:
            reply = ask(router, f"{version}-{prompt.digest[:6]}")
        except grpc.RpcError:
            return None
        return reply if (reply.prompt, reply.version) == (prompt.digest, version) else None

    return until(found)


def test_a_model_that_writes_is_released_asked_and_given_another_prompt_at_once(
    promotion: Promotion,
    router: RouterProcess,
    types: Callable[..., Result],
    repo: Path,
    base: BaseRef,
    tmp_path: Path,
) -> None:
    declared = {"model": M, "repo_hash": promotion.repo, "repo_uri": "", "actor": "", "time": NOW}
    promotion.topics.send("models", declared)
    promotion.start()
    adapter = tiny_adapter(tmp_path / "adapter", base, 1)
    uri = promotion.artifacts.put_folder(adapter)
    of_base = {"base": base.name, "base_digest": base.digest, "task": "text-generation"}
    verdict = promotion.verdict(1) | of_base
    verdict |= {"adapter_uri": uri, "adapter_digest": uri.removeprefix("sha256:")}
    promotion.tell("verdicts", verdict)

    brief = Prompt("Be brief.", "{text}")
    before = served(router, brief, 1)
    assert before.tokens_out > 0
    (repo / "system.txt").write_text("You answer customers. Be kind, and never promise a date.")
    done = types("prompt", str(repo), "--reason", "too rude", "--command-id", "kind-1")
    assert done.exit_code == 0, done.output
    kind = Prompt((repo / "system.txt").read_text(), "{text}")
    assert f"inputs of {M} become prompt {kind.digest[:12]}" in done.output
    after = served(router, kind, 1)
    assert after.tokens_in > before.tokens_in
    assert after.digest == before.digest  # nothing was trained
    assert [e["decision"] for e in promotion.topics.read("audit", M)].count("prompt") == 1
    again = types("prompt", str(repo))
    assert again.exit_code == 1
    assert "is in force" in again.output

    def logged() -> set[str]:
        return {event["prompt"] for event in promotion.topics.read("inferences", M)}

    until(lambda: logged() >= {brief.digest, kind.digest})

    with httpx.Client(base_url=router.url, timeout=60) as client:
        asked = {"model": M, "messages": [{"role": "user", "content": "Where is my parcel?"}]}
        told = {"x-request-id": f"1-{kind.digest[:6]}"}
        answer = client.post("/chat/completions", json=asked, headers=told)
        assert answer.json()["choices"][0]["message"]["content"] == after.text
        assert answer.json()["usage"]["prompt_tokens"] == after.tokens_in
        streamed = client.post("/chat/completions", json=asked | {"stream": True}, headers=told)
        chunks = [json.loads(line[6:]) for line in streamed.text.split("\n\n")[:-2]]
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == after.text
        said = {"model": M, "completion_id": answer.json()["id"], "edited": "It is on its way."}
        assert client.post("/feedback", json=said).status_code == 202
        (feedback,) = until(lambda: promotion.topics.read("feedback", M))
        assert feedback["request_id"] == told["x-request-id"]
    assert router.stop() == 0
    router.start(REPLICA="writes")  # from its last good routing
    assert served(router, kind, 1).text == after.text


def test_a_model_that_chooses_has_no_prompt(types: Callable[..., Result], repo: Path) -> None:
    (repo / "model.yaml").write_text(model_yaml("chooses"))
    done = types("prompt", str(repo))
    assert done.exit_code == 2
    assert "is asked without a prompt" in done.output
