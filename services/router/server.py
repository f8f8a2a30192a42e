"""The gRPC face of the router: `schemas/proto/router.proto`, health and reflection."""

from __future__ import annotations

from typing import Any, NoReturn
from uuid import uuid4

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from driftgate import metrics
from driftgate.errors import BadInput, DriftgateError, QueueFull, Retriable
from driftgate.limits import check_words
from driftgate.machine_clock import machine_ms
from driftgate.router_pb import router_pb2, router_pb2_grpc
from driftgate.routing import Arm, NotReady, NotServed, champion_of, choose, pick
from driftgate.runtime import Clock
from services.router.predictor import Predictor
from services.router.requests import Request, check
from services.router.snapshot import Served
from services.router.versions import Versions

SERVICE = router_pb2.DESCRIPTOR.services_by_name["Router"].full_name
STATUS = {
    BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotServed: grpc.StatusCode.FAILED_PRECONDITION,
    QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Retriable: grpc.StatusCode.UNAVAILABLE,
}


class Router(router_pb2_grpc.RouterServicer):
    """Answers apps. Deadlines are honoured by gRPC, which cancels the call.

    Attributes:
        ending: new calls are refused.
    """

    def __init__(self, versions: Versions, predictor: Predictor, clock: Clock) -> None:
        self.ending = False
        self._versions = versions
        self._predictor = predictor
        self._clock = clock

    async def Route(self, asked: Any, context: Any) -> Any:  # noqa: N802 - named by the proto
        """The choice alone."""
        request_id = asked.request_id or uuid4().hex
        try:
            check_words(request_id, asked.subject, asked.slices)
            routing = self.served(asked.model).routing
            choice = choose(routing, request_id, asked.subject, asked.slices)
        except DriftgateError as error:
            await refuse(context, error)
        champion = champion_of(routing)
        return router_pb2.RouteReply(
            request_id=request_id,
            version=choice.live.version,
            digest=choice.live.digest,
            adapter_uri=choice.live.adapter_uri,
            epoch=choice.epoch,
            propensity=choice.live.propensity,
            shadows=[arm.version for arm in choice.shadows],
            base=choice.live.base,
            base_digest=choice.live.base_digest,
            task=choice.live.task,
            champion=champion.version if champion is not None else 0,
            shadow_arms=map(as_message, choice.shadows),
        )

    async def Predict(self, asked: Any, context: Any) -> Any:  # noqa: N802 - named by the proto
        """The answer, once its log cannot be lost."""
        now = self._clock.now()
        request = Request(
            asked.model,
            asked.text,
            asked.request_id or uuid4().hex,
            asked.subject,
            dict(asked.slices),
            asked.time_ms or now or machine_ms(),
        )
        try:
            check(request, now, self.served(asked.model).repo.data)
            with metrics.PREDICT_SECONDS.labels(request.model).time():
                answer = await self._predictor.predict(request, asked.wait_for_log)
        except DriftgateError as error:
            await refuse(context, error)
        return router_pb2.PredictReply(
            request_id=request.request_id,
            label=answer.said.output,
            confidence=answer.said.confidence,
            version=answer.choice.live.version,
            digest=answer.choice.live.digest,
            epoch=answer.choice.epoch,
        )

    def served(self, model: str) -> Served:
        """Raises: NotReady, NotServed."""
        if self.ending:
            raise NotReady("this router is ending: ask again, of another one or later")
        if not self._versions.snapshot:
            raise NotReady("no routing is served yet: ask again later")
        return pick(self._versions.snapshot, model)


def as_message(arm: Arm) -> Any:
    """A version as an app that serves itself needs to know it."""
    return router_pb2.Arm(
        version=arm.version,
        digest=arm.digest,
        adapter_uri=arm.adapter_uri,
        base=arm.base,
        base_digest=arm.base_digest,
        task=arm.task,
        propensity=arm.propensity,
    )


async def refuse(context: Any, error: DriftgateError) -> NoReturn:
    """Ends the call with the status that tells the app whether to try again."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), None)
    await context.abort(status or grpc.StatusCode.INTERNAL, str(error))
    raise AssertionError("abort raises")


async def listen(router: Router, checks: Any, address: str) -> tuple[Any, int]:
    """Starts the server with its health service `checks`; returns it and its port.

    Raises:
        RuntimeError: the address is taken.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    router_pb2_grpc.add_RouterServicer_to_server(router, server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    add_reflection(server)
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


def add_reflection(server: Any) -> None:
    """Reflection under both of its names: grpcurl falls back to v1alpha, ghz asks v1 alone. The
    messages of the two are the same on the wire, and grpcio-reflection has v1alpha only."""
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME, REFLECTION_V1)
    servicer = reflection.aio.ReflectionServicer(names, MethodsToo())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": method}
    v1 = grpc.method_handlers_generic_handler(REFLECTION_V1, methods)
    server.add_generic_rpc_handlers((v1,))


class MethodsToo:
    """The pool of descriptors, where the file of a method is found as well as that of a service:
    ghz asks for the method that it is to call."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - named by protobuf
        """Raises: KeyError where there is no such symbol."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


def described_as_v1() -> str:
    """Adds v1's description to what reflection can describe, since whoever is told a service's name
    asks what it is; returns the name."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    v1 = descriptor_pb2.FileDescriptorProto()
    text_format.Parse(text_format.MessageToString(alpha).replace("v1alpha", "v1"), v1)
    descriptor_pool.Default().AddSerializedFile(v1.SerializeToString())
    return f"{v1.package}.{v1.service[0].name}"


REFLECTION_V1 = described_as_v1()


async def health_checks() -> Any:
    """The health service, NOT_SERVING as yet."""
    checks = health.aio.HealthServicer()
    await show(checks, ready=False)
    return checks


async def show(checks: Any, ready: bool) -> None:
    """Tells probes of `grpc.health.v1`, for the server and for the service by name."""
    status = health_pb2.HealthCheckResponse.ServingStatus
    for service in ("", SERVICE):
        await checks.set(service, status.SERVING if ready else status.NOT_SERVING)
