from __future__ import annotations

from pathlib import Path

import pytest

from driftgate.bus_memory import MemoryBus
from driftgate.client import Client
from driftgate.codec import Codec
from driftgate.errors import BadInput

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")


@pytest.fixture
def bus() -> MemoryBus:
    found = MemoryBus()
    found.ensure(CODEC.topics.by_name.values())
    return found


def test_an_answer_and_its_correction_arrive_as_events(bus: MemoryBus) -> None:
    client = Client(producer=bus.producer())
    request = client.inference("m", 3, "Where is it?", "delivery", 0.9, slices={"language": "en"})
    client.feedback("m", request, label="refund", reviewer="ana")
    (answer,) = [CODEC.decode("inferences", r.value) for r in bus.read_all(["inferences"])]
    (said,) = [CODEC.decode("feedback", r.value) for r in bus.read_all(["feedback"])]
    assert (answer["input"], answer["role"], answer["version"]) == ("Where is it?", "live", 3)
    assert (said["request_id"], said["kind"], said["label"]) == (request, "review", "refund")


def test_feedback_tells_one_thing(bus: MemoryBus) -> None:
    client = Client(producer=bus.producer())
    with pytest.raises(BadInput, match="one of label, rating and edited"):
        client.feedback("m", "r", label="a", rating=1.0)
    with pytest.raises(BadInput, match="one of label"):
        client.feedback("m", "r")


def test_a_wrong_type_is_told_before_it_is_sent(bus: MemoryBus) -> None:
    with pytest.raises(BadInput, match="version"):
        Client(producer=bus.producer()).inference("m", "three", "x", "y")  # type: ignore[arg-type]
