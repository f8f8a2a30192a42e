"""`driftgate ask`: one question to the router, as an app asks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import grpc
import typer

from driftgate.errors import BadConfig, DriftgateError, RouterUnavailable
from driftgate.router_pb import router_pb2, router_pb2_grpc
from services.console.terminal import (
    HERE,
    ROUTER,
    State,
    console,
    reaching,
    reports_errors,
    say,
    settings,
)

DEADLINE_SECONDS = 30.0


@reports_errors
def ask(
    model: str,
    text: str,
    slice_: Annotated[
        list[str] | None, typer.Option("--slice", help="NAME=VALUE, such as language=es; repeat it")
    ] = None,
    subject: Annotated[str, typer.Option(help="whom the text is about, as apps name them")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")] = False,
    state: State = HERE,
) -> None:
    """Asks a model, as an app would, and prints its answer."""
    slices = parsed(slice_ or ())
    address = settings(state, ROUTER).router
    question = router_pb2.PredictRequest(model=model, text=text, subject=subject, slices=slices)
    reply = predict(address, question, reaching(state))
    answer = {
        "label": reply.label,
        "confidence": reply.confidence,
        "version": reply.version,
        "request_id": reply.request_id,
    }
    if as_json:
        say(json.dumps(answer, ensure_ascii=False))
        return
    console.print(reply.label, style="bold", highlight=False, soft_wrap=True, markup=False)
    say(f"confidence {reply.confidence:.3f}, {model}@{reply.version}, request {reply.request_id}")


def parsed(slices: Sequence[str]) -> dict[str, str]:
    """
    Raises:
        BadConfig: one is not NAME=VALUE.
    """
    found = {}
    for word in slices:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise BadConfig(f"--slice: got {word!r}, expected NAME=VALUE, such as language=es")
        found[name] = value
    return found


def predict(address: str, question: Any, options: str) -> Any:
    """The router's answer. `options`: see `reaching`.

    Raises:
        BadConfig: the router refuses the question, or serves no such model.
        RouterUnavailable: it cannot answer now.
    """
    with grpc.insecure_channel(address) as channel:
        try:
            stub = router_pb2_grpc.RouterStub(channel)
            return stub.Predict(question, timeout=DEADLINE_SECONDS)
        except grpc.RpcError as error:
            raise refusal(error.code(), error.details() or "", question.model, options) from error


def refusal(code: Any, details: str, model: str, options: str) -> DriftgateError:
    """The router's refusal as an error that says what to do."""
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return BadConfig(details)
        case grpc.StatusCode.FAILED_PRECONDITION:
            command = f"`driftgate audit MODEL{options}`"
            return BadConfig(f"{details} ({command} shows a model's versions)")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            details = f"the router did not answer in {DEADLINE_SECONDS:g} s"
    return RouterUnavailable(
        f"{details}; `driftgate audit {model}{options}` shows how far its versions are, "
        f"`driftgate retrain {model} --wait{options}` makes one"
    )
