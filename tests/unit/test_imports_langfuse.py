"""Exports of Langfuse in the shapes in which its tables, blob storage and API write them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftgate.errors import BadConfig
from driftgate.imports import langfuse, records
from driftgate.imports.history import History, pairs
from driftgate.labelled.findings import Findings

MESSAGES = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Where is it?"},
]


def observation(own: str = "o-1", **changes: Any) -> dict[str, Any]:
    """As the enriched export of the blob storage has it."""
    return {
        "id": own,
        "trace_id": f"t-{own}",
        "project_id": "p",
        "environment": "production",
        "type": "GENERATION",
        "parent_observation_id": "",
        "start_time": "2026-05-29 13:46:19.963000",
        "end_time": "2026-05-29 13:46:21.463000",
        "completion_start_time": "2026-05-29 13:46:20.163000",
        "name": "reply",
        "metadata": {"language": "en"},
        "level": "DEFAULT",
        "input": json.dumps(MESSAGES),
        "output": json.dumps({"role": "assistant", "content": "On its way."}),
        "provided_model_name": "gpt-4o",
        "usage_details": {"input": 31, "output": 5, "total": 36},
        "total_cost": 0.0012,
        "latency": 1.5,
        "tool_calls": [],
        "tool_call_names": [],
        "tags": ["vip", "web"],
        "user_id": "c-17",
    } | changes


def score(own: str = "s-1", **changes: Any) -> dict[str, Any]:
    return {
        "id": own,
        "timestamp": "2026-05-29 14:00:00.000000",
        "trace_id": "t-o-1",
        "observation_id": "o-1",
        "name": "thumbs",
        "value": 1,
        "source": "API",
        "comment": None,
        "data_type": "BOOLEAN",
        "string_value": None,
    } | changes


def correction(text: Any, **changes: Any) -> dict[str, Any]:
    return score("c-1", name="output", data_type="CORRECTION", value=text, **changes)


def lines(*rows: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def read(
    path: Path, ratings: Sequence[str] = (), slices: Sequence[str] = ()
) -> tuple[History, Findings]:
    findings = Findings(path.name)
    return langfuse.read(records.read(path, findings), ratings, slices, findings), findings


def of(folder: Path, *rows: dict[str, Any], **asked: Any) -> tuple[History, Findings]:
    path = folder / "export.jsonl"
    path.write_text(lines(*rows), encoding="utf-8")
    return read(path, **asked)


def causes(findings: Findings) -> dict[str, int]:
    return {cause: one.rows for cause, one in findings.left_out.items()}


# ---------------------------------------------------------------- shapes


def test_enriched_observations_and_their_scores_in_folders(tmp_path: Path) -> None:
    for name, text in (
        ("observations_v2/1.jsonl", lines(observation())),
        ("scores/1.jsonl", lines(score(comment="fast"), correction("It comes today."))),
        ("manifests/1.json", '{"files": []}'),
    ):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    history, findings = read(tmp_path, slices=["language", "environment", "missing"])
    (answer,) = history.answers
    assert (answer.id, answer.text, answer.output) == ("o-1", "Where is it?", "On its way.")
    assert (answer.system, answer.subject) == ("Be kind.", "c-17")
    assert answer.time == 1780062379_963
    assert answer.slices == {"language": "en", "environment": "production"}
    assert answer.more == {
        "latency_ms": 1500.0,
        "first_token_ms": 200.0,
        "tokens_in": 31,
        "tokens_out": 5,
        "cost": 0.0012,
    }
    edit, rating = history.words
    assert (edit.answer, edit.edited, edit.id) == ("o-1", "It comes today.", "c-1")
    assert (rating.rating, rating.reason, rating.time) == (1.0, "fast", 1780063200_000)
    assert causes(findings) == {"it is no trace, observation or score": 1}


def test_the_observations_table_has_its_scores_in_columns(tmp_path: Path) -> None:
    row = {
        "id": "o-1",
        "type": "GENERATION",
        "traceId": "t-1",
        "startTime": "2026-05-29T13:46:19.963Z",
        "endTime": "2026-05-29T13:46:21.463Z",
        "completionStartTime": None,
        "input": {"messages": MESSAGES},
        "output": "On its way.",
        "metadata": {},
        "usageDetails": {"input": 31, "output": 5},
        "totalCost": 0.0012,
        "userId": "c-17",
        "traceTags": ["vip"],
        "toolCalls": [],
        "comments": [],
        "thumbs": [0],
        "stars": [4.5],
        "tone": ["polite"],
        "unrated": None,
    }
    path = tmp_path / "export.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    history, findings = read(path)
    (answer,) = history.answers
    assert (answer.text, answer.subject, answer.more["tokens_out"]) == ("Where is it?", "c-17", 5)
    assert [(w.rating, w.metric, w.value) for w in history.words] == [
        (0.0, None, None),
        (None, "stars", 4.5),
    ]
    assert causes(findings) == {"its score is no number": 1}
    again, _ = read(path)
    assert [word.id for word in again.words] == [word.id for word in history.words]


def test_csv_has_json_in_its_cells(tmp_path: Path) -> None:
    row = observation(output='{"team": "delivery",  "late": true}') | {"thumbs": [1]}
    cells = {
        name: json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }
    path = tmp_path / "export.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(cells))
        writer.writeheader()
        writer.writerow(cells)
        writer.writerow(cells | {"id": "o-2", "input": "two\nlines", "output": "", "thumbs": ""})
        file.write("torn,row\r\n")
    history, findings = read(path)
    (answer,) = history.answers
    assert (answer.text, answer.output) == ("Where is it?", '{"team": "delivery",  "late": true}')
    assert [word.rating for word in history.words] == [1.0]
    assert {cause: one.places for cause, one in findings.left_out.items()} == {
        "it has another number of fields than the header": ["export.csv, line 5"],
        "it has no output": ["export.csv, line 3"],
    }


def test_parquet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    usage = pa.array([[("input", 31), ("output", 5)]], pa.map_(pa.string(), pa.int64()))
    row = observation()
    del row["usage_details"]
    table = pa.Table.from_pylist([row]).append_column("usage_details", usage)
    pq.write_table(table, path)
    history, _ = read(path)
    assert (history.answers[0].text, history.answers[0].more["tokens_in"]) == ("Where is it?", 31)


def test_a_trace_that_was_downloaded_holds_its_observations_and_scores(tmp_path: Path) -> None:
    trace = {
        "id": "t-1",
        "timestamp": "2026-05-29T13:46:19Z",
        "userId": "c-17",
        "input": "Where is it?",
        "output": "On its way.",
        "observations": [
            observation(id=None),
            observation(trace_id="t-1", user_id=None),
            observation("o-2", trace_id="t-1", type="SPAN"),
        ],
        "scores": [score(trace_id="t-1", observation_id=None)],
    }
    path = tmp_path / "trace-t-1.json"
    path.write_text(json.dumps(trace, indent=2), encoding="utf-8")
    history, findings = read(path)
    (answer,), (word,) = history.answers, history.words
    assert (answer.id, answer.subject, word.answer) == ("o-1", "c-17", "o-1")
    assert causes(findings) == {"it has no id": 1, "it is no generation but of type SPAN": 1}


def test_of_several_generations_the_traces_own_answer_counts(tmp_path: Path) -> None:
    trace = {"id": "t-1", "timestamp": "2026-05-29T13:46:19Z", "input": "Q", "output": "A"}
    steps = [observation(f"o-{n}", trace_id="t-1") for n in range(2)]
    history, findings = of(tmp_path, trace, *steps, score(trace_id="t-1", observation_id=None))
    assert [answer.id for answer in history.answers] == ["t-1"]
    assert [word.answer for word in history.words] == ["t-1"]
    assert any("2 generations are steps" in note for note in findings.notes)


def test_a_page_of_the_api_is_read(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    page = {"data": [observation()], "meta": {"cursor": "x"}}
    path.write_text(json.dumps(page), encoding="utf-8")
    assert len(read(path)[0].answers) == 1


def test_a_list_that_is_broken_somewhere_is_read_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    rows = [json.dumps(observation(f"o-{n}")) for n in range(3)]
    rows[1] = rows[1][:50]
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")
    history, findings = read(path)
    assert [answer.id for answer in history.answers] == ["o-0", "o-2"]
    assert {cause: one.places for cause, one in findings.left_out.items()} == {
        "is not JSON": ["export.json, line 3"]
    }


def test_of_records_with_one_id_the_last_counts(tmp_path: Path) -> None:
    history, findings = of(tmp_path, observation(output=""), observation(output="On its way."))
    assert [answer.output for answer in history.answers] == ["On its way."]
    assert "1 records repeat an id: the last of each counts" in findings.notes


# ---------------------------------------------------------------- what is asked and answered


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("Where is it?", "Where is it?"),
        ('"Where is it?"', "Where is it?"),
        ({"messages": MESSAGES}, "Where is it?"),
        ({"args": ["Where is it?"], "kwargs": {}}, "Where is it?"),
        ({"args": [], "kwargs": {"question": "Where?", "n": 1}}, '"question": "Where?"'),
        ('{"order":  7}', '{"order":  7}'),
        ({"order": 7}, '{"order": 7}'),
        ("[see above]", "[see above]"),
    ],
)
def test_inputs_in_the_shapes_of_sdks(tmp_path: Path, given: Any, text: str) -> None:
    history, _ = of(tmp_path, observation(input=given))
    assert text in history.answers[0].text


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("On its way.", "On its way."),
        ([{"role": "assistant", "content": "On its way."}], "On its way."),
        ({"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}, "Yes."),
        ({"team": "delivery"}, '{"team": "delivery"}'),
        ({"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}, "Yes."),
    ],
)
def test_outputs_in_the_shapes_of_sdks(tmp_path: Path, given: Any, output: str) -> None:
    history, _ = of(tmp_path, observation(output=given))
    assert history.answers[0].output == output


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"output": None}, "it has no output"),
        ({"output": ""}, "it has no output"),
        ({"input": None}, "it has no input"),
        ({"output": CALL}, "a message calls a tool"),
        ({"output": "", "tool_calls": ["{}"]}, "a message calls a tool"),
        ({"output": [MESSAGES[1], MESSAGES[1]]}, "its output is several messages"),
        ({"input": IMAGE}, "a message holds something else than text"),
        ({"input": [*MESSAGES, CALL]}, "a message calls a tool"),
        (
            {"input": [*MESSAGES, {"role": "assistant", "content": "x"}, *MESSAGES]},
            "it is no single question with its answer",
        ),
        ({"input": [{"role": "usr", "content": "x"}]}, "it has the role 'usr'"),
        ({"start_time": "soon"}, "its time cannot be read"),
        ({"start_time": "0001-01-01T00:00:00Z"}, "its time lies before 1970"),
        ({"end_time": "later"}, "its time cannot be read"),
        ({"level": "ERROR", "status_message": "429"}, "it ended in an error"),
        ({"type": "EMBEDDING"}, "it is no generation but of type EMBEDDING"),
        ({"id": None}, "it has no id"),
    ],
)
def test_what_cannot_be_taken_is_named_with_its_place(
    tmp_path: Path, changes: dict[str, Any], cause: str
) -> None:
    history, findings = of(tmp_path, observation("o-0"), observation(**changes))
    assert [answer.id for answer in history.answers] == ["o-0"]
    ((why, found),) = findings.left_out.items()
    assert why.startswith(cause)
    assert (found.rows, found.places) == (1, ["export.jsonl, line 2"])


# ---------------------------------------------------------------- scores


def test_scores_that_say_nothing_of_an_answer_are_counted(tmp_path: Path) -> None:
    history, findings = of(
        tmp_path,
        observation(),
        observation("o-2", trace_id="t-o-1"),
        score("s-1", observation_id=None),
        score("s-2", data_type="CATEGORICAL", string_value="good"),
        score("s-3", data_type="TEXT", string_value="fine"),
        score("s-4", observation_id="o-9", trace_id="t-9"),
        score("s-5", value=float("nan")),
        correction(""),
        score("s-6", timestamp="soon"),
        score("s-7", value=True),
    )
    assert [word.id for word in history.words] == ["s-7"]
    assert causes(findings) == {
        "its score is about a trace of several answers": 1,
        "its score is no number": 3,
        "its time cannot be read": 1,
        "its edit is empty": 1,
        "it is about an answer that is not imported": 1,
    }


def test_a_scale_makes_a_score_a_rating(tmp_path: Path) -> None:
    rows = [
        observation(),
        score("s-1", name="stars", data_type="NUMERIC", value=4),
        score("s-2", name="escalated", value=1),
        score("s-3", name="stars", data_type="NUMERIC", value=9),
        score("s-4", name="thumbs", value=1),
    ]
    history, findings = of(tmp_path, *rows, ratings=["stars=1..5", "escalated=1..0"])
    assert [(w.id, w.rating, w.metric) for w in history.words] == [
        ("s-1", 0.75, None),
        ("s-2", 0.0, None),
        ("s-4", None, "thumbs"),
    ]
    assert causes(findings) == {"its score 'stars' is not from 1 to 5": 1}


def test_several_scores_of_yes_and_no_are_metrics_until_one_is_named(tmp_path: Path) -> None:
    rows = [observation(), score("s-1"), score("s-2", name="resolved", value=0)]
    history, findings = of(tmp_path, *rows)
    assert [word.metric for word in history.words] == ["thumbs", "resolved"]
    assert any("--rating NAME" in note for note in findings.notes)
    history, _ = of(tmp_path, *rows, ratings=["resolved"])
    assert [word.rating for word in history.words] == [None, 0.0]
    history, _ = of(tmp_path, *rows[:2], ratings=["none"])
    assert [word.metric for word in history.words] == ["thumbs"]


def test_what_a_model_judged_is_no_rating(tmp_path: Path) -> None:
    rows = [observation(), score("s-1"), score("s-2", source="EVAL", value=0)]
    history, _ = of(tmp_path, *rows)
    assert [(word.rating, word.metric) for word in history.words] == [(1.0, None), (None, "thumbs")]


@pytest.mark.parametrize("asked", ["stars=5", "stars=a..b", "stars=3..3", "=1..5"])
def test_a_scale_that_is_none_is_refused(tmp_path: Path, asked: str) -> None:
    with pytest.raises(BadConfig, match=r"expected NAME or NAME=WORST\.\.BEST"):
        of(tmp_path, observation(), score(), ratings=[asked])


def test_a_name_that_no_score_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"--rating thumb: no score has this name; .*'thumbs'"):
        of(tmp_path, observation(), score(), ratings=["thumb"])


# ---------------------------------------------------------------- pairs


def test_edited_and_liked_answers_are_pairs(tmp_path: Path) -> None:
    rows = [observation(f"o-{n}", trace_id=f"t-{n}", input=f"question {n}") for n in range(5)]
    said = [
        correction("edited", observation_id="o-0"),
        score("s-0", observation_id="o-0", value=0),
        score("s-1", observation_id="o-1", value=1),
        score("s-2", observation_id="o-2", value=0),
        score("s-3", observation_id="o-3", value=0),
        score("s-4", observation_id="o-3", value=1, timestamp="2026-05-29 15:00:00.000000"),
    ]
    history, _ = of(tmp_path, *rows, *said)
    findings = Findings("")
    found = {pair.id: pair.output for pair in pairs(history, False, findings)}
    assert found == {"o-0": "edited", "o-1": "On its way.", "o-3": "On its way."}
    assert any("--unjudged" in note for note in findings.notes)
    assert {pair.id for pair in pairs(history, True, Findings(""))} == {*found, "o-4"}


def test_an_edit_that_equals_its_answer_is_a_pair_and_a_word(tmp_path: Path) -> None:
    history, _ = of(tmp_path, observation(), correction("On its way."))
    assert history.words[0].edited == history.answers[0].output
    assert len(pairs(history, False, Findings(""))) == 1
