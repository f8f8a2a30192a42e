"""How many words output and target share."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Literal

from driftgate.scorers.options import Options

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


class TokenF1(Options):
    """F1 of the words, as SQuAD's official script defines it (Rajpurkar et al. 2016): lower case,
    without ASCII punctuation and English articles; each word counts as often as both have it."""

    name: Literal["token-f1"]

    def score(self, output: str, target: str) -> float:
        said, wanted = words(output), words(target)
        if not (said and wanted):  # nothing to share, so both say nothing or one is wrong
            return float(said == wanted)
        shared = (Counter(said) & Counter(wanted)).total()
        return 2 * shared / (len(said) + len(wanted))


def words(text: str) -> list[str]:
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()
