"""fastText files: `__label__x` in a line of text."""

from __future__ import annotations

from driftgate.labelled.table import Table, of_records

FASTTEXT = "__label__"


def fasttext(text: str, name: str) -> Table:
    """`__label__x` before the text of a line."""
    records, bad = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        words = line.split()
        labels = [w.removeprefix(FASTTEXT) for w in words if w.startswith(FASTTEXT)]
        rest = " ".join(w for w in words if not w.startswith(FASTTEXT))
        if labels:
            records.append((number, {"text": rest.lstrip(", "), "label": labels}))
        else:
            bad.append((number, "has no __label__"))
    table = of_records(name, "line", records, ["labels after __label__, as fastText has them"])
    table.left_out = bad
    return table
