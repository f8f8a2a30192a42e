"""A dated file of real text: Python's own changelog, each entry under the section that it stands in
(Library, Core and Builtins, IDLE, …), by the date of its release. `loop-peers --data` plays it.

    curl -O https://docs.python.org/3.11/whatsnew/changelog.html
    python -m bench.parts.python_changelog changelog.html python-changelog.csv
"""

from __future__ import annotations

import argparse
import csv
import html
import re
from collections.abc import Iterator
from pathlib import Path

PIECE = re.compile(
    r"<h2>(?P<version>.*?)<a|<em>Release date: (?P<date>\d{4}-\d\d-\d\d)</em>"
    r"|<h3>(?P<section>.*?)<a|<li><p>(?P<entry>.*?)</p>",
    re.DOTALL,
)
NUMBERS = re.compile(r"^(?:(?:bpo-|gh-|Issue #|#)\d+,? ?)+:? ?")
TAGS = re.compile(r"<[^>]*>")


def entries(page: str) -> Iterator[tuple[str, str, str]]:
    """(date, section, text) of each entry, in the order of the page; none of undated releases."""
    date = section = None
    for piece in PIECE.finditer(page):
        if piece["version"] is not None:
            date = section = None
        elif piece["date"]:
            date = piece["date"]
        elif piece["section"] is not None:
            section = plain(piece["section"])
        elif date and section:
            yield date, section, NUMBERS.sub("", plain(piece["entry"]))


def plain(marked: str) -> str:
    return " ".join(html.unescape(TAGS.sub("", marked)).split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with given.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "section", "text"])
        writer.writerows(entries(given.page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
