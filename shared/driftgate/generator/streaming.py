"""What of a text may be shown while it is still being written. Pure."""

from __future__ import annotations

from collections.abc import Sequence

REPLACEMENT = "\ufffd"
"""What a decoder makes of bytes that are no character yet."""


def settled(text: str, stop: Sequence[str], ended: bool = False) -> tuple[str, bool]:
    """The part of a text that stays whatever is written next, and whether a stop string ends it.

    Neither a stop string nor what may become one is part of it, nor half a character. `ended`:
    nothing is written next, so that only a whole stop string is left out.

    >>> settled("one\\nQ", ["\\nQ:"])
    ('one', False)
    >>> settled("one\\nQ: two", ["\\nQ:"])
    ('one', True)
    >>> settled("one\\nQ", ["\\nQ:"], ended=True)
    ('one\\nQ', False)
    """
    found = [at for at in map(text.find, stop) if at >= 0]
    if found:
        return text[: min(found)], True
    whole = text.rstrip(REPLACEMENT)
    held = 0 if ended else max((_begun(whole, one) for one in stop), default=0)
    return whole[: len(whole) - held], False


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text begin a stop string."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
