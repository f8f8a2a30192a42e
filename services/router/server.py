"""The gRPC face of the router: `schemas/proto/router.proto`, health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, NoReturn
from uuid import uuid4

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from driftgate.errors import BadInput, DriftgateError, QueueFull, Retriable
from driftgate.limits import check_words
from driftgate.router_pb import router_pb2, router_pb2_grpc
from driftgate.routing import Arm, NotServed, champion_of, choose
from services.router.front import Front
from services.router.requests import Request
from services.router.sampling_options import SamplingOptions
from services.router.writing import Finished

SERVICE = router_pb2.DESCRIPTOR.services_by_name["Router"].full_name
STATUS = {
    BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotServed: grpc.StatusCode.FAILED_PRECONDITION,
    QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Retriable: grpc.StatusCode.UNAVAILABLE,
}


class Router(router_pb2_grpc.RouterServicer):
    """Answers apps. Deadlines are honoured by gRPC, which cancels the call."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def Route(self, asked: Any, context: Any) -> Any:  # noqa: N802 - named by the proto
        """The choice alone."""
        request_id = asked.request_id or uuid4().hex
        try:
            check_words(request_id, asked.subject, asked.slices)
            served = self._front.served(asked.model)
            choice = choose(served.routing, request_id, asked.subject, asked.slices)
        except DriftgateError as error:
            await refuse(context, error)
        champion = champion_of(served.routing)
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
            prompt=prompt_of(choice.live),
        )

    async def Predict(self, asked: Any, context: Any) -> Any:  # noqa: N802 - named by the proto
        """The answer, once its log cannot be lost."""
        try:
            request = self.request(asked)
            reply = await self._front.answer(request, asked.wait_for_log)
        except DriftgateError as error:
            await refuse(context, error)
        return router_pb2.PredictReply(
            request_id=request.request_id,
            label=reply.said.output,
            confidence=reply.said.confidence,
            version=reply.choice.live.version,
            digest=reply.choice.live.digest,
            epoch=reply.choice.epoch,
        )

    async def Generate(self, asked: Any, context: Any) -> Any:  # noqa: N802 - named by the proto
        """The text, once its log cannot be lost."""
        try:
            request = self.request(asked)
            done = await self._front.text(request, options_of(asked), asked.wait_for_log)
        except DriftgateError as error:
            await refuse(context, error)
        return generated(request, done)

    async def GenerateStream(  # noqa: N802 - named by the proto
        self, asked: Any, context: Any
    ) -> AsyncIterator[Any]:
        """The text as it is written. A call that is cancelled ends the writing."""
        try:
            request = self.request(asked)
            writing = self._front.write(request, options_of(asked), asked.wait_for_log)
            async with aclosing(writing) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Finished):
                        yield router_pb2.GeneratePiece(done=generated(request, piece))
                    elif isinstance(piece, str):
                        yield router_pb2.GeneratePiece(text=piece)
        except DriftgateError as error:
            await refuse(context, error)

    def request(self, asked: Any) -> Request:
        """Raises: NotReady, NotServed, BadInput."""
        return self._front.request(
            asked.model,
            asked.text,
            asked.request_id,
            asked.subject,
            asked.slices,
            asked.time_ms,
        )


def options_of(asked: Any) -> SamplingOptions:
    """What a message says of how its text is to be written."""
    names = ("max_new_tokens", "temperature", "top_p", "seed")
    given = {name: getattr(asked, name) for name in names if asked.HasField(name)}
    return SamplingOptions(stop=tuple(asked.stop), **given)


def generated(request: Request, done: Finished) -> Any:
    """The reply of a text that is whole."""
    return router_pb2.GenerateReply(
        request_id=request.request_id,
        text=done.answer.text,
        finish_reason=done.answer.finish_reason,
        tokens_in=done.answer.tokens_in,
        tokens_out=done.answer.tokens_out,
        logprob=done.answer.mean_log_probability,
        version=done.choice.live.version,
        digest=done.choice.live.digest,
        epoch=done.choice.epoch,
        prompt=done.prompt,
    )


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
        prompt=prompt_of(arm),
    )


def prompt_of(arm: Arm) -> Any:
    """What the input becomes for a version; None where the routing does not say."""
    if arm.prompt is None:
        return None
    said = arm.prompt
    return router_pb2.Prompt(digest=said.digest, system=said.system, template=said.template)


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
