"""What an app needs: tell driftgate what a model answered, and what people made of it.

    client = Client("127.0.0.1:9092")
    request_id = client.inference("support-triage", 3, "Where is my parcel?", "delivery", 0.93)
    client.feedback("support-triage", request_id, label="refund")
    client.flush()

Apps that let the router answer (`Predict`) only send feedback: the router logs its own answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from driftgate.bus import Producer
from driftgate.bus_kafka import KafkaBus
from driftgate.clock import LiveClock
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.errors import BadInput


class Client:
    """Sends events. Nothing is promised before `flush` returns.

    Args:
        kafka: bootstrap servers, host:port,…
        producer: another way to send, for tests.
    """

    def __init__(
        self,
        kafka: str = "127.0.0.1:9092",
        producer: Producer | None = None,
        schemas: Path | None = None,
    ) -> None:
        self._codec = Codec.load(schemas or Settings.model_fields["schemas"].default)
        self._producer = producer or KafkaBus(kafka).producer()
        self._clock = LiveClock()

    def inference(
        self,
        model: str,
        version: int,
        text: str,
        output: str,
        confidence: float | None = None,
        *,
        request_id: str = "",
        slices: Mapping[str, str] | None = None,
        subject: str | None = None,
        latency_ms: float = 0.0,
        **more: Any,
    ) -> str:
        """One answer; returns its request id. `more` are further fields of subject `inference`.

        Raises:
            BadInput: a field has the wrong type.
        """
        event = {
            "request_id": request_id or uuid4().hex,
            "model": model,
            "version": version,
            "input": text,
            "input_hash": hashlib.sha256(text.encode()).hexdigest(),
            "output": output,
            "confidence": confidence,
            "slices": dict(slices or {}),
            "subject": subject,
            "latency_ms": latency_ms,
            "time": self._clock.now(),
            **more,
        }
        self._send("inferences", event)
        return str(event["request_id"])

    def feedback(
        self,
        model: str,
        request_id: str,
        *,
        label: str | None = None,
        rating: float | None = None,
        edited: str | None = None,
        reviewer: str | None = None,
        reason: str | None = None,
    ) -> str:
        """What somebody made of an answer: a label, a rating from 0 to 1, or a better response.
        May come before its inference, after it, or half a year later. Returns the feedback id.

        Raises:
            BadInput: none or several of label, rating and edited are given.
        """
        given = {"label": label, "rating": rating, "edited": edited}
        told = [name for name, value in given.items() if value is not None]
        if len(told) != 1:
            raise BadInput("empty", "feedback", told, "one of label, rating and edited")
        kinds = {"label": "review" if reviewer else "correction", "rating": "rating"}
        event = {
            "feedback_id": uuid4().hex,
            "request_id": request_id,
            "model": model,
            "kind": kinds.get(told[0], "edit"),
            **given,
            "reason": reason,
            "reviewer": reviewer,
            "time": self._clock.now(),
        }
        self._send("feedback", event)
        return str(event["feedback_id"])

    def flush(self) -> None:
        """Returns once everything sent is acknowledged.

        Raises:
            BusUnavailable: it was not, in time; send again, ids make that harmless.
        """
        self._producer.flush()

    def _send(self, topic: str, event: Mapping[str, Any]) -> None:
        key = self._codec.topics.key(topic, event)
        self._producer.send(topic, key, self._codec.encode(topic, event))
