"""The commands that README and docs show, found in their text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:make|\.venv/bin/[a-z]+|driftgate|pytest)(?: |$)")
INLINE = re.compile(r"`([^`]+)`")
# A form to be filled in: `driftgate traffic MODEL`, `DATA=PATH`.
FORM = re.compile(r"(?:^|[ =])[A-Z]{2,}(?: |$)|…")
PYTHON, SHELL = "python", "shell"


@dataclass(frozen=True, slots=True)
class Shown:
    """One command, or all Python of a page as one program. place: such as `README.md:16`."""

    place: str
    kind: str
    text: str


def shown_in(page: Path, root: Path) -> list[Shown]:
    """What a page shows, in its order: blocks first, then what its sentences mention besides."""
    steps: list[Shown] = []
    mentioned: list[Shown] = []
    program: list[str] = []
    ends = 0
    fence: str | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        place = f"{page.relative_to(root)}:{number}"
        if line.startswith("```"):
            ends = len(steps) if fence == PYTHON else ends
            fence = None if fence is not None else line.removeprefix("```")
        elif fence == PYTHON:
            program.append(line)
        elif fence is not None or line.startswith("    "):
            if COMMAND.match(line.strip()):
                steps.append(Shown(place, SHELL, re.sub(r"\s+# .*$", "", line.strip())))
        else:
            mentioned += [Shown(place, SHELL, text) for text in in_sentence(line)]
    if program:
        steps.insert(ends, Shown(f"{page.relative_to(root)}", PYTHON, "\n".join(program)))
    said = {step.text for step in steps}
    return [*steps, *(one for one in mentioned if one.text not in said)]


def in_sentence(line: str) -> Iterator[str]:
    """The whole commands inside a sentence; `driftgate apply` alone only names one."""
    for text in INLINE.findall(line):
        names_one = re.fullmatch(r"make|driftgate( \S+)?", text)
        if COMMAND.match(text) and not names_one and not FORM.search(text):
            yield text
