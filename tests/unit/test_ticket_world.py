"""The world of examples/ticket-extract moves as its table of causes says, and only so."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from driftgate import json_schema, model_repo
from driftgate.labelled import pairs
from driftgate.labelled.rows import Asked
from driftgate.personal.masking import Masker
from driftgate.tasks import task_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "ticket-extract"
WORLD: dict[str, Any] = runpy.run_path(str(EXAMPLE / "world.py"))
CAUSES = {cause.name: cause for cause in WORLD["CAUSES"]}
FIRST_MONDAY = WORLD["FIRST_MONDAY"]
REPO = model_repo.read(EXAMPLE).config


def week_of(message: Any) -> int:
    """1 is the first played week; the launch weeks are 0 and less."""
    return 1 + (message.time.date() - FIRST_MONDAY).days // 7


@pytest.fixture(scope="module")
def world() -> list[Any]:
    return list(WORLD["messages"]())


@pytest.fixture(scope="module")
def frozen() -> list[Any]:
    return list(WORLD["messages"](frozen=True))


def between(messages: list[Any], first: int, last: int) -> list[Any]:
    return [message for message in messages if first <= week_of(message) <= last]


def share(messages: list[Any], chosen: Callable[[Any], bool]) -> float:
    return sum(map(chosen, messages)) / len(messages)


def test_the_file_is_read_as_pairs_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    def written(name: str, seed: int) -> bytes:
        WORLD["write_world"](tmp_path / name, seed=seed, weeks=2)
        return (tmp_path / name).read_bytes()

    assert written("a.jsonl", 7) == written("b.jsonl", 7) != written("c.jsonl", 8)
    found = pairs.read(tmp_path / "a.jsonl", Asked())
    assert not found.findings.left_out
    times = [row.time for row in found.rows]
    assert all(time is not None for time in times)
    assert all(set(row.slices) == {"language"} and row.subject for row in found.rows)


def test_every_ticket_is_one_of_the_schema_and_short(world: list[Any]) -> None:
    task = task_of(REPO.task)
    for message in world:
        assert task.unusable(WORLD["compact"](message.ticket)) is None
    schema = (EXAMPLE / "schema.json").read_text()
    named = json_schema.names_beside(schema, "shop")
    assert named is None, "the schema knows the field that comes later"


def test_there_is_enough_traffic_to_compare_the_last_weeks_and_not_much_more(
    world: list[Any],
) -> None:
    assert FIRST_MONDAY.weekday() == 0
    assert len(between(world, 21, 24)) >= 300
    assert len(between(world, 1, 24)) < 2350
    assert len(between(world, -9, 0)) > 400
    for language, least in (("en", 0.35), ("es", 0.2), ("de", 0.2)):
        assert share(between(world, 1, 24), lambda m, of=language: m.language == of) > least


def test_texts_differ_and_none_has_a_hole(world: list[Any]) -> None:
    found = [message.text for message in world]
    assert not [text for text in found if set(text) & set("[]{}|") or not text.strip()]
    assert len(set(found)) > 0.97 * len(found)
    lengths = sorted(len(text.split()) for text in found)
    assert 8 <= lengths[len(lengths) // 2] <= 16
    assert lengths[-1] <= 45


def test_nothing_in_it_is_taken_for_personal_data(world: list[Any]) -> None:
    masked = Masker.of(REPO.data.mask).text
    for message in world:
        assert masked(message.text) == message.text


def test_what_a_ticket_says_stands_in_the_message(world: list[Any]) -> None:
    for message in world:
        order = message.ticket["order"]
        assert order is None or order in message.text
    named = [message for message in world if "shop" in message.ticket]
    assert share(named, lambda m: m.ticket["shop"].lower() in m.text.lower()) > 0.95, (
        "but for slips"
    )
    missing = share(world, lambda m: m.ticket["order"] is None)
    assert 0.4 < missing < 0.6, "people leave out what a ticket asks for"


@pytest.mark.parametrize(
    "name", [c.name for c in CAUSES.values() if c.kind not in {"share", "convention", "season"}]
)
def test_what_a_cause_brings_is_there_from_its_week_on(world: list[Any], name: str) -> None:
    weeks = {week_of(message) for message in world if name in message.causes}
    assert min(weeks) >= CAUSES[name].from_week
    assert len(weeks) > (24 - CAUSES[name].from_week) / 2


def test_a_new_field_comes_with_its_week_and_only_where_a_shop_is_named(world: list[Any]) -> None:
    begins = CAUSES["shop"].from_week
    assert not any("shop" in message.ticket for message in between(world, -9, begins - 1))
    later = between(world, begins + 3, 24)
    assert 0.1 < share(later, lambda m: "shop" in m.ticket) < 0.35
    assert None not in {m.ticket["shop"] for m in later if "shop" in m.ticket}


def test_amounts_and_dates_are_written_otherwise_from_their_week_on(world: list[Any]) -> None:
    for field, cause, before in (
        ("amount", "currency", lambda value: value[0].isdigit()),
        ("date", "dates", lambda value: value.endswith(".")),
    ):
        begins = CAUSES[cause].from_week
        for message in world:
            value = message.ticket[field]
            assert value is None or before(value) == (week_of(message) < begins)


def test_the_season_surges_and_passes(world: list[Any]) -> None:
    season = CAUSES["holidays"]

    def traffic(first: int, last: int) -> float:
        return len(between(world, first, last)) / (last - first + 1)

    surge = traffic(season.from_week, season.until_week)
    assert surge > 1.15 * traffic(season.from_week - 4, season.from_week - 1)
    assert surge > 1.1 * traffic(season.until_week + 1, 24)
    shown = {week_of(m) for m in world if "holidays" in m.causes}
    assert shown == set(range(season.from_week, season.until_week + 1))


def test_a_frozen_world_stays_as_it_was_at_launch(frozen: list[Any]) -> None:
    assert all(not message.causes for message in frozen)
    products = {message.ticket["product"] for message in between(frozen, -9, 0)}
    assert {message.ticket["product"] for message in frozen} == products


def test_the_languages_word_the_same() -> None:
    english = WORLD["wording"]("en")
    for language in ("es", "de"):
        other = WORLD["wording"](language)
        for part in ("says", "words", "details", "urgency"):
            assert set(other[part]) == set(english[part])
    for names in WORLD["PRODUCTS"].values():
        assert set(names) == {"en", "es", "de"}


def test_the_evals_hold_at_any_time() -> None:
    """Frozen cases ask for no field whose convention changes, nor for what is sold later."""
    lines = (EXAMPLE / "evals" / "regression.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    assert {case["slices"]["language"] for case in cases} == {"en", "es", "de"}
    later = {name.lower() for name, cause in CAUSES.items() if cause.kind == "product"}
    for case in cases:
        wanted = json.loads(case["output"])
        assert wanted["amount"] is wanted["date"] is None
        assert wanted["product"] not in later
        if any(sign in case["text"].lower() for sign in ("€", "£", "euro", "bought on", "am 4")):
            assert not {"amount", "date"} & set(case["scorers"][0]["fields"])
    probes = YAML(typ="safe").load((EXAMPLE / "evals" / "probes.yaml").read_text(encoding="utf-8"))
    assert set(probes) == {"format", "contains", "safety", "invariance"}
