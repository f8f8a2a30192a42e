"""What users and reviewers say in a played world: how often, of what, when, and how wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binom

from driftgate import model_repo
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, HOUR_MS, Feedback
from driftgate.model_repo import Review
from driftgate.review import drawn
from driftgate.review import twice as wants_two
from services.simulator.demo import EXAMPLE
from services.simulator.feedback_model import (
    LOUD,
    AnsweredRequest,
    FeedbackProfile,
    arrival,
    asker,
    feedback_on,
)
from services.simulator.kinds import Labels
from services.simulator.profiles import (
    BY_NAME,
    NAMES,
    SHIPPED,
    Mix,
    declare,
    differences,
    mix_of,
    on,
)
from services.simulator.reviewers import REVIEWERS, reviews_on
from services.simulator.world import START

MODEL, LABELS, SEED, COUNT = "m", Labels(("a", "b", "c")), 7, 20_000
SAMPLE = Review(share=0.03, twice=0.1, instructions="2")
# One run in a million of a right simulator lies outside.
SURE = 1 - 1e-6


def answered(number: int, output: str, subject: str = "") -> AnsweredRequest:
    return AnsweredRequest(f"r{number}", 0, START, "a", output, output == "a", 1, subject)


def said(profile: FeedbackProfile, requests: Iterable[AnsweredRequest]) -> list[list[Feedback]]:
    """What was said of each request of which anything was."""
    found = (feedback_on(one, MODEL, LABELS, profile, SEED) for one in requests)
    return [words for words in found if words]


def likely(count: int, of: int, chance: float) -> bool:
    least, most = binom.interval(SURE, of, chance)
    return bool(least <= count <= most)


RIGHT = [answered(n, "a") for n in range(COUNT)]
WRONG = [answered(COUNT + n, "b") for n in range(COUNT)]


@pytest.mark.parametrize(
    ("name", "of_wrong", "of_right"),
    [
        ("labels", 0.6, 0.6),
        ("complaints", 0.6, 0.2),
        ("corrections", 0.6, 0.0),
        ("thumbs", 0.1, 0.1),
        ("late", 0.6, 0.6),
    ],
)
def test_so_many_wrong_and_right_answers_get_feedback(
    name: str, of_wrong: float, of_right: float
) -> None:
    profile = BY_NAME[name]
    assert likely(len(said(profile, WRONG)), COUNT, of_wrong)
    assert likely(len(said(profile, RIGHT)), COUNT, of_right)
    assert profile.mean_share(0.75) == pytest.approx(0.25 * of_wrong + 0.75 * of_right)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_three_words_in_a_hundred_are_mistaken_and_as_many_minds_are_changed(name: str) -> None:
    profile = replace(BY_NAME[name], people=0)
    words = said(profile, WRONG)
    first = [found[0] for found in words]
    mistaken = sum(word.label not in (None, "a") or word.rating == 1.0 for word in first)
    assert likely(mistaken, len(first), 0.03)
    changed = [found for found in words if len(found) > 1]
    assert likely(len(changed), len(words), 0.03)
    assert all(before.time < after.time for before, after in changed)
    assert all(before.feedback_id != after.feedback_id for before, after in changed)


def test_who_changes_their_mind_takes_the_word_back_or_gives_another() -> None:
    words = said(FeedbackProfile(share=1.0, changed=1.0, wrong=0.5), WRONG)
    kinds = Counter(after.kind for _, after in words)
    assert set(kinds) == {"retraction", "correction"}
    assert likely(kinds["retraction"], len(words), 0.5)
    for before, after in words:
        if after.kind == "retraction":
            assert after.retracts == before.feedback_id
            assert (after.label, after.rating) == (None, None)


def test_thumbs_go_up_or_down_by_truth_and_name_no_label() -> None:
    profile = replace(BY_NAME["thumbs"], wrong=0, share=1.0, changed=0)
    for requests, rating in ((RIGHT, 1.0), (WRONG, 0.0)):
        words = [word for (word,) in said(profile, requests)]
        assert {(word.kind, word.rating, word.label) for word in words} == {
            ("rating", rating, None)
        }


def test_a_correction_always_leads_away_from_the_answer() -> None:
    """Also a mistaken one: who takes an answer for right says nothing under this profile."""
    profile = replace(BY_NAME["corrections"], wrong=0.5)
    labels = {word.label for words in said(profile, WRONG) for word in words if word.label}
    assert labels == {"a", "c"}


def test_labels_name_the_label_of_any_answer_and_praise_is_a_rating() -> None:
    told = [words[0] for words in said(BY_NAME["labels"], RIGHT)]
    assert {word.kind for word in told} == {"correction"}
    told = [words[0] for words in said(BY_NAME["complaints"], RIGHT)]
    praised = [word for word in told if word.kind == "rating"]
    assert likely(len(praised), len(told), 0.97 * 0.5)
    assert {(word.rating, word.label) for word in praised} == {(1.0, None)}


@pytest.mark.parametrize(
    ("name", "mean_hours", "longest_days"), [("labels", 18, 10), ("late", 168, 21)]
)
def test_feedback_comes_hours_or_when_it_is_late_a_week_later(
    name: str, mean_hours: float, longest_days: float
) -> None:
    delays = [words[0].time - START for words in said(BY_NAME[name], RIGHT)]
    assert 0 < min(delays) <= max(delays) <= longest_days * DAY_MS
    assert sum(delays) / len(delays) / HOUR_MS == pytest.approx(mean_hours, rel=0.1)


def test_feedback_arrives_out_of_order() -> None:
    words = sorted((w[0] for w in said(BY_NAME["labels"], RIGHT)), key=lambda word: word.time)
    arrived = sorted(words, key=arrival)
    assert arrived != words
    assert all(0 <= arrival(word) - word.time <= 6 * HOUR_MS for word in words)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_what_is_said_of_a_request_hangs_on_no_other(name: str) -> None:
    def by_id(requests: Iterable[AnsweredRequest]) -> dict[str, list[Feedback]]:
        return {words[0].request_id: words for words in said(BY_NAME[name], requests)}

    few = WRONG[: COUNT // 10]
    assert by_id(few) == by_id(reversed(few))
    other_answers = [*RIGHT, *(replace(one, output="c") for one in WRONG[:10]), *few[10:]]
    found = by_id(other_answers)
    assert all(found.get(one.request_id) == by_id([one]).get(one.request_id) for one in few[10:])


def test_the_profiles_of_a_mix_are_independent() -> None:
    mix = mix_of("corrections, thumbs")
    corrected, rated = ({w[0].request_id for w in said(p, WRONG)} for p in mix.users)
    assert likely(len(corrected & rated), COUNT, 0.6 * 0.1)
    ids = [w.feedback_id for p in mix.users for words in said(p, WRONG) for w in words]
    assert len(set(ids)) == len(ids)


# ---------------------------------------------------------------- loud people


def test_fifty_people_give_nearly_all_of_the_feedback_and_a_few_of_them_much_of_it() -> None:
    loud = BY_NAME["loud-users"]
    requests = [
        answered(n, "b", asker(f"c-{n // 2}", f"r{n}", [loud], SEED)) for n in range(2 * COUNT)
    ]
    subjects = {one.request_id: one.subject for one in requests}
    given = Counter(subjects[words[0].request_id] for words in said(loud, requests))
    by_loud = {who: count for who, count in given.items() if who.startswith(LOUD)}
    assert len(by_loud) == 50
    assert sum(by_loud.values()) / given.total() > 0.95
    most = sorted(by_loud.values(), reverse=True)
    assert sum(most[:5]) / sum(most) == pytest.approx(0.51, abs=0.03)  # Zipf: H(5) / H(50)
    assert most[0] > 10 * most[-1]
    assert len(said(loud, requests)) / len(requests) == pytest.approx(loud.mean_share(0), rel=0.05)


def test_a_person_stays_the_same_and_is_one_of_the_world_where_nobody_is_loud() -> None:
    loud = BY_NAME["loud-users"]
    assert asker("c-1", "r1", [loud], SEED) == asker("c-1", "r2", [loud], SEED)
    assert asker("c-1", "r1", SHIPPED.users, SEED) == "c-1"
    assert asker("", "r1", SHIPPED.users, SEED) == ""
    nameless = {asker("", f"r{n}", [loud], SEED) for n in range(1000)}
    assert len(nameless) > 30


# ---------------------------------------------------------------- reviewers


def reviews(requests: Iterable[AnsweredRequest], rules: Review = SAMPLE) -> list[list[Feedback]]:
    found = (reviews_on(one, MODEL, LABELS, rules, SEED) for one in requests)
    return [looked for looked in found if looked]


def test_reviewers_look_at_the_sample_whatever_was_answered() -> None:
    wrong = [replace(one, output="b") for one in RIGHT]
    assert reviews(RIGHT) == reviews(wrong)
    drawn_ids = {one.request_id for one in RIGHT if drawn(MODEL, one.request_id, SAMPLE.share)}
    assert {looked[0].request_id for looked in reviews(RIGHT)} == drawn_ids
    assert likely(len(drawn_ids), COUNT, SAMPLE.share)
    assert reviews(RIGHT, Review()) == []


def test_a_review_says_by_what_chance_it_was_drawn_and_by_which_instructions() -> None:
    every = [
        review
        for looked in reviews(RIGHT, Review(share=1.0, instructions="2"))
        for review in looked
    ]
    assert {(r.kind, r.propensity, r.instructions, r.picked) for r in every} == {
        ("review", 1.0, "2", None)
    }
    assert {review.reviewer for review in every} == set(REVIEWERS)
    assert likely(sum(review.label != "a" for review in every), len(every), 0.03)
    delays = [review.time - START for review in every]
    assert 0 < min(delays) <= max(delays) <= 14 * DAY_MS
    assert sum(delays) / len(delays) / HOUR_MS == pytest.approx(24, rel=0.1)
    assert len({review.feedback_id for review in every}) == len(every)


def test_two_reviewers_look_at_a_share_of_the_sample() -> None:
    looked = reviews(RIGHT, Review(share=1.0, twice=0.1))
    twice = [pair for pair in looked if len(pair) == 2]
    assert likely(len(twice), COUNT, 0.1)
    assert all(one.reviewer != other.reviewer for one, other in twice)
    wanted = {one.request_id for one in RIGHT if wants_two(MODEL, one.request_id, 0.1)}
    assert {pair[0].request_id for pair in twice} == wanted, "those for whom the queue wants two"


# ---------------------------------------------------------------- profiles, mixes, declarations


def test_edits_are_refused_with_the_reason() -> None:
    with pytest.raises(BadConfig, match=r"'edits' belongs to generated text.*choose among labels"):
        mix_of("complaints,edits")


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(BadConfig, match=r"--profile: profile 'complaint'.*'complaints'"):
        mix_of("complaint")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("share", 1.2, "0 to 1"),
        ("wrong", -0.1, "0 to 1"),
        ("share_right", 2, "0 to 1"),
        ("delay_hours", 0, "above 0"),
        ("people", -1, "a whole number"),
    ],
)
def test_an_impossible_parameter_is_refused(name: str, value: float, wanted: str) -> None:
    with pytest.raises(BadConfig, match=f"labels: {name} is {value:g}, expected {wanted}"):
        mix_of("labels", {name: value})


def test_what_is_given_differs_from_the_profile_and_nothing_else_does() -> None:
    (found,) = mix_of("complaints", {"share": 0.9, "wrong": None}).users
    assert found == replace(BY_NAME["complaints"], share=0.9)


@pytest.fixture
def mix_file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "mix.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_a_mix_is_read_from_a_file(mix_file: Callable[[str], str]) -> None:
    path = mix_file("complaints: {share: 0.5, share_right: 0}\nthumbs:\nreview: {share: 0.05}\n")
    found = mix_of(path, {"wrong": 0.1})
    assert found.users == (
        replace(BY_NAME["complaints"], share=0.5, share_right=0, wrong=0.1),
        replace(BY_NAME["thumbs"], wrong=0.1),
    )
    assert found.review == Review(share=0.05)
    assert found.mean_share(1.0) == pytest.approx(1 - 0.9 * 0.95)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("complaints: {shar: 0.5}", "`complaints.shar` is unknown: did you mean 'share'"),
        ("complaints: {share: often}", "`complaints.share` is 'often', expected a number"),
        ("complaints: often", "`complaints` is 'often'"),
        ("review: {share: 3}", "`review.share` is 3.* expected 0 to 1"),
        ("review: {share: 0}", "`review.share` is 0, expected above 0"),
        ("[complaints]", "expected profiles such as"),
        ("a: [", "mix.yaml: "),
    ],
)
def test_a_mix_that_cannot_be_used_is_refused(
    mix_file: Callable[[str], str], text: str, says: str
) -> None:
    with pytest.raises(BadConfig, match=says):
        mix_of(mix_file(text))


@pytest.mark.parametrize(
    ("name", "profile", "share", "settled_hours"),
    [
        ("labels", ["labels"], 0.0, 72),
        ("complaints", ["complaints"], 0.0, 72),
        ("thumbs", ["thumbs"], 0.0, 72),
        ("review", ["review"], 0.03, 72),
        ("late", ["labels"], 0.0, 504),
        ("loud-users", ["complaints"], 0.0, 72),
        ("complaints,late,review", ["complaints", "labels", "review"], 0.03, 504),
    ],
)
def test_a_repo_declares_what_is_played(
    tmp_path: Path, name: str, profile: list[str], share: float, settled_hours: float
) -> None:
    given = (EXAMPLE / "model.yaml").read_text()
    (tmp_path / "model.yaml").write_text(given)
    mix = mix_of(name)
    declare(tmp_path, mix)
    config = model_repo.declared(tmp_path).config
    assert config.feedback.profile == profile
    assert (config.review.share, config.feedback.settled_hours) == (share, settled_hours)
    assert differences(mix, config.feedback) == []
    before = model_repo.parse(given).model_dump()
    assert {key for key, value in config.model_dump().items() if value != before[key]} <= {
        "feedback",
        "review",
    }


def test_a_repo_without_a_word_on_feedback_gets_one(tmp_path: Path) -> None:
    """As an old model.yaml."""
    text = (EXAMPLE / "model.yaml").read_text()
    begin, end = text.index("feedback:\n"), text.index("# Each monitor compares")
    (tmp_path / "model.yaml").write_text(text[:begin] + text[end:])
    declare(tmp_path, SHIPPED)
    assert differences(SHIPPED, model_repo.declared(tmp_path).config.feedback) == []


def test_the_shipped_demo_plays_what_the_example_declares() -> None:
    config = model_repo.declared(EXAMPLE).config
    assert mix_of(SHIPPED.name) == SHIPPED
    assert differences(SHIPPED, config.feedback) == []
    assert SHIPPED.review is not None
    assert SHIPPED.review.share == config.review.share


def test_another_profile_than_the_declared_one_is_played_and_named() -> None:
    declared = model_repo.declared(EXAMPLE).config.feedback
    (profile, settled) = differences(mix_of("late, review"), declared)
    assert "declares complaints, review, and labels, review is played" in profile
    assert "after 72 h says nothing, and in what is played that takes 504 h" in settled


def test_reviewers_look_at_the_sample_of_the_model_repo_and_without_one_are_refused() -> None:
    config = model_repo.declared(EXAMPLE).config
    assert on(config, mix_of("review")).review == config.review
    assert on(config, mix_of("labels")).name == "labels, review"
    unreviewed = config.model_copy(update={"review": Review()})
    with pytest.raises(BadConfig, match=r"`review.share` of model support-triage is 0"):
        on(unreviewed, mix_of("review"))
    assert on(unreviewed, mix_of("labels")) == mix_of("labels")


@pytest.mark.parametrize("name", NAMES)
def test_each_profile_says_what_it_is(name: str) -> None:
    assert mix_of(name).words.startswith(f"{name}: ")
    assert Mix(()).words == "none"
