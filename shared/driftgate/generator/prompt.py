"""What an input becomes before a model sees it: policy, which stays out of the weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from string import Formatter

from driftgate.errors import BadConfig, nearest, shown

FIELD = "text"


@dataclass(frozen=True)
class Prompt:
    """The texts around an input. Both are part of the routing, so they change without training.

    system: what the model is told before all else; None: whatever the base's template says.
    template: what the user says. It holds `{text}` once; `{{` and `}}` stand for braces.

    Raises:
        BadConfig: the template holds another field, or `{text}` not exactly once.
    """

    system: str | None
    template: str

    def __post_init__(self) -> None:
        try:
            parts = [part[1:] for part in Formatter().parse(self.template)]
        except ValueError as error:
            raise BadConfig(
                f"template: {shown(self.template)} cannot be read ({error}); "
                "write {{ and }} where braces are meant"
            ) from error
        fields = [part for part in parts if part[0] is not None]
        for name, form, conversion in fields:
            if name != FIELD:
                hint = nearest(str(name), [FIELD])
                raise BadConfig(
                    f"template: unknown field {{{name}}}: {hint}; "
                    "write {{ and }} where braces are meant"
                )
            if form or conversion:
                raise BadConfig("template: {text} takes no format and no conversion")
        if len(fields) != 1:
            raise BadConfig(f"template: {{text}} stands {len(fields)} times, expected once")

    @cached_property
    def digest(self) -> str:
        """The version of the prompt: the sha256 of both texts, hex."""
        return hashlib.sha256(json.dumps([self.system, self.template]).encode()).hexdigest()

    def user(self, text: str) -> str:
        """What the user says with an input."""
        return self.template.format(text=text)


PLAIN = Prompt(system=None, template="{text}")
"""The input alone."""
