"""A request of OpenAI's chat API as the router asks it. Pure.

What would change the answer and is not supported is refused; what is only for OpenAI's own house
keeping is left out of account.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from driftgate.dead_letters import EMPTY, MALFORMED, UNHANDLED
from driftgate.errors import BadInput, nearest
from driftgate.tasks.text_generation import Declared
from services.router.sampling_options import SamplingOptions

M = TypeVar("M", bound=BaseModel)

SYSTEM = ("system", "developer")
ROLES = (*SYSTEM, "user")
SYSTEM_HEADER = "x-driftgate-system"

# Values that ask for what happens anyway. Any other of these parameters is refused.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
}
# What decides nothing about the answer.
IGNORED = (
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "store",
)


class Message(BaseModel):
    """What else a message has, such as `name`, no model is told."""

    role: str
    content: str

    @field_validator("role")
    @classmethod
    def known(cls, role: str) -> str:
        if role in ("assistant", "tool", "function"):
            raise ValueError(
                "system, developer or user: each request is one question by itself, which is what "
                "the model learns from"
            )
        if role not in ROLES:
            raise ValueError(f"a role: {nearest(role, list(ROLES))}")
        return role

    @field_validator("content", mode="before")
    @classmethod
    def joined(cls, content: Any) -> Any:
        """Texts may stand in parts."""
        if not isinstance(content, list):
            return content
        texts = [
            part.get("text")
            for part in content
            if isinstance(part, dict) and part.get("type") == "text"
        ]
        if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
            raise ValueError('a text, or parts such as {"type": "text", "text": …} alone')
        return "".join(filter(None, texts))


class Schema(BaseModel):
    """Name, description and strictness decide nothing: the schema is the one that is declared."""

    model_config = ConfigDict(populate_by_name=True)

    body: dict[str, Any] = Field(alias="schema")


class Format(BaseModel):
    type: str
    json_schema: Schema | None = None


class StreamOptions(BaseModel):
    include_usage: bool = False


class Chat(BaseModel):
    """The parameters that are supported, by OpenAI's names."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] = []
    seed: int | None = None
    user: str = ""
    safety_identifier: str = ""
    metadata: dict[str, str] = {}
    response_format: Format = Format(type="text")

    @field_validator("stop", mode="before")
    @classmethod
    def listed(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop

    @property
    def text(self) -> str:
        """What the user asks."""
        return "".join(one.content for one in self.messages if one.role == "user")

    @property
    def system(self) -> str:
        """What the app tells the model before; empty where it tells nothing."""
        return "\n".join(one.content for one in self.messages if one.role in SYSTEM).strip()

    @property
    def subject(self) -> str:
        """Whose request it is. OpenAI calls `safety_identifier` by now what was `user`."""
        return self.user or self.safety_identifier

    @property
    def options(self) -> SamplingOptions:
        most = self.max_completion_tokens
        return SamplingOptions(
            max_new_tokens=self.max_tokens if most is None else most,
            temperature=self.temperature,
            top_p=self.top_p,
            stop=tuple(self.stop),
            seed=self.seed,
        )


def parsed(body: Mapping[str, Any]) -> Chat:
    """
    Raises:
        BadInput: names the parameter, its value and what was expected.
    """
    given = {name: value for name, value in body.items() if value is not None}
    for name in IGNORED:
        given.pop(name, None)
    for name, values in NEUTRAL.items():
        value = given.pop(name, None)
        if value is not None and value not in values:
            wanted = f"{values[0]!r}, or nothing: this router supports no other"
            raise BadInput(UNHANDLED, name, value, wanted)
    chat = validated(Chat, given)
    asked = [one for one in chat.messages if one.role == "user"]
    if len(asked) != 1:
        wanted = "one message of role user: each request is one question by itself"
        raise BadInput(UNHANDLED, "messages", f"{len(asked)} of role user", wanted)
    return chat


def check_system(asked: str, declared: Collection[str | None]) -> None:
    """The prompt is part of the routing, and each answer is logged with the version of it: what an
    app tells the model beside it has to be the same, be it that of one of its versions.

    Raises:
        BadInput: it is another; says what can be done.
    """
    known = {one.strip() for one in declared if one}
    if asked and asked not in known:
        wanted = (
            f"{'the prompt' if known else 'none, as the prompt'} that is in force. Leave it out,"
            " or put it in force by `driftgate prompt FOLDER`, or send header "
            f"`{SYSTEM_HEADER}: ignore` (DRIFTGATE_HTTP_DOOR_SYSTEM=ignore for all), which leaves "
            "out the app's"
        )
        raise BadInput(UNHANDLED, "messages", f"system message {asked}", wanted)


def check_format(asked: Format, declared: Any) -> None:
    """A model writes what its model.yaml declares, part `task`.

    Raises:
        BadInput: something else is asked for.
    """
    writes_json = isinstance(declared, Declared) and declared.output == "json"
    match asked.type:
        case "text":
            return
        case "json_object" if writes_json:
            return
        case "json_schema" if writes_json and asked.json_schema is not None:
            schema = declared.json_schema
            if schema is not None and json.loads(schema.text) == asked.json_schema.body:
                return
    valid = "text, json_object, or json_schema with the declared schema" if writes_json else "text"
    wanted = f"what model.yaml declares: {valid}"
    raise BadInput(UNHANDLED, "response_format", asked.type, wanted)


def validated(model: type[M], given: Mapping[str, Any]) -> M:
    """
    Raises:
        BadInput: of the first problem.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise BadInput(EMPTY, place, None, "a value") from None
        if first["type"] == "extra_forbidden":
            wanted = f"a supported parameter: {nearest(place, list(model.model_fields))}"
            raise BadInput(UNHANDLED, place, first["input"], wanted) from None
        wanted = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise BadInput(MALFORMED, place, first["input"], wanted) from None
