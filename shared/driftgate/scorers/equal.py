"""Whether the output is the target, as it stands or but for how it is written."""

from __future__ import annotations

import unicodedata
from typing import Literal

from driftgate.scorers.options import Options


class Exact(Options):
    """1 where output and target are the same text."""

    name: Literal["exact"]

    def score(self, output: str, target: str) -> float:
        return float(output == target)


class Normalised(Options):
    """1 where output and target differ in case, white space and the forms of characters at most."""

    name: Literal["normalised"]

    def score(self, output: str, target: str) -> float:
        return float(normalised(output) == normalised(target))


def normalised(text: str) -> str:
    """NFKC (full and half width, ligatures, composed accents), folded case, single blanks.

    Folding can undo the normal form, so it is made again (Unicode 3.13, D147, toNFKC_Casefold).
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
