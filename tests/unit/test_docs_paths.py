"""Every file that a page names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "schemas/README.md"],
    key=str,
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
SOURCE = re.compile(r'(?:src|srcset)="(?!https?:)([^"]+)"')
NAMED = re.compile(r"`((?:bench|deploy|docs|examples|schemas|services|shared|tests)/[\w./-]*\w/?)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = [page.parent / path for path in LINK.findall(text) + SOURCE.findall(text)]
    named = [ROOT / path for path in NAMED.findall(text) if "SUBJECT" not in path]
    assert [str(path) for path in linked + named if not path.exists()] == []
