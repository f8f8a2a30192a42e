"""Rows of TensorZero's tables, as its gateway writes them, with contents of our own."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

SCHEMA = """
CREATE TABLE ChatInference (id UUID, function_name LowCardinality(String),
    variant_name LowCardinality(String), episode_id UUID, input String, output String,
    tool_params String, inference_params String, processing_time_ms UInt32,
    timestamp DateTime MATERIALIZED UUIDv7ToDateTime(id), tags Map(String, String) DEFAULT map(),
    ttft_ms Nullable(UInt32))
    ENGINE = MergeTree ORDER BY (function_name, variant_name, episode_id);
CREATE TABLE JsonInference (id UUID, function_name LowCardinality(String),
    variant_name LowCardinality(String), episode_id UUID, input String, output String,
    output_schema String, inference_params String, processing_time_ms UInt32,
    timestamp DateTime MATERIALIZED UUIDv7ToDateTime(id), tags Map(String, String) DEFAULT map())
    ENGINE = MergeTree ORDER BY (function_name, variant_name, episode_id);
CREATE TABLE DemonstrationFeedback (id UUID, inference_id UUID, value String,
    timestamp DateTime MATERIALIZED UUIDv7ToDateTime(id), tags Map(String, String) DEFAULT map())
    ENGINE = MergeTree ORDER BY inference_id;
CREATE TABLE BooleanMetricFeedback (id UUID, target_id UUID, metric_name LowCardinality(String),
    value Bool, timestamp DateTime MATERIALIZED UUIDv7ToDateTime(id))
    ENGINE = MergeTree ORDER BY (metric_name, target_id);
CREATE TABLE FloatMetricFeedback (id UUID, target_id UUID, metric_name LowCardinality(String),
    value Float32, timestamp DateTime MATERIALIZED UUIDv7ToDateTime(id))
    ENGINE = MergeTree ORDER BY (metric_name, target_id);
"""
BEGIN = 1_780_062_379_963  # 2026-05-29T13:46:19.963Z


def uuid7(number: int, time: int = BEGIN) -> str:
    """The id of a moment; `number` tells those of one ms apart."""
    return str(UUID(int=time << 80 | 7 << 76 | 2 << 62 | number))


def asked(content: Any, **more: Any) -> str:
    return json.dumps({"messages": [{"role": "user", "content": content}]} | more)


def text(words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": words}]


def chat(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": uuid7(number),
        "function_name": "reply",
        "variant_name": "gpt_4o",
        "episode_id": uuid7(1000 + number),
        "input": asked(text("Where is it?"), system="Be kind."),
        "output": json.dumps(text("On its way.")),
        "tool_params": "",
        "inference_params": '{"chat_completion":{"temperature":0.5}}',
        "processing_time_ms": 1500,
        "tags": {"user_id": "c-17", "language": "en"},
        "ttft_ms": 200,
    } | changes


def extraction(number: int = 1, **changes: Any) -> dict[str, Any]:
    row = chat(number, function_name="extract", output='{"raw":"{\\"a\\": 1}","parsed":{"a":1}}')
    del row["tool_params"], row["ttft_ms"]
    return row | {"output_schema": "{}"} | changes


def demonstration(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": uuid7(number, BEGIN + 60_000),
        "inference_id": uuid7(number),
        "value": json.dumps(text("It comes today.")),
        "tags": {},
    } | changes


def metric(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": uuid7(500 + number, BEGIN + 60_000),
        "target_id": uuid7(number),
        "metric_name": "thumbs_up",
        "value": True,
    } | changes
