"""How an answer differs from what was wanted, for people who look at lost cases. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

from driftgate import edits
from driftgate.json_text import canonical, fields_of, parsed, written

LONGEST = 2000
"""Characters of each text that are compared; the time grows with the product of their lengths."""

AROUND = 3
"""Words that are shown on each side of a difference."""

LEAST_ALIKE = 0.3
"""Texts that share less of their words are read better one after the other."""


def difference(answer: str, wanted: str) -> str:
    """Of two JSON texts a line for each field that differs; of others the words, as `git diff
    --word-diff` marks them: `[-wanted-]{+answered+}`. Empty where that would tell nothing."""
    try:
        return "\n".join(of_fields(parsed(answer), parsed(wanted)))
    except ValueError:
        return of_words(answer[:LONGEST].split(), wanted[:LONGEST].split())


def of_fields(answer: object, wanted: object) -> Iterator[str]:
    said = {written(path): value for path, value in fields_of(answer).items()}
    target = {written(path): value for path, value in fields_of(wanted).items()}
    for name, change in edits.changes(answer, wanted).items():
        match change:
            case "added":
                yield f"{name}: missing, wanted {canonical(target[name])}"
            case "removed":
                yield f"{name}: answered {canonical(said[name])}, wanted without"
            case "changed":
                yield f"{name}: answered {canonical(said[name])}, wanted {canonical(target[name])}"


def of_words(answer: list[str], wanted: list[str]) -> str:
    matcher = SequenceMatcher(None, wanted, answer, autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:
        return ""
    parts = []
    for kind, from_, to, at, end in matcher.get_opcodes():
        if kind == "equal":
            parts.append(shortened(wanted[from_:to]))
        else:
            removed, added = " ".join(wanted[from_:to]), " ".join(answer[at:end])
            parts.append(
                (f"[-{removed}-]" if removed else "") + (f"{{+{added}+}}" if added else "")
            )
    return " ".join(parts)


def shortened(words: list[str]) -> str:
    if len(words) > 2 * AROUND:
        words = [*words[:AROUND], "…", *words[-AROUND:]]
    return " ".join(words)
