"""The promoter process on real Kafka and the store over HTTP, killed between any two events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import releasing
from promotion import Promotion, promoting
from releasing import until

from deploy.local.stack import StackConfig
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec

pytestmark = pytest.mark.stack

M = "promoted-in-earnest"


@pytest.fixture
def promotion(
    kafka: KafkaBus, codec: Codec, stack: StackConfig, tmp_path: Path
) -> Iterator[Promotion]:
    with promoting(M, stack, kafka, codec, tmp_path) as made:
        yield made


def test_a_version_is_released_promoted_and_taken_back_over_kills(promotion: Promotion) -> None:
    promotion.start()
    promotion.passes(1)
    promotion.acknowledged()
    promotion.passes(2)
    promotion.kill()
    promotion.start()
    promotion.acknowledged()
    promotion.acknowledged()
    promotion.day(1, "ab")
    promotion.acknowledged()
    promotion.kill()
    promotion.topics.send("clock", promotion.ticked(promotion.labelled(2, "bb")))
    promotion.start()
    until(promotion.caught_up)
    promotion.acknowledged()
    promotion.day(3, "ba")
    assert releasing.decisions(promotion.topics.read("audit", M)) == [
        ("start", 1),
        ("start", 2),
        ("advance", 2),
        ("advance", 2),
        ("advance", 2),
        ("rollback", 2),
    ]
    states = promotion.topics.read("rollouts", M)
    assert [state["stage"] for state in states] == [
        "idle",
        "loading",
        "shadow",
        "half",
        "full",
        "idle",
    ]
    routing = promotion.topics.read("routing", M)
    assert [record["epoch"] for record in routing] == [state["epoch"] for state in states]
    assert [arm["version"] for arm in routing[-1]["arms"]] == [1]
