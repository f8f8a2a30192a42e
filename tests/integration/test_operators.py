"""A rollout on real Kafka and the store, as an operator sees and steers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from promotion import Promotion, promoting
from releasing import NOW, until
from typer.testing import CliRunner, Result

from deploy.local.plan import free_ports
from deploy.local.stack import StackConfig
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.events import HOUR_MS
from services.console import cli, health, rollout_cli

pytestmark = pytest.mark.stack

M = "steered"


@pytest.fixture
def promotion(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path
) -> Iterator[Promotion]:
    with promoting(M, stack, kafka, codec, tmp_path) as made:
        yield made


@pytest.fixture
def types(stack: StackConfig, tmp_path: Path) -> Callable[[str], Result]:
    """Types a command about the model."""

    def typed(words: str) -> Result:
        kind, *more = words.split()
        elsewhere = ["--state", str(tmp_path / "no-stack")]
        environment = {**stack.environment, "USER": "ana"}
        return CliRunner().invoke(cli.app, [kind, M, *more, *elsewhere], env=environment)

    return typed


def test_an_operator_sees_a_rollout_and_ends_it_once(
    promotion: Promotion, types: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {"model": M, "repo_hash": promotion.repo, "repo_uri": "", "actor": "", "time": NOW}
    promotion.topics.send("models", declared)
    (port,) = free_ports(1)
    promotion.start(HTTP_PORT=port)
    promotion.tell("clock", promotion.ticked(promotion.begin))
    promotion.passes(1)
    promotion.acknowledged()
    promotion.passes(2)
    promotion.acknowledged()
    promotion.acknowledged()
    promotion.tell("clock", promotion.ticked(promotion.begin + 6 * HOUR_MS))
    said = types("rollout").stdout
    assert f"{M}: version 2 is tried against version 1\n" in said
    assert "  stage         shadow, 1 of 3, since" in said
    assert "  router        router-0 serves" in said
    assert "  missing       soak: 0.25 of 1 days passed\n" in said
    promotion.tell("clock", promotion.ticked(promotion.begin + 12 * HOUR_MS))
    assert "soak: 0.25 of 1 days passed" in types("rollout").stdout  # told once a day
    looks = f"http://127.0.0.1:{port}/looks"
    monkeypatch.setattr(rollout_cli, "looks_url", lambda _: looks)
    until(lambda: "soak: 0.5 of 1 days passed" in types("rollout").stdout)
    assert M in health.body(looks)

    first, again = types("abort --command-id night-1"), types("abort --command-id night-1")
    assert (first.exit_code, again.exit_code) == (0, 0)
    for done in (first, again):
        assert (
            "promoter v2  abort: version 2 is taken back: ana: asked by an operator" in done.stdout
        )
    decisions = [entry["decision"] for entry in promotion.topics.read("audit", M)]
    assert decisions.count("abort") == 1
    assert f"{M}: version 1 is champion, none is tried\n" in types("rollout").stdout
    assert "abort: version 2 is taken back" in types("rollout --replay").stdout

    for words, why in (
        ("abort", "version 1 is champion and none is tried"),
        ("promote 2", "nothing was changed: promote of version 2 changes nothing"),
        ("release --digest d9", "its adapter d9 is not in quarantine"),
    ):
        refused = types(words)
        assert (refused.exit_code, why in refused.stderr) == (1, True), refused.output
