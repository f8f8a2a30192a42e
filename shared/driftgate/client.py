"""What an app needs: tell driftgate what a model answered, and what people made of it; and, where
the app computes the answers itself, learn which version gives them.

    with Client("127.0.0.1:9092") as client:
        request_id = client.inference("support-triage", 3, "Where is it?", "delivery", 0.93)
        client.feedback("support-triage", request_id, label="refund")

Apps that let the router answer (`Predict`) only send feedback: the router logs its own answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Self
from uuid import uuid4

from driftgate import limits
from driftgate.bus import Bus
from driftgate.bus_kafka import KafkaBus
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.dead_letters import UNHANDLED
from driftgate.errors import BadInput
from driftgate.events import Feedback, Fields, Inference
from driftgate.feedback_said import feedback_said
from driftgate.model_repo import Data
from driftgate.routing import Arm, champion_of, choose
from driftgate.routing_reader import RoutingReader
from driftgate.system_clock import SystemClock


@dataclass(frozen=True, slots=True)
class Route(Arm):
    """The version that answers one request, and the request.

    Attributes:
        epoch: of the routing record that says so.
        shadows: versions that answer the same request without being heard.
        champion: the version at full traffic.
        time: when it was asked for, ms since 1970.
    """

    epoch: int
    shadows: tuple[Arm, ...]
    champion: int
    model: str
    request_id: str
    subject: str | None
    slices: Mapping[str, str] = field(hash=False)  # a mapping has no hash
    time: int = field(compare=False)


class Client:
    """Sends events and follows the routing. Safe to share between threads; a process that forks
    makes its own afterwards. Nothing is promised before `flush` or `close` returns.

    Args:
        kafka: bootstrap servers, host:port,…
        schemas: folder of topics and schemas; the installed one when left out.
        registry: Schema Registry, http://host:port; empty: `registry.lock` in `schemas`.
        data: data policy of the models where their model.yaml says other than the default: how
            old and how far ahead (`keep_days`, `ahead_hours`) a time may be.
        bus: another way to send, for tests.

    Raises:
        BusUnavailable: Kafka does not answer.
        BadConfig: `schemas` or `registry` cannot be used.
    """

    def __init__(
        self,
        kafka: str = "127.0.0.1:9092",
        schemas: Path | None = None,
        registry: str = "",
        data: Data | None = None,
        bus: Bus | None = None,
    ) -> None:
        self._codec = Codec.load(schemas or Settings.model_fields["schemas"].default, registry)
        self._bus = bus or KafkaBus(kafka)
        self._producer = self._bus.producer()
        self._clock = SystemClock(self._bus, self._codec)
        self._data = data or Data()
        self._reader: RoutingReader | None = None
        self._lock = Lock()

    def inference(
        self,
        model: str,
        version: int,
        text: str,
        output: str,
        confidence: float | None = None,
        *,
        request_id: str | None = None,
        slices: Mapping[str, str] | None = None,
        subject: str | None = None,
        latency_ms: float = 0.0,
        time: int | None = None,
        **more: Any,
    ) -> str:
        """One answer; returns its request id, a new one where none is given.

        Args:
            confidence: probability that the model gives its answer, 0 to 1.
            time: when the request was made, ms since 1970; now, as the system's clock tells it,
                when left out.
            more: further fields of subject `inference`; `input=None` sends the text's hash alone.
                Of a written answer `tokens_in`, `tokens_out`, `finish_reason` (stop, length or
                cancelled), `first_token_ms`, `logprob` (mean of its tokens) and `prompt`. For the
                version that `route` names, `report` knows digest, base and task.

        Raises:
            BadInput: a field cannot be used; names it, its value and what was expected.
        """
        limits.check_text("input", text)
        answer = {
            "request_id": uuid4().hex if request_id is None else request_id,
            "model": model,
            "version": version,
            "input": text,
            "input_hash": hashlib.sha256(text.encode()).hexdigest(),
            "output": output,
            "confidence": confidence,
            "slices": {} if slices is None else slices,
            "subject": subject,
            "latency_ms": latency_ms,
            "time": self._clock.now() if time is None else time,
        }
        event = Inference.of(answer).as_dict() | more
        self._send(Inference.TOPIC, event)
        return str(event["request_id"])

    def report(
        self,
        route: Route,
        text: str,
        output: str,
        confidence: float | None = None,
        *,
        by: Arm | None = None,
        latency_ms: float = 0.0,
        time: int | None = None,
        **more: Any,
    ) -> str:
        """The answer of a version to a request that `route` was asked about, with all that a
        comparison of versions needs: digest, base, epoch, prompt, propensity, and whether it was
        heard.
        Returns the request id.

        Args:
            by: who gave it; one of `route.shadows` for an answer that nobody heard, the version of
                the route when left out.
            time: when the request was made, ms since 1970; when the route was asked for, when left
                out: the same for all its answers.
            confidence, latency_ms, more: as in `inference`.

        Raises:
            BadInput: a field cannot be used, or `by` is no version of the route.
        """
        arm = route if by is None else by
        if arm is not route and arm not in route.shadows:
            valid = [shadow.version for shadow in route.shadows]
            raise BadInput(UNHANDLED, "by", arm.version, f"one of the route's shadows, {valid}")
        about = {
            "role": "live" if arm is route else "shadow",
            "digest": arm.digest,
            "base": arm.base,
            "base_digest": arm.base_digest,
            "task": arm.task,
            "epoch": route.epoch,
            "propensity": arm.propensity,
            "prompt": arm.prompt.digest if arm.prompt is not None else "",
        }
        return self.inference(
            route.model,
            arm.version,
            text,
            output,
            confidence,
            request_id=route.request_id,
            subject=route.subject,
            slices=route.slices,
            latency_ms=latency_ms,
            time=route.time if time is None else time,
            **about | more,
        )

    def feedback(
        self,
        model: str,
        request_id: str,
        *,
        label: str | None = None,
        rating: float | None = None,
        edited: str | None = None,
        kind: str | None = None,
        reviewer: str | None = None,
        reason: str | None = None,
        feedback_id: str | None = None,
        time: int | None = None,
        **more: Any,
    ) -> str:
        """What somebody made of an answer: a label, a rating from 0 to 1, or a better response.
        May come before its inference, after it, or half a year later. Returns the feedback id; the
        same id twice is the same feedback.

        Args:
            edited: what was used instead of the answer. One that equals the answer says that it
                was right.
            kind: rating, edit, correction (a label by a user) or review (one by a reviewer);
                follows from the others when left out.
            time: when the feedback was given, ms since 1970; now, as the system's clock tells it,
                when left out.
            more: further fields of subject `feedback`.

        Raises:
            BadInput: a field cannot be used, none or several of label, rating and edited are given,
                or the edit is blank.
        """
        said = feedback_said(label, rating, edited, kind, reviewer)
        said |= {"reviewer": reviewer, "reason": reason}
        return self._say(model, request_id, feedback_id, time, **said | more)

    def metric(
        self,
        model: str,
        request_id: str,
        name: str,
        value: float,
        *,
        feedback_id: str | None = None,
        time: int | None = None,
    ) -> str:
        """A number that the app measured of an answer, such as minutes until a ticket was closed,
        by the name that model.yaml declares under `rollout.metrics`. Returns the feedback id.

        Args:
            time: as in `feedback`.

        Raises:
            BadInput: a field cannot be used.
        """
        return self._say(
            model, request_id, feedback_id, time, kind="metric", metric=name, value=value
        )

    def retract(
        self,
        model: str,
        request_id: str,
        retracts: str | None = None,
        *,
        reviewer: str | None = None,
        feedback_id: str | None = None,
        time: int | None = None,
    ) -> str:
        """What was said of an answer does not hold: that of one feedback id, or all that this
        reviewer, or the users where none is named, said before. Returns the feedback id.

        Args:
            time: as in `feedback`.

        Raises:
            BadInput: a field cannot be used.
        """
        said = {"kind": "retraction", "retracts": retracts, "reviewer": reviewer}
        return self._say(model, request_id, feedback_id, time, **said)

    def route(
        self,
        model: str,
        request_id: str,
        subject: str | None = None,
        slices: Mapping[str, str] | None = None,
    ) -> Route:
        """Which version answers a request, as the router would decide. The first call begins to
        follow topic `routing` and waits for it; later ones take microseconds and no network.

        Raises:
            BadInput: an id or a slice cannot be used.
            NotReady: no routing is known yet; try again later.
            NotServed: no such model, or the request is outside its scope.
        """
        limits.check_text("model", model)
        limits.check_words(request_id, subject or "", slices or {})
        limits.NotBlank().check("request_id", request_id)
        routing = self._routing_reader().routing(model)
        choice = choose(routing, request_id, subject or "", slices or {})
        live, champion = choice.live, champion_of(routing)
        return Route(
            version=live.version,
            digest=live.digest,
            adapter_uri=live.adapter_uri,
            base=live.base,
            base_digest=live.base_digest,
            task=live.task,
            propensity=live.propensity,
            epoch=choice.epoch,
            shadows=choice.shadows,
            champion=champion.version if champion is not None else live.version,
            prompt=live.prompt,
            model=model,
            request_id=request_id,
            subject=subject or None,
            slices=slices or {},
            time=self._clock.now(),
        )

    @property
    def skipped(self) -> int:
        """Routing records passed over, since they cannot be used; the log says why."""
        return self._reader.skipped if self._reader else 0

    def flush(self) -> None:
        """Returns once everything sent is acknowledged.

        Raises:
            BusUnavailable: it was not, in time; send again, ids make that harmless.
        """
        self._producer.flush()

    def close(self) -> None:
        """Flushes and lets go of Kafka.

        Raises:
            BusUnavailable: as `flush`.
        """
        try:
            self.flush()
        finally:
            if self._reader is not None:
                self._reader.close()
            self._clock.close()
            self._producer.close()
            self._bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _routing_reader(self) -> RoutingReader:
        with self._lock:
            if self._reader is None:
                self._reader = RoutingReader(self._bus, self._codec)
            return self._reader

    def _say(
        self, model: str, request_id: str, feedback_id: str | None, time: int | None, **said: Any
    ) -> str:
        """Sends a feedback; returns its id."""
        feedback = {
            "feedback_id": uuid4().hex if feedback_id is None else feedback_id,
            "request_id": request_id,
            "model": model,
            "time": self._clock.now() if time is None else time,
        }
        self._send(Feedback.TOPIC, feedback | said)
        return str(feedback["feedback_id"])

    def _send(self, topic: str, event: Fields) -> None:
        """
        Raises:
            BadInput: ingestion would refuse it.
        """
        version = self._codec.schemas.newest[self._codec.topics[topic].subject]
        limits.check_event(topic, version, event, self._data, self._clock.now())
        key, value = self._codec.topics.key(topic, event), self._codec.encode(topic, event)
        limits.check_size(key, value)
        self._producer.send(topic, key, value)
