"""What a service is told from outside. Only `main` calls `load`, once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from driftgate.errors import BadConfig, nearest

PREFIX = "DRIFTGATE_"
PACKAGE = Path(__file__).resolve().parent


def schemas_of(package: Path) -> Path:
    """The folder of topics and schemas: within the package in a wheel, else at the root."""
    inside = package / "schemas"
    return inside if inside.is_dir() else package.parents[1] / "schemas"


def upstreams(told: object) -> object:
    """
    >>> upstreams("SmolLM2-135M-Instruct=http://gpu:8000, bases/own=http://gpu:8001")
    {'SmolLM2-135M-Instruct': 'http://gpu:8000', 'bases/own': 'http://gpu:8001'}
    """
    if not isinstance(told, str):
        return told
    found = {}
    for pair in filter(None, map(str.strip, told.split(","))):
        base, _, url = map(str.strip, pair.rpartition("="))
        if not base or not re.fullmatch(r"https?://[^/@\s]+(/\S*)?", url):
            raise ValueError("expected BASE=URL,…, each URL as http://host:port")
        if base in found:
            raise ValueError(f"base {base} is named twice")
        found[base] = url
    return found


class Settings(BaseSettings):
    """One frozen value, read from `DRIFTGATE_*` variables."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    kafka: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port,…")
    kafka_driver: Literal["kafka-python", "confluent"] = Field(
        "kafka-python", description="client that ingestion reads Kafka with; confluent is faster"
    )
    poll_records: int = Field(
        100_000,
        ge=1,
        description="most records that ingestion takes at once; less needs less memory",
    )
    registry: str = Field(
        "", description="Schema Registry, http://host:port; empty: schemas/registry.lock"
    )
    store: str = Field("http://127.0.0.1:8123", description="ClickHouse's HTTP interface")
    database: str = Field("driftgate", description="ClickHouse database")
    artifacts: str = Field(
        f"file://{Path.cwd() / '.driftgate' / 'artifacts'}",
        description="root of the artifact store, any fsspec URL (file://, s3://, gs://, memory://)",
    )
    router: str = Field("127.0.0.1:50051", description="the router's gRPC address, host:port")
    http_door: str = Field(
        "127.0.0.1:8088",
        description="the router's HTTP address, host:port; empty: none. Beyond loopback it needs "
        "`http_door_tokens`",
    )
    http_door_tokens: SecretStr = Field(
        SecretStr(""),
        description="bearer tokens that the HTTP door takes, with commas between them, or @FILE "
        "with one a line; empty: none is asked for, on loopback alone",
    )
    http_door_origins: str = Field(
        "",
        description="origins whose pages may use the HTTP door, https://desk.example.com,…; * with "
        "tokens alone: any",
    )
    http_door_system: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="what the HTTP door does with a system message that is not the prompt in force",
    )
    ray: str = Field("127.0.0.1:6379", description="Ray's address, or 'local' to start one inside")
    tick_seconds: float = Field(
        10.0, gt=0, description="pause between two ticks, s of the machine's clock"
    )
    pace: float = Field(1.0, gt=0, description="how many times as fast as the machine time runs")
    subject_key: SecretStr = Field(
        SecretStr(""), description="secret that persons' ids are hashed with before they are stored"
    )
    judge_url: str = Field(
        "", description="server of model judges, https://host/v1, where model.yaml names none"
    )
    judge_token: SecretStr = Field(SecretStr(""), description="bearer token of that server")
    dead_letter_limit: float = Field(
        0.5, gt=0, le=1, description="share of dead letters in a partition that stops ingestion"
    )
    http_port: int = Field(0, ge=0, le=65535, description="/healthz, /readyz, /metrics; 0: any")
    replica: str = Field("0", description="name of this copy of the service, stable over restarts")
    state_dir: Path = Field(
        Path(".driftgate"),
        description="folder for what a service may lose without harm, but for the router's spool",
    )
    spool_mb: int = Field(
        256, ge=1, description="most that the router keeps on disk while Kafka is away, MB"
    )
    when_full: Literal["refuse", "shed"] = Field(
        "refuse",
        description="what the router does when its spool is full: refuse requests, or answer them "
        "and drop the log of the answers",
    )
    schemas: Path = Field(schemas_of(PACKAGE), description="folder of topics and schemas")
    threads: int = Field(1, ge=1, description="torch threads in one worker")
    upstream: Annotated[dict[str, str], NoDecode, BeforeValidator(upstreams)] = Field(
        {},
        description="BASE=URL,…: bases of models that write which an OpenAI-compatible server such "
        "as vLLM computes, in place of the router and the evaluator",
    )
    upstream_token: SecretStr = Field(
        SecretStr(""), description="bearer token for these servers; empty: none is sent"
    )


def load(environment: dict[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        BadConfig: a variable is unknown (the nearest known one is named) or has a bad value.
    """
    found = dict(os.environ if environment is None else environment)
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in found:
        if name.startswith(PREFIX) and name not in known:
            raise BadConfig(f"environment variable {name} is unknown: {nearest(name, known)}")
    ours = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in found.items()
        if name.startswith(PREFIX)
    }
    try:
        return Settings.model_validate(ours)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise BadConfig(f"{name}: got {first['input']!r}, {first['msg']}") from None
