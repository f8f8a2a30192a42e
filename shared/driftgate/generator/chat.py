"""Prompts and answers as token ids and back, by the chat template that the base was tuned with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from driftgate.bases import BaseRef, configuration
from driftgate.errors import BadConfig, shown

Message = dict[str, str]

SYSTEM, USER, ANSWER = "driftgate-system", "driftgate-user", "driftgate-answer"
"""Texts that no template holds, by which a template is tried."""

TODAY = datetime(2024, 7, 26)
"""Some templates (Llama 3) state the date. A prompt must not change overnight, so it is always the
one that Llama's own template states when it is given none."""

FIXED: dict[str, Any] = {
    "enable_thinking": False,  # Qwen 3, SmolLM 3: an answer is the answer alone
    "date_string": TODAY.strftime("%d %b %Y"),
    "strftime_now": TODAY.strftime,
}
"""What templates are given beside the conversation."""

EXPECTED = "expected a template that renders each turn and ends it by a special token"

BREAK = "\u200b"
"""Zero-width space: it keeps a special token that is written out in a text from being one."""


class Chat:
    """How one base is talked to. Any number of threads may use it.

    For every system text, user text and answer, `prompt(system, user) + completion(answer)` is what
    the template renders of the whole conversation. White space around an answer means nothing:
    `completion` and `text` leave it out. A special token written out in a text, such as
    `<|im_end|>`, is broken up, so that no text ends a turn or begins one.
    """

    @classmethod
    def of(cls, base: BaseRef) -> Chat:
        """
        Raises:
            BadConfig: the base has no tokenizer or no chat template, or its template is none that
                an answer can be cut out of.
        """
        return cls(base.name, _tokenizer(base), configuration(base))

    def __init__(self, name: str, tokenizer: Any, config: dict[str, Any]) -> None:
        self._name = name
        self._tokenizer = tokenizer
        words = config.get("vocab_size")
        if isinstance(words, int) and len(tokenizer) > words:
            raise BadConfig(
                f"base: the tokenizer of {name!r} has {len(tokenizer)} tokens, but its network "
                f"knows {words}; save the tokenizer that belongs to it"
            )
        self._forbidden = _not_in_texts(tokenizer)
        self._takes_system = self._keeps_system()
        self._begun = self.prompt(None, USER)
        self._ends = self._ends_of(config)
        self._check()

    @property
    def ends(self) -> frozenset[int]:
        """The ids that end an answer."""
        return self._ends

    def prompt(self, system: str | None, user: str) -> list[int]:
        """Ids up to where the answer begins. Where the template knows no system role, its text
        stands before the user's.

        Raises:
            BadConfig: the template refuses the texts.
        """
        return self._ids(self._rendered(self._asked(system, user), answering=True))

    def completion(self, text: str) -> list[int]:
        """Ids of an answer, with what the template ends it by.

        Raises:
            BadConfig: the template does not append the answer to its prompt.
        """
        asked = self._asked(None, USER)
        answer = _said("assistant", self._harmless(text.strip()))
        ids = self._ids(self._rendered([*asked, answer], answering=False))
        if ids[: len(self._begun)] != self._begun:
            raise BadConfig(
                f"base: the chat template of {self._name!r} does not append the answer "
                f"{shown(text)} to its prompt; {EXPECTED}"
            )
        return ids[len(self._begun) :]

    def text(self, ids: Sequence[int]) -> str:
        """The answer that ids spell, up to the first that ends it, without special tokens."""
        end = next((at for at, token in enumerate(ids) if token in self._ends), len(ids))
        found: str = self._tokenizer.decode(
            ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return found.lstrip()

    def _asked(self, system: str | None, user: str) -> list[Message]:
        user = self._harmless(user)
        if system is None:
            return [_said("user", user)]
        system = self._harmless(system)
        if self._takes_system:
            return [_said("system", system), _said("user", user)]
        return [_said("user", f"{system}\n\n{user}" if system else user)]

    def _rendered(self, messages: list[Message], answering: bool) -> str:
        from jinja2 import TemplateError

        try:
            found: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=answering, **FIXED
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise BadConfig(
                f"base: the chat template of {self._name!r} fails ({type(error).__name__}: {error})"
            ) from error
        return found

    def _ids(self, rendered: str) -> list[int]:
        """The template states each special token itself, BOS too: none is added."""
        found: list[int] = self._tokenizer(rendered, add_special_tokens=False).input_ids
        return found

    def _harmless(self, text: str) -> str:
        for token in self._forbidden:
            if token in text:
                text = text.replace(token, token[0] + BREAK + token[1:])
        return text

    def _keeps_system(self) -> bool:
        """Templates without the role raise an error of their own (Gemma), or drop its text."""
        try:
            rendered = self._rendered([_said("system", SYSTEM), _said("user", USER)], True)
        except BadConfig:
            return False
        return SYSTEM in rendered

    def _ends_of(self, config: dict[str, Any]) -> frozenset[int]:
        """The base's own, and the special token after an answer in the template."""
        told = config.get("eos_token_id")
        found = set(told if isinstance(told, list) else [told]) | {self._tokenizer.eos_token_id}
        added = self._tokenizer.added_tokens_decoder
        found |= {next((token for token in self.completion(ANSWER) if token in added), None)}
        return frozenset(token for token in found if isinstance(token, int))

    def _check(self) -> None:
        rendered = self._rendered(self._asked(SYSTEM, USER), answering=True)
        if SYSTEM not in rendered or USER not in rendered:
            raise BadConfig(f"base: the chat template of {self._name!r} drops texts; {EXPECTED}")
        answer = self.completion(ANSWER)
        if not self._ends & set(answer):
            raise BadConfig(f"base: the chat template of {self._name!r} ends no answer; {EXPECTED}")
        whole = [*self._asked(SYSTEM, USER), _said("assistant", ANSWER)]
        if self.prompt(SYSTEM, USER) + answer != self._ids(self._rendered(whole, answering=False)):
            raise BadConfig(
                f"base: the chat template of {self._name!r} renders an answer together with what "
                f"stands before it; {EXPECTED}"
            )


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _not_in_texts(tokenizer: Any) -> tuple[str, ...]:
    """What no text may spell: special tokens, and those that the template is written with."""
    added, template = tokenizer.added_tokens_decoder.values(), str(tokenizer.chat_template)
    found = [str(token) for token in added if token.special or str(token) in template]
    return tuple(sorted(found, key=len, reverse=True))


def _tokenizer(base: BaseRef) -> Any:
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(base.path)
        if len(found) <= len(found.all_special_ids):  # what it makes of a folder without one
            raise ValueError("there is no vocabulary")
    except Exception as error:  # the libraries' errors have no class in common
        raise BadConfig(
            f"base: the tokenizer of {base.name!r} cannot be read ({error}); "
            "save it beside the weights with save_pretrained"
        ) from error
    if not found.chat_template:
        raise BadConfig(
            f"base: {base.name!r} has no chat template; expected an instruction-tuned model with "
            "chat_template.jinja beside its tokenizer"
        )
    return found
