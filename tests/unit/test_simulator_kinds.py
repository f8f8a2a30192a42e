"""What people make of answers that are texts, and worlds of pairs."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from driftgate import model_repo
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, Feedback
from driftgate.labelled.rows import Row
from driftgate.model_repo import Review
from driftgate.tasks import task_of
from driftgate.tasks.text_generation import TextGeneration
from services.simulator import demo
from services.simulator.feedback_model import AnsweredRequest, FeedbackProfile, feedback_on
from services.simulator.kinds import Labels, Texts, kind_of
from services.simulator.lengths import Calendar
from services.simulator.pairs import sorts_of, world_of
from services.simulator.profiles import BY_NAME, WRITTEN, declare, mix_of
from services.simulator.reviewers import reviews_on
from services.simulator.scoring import Truth, by_week, judged
from services.simulator.world import START

TICKETS = demo.example("ticket-extract")
TASK = task_of(model_repo.read(TICKETS).config.task)
SEED = 7


def ticket(**changed: str | None) -> str:
    fields = {"language": "en", "team": "billing", "product": "lamp", "urgency": "normal"}
    return json.dumps(fields | {"order": "48213", "amount": None, "date": None} | changed)


RIGHT, WRONG = ticket(), ticket(team="repair")
OTHERS = tuple(ticket(team="returns", order=str(10_000 + n)) for n in range(20))


def texts() -> Texts:
    found = kind_of(TASK, OTHERS)
    assert isinstance(found, Texts)
    return found


def said_of(output: str, profile: FeedbackProfile, count: int = 2000) -> list[list[Feedback]]:
    kind = texts()
    return [
        feedback_on(
            AnsweredRequest(f"r{n}", 0, START, RIGHT, output, kind.right(output, RIGHT), 1),
            "m",
            kind,
            profile,
            SEED,
        )
        for n in range(count)
    ]


def test_an_answer_is_right_whatever_its_white_space_and_graded_by_its_fields() -> None:
    kind = texts()
    spread = json.dumps(json.loads(RIGHT), indent=2, sort_keys=True)
    assert kind.right(spread, RIGHT)
    assert not kind.right(WRONG, RIGHT)
    assert kind.grade(WRONG, RIGHT) == pytest.approx(6 / 7)
    assert (kind.well_formed(WRONG), kind.well_formed("sorry")) == (True, False)
    assert (kind.right("sorry", RIGHT), kind.grade("sorry", RIGHT)) == (False, 0.0)


def test_what_is_wrong_is_edited_by_most_and_what_is_right_by_nobody() -> None:
    edited = [words for words in said_of(WRONG, BY_NAME["edits"]) if words]
    assert 0.86 < len(edited) / 2000 < 0.94
    first = [words[0] for words in edited]
    assert {(one.kind, one.label) for one in first} == {("edit", None)}
    as_it_is = sum(one.edited == RIGHT for one in first) / len(first)
    assert 0.94 < as_it_is < 0.99, "3 % err"
    assert not any(said_of(RIGHT, BY_NAME["edits"]))


def test_a_mistaken_edit_gets_one_field_wrong_and_can_be_learned() -> None:
    kind, rng = texts(), random.Random(SEED)
    before = json.loads(RIGHT)
    for _ in range(50):
        found = kind.corrected(rng, RIGHT, mistaken=True, never=(WRONG,))
        changed = [name for name, value in json.loads(found).items() if value != before[name]]
        assert changed in (["team"], ["order"])
        assert TASK.unusable(found) is None
    assert kind.corrected(rng, RIGHT, mistaken=False) == RIGHT
    assert kind_of(TASK, (RIGHT,)).corrected(rng, RIGHT, mistaken=True) == RIGHT


def test_a_mistaken_edit_of_a_text_is_the_answer_to_another() -> None:
    plain = task_of(model_repo.parse(PLAIN).task)
    found = kind_of(plain, ("good morning", "bye")).corrected(random.Random(1), "bye", True)
    assert found == "good morning"


PLAIN = """
model: m
task: {kind: text-generation}
base: {name: SmolLM2-135M-Instruct}
feedback: {profile: [edits]}
monitors: [{name: e, signal: quality, value: edit_rate}]
gate: {min_accuracy: 0.5}
rollout: {stages: [{name: full, percent: 100}]}
"""


def test_thumbs_rate_a_text_and_edit_nothing() -> None:
    words = [
        word for words in said_of(WRONG, replace(BY_NAME["thumbs"], share=1.0)) for word in words
    ]
    assert {word.edited for word in words} == {None}
    ratings = Counter(word.rating for word in words if word.kind == "rating")
    assert set(ratings) == {0.0, 1.0}
    assert ratings[0.0] > 0.9 * ratings.total()


def test_reviewers_edit_texts_too() -> None:
    rules = Review(share=1.0, twice=0.0)
    kind = texts()
    (review,) = reviews_on(
        AnsweredRequest("r", 0, START, RIGHT, WRONG, False, 1), "m", kind, rules, SEED
    )
    assert (review.kind, review.label, review.edited) == ("review", None, RIGHT)


def test_texts_count_by_exact_match_grade_and_format() -> None:
    truths = {"r1": Truth(1, RIGHT), "r2": Truth(1, RIGHT)}
    answers = [
        {"request_id": "r1", "version": 2, "role": "live", "output": RIGHT},
        {"request_id": "r2", "version": 2, "role": "live", "output": "sorry"},
        {"request_id": "r2", "version": 1, "role": "shadow", "output": WRONG},
    ]
    (week,) = by_week(judged(truths, answers, texts()))
    assert (week.loop, week.loop_grade, week.well_formed) == (0.5, 0.5, 0.5)
    assert (week.frozen_baseline, week.frozen_grade) == (0.0, pytest.approx(6 / 7))
    labels = by_week(
        judged({"r": Truth(1, "a")}, [answers[0] | {"request_id": "r"}], Labels(("a",)))
    )
    assert labels[0].loop_grade is None


# ---------------------------------------------------------------- profiles


def test_the_profile_edits_is_for_texts_alone_and_is_declared_as_it_is(tmp_path: Path) -> None:
    assert mix_of(WRITTEN.name, written=True) == WRITTEN
    with pytest.raises(BadConfig, match="'edits' belongs to generated text"):
        mix_of("edits")
    (tmp_path / "model.yaml").write_text(PLAIN)
    declare(tmp_path, WRITTEN)
    feedback = model_repo.declared(tmp_path).config.feedback
    assert (feedback.profile, feedback.silence_is_right) == (["edits", "review"], True)


def test_the_shipped_world_of_tickets_plays_what_its_model_repo_declares() -> None:
    config = model_repo.read(TICKETS).config
    assert WRITTEN.declaration.profile == config.feedback.profile
    assert WRITTEN.declaration.settled_hours == config.feedback.settled_hours
    assert WRITTEN.review is not None
    assert WRITTEN.review.share == config.review.share


def test_an_unknown_example_names_the_nearest() -> None:
    with pytest.raises(BadConfig, match=r"--example tickets: .*ticket-extract"):
        demo.example("tickets")


# ---------------------------------------------------------------- worlds of pairs


def pairs(count: int, dated: bool) -> list[Row]:
    teams = ("billing", "repair", "returns", "delivery", "advice")
    return [
        Row(
            f"message {n}",
            json.dumps({"order": str(n), "team": teams[n % 5]}),
            START + n * DAY_MS // 8 if dated else None,
            subject=f"p-{n % 300}",
            slices={"language": "en"},
        )
        for n in range(count)
    ]


def played(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    world = world_of("tickets", rows, Calendar())
    launch, days = list(world.launch), [row for day in world.days for row in day]
    assert all(row.time is not None for row in (*launch, *days))
    given = {row.text: (row.label, row.subject, row.id) for row in rows}
    assert all(given[row.text] == (row.label, row.subject, row.id) for row in (*launch, *days))
    return launch, days


def test_dated_pairs_are_played_in_the_order_of_their_dates() -> None:
    launch, days = played(pairs(1600, dated=True))
    assert len(launch) >= 100
    numbers = [int(row.text.removeprefix("message ")) for row in (*launch, *days)]
    assert numbers == sorted(numbers)


def test_pairs_without_dates_meet_new_sorts_of_answers_after_the_launch() -> None:
    launch, days = played(pairs(1600, dated=False))

    def teams(rows: Sequence[Row]) -> set[str]:
        return {json.loads(row.label)["team"] for row in rows}

    assert len(teams(launch)) == 3
    assert len(teams(days)) == 5


def test_a_pair_counts_as_a_field_that_sorts_it_or_by_its_length() -> None:
    outputs = [row.label for row in pairs(100, dated=False)]
    assert set(sorts_of(outputs)) == {"billing", "repair", "returns", "delivery", "advice"}
    lengths = sorts_of(["x" * n for n in range(1, 101)])
    assert Counter(lengths).most_common(1)[0][1] <= 21
    assert len(set(lengths)) == 5


def test_own_pairs_declare_a_model_that_their_launch_can_lead_to(tmp_path: Path) -> None:
    from rich.console import Console

    from driftgate.labelled.rows import Asked
    from services.simulator.session import check

    data = tmp_path / "own.jsonl"
    lines = (
        {"input": row.text, "output": row.label, "subject": row.subject, "slices": row.slices}
        for row in pairs(1600, dated=False)
    )
    personal = {
        "input": "I am ana@example.com",
        "output": '{"order": "ana@example.com", "team": 7}',
    }
    data.write_text("".join(json.dumps(line) + "\n" for line in (*lines, personal)))
    found = demo.prepare_pairs(data, Calendar(), Asked(), Console(quiet=True))
    plan = demo.data_plan(found, tmp_path / "state", None, WRITTEN)
    repo = model_repo.read(plan.repo)
    check(plan.world, repo)
    everything = [*plan.world.launch, *(row for day in plan.world.days for row in day)]
    said = {text for row in everything for text in (row.text, row.label)}
    assert not any("ana@" in text for text in said), "what is right is what could be learned"
    assert isinstance(task_of(repo.config.task), TextGeneration)
    assert (repo.config.feedback.profile, repo.config.rollout.one_off) == (
        ["edits", "review"],
        True,
    )
