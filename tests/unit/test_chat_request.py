"""What a request of OpenAI's chat API becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftgate.errors import BadInput
from driftgate.repo_file import RepoFile
from driftgate.tasks.text_generation import Declared
from services.router.chat_request import Format, check_format, check_system, parsed
from services.router.sampling_options import SamplingOptions

SCHEMA = {"type": "object", "properties": {"team": {"type": "string"}}}
TEXT = Declared(kind="text-generation")
JSON = Declared(kind="text-generation", output="json")
BY_SCHEMA = JSON.model_copy(
    update={"json_schema": RepoFile(file="schema.json", text=json.dumps(SCHEMA, indent=2))}
)


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | more


def test_a_request_in_full() -> None:
    messages = [
        {"role": "system", "content": "Be brief.", "name": "app"},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Where is it?"},
    ]
    chat = parsed(
        ask(
            messages=messages,
            max_tokens=9,
            temperature=1,
            top_p=0.5,
            stop="\n",
            seed=-3,
            user="ana",
            metadata={"language": "es"},
        )
    )
    assert (chat.text, chat.system) == ("Where is it?", "Be brief.\nBe kind.")
    assert chat.options == SamplingOptions(9, 1.0, 0.5, ("\n",), -3)
    assert (chat.subject, chat.metadata) == ("ana", {"language": "es"})


def test_null_says_nothing() -> None:
    plain = parsed(ask())
    names = ("stream", "stop", "user", "metadata", "temperature", "response_format", "n", "tools")
    assert parsed(ask(**dict.fromkeys(names))) == plain
    assert plain.options == SamplingOptions()
    assert not plain.stream


def test_newer_names_go_before_older_ones() -> None:
    chat = parsed(ask(max_tokens=9, max_completion_tokens=5, safety_identifier="bo"))
    assert (chat.options.max_new_tokens, chat.subject) == (5, "bo")
    assert parsed(ask(user="ana", safety_identifier="bo")).subject == "ana"


@pytest.mark.parametrize(
    ("asked", "declared", "passes"),
    [
        ({"type": "text"}, TEXT, True),
        ({"type": "text"}, JSON, True),
        ({"type": "json_object"}, TEXT, False),
        ({"type": "json_object"}, JSON, True),
        ({"type": "json_object"}, BY_SCHEMA, True),
        ({"type": "json_schema", "json_schema": {"name": "t", "schema": SCHEMA}}, BY_SCHEMA, True),
        ({"type": "json_schema", "json_schema": {"name": "t", "schema": {}}}, BY_SCHEMA, False),
        ({"type": "json_schema", "json_schema": {"name": "t", "schema": SCHEMA}}, JSON, False),
        ({"type": "json_schema", "json_schema": {"name": "t", "schema": SCHEMA}}, TEXT, False),
        ({"type": "json_schema"}, BY_SCHEMA, False),
        ({"type": "grammar"}, BY_SCHEMA, False),
    ],
)
def test_a_model_writes_what_it_declares(
    asked: dict[str, Any], declared: Declared, passes: bool
) -> None:
    wanted = parsed(ask(response_format=asked)).response_format
    if passes:
        check_format(wanted, declared)
        return
    with pytest.raises(
        BadInput, match=r"response_format: got .*expected what model\.yaml declares"
    ):
        check_format(wanted, declared)


def test_a_schema_that_is_missing_is_named() -> None:
    with pytest.raises(BadInput, match=r"response_format\.json_schema\.schema"):
        parsed(ask(response_format={"type": "json_schema", "json_schema": {"name": "t"}}))


@pytest.mark.parametrize(
    ("asked", "declared", "passes"),
    [
        ("", None, True),
        ("", "Be brief.", True),
        ("Be brief.", "Be brief.\n", True),
        ("Be brief.", None, False),
        ("Be rude.", "Be brief.", False),
    ],
)
def test_the_prompt_in_force_is_the_only_one(
    asked: str, declared: str | None, passes: bool
) -> None:
    if passes:
        check_system(asked, {declared})
        return
    with pytest.raises(BadInput, match="driftgate prompt FOLDER"):
        check_system(asked, {declared})


def test_format_has_openais_names() -> None:
    told = {"type": "json_schema", "json_schema": {"name": "t", "strict": True, "schema": SCHEMA}}
    found = Format.model_validate(told).json_schema
    assert found is not None and found.body == SCHEMA
