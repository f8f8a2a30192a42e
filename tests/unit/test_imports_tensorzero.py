"""Rows of TensorZero's tables: which answers, edits and ratings they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tensorzero_rows import BEGIN, asked, chat, demonstration, extraction, metric, text, uuid7

from driftgate.errors import BadConfig
from driftgate.imports import records, tensorzero
from driftgate.imports.history import History, pairs
from driftgate.labelled.findings import Findings


def of(
    folder: Path,
    *rows: dict[str, Any],
    function: str | None = None,
    ratings: tuple[str, ...] = (),
    slices: tuple[str, ...] = (),
) -> tuple[History, Findings]:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    findings = Findings(path.name)
    read = records.read(path, findings)
    return tensorzero.read(read, function, ratings, "user_id", slices, findings), findings


def causes(findings: Findings) -> dict[str, int]:
    return {cause: one.rows for cause, one in findings.left_out.items()}


def test_an_inference_with_its_demonstration_and_thumb(tmp_path: Path) -> None:
    history, findings = of(tmp_path, chat(), demonstration(), metric(), slices=("language",))
    (answer,) = history.answers
    assert (answer.id, answer.text, answer.output) == (uuid7(1), "Where is it?", "On its way.")
    assert (answer.system, answer.subject, answer.time) == ("Be kind.", "c-17", BEGIN)
    assert answer.slices == {"language": "en"}
    assert answer.more == {"latency_ms": 1500.0, "first_token_ms": 200.0}
    edit, rating = history.words
    assert (edit.edited, edit.time) == ("It comes today.", BEGIN + 60_000)
    assert (rating.answer, rating.rating) == (uuid7(1), 1.0)
    assert (findings.rows, findings.kept, findings.left_out) == (3, 3, {})


def test_a_json_function_answers_what_the_model_wrote(tmp_path: Path) -> None:
    better = {"raw": '{"a": 2}', "parsed": {"a": 2}}
    history, _ = of(tmp_path, extraction(), demonstration(value=json.dumps(better)))
    assert history.answers[0].output == '{"a": 1}'
    assert history.words[0].edited == '{"a": 2}'
    only = json.dumps({"raw": None, "parsed": {"a": 3}})
    assert of(tmp_path, extraction(output=only))[0].answers[0].output == '{"a": 3}'


@pytest.mark.parametrize(
    "content",
    [
        "Where is it?",
        text("Where is it?"),
        [{"type": "text", "value": "Where is it?"}],
        [{"type": "raw_text", "value": "Where is it?"}],
        [*text("Where "), {"type": "thought", "text": "hm"}, *text("is it?")],
    ],
)
def test_messages_in_the_forms_of_several_releases(tmp_path: Path, content: Any) -> None:
    assert of(tmp_path, chat(input=asked(content)))[0].answers[0].text == "Where is it?"


@pytest.mark.parametrize(
    "content",
    [
        {"order": 7},
        [{"type": "text", "value": {"order": 7}}],
        [{"type": "text", "arguments": {"order": 7}}],
        [{"type": "template", "name": "user", "arguments": {"order": 7}}],
    ],
)
def test_of_a_template_what_it_was_filled_with_is_the_input(tmp_path: Path, content: Any) -> None:
    assert of(tmp_path, chat(input=asked(content)))[0].answers[0].text == '{"order": 7}'


FOUR = "0b1c2d3e-4f50-4172-8a9b-0c1d2e3f4a5b"


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        (chat(output=""), "it has no output"),
        (chat(output="[]"), "it has no output"),
        (chat(output=json.dumps([{"type": "tool_call", "name": "f"}])), "a message calls a tool"),
        (extraction(function_name="reply", output='{"raw": null}'), "it has no output"),
        (chat(input=asked([{"type": "file", "file": {}}])), "a message holds something else"),
        (chat(input=asked([{"type": "tool_result", "id": "c"}])), "a message calls a tool"),
        (
            chat(input=json.dumps({"messages": [{"role": "user"}, {"role": "assistant"}]})),
            "it is no single question with its answer",
        ),
        (chat(input=json.dumps({"messages": []})), "it is no single question with its answer"),
        (chat(input="Where is it?"), "its input has no messages"),
        (chat(id="7"), "its id is no UUID"),
        (chat(id=FOUR), "its id is no UUIDv7, so it has no time"),
        (chat(id=FOUR, timestamp="soon"), "its time cannot be read"),
        (chat(id=uuid7(1, 5)), "its time lies before 1970 or after 2100"),
        (chat(0), "it repeats an earlier id"),
        (demonstration(9), "it is about an answer that is not imported"),
        (demonstration(0, value="[]"), "its edit is empty"),
        (demonstration(0, value='[{"type": "tool_call"}]'), "a message calls a tool"),
        (demonstration(0, id=FOUR), "its id is no UUIDv7, so it has no time"),
        (metric(0, value="much"), "its score is no number"),
        (metric(9), "it is about an answer that is not imported"),
        (metric(0) | {"target_type": "inference"}, ""),
        (
            {"id": uuid7(5), "target_id": uuid7(0), "target_type": "inference", "value": "!"},
            "it is a",
        ),
        ({"id": uuid7(5), "raw_request": "{}"}, "it is no row of ChatInference"),
    ],
)
def test_what_cannot_be_taken_is_named_with_its_place(
    tmp_path: Path, row: dict[str, Any], cause: str
) -> None:
    history, findings = of(tmp_path, chat(0), row)
    assert [answer.id for answer in history.answers] == [uuid7(0)]
    found = {why: one.places for why, one in findings.left_out.items()}
    if not cause:
        assert found == {}
        return
    ((why, places),) = found.items()
    assert why.startswith(cause)
    assert places == ["rows.jsonl, line 2"]


def test_an_id_of_another_version_has_the_time_of_its_row(tmp_path: Path) -> None:
    history, _ = of(tmp_path, chat(id=FOUR, timestamp="2026-05-29 13:46:19"))
    assert history.answers[0].time == 1_780_062_379_000


def test_feedback_on_an_episode_is_about_its_only_inference(tmp_path: Path) -> None:
    one, two = uuid7(1001), uuid7(2000)
    rows = [chat(1), chat(2, episode_id=two), chat(3, episode_id=two)]
    history, findings = of(
        tmp_path, *rows, metric(1, target_id=one), metric(2, target_id=two, value=False)
    )
    assert [word.answer for word in history.words] == [uuid7(1)]
    assert causes(findings) == {"it is about an episode of several inferences": 1}


def test_numbers_are_metrics_and_the_latest_thumb_decides_the_pair(tmp_path: Path) -> None:
    later = uuid7(7, BEGIN + 120_000)
    history, _ = of(
        tmp_path,
        chat(),
        metric(),
        metric(id=later, value=False),
        metric(2, target_id=uuid7(1), metric_name="minutes", value=4.5),
    )
    assert [(w.rating, w.metric, w.value) for w in history.words] == [
        (1.0, None, None),
        (0.0, None, None),
        (None, "minutes", 4.5),
    ]
    assert pairs(history, False, Findings("")) == []


def test_a_model_is_for_one_function(tmp_path: Path) -> None:
    rows = [chat(1), chat(2), extraction(3), demonstration(3)]
    with pytest.raises(BadConfig, match="choose by --function: reply 2, extract 1"):
        of(tmp_path, *rows)
    with pytest.raises(BadConfig, match=r"--function replies: no inference is of it; .*'reply'"):
        of(tmp_path, *rows, function="replies")
    history, findings = of(tmp_path, *rows, function="reply")
    assert len(history.answers) == 2
    assert causes(findings) == {"it is about an answer that is not imported": 1}
