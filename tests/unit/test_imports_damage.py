"""Records in which anything may stand: each is taken, or left out, and none stops the others."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import tensorzero_rows as tz
from test_imports_langfuse import correction, observation, score
from test_imports_openai import ASSISTANT, USER, chat, message, preference

from driftgate.client import Client
from driftgate.codec import Codec
from driftgate.errors import BadConfig
from driftgate.imports import langfuse, openai, tensorzero
from driftgate.imports.history import History, pairs
from driftgate.imports.records import Placed
from driftgate.labelled.findings import Findings
from services.console.import_events import Sender, diverted, without_kafka

Read = Callable[[list[Placed], Findings], History]

ANYTHING = [
    *(None, "", 0, -1, 3.5, float("inf"), float("nan"), 10**30, True, "x", "\ud800", "2026-01-01"),
    *([], {}, [1], ["a"], [[]], [None], {"a": 1}, "[", "{}", '"q"', {"role": None}, {"trace": {}}),
    *({"messages": 3}, {"raw": 3}, {"choices": [3]}, [{"type": None}], {"role": "user"}),
]
KEYS = ("trace", "observations", "scores", "tags", "value", "data_type", "weight", "time", "slices")

LANGFUSE = [
    observation(),
    score(),
    correction("better"),
    {"id": "t-1", "input": "a", "output": "b", "observations": [observation("o-2")]},
    {"id": "o-3", "traceId": "t", "startTime": "2026-05-29T13:46:19Z", "thumbs": [1]},
]
TENSORZERO = [tz.chat(), tz.chat(2), tz.demonstration(), tz.metric(), tz.metric(2, value=0.5)]
OPENAI = [
    chat(USER, ASSISTANT, time="2026-01-01", slices={"a": 1}),
    chat(USER, message("assistant", "x", weight=1)),
    preference("a", "b"),
]
SOURCES: dict[str, tuple[Read, list[Any]]] = {
    "langfuse": (lambda rows, out: langfuse.read(rows, (), ("language",), out), LANGFUSE),
    "tensorzero": (
        lambda rows, out: tensorzero.read(rows, None, (), "user_id", ("language",), out),
        TENSORZERO,
    ),
    "openai": (openai.read, OPENAI),
}


def damaged(value: Any, chance: random.Random) -> Any:
    """The value with some parts missing and others put in their places, also inside JSON."""
    if chance.random() < 0.06:
        return chance.choice(ANYTHING)
    if isinstance(value, dict):
        found = {k: damaged(v, chance) for k, v in value.items() if chance.random() > 0.03}
        more = {chance.choice(KEYS): chance.choice(ANYTHING)} if chance.random() < 0.05 else {}
        return found | more
    if isinstance(value, list):
        return [damaged(one, chance) for one in value]
    if isinstance(value, str) and value.startswith(("[", "{")) and chance.random() < 0.5:
        return json.dumps(damaged(json.loads(value), chance))
    return value


@pytest.mark.parametrize("source", SOURCES)
def test_no_record_stops_the_others(source: str, codec: Codec) -> None:
    read, whole = SOURCES[source]
    chance = random.Random(7)
    sent: list[str] = []
    bus = diverted(without_kafka(codec), codec, lambda topic, _: sent.append(topic))
    with Client(bus=bus) as client:
        for _ in range(500):
            rows = [damaged(chance.choice(whole), chance) for _ in range(4)]
            placed = [(f"line {n}", row) for n, row in enumerate(rows, 1) if isinstance(row, dict)]
            try:
                history = read(placed, Findings(""))
            except BadConfig:  # of several functions one is chosen
                assert source == "tensorzero"
                continue
            assert all(pair.line for pair in pairs(history, True, Findings("")))
            Sender(client, "m", 1, None, Findings("")).send(history, lambda: None)
    assert sent
