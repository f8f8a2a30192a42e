"""Pairs as people have them: what is read, and what is left out for which cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftgate.errors import BadConfig
from driftgate.labelled import pairs
from driftgate.labelled.pairs import Pairs
from driftgate.labelled.rows import Asked

GOOD = {"input": "charged twice", "output": "billing"}


def chat(*messages: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


def read(folder: Path, *lines: Any, left_out: float = 1.0) -> Pairs:
    path = folder / "pairs.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return pairs.read(path, Asked(left_out=left_out))


def test_both_shapes_are_read(tmp_path: Path) -> None:
    more = {"time": "2026-01-31T09:00Z", "subject": 7, "slices": {"language": "en"}, "id": "a"}
    parts = [{"type": "text", "text": "where "}, {"type": "text", "text": "is it?"}]
    found = read(
        tmp_path,
        GOOD | more,
        {"input": "late", "output": {"team": "delivery", "id": 1}, "time": "2026-01-31T09:01Z"},
        chat(("system", "You sort."), ("user", parts), ("assistant", "delivery")) | {"id": "c"},
        chat(("developer", "You sort."), ("user", "hi"), ("assistant", "other")),
    )
    first, second, third, fourth = found.rows
    assert (first.text, first.label, first.subject, first.id) == (*GOOD.values(), "7", "a")
    assert (first.time, first.slices) == (1769850000_000, {"language": "en"})
    assert (second.label, second.time) == ('{"team": "delivery", "id": 1}', 1769850060_000)
    assert (third.text, third.label, third.id, third.time) == (
        "where is it?",
        "delivery",
        "c",
        None,
    )
    assert fourth.text == "hi"
    assert found.systems == {"You sort.": 2}
    assert (found.findings.rows, found.findings.kept, found.findings.left_out) == (4, 4, {})


def test_an_answer_that_was_rejected_is_read_with_its_pair(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD | {"rejected": {"team": "x"}}, GOOD | {"input": "b"})
    assert [row.rejected for row in found.rows] == ['{"team": "x"}', None]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (GOOD | {"rejected": " "}, "its rejected is empty"),
        (GOOD | {"rejected": 7}, "its rejected is no text"),
        ({"input": "x"}, "it has no output: did you mean 'input'?"),
        ({"input": "x", "ouput": "y"}, "it has no output: did you mean 'ouput'?"),
        ({"output": "x"}, "it has no input"),
        ({"input": "x", "output": " "}, "its output is empty"),
        ({"input": "", "output": "x"}, "its input is empty"),
        ({"input": "x", "output": 3}, "its output is no text"),
        ({"input": "x", "output": "y" * 100_000}, "its output has more than 50,000 characters"),
        ({"input": "x" * 100_000, "output": "y"}, "its input has more than 20,000 characters"),
        ('{"input": "x", "output": "\\ud800"}', "its output holds half of a surrogate pair"),
        (GOOD | {"output": "z", "time": "soon"}, "its time cannot be read"),
        (GOOD, "it repeats an earlier pair"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[1]", "it is no object"),
        (GOOD | {"output": "z", "slices": ["en"]}, "its `slices` are no names with values"),
        (chat(("usr", "x"), ("assistant", "y")), "it has the role 'usr': did you mean 'user'?"),
        (chat(("user", "x"), ("tool", "y")), "it has the role 'tool'"),
        (chat(("user", "x")), "it is no single question with its answer"),
        (chat(("assistant", "x"), ("user", "y")), "it is no single question with its answer"),
        (
            chat(("user", "x"), ("assistant", "y"), ("user", "z"), ("assistant", "w")),
            "it is no single question with its answer",
        ),
        (chat(("user", "x"), ("assistant", None)), "a message holds something else than text"),
        (
            chat(("user", [{"type": "image_url"}]), ("assistant", "y")),
            "a message holds something else than text",
        ),
        ({"messages": "x"}, "its `messages` are no list"),
    ],
)
def test_what_is_no_pair_is_left_out_for_its_cause(tmp_path: Path, line: Any, cause: str) -> None:
    found = read(tmp_path, GOOD, line)
    ((why, places),) = found.findings.left_out.items()
    assert why.startswith(cause)
    assert (places.rows, places.places) == (1, ["pairs.jsonl, line 2"])
    assert [row.text for row in found.rows] == [GOOD["input"]]


def test_a_file_of_which_most_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"2 of 3 lines are no pairs, mostly since it is not JSON"):
        read(tmp_path, GOOD, "{", "[", left_out=0.2)
    with pytest.raises(BadConfig, match="0 of 0 lines"):
        read(tmp_path, "")
