"""The quality monitor under each feedback profile: steady traffic raises nothing, whoever complains
of what, and a rise of true errors is found."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from drift_world import MODEL, YAML, day, reference

from driftgate.bus import Position
from driftgate.drift import settlement
from driftgate.drift.alarms import Alarm
from driftgate.drift.monitoring import Evidence, Told, fold, live_references
from driftgate.drift.observations import Observation, of_inference, of_outcome
from driftgate.drift.plan import plan
from driftgate.drift.quality import REFERENCE_ANSWERS
from driftgate.drift.settlement import Unsettled
from driftgate.events import DAY_MS, HOUR_MS, Inference, Outcome
from driftgate.model_repo import ModelYaml, parse
from services.drift_detector.checkpoint import STATE, ModelState, State

A_DAY = 200
ERROR = 0.1
SHARES = {"wrong": 0.6, "right": 0.2}

Said = Iterator[dict[str, Any]]


def config(profile: str, settled_hours: float = 72) -> ModelYaml:
    review = "review: {share: 0.03}\n" if "review" in profile else ""
    feedback = f"feedback: {{profile: [{profile}], settled_hours: {settled_hours}}}\n{review}"
    head, tail = YAML.split("feedback: {profile: [labels]}\n")
    monitors, _, rest = tail.partition("  - {name: shares")
    return parse(head + feedback + monitors + "triggers:" + rest.partition("triggers:")[2])


# ---------------------------------------------------------------- how people answer


def labels(rng: random.Random, wrong: bool, delay: float = 0.5) -> Said:
    if rng.random() < 0.6:
        yield {"kind": "correction", "label": "refund" if wrong else "delivery", "after": delay}


def late(rng: random.Random, wrong: bool) -> Said:
    yield from labels(rng, wrong, delay=12)


def complaints(rng: random.Random, wrong: bool) -> Said:
    if rng.random() < SHARES["wrong" if wrong else "right"]:
        yield {"kind": "correction", "label": "refund" if wrong else "delivery"}


def corrections(rng: random.Random, wrong: bool) -> Said:
    if wrong and rng.random() < 0.6:
        yield {"kind": "correction", "label": "refund"}


def thumbs(rng: random.Random, wrong: bool) -> Said:
    if rng.random() < 0.1:
        yield {"kind": "rating", "rating": float(not wrong)}


def loud(rng: random.Random, wrong: bool) -> Said:
    """Fifty people, of whom the loudest say as much as the other half."""
    person = min(int(rng.expovariate(0.15)), 49)
    if random.Random(person).random() < (0.9 if wrong else 0.1):
        yield {"kind": "correction", "label": "refund" if wrong else "delivery"}


def reviewed(others: Callable[[random.Random, bool], Said]) -> Callable[..., Said]:
    def said(rng: random.Random, wrong: bool) -> Said:
        yield from others(rng, wrong)
        label = "refund" if wrong else "delivery"
        drawn = {"kind": "review", "label": label, "reviewer": "mia", "after": 2}
        if rng.random() < 0.03:
            yield {**drawn, "propensity": 0.03}
        if wrong and rng.random() < 0.5:  # picked by who knows where the errors are
            yield {**drawn, "picked": "disagreement"}

    return said


def nobody(rng: random.Random, wrong: bool) -> Said:
    yield from ()


PROFILES: dict[str, tuple[str, Callable[..., Said]]] = {
    "labels": ("labels", labels),
    "late": ("labels", late),
    "complaints": ("complaints", complaints),
    "complaints and review": ("complaints, review", reviewed(complaints)),
    "corrections": ("corrections", corrections),
    "edits and corrections": ("edits, corrections", corrections),
    "thumbs": ("thumbs", thumbs),
    "review": ("review", reviewed(nobody)),
    "loud users": ("complaints", loud),
}


# ---------------------------------------------------------------- a world, and the monitor in it


def traffic(
    people: Callable[..., Said], days: range, error: float, seed: int, version: int = 1
) -> list[tuple[int, Observation]]:
    """Answers and what is said of them, each with when it can be known."""
    rng = random.Random(f"{seed} {days}")
    found: list[tuple[int, Observation]] = []
    for number in (today * A_DAY + n for today in days for n in range(A_DAY)):
        at = day(number // A_DAY) + rng.randrange(DAY_MS)
        fields: dict[str, Any] = {
            "request_id": f"r-{seed}-{number}",
            "model": MODEL,
            "version": version,
            "slices": {"language": "es" if rng.random() < 0.25 else "en"},
            "output": "delivery",
        }
        answer = Inference(**fields, input_hash="", epoch=1, time=at)
        found.append((at, seen(of_inference(answer, (Position("inferences", 0), number)))))
        wrong = rng.random() < error
        for turn, said in enumerate(people(rng, wrong)):
            time = at + round(said.pop("after", rng.random()) * DAY_MS)
            outcome = Outcome(
                outcome_id=f"f-{seed}-{number}-{turn}",
                **fields,
                was_correct=not wrong,
                inference_time=at,
                feedback_time=time,
                time=time,
                **said,
            )
            observed = of_outcome(outcome, (Position("outcomes", 0), number))
            if observed is not None:
                found.append((time, observed))
    return sorted(found, key=lambda each: each[0])


def seen(observation: Observation | None) -> Observation:
    assert observation is not None
    return observation


def alarms_of(told: Told) -> list[Alarm]:
    return [alarm for alarm, _ in told.alarms]


def watch(
    declared: ModelYaml, world: list[tuple[int, Observation]], evidence: Evidence | None = None
) -> list[Alarm]:
    """The alarms of a world, a tick a day."""
    return list(watched(declared, world, evidence))


def watched(
    declared: ModelYaml, world: list[tuple[int, Observation]], evidence: Evidence | None = None
) -> Iterator[Alarm]:
    """Each alarm as it is raised."""
    evidence = evidence or Evidence()
    references = {version: reference(error=ERROR) for version in (1, 2)}
    first, last = (known // DAY_MS for known in (world[0][0], world[-1][0]))
    at = 0
    for today in range(first, last + 6):
        now, due = (today + 1) * DAY_MS, []
        while at < len(world) and world[at][0] < now:
            due.append(world[at][1])
            at += 1
        yield from alarms_of(fold(evidence, due, now, declared, references))


@pytest.mark.parametrize("name", PROFILES)
def test_steady_traffic_raises_nothing_under_any_profile(name: str) -> None:
    profile, people = PROFILES[name]
    assert watch(config(profile), traffic(people, range(45), ERROR, 0)) == []


@pytest.mark.parametrize("name", PROFILES)
def test_a_rise_of_true_errors_is_found_under_every_profile(name: str) -> None:
    profile, people = PROFILES[name]
    world = traffic(people, range(20), ERROR, 1) + traffic(people, range(20, 50), 0.3, 2)
    world.sort(key=lambda each: each[0])
    first = next(watched(config(profile), world))
    assert first.known > day(20)
    assert day(14) < first.since < first.known
    assert first.earliest <= day(20) <= first.latest


def test_the_alarm_says_what_was_measured_on_which_feedback() -> None:
    world = traffic(corrections, range(30), ERROR, 1) + traffic(corrections, range(30, 60), 0.3, 2)
    alarm = next(watched(config("corrections"), world))
    assert re.match(
        r"errors: bad outcomes per answer heard rose from [5-7] % to 1\d % \(", alarm.summary
    )
    assert alarm.reference == pytest.approx(0.06, abs=0.035)


def test_the_review_sample_is_a_stream_of_its_own_against_the_held_out_reference() -> None:
    evidence = Evidence()
    watch(
        config("complaints, review"), traffic(reviewed(complaints), range(20), ERROR, 1), evidence
    )
    streams = evidence.streams[1]
    assert streams.mean[streams.names.index("errors:all:reviewed")] < 0.16
    assert 80 < streams.seen("errors:all:reviewed")[0] < 160, "3 % of 4,000, none that was picked"
    heard_of = 20 * A_DAY
    assert heard_of - 30 < streams.seen("errors:all")[0] <= heard_of, "from the first word on"


def test_without_a_reference_a_monitor_is_silent_and_says_so() -> None:
    evidence = Evidence()
    short = traffic(corrections, range(1), 1.0, 1)
    assert watch(config("corrections"), short, evidence) == []
    assert 0 < evidence.streams[1].measured("errors:all")[0] < REFERENCE_ANSWERS
    told = live_references(evidence.streams[1], plan(config("corrections"), {}))["errors:all"]
    assert not told.is_ready
    assert "have no reference yet" in told.summary


def test_before_anybody_ever_spoke_silence_measures_nothing() -> None:
    """An app that serves for a month before it sends what people say."""
    evidence = Evidence()
    world = traffic(nobody, range(30), ERROR, 1) + traffic(corrections, range(30, 60), ERROR, 2)
    assert watch(config("corrections"), world, evidence) == []
    assert mean_of(evidence) > 0.03


def test_a_version_measures_its_own_reference() -> None:
    evidence, declared = Evidence(), config("corrections")
    watch(declared, traffic(corrections, range(20), ERROR, 1), evidence)
    second = traffic(corrections, range(20, 40), 0.3, 2, version=2)
    assert watch(declared, second, evidence) == [], "it was so from the beginning"
    means = [mean_of(evidence, version) for version in (1, 2)]
    assert means == [pytest.approx(0.06, abs=0.05), pytest.approx(0.18, abs=0.07)]


def test_another_profile_begins_another_reference() -> None:
    evidence = Evidence()
    watch(config("corrections"), traffic(corrections, range(10), ERROR, 1), evidence)
    assert watch(config("complaints"), traffic(labels, range(10, 20), 0.9, 2), evidence) == []
    assert mean_of(evidence) > 0.4


def mean_of(evidence: Evidence, version: int = 1) -> float:
    """Of the live reference of errors."""
    n, total = evidence.streams[version].measured("errors:all")
    return total / n


def said(number: int, after: float, **over: Any) -> Observation:
    """A word on the answer of that number, so many hours after it."""
    at = day(1) + number
    fields: dict[str, Any] = {"kind": "correction", "label": "refund", "was_correct": False}
    given = {"outcome_id": f"f-{number}-{after}", **fields, **over}
    time = at + round(after * HOUR_MS)
    times = {"inference_time": at, "feedback_time": time, "time": time}
    about = {"request_id": f"r-{number}", "model": MODEL, "version": 1, "output": "delivery"}
    return seen(of_outcome(Outcome(**about, **given, **times), (Position("outcomes", 0), number)))


def heard(number: int) -> Observation:
    answer = Inference(
        request_id=f"r-{number}",
        model=MODEL,
        version=1,
        input_hash="",
        output="delivery",
        epoch=1,
        time=day(1) + number,
    )
    return seen(of_inference(answer, (Position("inferences", 0), number)))


def test_an_answer_that_nobody_waited_for_is_none_that_silence_accepts() -> None:
    fields = {"request_id": "r", "model": "m", "version": 1, "output": '{"team"', "input_hash": ""}
    cut = Inference(**fields, task="text-generation", finish_reason="cancelled", time=day(1))
    assert of_inference(cut, (Position("inferences", 0), 0)) is None


@pytest.mark.parametrize(
    ("words", "bad"),
    [
        ([said(0, 1)], 1),
        ([said(0, 1), said(0, 2, kind="rating", label=None, rating=1.0, was_correct=True)], 1),
        ([said(0, 1), said(0, 2, label="delivery", was_correct=True)], 0),
        ([said(0, 1), said(0, 2, kind="retraction", label=None, was_correct=None)], 0),
        ([said(0, 71)], 1),
        ([said(0, 73)], 0),
        ([said(0, 1), said(0, 73, label="delivery", was_correct=True)], 1),
        ([said(0, 1, kind="rating", label=None, rating=0.5, was_correct=None)], 0),
        ([said(0, 1, kind="review", propensity=0.1, reviewer="mia")], 0),
    ],
)
def test_an_answer_counts_once_by_the_latest_word_in_its_time(
    words: list[Observation], bad: int
) -> None:
    for order in (words, words[::-1]):
        evidence = Evidence(unsettled=Unsettled(since=0))
        for due in ([heard(0), *order], [*order], []):  # sent again, which makes no difference
            fold(evidence, due, day(5) - 2 * HOUR_MS, config("corrections, review"), {})
        for now in (day(5), day(6)):
            fold(evidence, order, now, config("corrections, review"), {})
        assert evidence.streams[1].measured("errors:all") == (1, bad)


def test_a_checkpoint_in_between_makes_no_difference() -> None:
    declared = config("corrections")
    world = traffic(corrections, range(8), ERROR, 1) + traffic(corrections, range(8, 24), 0.5, 2)
    one, other = Evidence(), Evidence()
    expected = watch(declared, world, one)
    cut = next(at for at, (known, _) in enumerate(world) if known >= day(12))
    found = fold_until(declared, world[:cut], other)
    written = STATE.dump_json(State(models={MODEL: ModelState(evidence=other)}))
    other = STATE.validate_json(written).models[MODEL].evidence
    found += watch(declared, world[cut:], other)
    assert found == expected
    assert expected


def fold_until(
    declared: ModelYaml, world: list[tuple[int, Observation]], evidence: Evidence
) -> list[Alarm]:
    """As `watch`, without the days that follow."""
    alarms = []
    for today in range(world[0][0] // DAY_MS, world[-1][0] // DAY_MS + 1):
        due = [o for known, o in world if known // DAY_MS == today]
        alarms += alarms_of(fold(evidence, due, (today + 1) * DAY_MS, declared, {}))
    return alarms


def test_ticks_of_a_faster_clock_come_to_the_same() -> None:
    declared = config("corrections")
    world = traffic(corrections, range(6), ERROR, 1) + traffic(corrections, range(6, 12), 0.6, 2)
    world.sort(key=lambda each: each[0])
    expected = watch(declared, world)
    evidence, alarms, at = Evidence(), [], 0
    for hour in range(24 * 20):
        now, due = day(0) + (hour + 1) * HOUR_MS, []
        while at < len(world) and world[at][0] < now:
            due.append(world[at][1])
            at += 1
        alarms += alarms_of(fold(evidence, due, now, declared, {}))
    assert expected
    assert alarms == expected


# ---------------------------------------------------------------- people who edit


def writing(profile: str, *values: str) -> ModelYaml:
    """A model that writes, watched by these values."""
    task = "task: {kind: text-generation, edit_tolerance: 0.1}\n"
    feedback = f"feedback: {{profile: [{profile}]}}\n"
    names = "".join(f"  - {{name: {v}, signal: quality, value: {v}}}\n" for v in values)
    base = "base: {name: SmolLM2-135M-Instruct}\ngate: {min_accuracy: 0.5}\n"
    rollout = "rollout: {stages: [{name: full, percent: 100}]}\n"
    return parse(f"model: {MODEL}\n{task}{base}{feedback}monitors:\n{names}{rollout}")


def touching_up(share: float) -> Callable[..., Said]:
    """Of small edits, which leave an answer right."""

    def people(rng: random.Random, wrong: bool) -> Said:
        if rng.random() < share:
            yield {"kind": "edit", "edited": "as it should be", "edit_distance": 0.05}

    return people


def rating_down(share: float) -> Callable[..., Said]:
    def people(rng: random.Random, wrong: bool) -> Said:
        down = rng.random() < share
        if down or rng.random() < 0.2:
            yield {"kind": "rating", "rating": 0.0 if down else 1.0}

    return people


def test_more_small_edits_are_found_though_no_answer_is_wrong() -> None:
    declared = writing("edits", "error", "edit_rate", "edit_distance")
    steady = traffic(touching_up(0.1), range(30), 0.0, seed=4)
    assert watch(declared, steady) == []
    more = traffic(touching_up(0.35), range(15, 30), 0.0, seed=4)
    alarms = watch(declared, traffic(touching_up(0.1), range(15), 0.0, seed=4) + more)
    assert {alarm.monitor for alarm in alarms} == {"edit_rate"}


def test_the_log_probability_of_an_answer_is_seen() -> None:
    asked = Inference(
        request_id="r", model=MODEL, version=1, input_hash="", output="x", logprob=-2.5, time=0
    )
    place = (Position("inferences", 0), 1)
    assert seen(of_inference(asked, place)).answer.features == {"logprob": -2.5}
    assert of_inference(replace(asked, logprob=float("nan")), place) is None


def test_more_thumbs_down_are_found() -> None:
    declared = writing("complaints, thumbs", "thumbs_down")
    before = traffic(rating_down(0.05), range(20), 0.0, seed=4)
    assert watch(declared, traffic(rating_down(0.05), range(40), 0.0, seed=4)) == []
    alarms = watch(declared, before + traffic(rating_down(0.2), range(20, 40), 0.0, seed=4))
    assert {alarm.monitor for alarm in alarms} == {"thumbs_down"}


def test_many_answers_are_counted_by_a_part_that_says_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settlement, "COUNTED", 20_000)
    waiting, bad, counted = Unsettled(), 0.0, 0
    rng = random.Random(1)
    for minute in range(60):
        given = []
        for n in range(600):
            number = minute * 60_000 + n * 100
            given.append(heard(number))
            if rng.random() < 0.1:
                given.append(said(number, 1))
        assert waiting.add(given, ["all"], 3 * HOUR_MS) == 0
    assert waiting.words < 0.2 * 36_000 * 0.1 * 5
    for settled in waiting.settle(day(2), 3 * HOUR_MS):
        answers, wrong = settled.heard("all")
        counted += answers
        bad += len(wrong)
    assert counted < 36_000 * 0.5
    assert bad / counted == pytest.approx(0.1, abs=0.015)


def test_words_that_are_too_many_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "WORDS", 3)
    waiting = Unsettled()
    assert waiting.add([said(n, 1) for n in range(5)], ["all"], DAY_MS) == 2
    assert waiting.words == 3
    again = replace(said(0, 1), offset=9)
    assert waiting.add([again], ["all"], DAY_MS) == 0, "it is kept already"
