"""A server that speaks what driftgate asks of vLLM, computed by our own network, and that can be
made to fail and to lie."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from driftgate.bases import BaseRef
from driftgate.generator.adapter import Adapter
from driftgate.generator.attention import Cache
from driftgate.generator.chat import Chat
from driftgate.generator.network import Network, Piece
from driftgate.generator.question import Sampling
from driftgate.generator.sampling import drawn
from driftgate.generator.streaming import REPLACEMENT, settled

Fault = Literal[
    "hangs", "hangs midway", "answers 500", "answers HTML", "breaks off", "ends early",
    "says an error", "talks rubbish", "no logprobs",
]  # fmt: skip

MIDWAY = {
    "says an error": 'data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n',
    "talks rubbish": 'data: {"choices": [{"text"\n\n',
}

NEEDED = {"stream": True, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""What a client must say, or vLLM samples as the base's generation_config.json says."""


@dataclass
class StandInVllm:
    """One base and the adapters that clients load.

    token: wanted of every client; empty: none is.
    serves: whose folder's adapter answers under a name in place of its own; None: the base does.
    faults: what goes wrong with the answers under a name.
    open: answers under way. asked: paths, in their order.
    """

    base: BaseRef
    token: str = ""
    served_as: str = "the-base"
    positions: int = 2048
    serves: dict[str, Path | None] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    open: int = 0
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.chat = Chat.of(self.base)
        self.network = Network(self.base, "cpu", "fp32", slots=16)
        self.adapters: dict[str, Path] = {}
        self.read: dict[Path | None, Adapter] = {None: {}}
        self.probes: dict[tuple[int, str], list[dict[str, Any]]] = {}

    # ------------------------------------------------------------ adapters

    async def models(self, request: Request) -> Response:
        base = {"id": self.served_as, "parent": None, "max_model_len": self.positions}
        loras = [
            {"id": name, "root": str(path), "parent": self.served_as}
            for name, path in self.adapters.items()
        ]
        return JSONResponse({"object": "list", "data": [base, *loras]})

    async def load(self, request: Request) -> Response:
        body = await request.json()
        name, folder = body["lora_name"], Path(body["lora_path"])
        if name in self.adapters:
            return refused(400, f"The lora adapter '{name}' has already been loaded.")
        if not (folder / "adapter_config.json").is_file():
            return refused(404, f"Loading lora {name} failed: No adapter found for {folder}")
        self.adapters[name] = folder
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if self.adapters.pop(name, None) is None:
            return refused(404, f"The lora adapter '{name}' cannot be found.")
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    def adapter(self, model: str) -> Adapter | None:
        """What answers under a name; None: nothing does."""
        if model != self.served_as and model not in self.adapters:
            return None
        folder = self.serves.get(model, self.adapters.get(model))
        if folder not in self.read:
            self.read[folder] = self.network.adapter(Path(str(folder)))
        return self.read[folder]

    # ------------------------------------------------------------ answers

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        adapter = self.adapter(body["model"])
        fault = self.faults.get(body["model"])
        if fault == "hangs":
            await asyncio.Event().wait()
        if fault == "answers 500":
            return refused(500, "EngineCore encountered an issue.")
        if fault == "answers HTML":
            return HTMLResponse("<h1>It works!</h1>")
        if adapter is None:
            return refused(404, f"The model `{body['model']}` does not exist.")
        if len(body["prompt"]) + body["max_tokens"] > self.positions:
            return refused(400, "This model's maximum context length is exceeded.")
        assert NEEDED.items() <= body.items()
        return StreamingResponse(self.lines(body, adapter), media_type="text/event-stream")

    async def lines(self, body: dict[str, Any], adapter: Adapter) -> AsyncIterator[str]:
        self.open += 1
        fault = self.faults.get(body["model"])
        try:
            for count, choice in enumerate(self.known_choices(body, adapter)):
                if fault and fault != "no logprobs" and count == 3:
                    if fault == "breaks off":
                        raise ConnectionError(fault)
                    yield MIDWAY.get(fault, "")
                    if fault == "hangs midway":
                        await asyncio.Event().wait()
                    return
                if fault == "no logprobs":
                    del choice["logprobs"]
                yield f"data: {json.dumps({'choices': [choice]})}\n\n"
                await asyncio.sleep(0)
            yield "data: [DONE]\n\n"
        finally:
            self.open -= 1

    def known_choices(self, body: dict[str, Any], adapter: Adapter) -> Iterable[dict[str, Any]]:
        """Probes come again and again, and are computed once."""
        if "logit_bias" not in body:
            return self.choices(body, adapter)
        asked = (id(adapter), json.dumps(body | {"model": ""}))
        if asked not in self.probes:
            self.probes[asked] = list(self.choices(body, adapter))
        return [dict(choice) for choice in self.probes[asked]]

    def choices(self, body: dict[str, Any], adapter: Adapter) -> Iterator[dict[str, Any]]:
        """One token of an answer after the other, as vLLM streams them."""
        sampling = Sampling(temperature=body["temperature"], top_p=body["top_p"])
        chances, cache = random.Random(body["seed"]), Cache(self.positions)
        ids: list[int] = []
        sent, finish = "", None
        unread = body["prompt"]
        while finish is None:
            logits = self.network.read(Piece(unread, cache, adapter))
            token = int(logits.argmax())
            if sampling.temperature:
                token = drawn(logits, sampling, chances.random())
            for forced in body.get("logit_bias", ()):
                token = int(forced)
            ids.append(token)
            unread = [token]
            ended = token in body["stop_token_ids"]
            whole = self.decoded(ids[:-1] if ended else ids)
            text, stopped = settled(whole, body["stop"])
            if ended or stopped:
                finish = "stop"
            elif len(ids) == body["max_tokens"]:
                finish = "length"
            if finish and not stopped:
                text, _ = settled(whole, body["stop"], ended=True)
            value = float(torch.log_softmax(logits, 0)[token])
            logprobs = {"token_logprobs": [value], "tokens": [f"token_id:{token}"]}
            delta, sent = text[len(sent) :], text
            yield {"index": 0, "text": delta, "logprobs": logprobs, "finish_reason": finish}

    def decoded(self, ids: list[int]) -> str:
        found: str = self.chat._tokenizer.decode(ids, skip_special_tokens=True)
        return found.rstrip(REPLACEMENT)

    # ------------------------------------------------------------ HTTP

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.asked.append(scope["path"])
            sent = dict(scope["headers"]).get(b"authorization", b"").decode()
            if self.token and sent != f"Bearer {self.token}":
                await refused(401, "Unauthorized")(scope, receive, send)
                return
        await self.routes(scope, receive, send)

    @property
    def routes(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/completions", self.complete, methods=["POST"]),
                Route("/v1/load_lora_adapter", self.load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self.unload, methods=["POST"]),
            ]
        )


def refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status)


@contextmanager
def serving(stand_in: StandInVllm) -> Iterator[StandInVllm]:
    """On a free port, in a thread."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    stand_in.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        stand_in, log_config=None, lifespan="off", timeout_graceful_shutdown=0, loop="asyncio"
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
