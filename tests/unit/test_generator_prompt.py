from __future__ import annotations

import pytest

from driftgate.errors import BadConfig
from driftgate.generator.prompt import Prompt


def test_the_input_takes_the_place_of_its_field() -> None:
    prompt = Prompt("Be brief.", 'Answer as {{"team": …}}.\n\n{text}')
    assert prompt.user("{x} 100 %") == 'Answer as {"team": …}.\n\n{x} 100 %'


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("no field", r"\{text\} stands 0 times"),
        ("{text} and {text}", r"\{text\} stands 2 times"),
        ("{txet}", r"unknown field \{txet\}: did you mean 'text'"),
        ("{text} {customer}", r"unknown field \{customer\}"),
        ("{}{text}", r"unknown field \{\}"),
        ("{text.__class__}", r"unknown field \{text\.__class__\}"),
        ("{text!r}", "takes no format and no conversion"),
        ("{text:>9}", "takes no format and no conversion"),
        ('{"team": {text}', r"write \{\{ and \}\}"),
        ("{text} }", r"write \{\{ and \}\}"),
    ],
)
def test_a_template_that_cannot_be_filled_is_named(template: str, told: str) -> None:
    with pytest.raises(BadConfig, match=told):
        Prompt(None, template)


def test_each_change_of_a_prompt_is_another_version() -> None:
    versions = [
        Prompt(None, "{text}"),
        Prompt("", "{text}"),
        Prompt("a", "{text}"),
        Prompt("a", "b {text}"),
        Prompt("ab", " {text}"),
    ]
    assert len({prompt.digest for prompt in versions}) == len(versions)
    assert Prompt("a", "{text}").digest == Prompt("a", "{text}").digest
