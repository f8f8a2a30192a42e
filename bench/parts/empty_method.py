"""A grpc.aio server with a method that does nothing: what gRPC itself takes in Python. Prints its
port."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

METHOD = "/bench.Empty/Call"


async def nothing(_: bytes, __: Any) -> bytes:
    return b""


async def serve() -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(nothing)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Empty", {"Call": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
