"""OpenAI's fine-tuning files as they are written: what becomes a pair, what an answer with its
edit, and what is left out for which cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftgate.errors import BadConfig
from driftgate.imports import openai, records
from driftgate.imports.history import History, pairs
from driftgate.labelled import pairs as pairs_file
from driftgate.labelled.findings import Findings
from driftgate.labelled.rows import Asked


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


USER, ASSISTANT = message("user", "Where is it?"), message("assistant", "On its way.")
GOOD = chat(message("user", "Charged twice!"), message("assistant", "We pay it back."))


def preference(better: Any, worse: Any, *messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "input": {"messages": list(messages) or [USER], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [message("assistant", better)],
        "non_preferred_output": [message("assistant", worse)],
    }


def read(path: Path, encoding: str | None = None) -> tuple[History, Findings]:
    findings = Findings(path.name)
    return openai.read(records.read(path, findings, encoding), findings), findings


def written(folder: Path, *lines: Any, encoding: str = "utf-8") -> Path:
    path = folder / "train.jsonl"
    texts = (
        line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines
    )
    path.write_bytes(("\n".join(texts) + "\n").encode(encoding))
    return path


def causes(findings: Findings) -> dict[str, tuple[int, list[str]]]:
    return {cause: (one.rows, one.places) for cause, one in findings.left_out.items()}


def test_a_chat_is_launch_data_and_no_event(tmp_path: Path) -> None:
    own = {"time": "2026-01-31T09:00:00Z", "subject": 7, "slices": {"language": "en"}}
    history, findings = read(
        written(tmp_path, chat(message("developer", "Be kind."), USER, ASSISTANT, **own))
    )
    (pair,) = history.examples
    assert (pair.system, pair.text, pair.output) == ("Be kind.", "Where is it?", "On its way.")
    assert (pair.time, pair.subject, pair.slices) == (1769850000_000, "7", {"language": "en"})
    assert (history.answers, history.words) == ([], [])
    assert (findings.rows, findings.kept) == (1, 1)


def test_a_preference_is_an_answer_and_its_edit(tmp_path: Path) -> None:
    history, _ = read(written(tmp_path, preference("We are sorry.", "So what?")))
    (answer,), (word,) = history.answers, history.words
    assert (answer.text, answer.output) == ("Where is it?", "So what?")
    assert (word.answer, word.edited) == (answer.id, "We are sorry.")
    (pair,) = pairs(history, False, Findings(""))
    assert (pair.text, pair.output) == ("Where is it?", "We are sorry.")


def test_answers_of_weight_one_are_learned_with_the_question_before_each(tmp_path: Path) -> None:
    history, findings = read(
        written(
            tmp_path,
            chat(
                message("system", "Be brief."),
                message("user", "first"),
                message("assistant", "one", weight=1),
                message("user", "second"),
                message("assistant", "two", weight=0),
                message("user", "third"),
                message("assistant", "three", weight=1),
            ),
            chat(USER, message("assistant", "no", weight=0), message("assistant", "yes", weight=1)),
        )
    )
    assert [(pair.text, pair.output) for pair in history.examples] == [
        ("first", "one"),
        ("third", "three"),
        ("Where is it?", "yes"),
    ]
    assert "of 1 chats with weights, pairs are without earlier turns" in findings.notes


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (chat(USER, ASSISTANT, USER, ASSISTANT), "it is no single question with its answer"),
        (chat(USER), "it is no single question with its answer"),
        (chat(), "it is no single question with its answer"),
        (chat(USER, message("assistant", "x", weight=0)), "no answer in it is to be learned"),
        (chat(USER, message("assistant", "x", weight=0.5)), "its weights are not 0 and 1"),
        (chat(message("assistant", "x", weight=1)), "it is no single question with its answer"),
        (
            chat(USER, message("assistant", None, tool_calls=[{"id": "c", "type": "function"}])),
            "a message calls a tool",
        ),
        (
            chat(USER, message("assistant", None, function_call={"name": "f"})),
            "a message calls a tool",
        ),
        (chat(USER, message("tool", "3", tool_call_id="c")), "a message calls a tool"),
        (chat(message("usr", "x"), ASSISTANT), "it has the role 'usr': did you mean 'user'?"),
        (chat(message(3, "x"), ASSISTANT), "it has the role 3"),
        (
            chat(message("user", [{"type": "image_url", "image_url": {"url": "u"}}]), ASSISTANT),
            "a message holds something else than text",
        ),
        (chat(USER, message("assistant", None)), "a message holds something else than text"),
        ({"messages": "x"}, "its messages are no list"),
        ({"messages": [3]}, "its messages are no list"),
        (preference("a", "b", USER, ASSISTANT, USER), "it is no single question with its answer"),
        (preference(None, "b"), "a message holds something else than text"),
        (
            preference("a", "b") | {"non_preferred_output": None},
            "its messages are no list",
        ),
        (
            preference("a", "b") | {"preferred_output": []},
            "its preferred_output is no single answer",
        ),
        (preference("a", "b") | {"input": "x"}, "its messages are no list"),
        ({"prompt": "a", "completion": "b"}, "it has neither `messages` nor `input`"),
        (chat(USER, ASSISTANT, time="soon"), "its time cannot be read"),
        (chat(USER, ASSISTANT, time="1890-01-01"), "its time lies before 1970 or after 2100"),
        (chat(USER, ASSISTANT, time=17), "its time lies before 1970 or after 2100"),
        (GOOD, "it repeats an earlier pair"),
        ('{"messages": [', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "it is no JSON object"),
    ],
)
def test_what_cannot_be_taken_is_named_with_its_place(
    tmp_path: Path, line: Any, cause: str
) -> None:
    history, findings = read(written(tmp_path, GOOD, line))
    ((why, found),) = causes(findings).items()
    assert why.startswith(cause)
    assert found == (1, ["train.jsonl, line 2"])
    assert (len(history.examples), findings.rows, findings.kept) == (1, 2, 1)


@pytest.mark.parametrize(
    ("better", "cause"),
    [("", "its edit is empty"), ("  \n", "its edit is empty")],
)
def test_an_empty_edit_is_left_out_and_its_answer_stays(
    tmp_path: Path, better: str, cause: str
) -> None:
    history, findings = read(written(tmp_path, preference(better, "So what?")))
    assert (len(history.answers), history.words) == (1, [])
    assert causes(findings) == {cause: (1, ["train.jsonl, row 1"])}


def test_texts_that_are_too_long_are_no_pairs(tmp_path: Path) -> None:
    history, _ = read(
        written(
            tmp_path,
            chat(message("user", "x" * 100_000), ASSISTANT),
            chat(USER, message("assistant", "y" * 100_000)),
            chat(USER, message("assistant", " ")),
            GOOD,
        )
    )
    findings = Findings("pairs.jsonl")
    (pair,) = pairs(history, False, findings)
    assert pair.output == "We pay it back."
    assert causes(findings) == {
        "its input has more than 20,000 characters": (1, ["train.jsonl, line 1"]),
        "its output has more than 50,000 characters": (1, ["train.jsonl, line 2"]),
        "its output is empty": (1, ["train.jsonl, line 3"]),
    }


@pytest.mark.parametrize(
    ("encoding", "asked"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-32", None),
        ("cp1252", "cp1252"),
    ],
)
def test_a_file_is_read_in_its_encoding(tmp_path: Path, encoding: str, asked: str | None) -> None:
    line = chat(message("user", "Où est ma commande ?"), message("assistant", "Elle est là, déjà."))
    history, findings = read(written(tmp_path, line, GOOD, encoding=encoding), asked)
    assert history.examples[0].text == "Où est ma commande ?"
    assert (findings.kept, findings.left_out) == (2, {})


def test_bytes_that_are_no_text_cost_their_line_alone(tmp_path: Path) -> None:
    path = written(tmp_path, *[chat(message("user", f"é {n}"), ASSISTANT) for n in range(4)])
    path.write_bytes(path.read_bytes().replace("é 2".encode(), b"\xe9 2"))
    history, _ = read(path)
    findings = Findings("")
    assert len(pairs(history, False, findings)) == 3
    assert "its input holds half of a surrogate pair" in causes(findings)


def test_ids_follow_from_the_content(tmp_path: Path) -> None:
    first, _ = read(written(tmp_path, GOOD, preference("a", "b")))
    again, _ = read(written(tmp_path, preference("a", "b"), "{", GOOD))
    assert {pair.id for pair in first.examples} == {pair.id for pair in again.examples}
    assert [word.id for word in first.words] == [word.id for word in again.words]


def test_what_is_written_is_read_as_launch_data(tmp_path: Path) -> None:
    dated = {"time": 1769850000, "subject": "c-1", "slices": {"language": "en"}}
    history, _ = read(
        written(tmp_path, chat(message("system", "Be kind."), USER, ASSISTANT, **dated), GOOD)
    )
    made = pairs(history, False, Findings(""))
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{pair.line}\n" for pair in made), encoding="utf-8")
    found = pairs_file.read(path, Asked())
    by_text = {row.text: row for row in found.rows}
    first, second = by_text["Where is it?"], by_text["Charged twice!"]
    assert (first.label, first.time, first.subject) == ("On its way.", 1769850000_000, "c-1")
    assert (first.slices, second.time) == ({"language": "en"}, None)
    assert found.systems == {"Be kind.": 1}
    assert {row.id for row in found.rows} == {pair.id for pair in made}


def test_places_count_blank_lines(tmp_path: Path) -> None:
    history, findings = read(written(tmp_path, "", " ", GOOD, "", "{"))
    assert [pair.place for pair in history.examples] == ["train.jsonl, line 3"]
    assert causes(findings) == {"is not JSON": (1, ["train.jsonl, line 5"])}


def test_an_encoding_that_was_guessed_is_told(tmp_path: Path) -> None:
    words = ["Où est ma commande, s'il vous plaît ?", "Elle a été expédiée, désolé du délai."]
    rows = [chat(message("user", words[0]), message("assistant", words[1])) for _ in range(3)]
    history, findings = read(written(tmp_path, *rows, encoding="cp1252"))
    assert history.examples[0].output == words[1]
    assert any("by its letters; --encoding says otherwise" in note for note in findings.notes)


def test_of_a_folder_the_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    (tmp_path / "a.jsonl").write_bytes(b"")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 cut off")
    history, findings = read(tmp_path)
    assert len(history.examples) == 1
    said = [note.partition(": ")[2] for note in findings.notes if note.startswith("not read")]
    assert [note.partition(":")[0] for note in said] == ["a.jsonl", "b.parquet"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n")
    with pytest.raises(BadConfig, match=r"train\.jsonl: the file is empty"):
        read(path)
