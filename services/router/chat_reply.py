"""Answers in the shapes of OpenAI's chat API. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from driftgate.events import Routing
from driftgate.generator.question import Answer
from driftgate.routing import Choice

COMPLETION = "chatcmpl-"
"""Begins the id of a completion; the request id follows."""

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What all chunks of an answer begin with.

    Attributes:
        created: s since 1970.
        digest: of the version.
    """

    request_id: str
    created: int
    model: str
    digest: str

    def rendered(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{COMPLETION}{self.request_id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.digest[:12],
        }


def completion(head: Head, answer: Answer) -> dict[str, Any]:
    """A whole answer."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": answer.finish_reason,
    }
    return head.rendered("chat.completion") | {"choices": [choice], "usage": usage(answer)}


@dataclass(frozen=True, slots=True)
class Chunks:
    """The server-sent events of an answer.

    Attributes:
        with_usage: the last of them says how many tokens there were.
    """

    head: Head
    with_usage: bool

    def first(self) -> str:
        return self.chunk({"role": "assistant", "content": ""})

    def added(self, text: str) -> str:
        return self.chunk({"content": text})

    def last(self, answer: Answer) -> str:
        end = self.chunk({}, answer.finish_reason)
        if self.with_usage:
            told = {"choices": [], "usage": usage(answer)}
            end += event(self.head.rendered("chat.completion.chunk") | told)
        return end + DONE

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        said = self.head.rendered("chat.completion.chunk") | {"choices": [choice]}
        return event(said | ({"usage": None} if self.with_usage else {}))


def event(body: Mapping[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


def usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.tokens_in,
        "completion_tokens": answer.tokens_out,
        "total_tokens": answer.tokens_in + answer.tokens_out,
    }


def who(choice: Choice, prompt: str) -> dict[str, str]:
    """The headers that say who answered. prompt: its digest; empty where there is none."""
    told = {
        "x-driftgate-version": str(choice.live.version),
        "x-driftgate-digest": choice.live.digest,
        "x-driftgate-epoch": str(choice.epoch),
    }
    return told | ({"x-driftgate-prompt": prompt} if prompt else {})


HEADERS = (
    "x-request-id",
    "x-driftgate-version",
    "x-driftgate-digest",
    "x-driftgate-epoch",
    "x-driftgate-prompt",
    "x-driftgate-system",
    "retry-after",
)
"""All that a page may read."""


def model(routing: Routing) -> dict[str, Any]:
    """A model that is served."""
    return {
        "id": routing.model,
        "object": "model",
        "created": routing.time // 1000,
        "owned_by": "driftgate",
    }


def models(routings: Iterable[Routing]) -> dict[str, Any]:
    return {"object": "list", "data": [model(one) for one in routings]}
