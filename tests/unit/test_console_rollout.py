"""What `driftgate rollout` says of a rollout, from what the promoter writes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from memory_harness import MemoryHarness
from typer.testing import CliRunner, Result

from deploy.local import stack
from deploy.local.plan import StackConfig
from driftgate import bus_kafka
from driftgate.codec import Codec, canonical
from driftgate.config import Settings
from driftgate.events import DAY_MS, AnyEvent, Model, RoutingAck, Tick, Verdict
from driftgate.health import Health, serve
from driftgate.model_repo import ModelYaml
from driftgate.model_repo import Rollout as Rules
from services.console import cli, orders, rollout_cli, rollout_words
from services.console.rollout_status import Evidence, Known, Look, Part, Question, end
from services.console.rollout_words import end_in_words, lines
from services.promoter.canary_analysis import OUTCOMES, REVIEW, Comparison
from services.promoter.canary_analysis import Evidence as Stored
from services.promoter.e_values import Events, Units
from services.promoter.service import Promoter

M = "triage"
DAY = 20_000 * DAY_MS
REPO = ModelYaml.model_validate(
    {
        "model": M,
        "task": {"kind": "text-classification", "labels": ["a", "b"]},
        "base": {"name": "all-MiniLM-L6-v2"},
        "monitors": [],
        "feedback": {"profile": ["complaints", "review"]},
        "review": {"share": 0.03},
        "gate": {"min_accuracy": 0.8, "protected": {"language=es": {}}},
        "rollout": {
            "stages": [
                {"name": "shadow", "percent": 0, "soak": 1, "min_samples": 20},
                {"name": "half", "percent": 50, "soak": 1, "min_samples": 400},
                {"name": "full", "percent": 100, "approval": True},
            ],
            "metrics": [{"name": "latency_ms"}],
            "margin": 0.05,
        },
    }
)
RULES = REPO.rollout


def stored(days: float) -> Stored:
    """What the store has of stage `half` after so many days: the new version is a bit better."""
    n = round(100 * days)
    worse, better, same = n // 50, n // 25, n // 10
    said = (
        Units(-2.0, better, 2.0),
        Units(0.0, same, 1.0),
        Units(0.0, n - worse - better - same),
        Units(2.0, worse),
    )
    told = (
        Comparison(OUTCOMES, "heard", "all", (Events(0.5, worse, better),), said, 2.0),
        Comparison(OUTCOMES, "heard", "language=es", (Events(0.5, n // 40, 1),), (), 2.0),
        Comparison(REVIEW, "pairs"),
        Comparison("latency_ms", "heard", "all", (Events(0.5, 60, 10),), said, 2.0),
    )
    return Stored(told, both=3 * n, differ=n)


def verdict(version: int) -> Verdict:
    fields = {
        "verdict_id": f"{M}@{version}",
        "model": M,
        "version": version,
        "retrain_id": "",
        "adapter_digest": f"d{version}" * 8,
        "adapter_uri": f"sha256:d{version}",
        "champion": version - 1 or None,
        "base": "base",
        "base_digest": "b",
        "result": "pass",
        "axes": [],
        "repo_hash": "repo",
        "report_uri": "",
        "words": "passed",
        "time": DAY,
    }
    return Verdict.of(fields)


class World:
    """A promoter on a bus in memory, whose store has what `stored` says."""

    def __init__(self, codec: Codec) -> None:
        self.harness, self.health, self.now = MemoryHarness(codec), Health("promoter"), DAY
        self.evidence = Stored(both=30)
        reader: Any = SimpleNamespace(look=lambda *_: self.evidence, keep=lambda _: None)
        repos: Any = SimpleNamespace(find=lambda _: REPO, keep=lambda _: None)
        self.promoter = Promoter(reader, repos, self.health)
        self.tell(Model(model=M, repo_hash="repo", repo_uri="", actor="", time=0))

    def tell(self, *events: AnyEvent) -> None:
        self.harness.send(*events)
        self.harness.run(self.promoter.service(), self.health)

    def day(self, days: float) -> None:
        self.now = DAY + round(days * DAY_MS)
        self.tell(Tick(world="w", time=self.now))

    def acknowledged(self, *routers: str, **more: Any) -> None:
        told: dict[str, Any] = {"status": "serving", "digests": (), "time": self.now} | more
        epoch = self.harness.read("routing")[-1].epoch
        self.tell(*(RoutingAck(router=r, model=M, epoch=epoch, **told) for r in routers))

    def tries_version_2(self) -> None:
        """In stage half, which began on day 1.1; on day 3.1 the promoter looks at it."""
        self.tell(verdict(1))
        self.acknowledged("router-0")
        self.tell(verdict(2))
        self.acknowledged("router-0")
        self.acknowledged("router-0")
        self.day(1.1)
        self.acknowledged("router-0", "router-1")
        self.evidence = stored(2)
        self.day(3.1)

    @property
    def known(self) -> Known:
        known = Known(M)
        for topic in ("rollouts", "routing", "routing.acks", "audit", "verdicts"):
            for event in self.harness.read(topic):
                known = known.after(event)
        return known

    @property
    def shown(self) -> Look:
        """As it is shown on /looks."""
        return Look.of(json.loads(canonical(self.health.pages["looks"]))[M])

    def says(self) -> str:
        known = self.known
        return "\n".join(lines(known, known.look(), self.now))


@pytest.fixture
def world(codec: Codec) -> World:
    return World(codec)


def test_a_rollout_says_who_answers_what_speaks_for_it_and_what_is_missing(world: World) -> None:
    world.tries_version_2()
    said = world.says().splitlines()
    for line in (
        "triage: version 2 is tried against version 1",
        "  stage         half, 2 of 3, since 2024-10-05 02:24 UTC, 2 days",
        "  heard         version 2: 50 %, version 1: 50 %",
        "  unheard       version 1, version 2, on all requests",
        "  router        router-1 serves; not heard for 2 days",
        "evidence of this stage: 200 samples, 400 wanted; looked at 2024-10-07 02:24 UTC, 0 s ago",
        "  warning       worse in latency_ms: 60 bad of the new version against 10",
        "  missing       samples: 200 of 400 samples are known",
        "  then          stage full, 100 %, when it is approved: `driftgate approve triage`",
        "  at this rate  in 2 days, on 2024-10-09 02:24 UTC: samples",
    ):
        assert line in said
    rows = [line.split("  ") for line in said if "░" in line or "█" in line]
    cells = {row[1]: [cell.strip() for cell in row[2:] if cell] for row in rows}
    assert cells["outcomes"] == [
        "heard",
        "200",
        "4.0 points fewer (4:8)",
        "░░░░░░░░ 0.564 of 1,200",
        "████░░░░ 6.79 of 40",
    ]
    assert cells["outcomes (language=es)"][:3] == ["heard", "0", "not settled yet (5:1)"]
    assert cells["review"][:3] == ["pairs", "0", "nothing known"]
    assert cells["latency_ms"][0] == "heard, warns"
    assert cells["latency_ms"][-1] == "████████ 614,414 of 1,200"


def test_it_can_be_read_on_a_small_terminal(world: World) -> None:
    world.tries_version_2()
    known = world.known
    said = list(lines(known, known.look(), world.now, width=80))
    assert max(len(line) for line in said if "`driftgate" not in line) <= 80
    assert "approved: `driftgate approve triage`" in "\n".join(said), "whole, to be copied"
    at = said.index("  outcomes: heard, 200 known, 4.0 points fewer (4:8)")
    evidence = " ".join(said[at + 1].split())
    assert evidence == "harm ░░░░░░░░ 0.564 of 1,200 not worse ████░░░░ 6.79 of 40"
    wide = list(lines(known, known.look(), world.now))
    ends = (" ".join(" ".join(each[: each.index("")]).split()) for each in (wide, said))
    assert len(set(ends)) == 1, "not a word less"
    assert list(lines(known, known.look(), world.now, width=200)) == wide


def test_a_stage_that_nobody_looked_at_yet_says_so(world: World) -> None:
    world.tries_version_2()
    said = list(lines(world.known, None, world.now, " --state x"))
    assert said[-1] == (
        "  missing       no look yet: promoter looks at each tick, `driftgate status --state x` "
        "shows it"
    )


def test_programs_get_the_same(world: World) -> None:
    world.tries_version_2()
    known = world.known
    told = json.loads(canonical(rollout_words.as_dict(known, known.look(), world.now)))
    assert (told["champion"], told["challenger"], told["stage"]) == (1, 2, "half")
    assert (told["heard"], told["unheard"]) == ({"1": 50.0, "2": 50.0}, [1, 2])
    assert [router["says"] for router in told["routers"]] == ["serves", "serves"]
    assert (told["look"]["reason"], told["awaits_approval"]) == ("samples", ["full"])
    outcomes = told["look"]["questions"][0]
    assert outcomes["not_worse"]["at"] == 40
    assert outcomes["not_worse"]["share"] == pytest.approx(0.519, abs=0.001)
    assert told["end"]["time"] == known.record.since + 4 * DAY_MS  # type: ignore[union-attr]


def test_who_refuses_waits_or_is_kept_back_is_named(world: World) -> None:
    world.tries_version_2()
    world.acknowledged("router-0")
    world.acknowledged("router-1", status="refused", reason="no room on its disk", retrying=True)
    world.acknowledged("router-2", reason="standby 1: the store is away")
    said = world.says()
    assert "router-2 serves, without standby 1: the store is away\n" in said
    assert "  router        router-0 serves\n" in said
    assert "router-1 refuses: no room on its disk, and goes on trying\n" in said
    world.evidence = replace(world.evidence, comparisons=(harmful(),))
    world.day(3.2)
    world.tell(replace(verdict(3), champion=1))
    said = world.says()
    assert "triage: version 1 is champion, none is tried\n" in said
    assert "  router        router-1 is behind: epoch 4 of 5" in said
    assert "  waiting       version 3 passed, and has its turn later\n" in said
    assert "taken back once: no rollout begins until 2024-10-08 04:48 UTC\n" in said
    assert "  quarantine    adapter d2d2d2d2d2d2 (version 2), until it is released" in said
    assert "evidence of this stage" not in said


def harmful() -> Comparison:
    return Comparison(OUTCOMES, "heard", "all", (Events(0.5, 60, 2),), (), 2.0)


def test_a_stage_that_loads_says_what_it_waits_for(world: World) -> None:
    world.tell(verdict(1))
    world.tell(verdict(2))
    world.day(0.1)
    said = world.says()
    assert "  stage         loading, since" in said
    assert "  missing       no-router: no router acknowledges anything" in said


def test_the_look_of_another_stage_is_not_shown(world: World) -> None:
    world.tries_version_2()
    shown = world.shown
    assert (shown.stage, shown.reason, shown.days) == ("half", "samples", 2)
    known = world.known
    later = replace(shown, time=shown.time + 1)
    assert known.look(later) == later
    assert known.look(replace(later, since=shown.since - 1)) == known.look()
    over = replace(known, record=replace(known.record, stage="idle"))  # type: ignore[type-var]
    assert over.look(later) is None


def test_a_look_is_shown_at_each_tick_though_the_audit_has_one_a_day(world: World) -> None:
    world.tries_version_2()
    before = len(world.harness.read("audit"))
    world.evidence = stored(2.1)
    world.day(3.2)
    assert len(world.harness.read("audit")) == before
    known, shown = world.known, world.shown
    assert (shown.questions[0].known, known.look().questions[0].known) == (210, 200)  # type: ignore[union-attr]
    said = "\n".join(lines(known, known.look(shown), world.now))
    assert "evidence of this stage: 210 samples, 400 wanted" in said


def test_the_rules_of_another_version_that_is_judged_meanwhile_are_not_these(world: World) -> None:
    world.tries_version_2()
    world.tell(replace(verdict(3), result="fail"))
    known = world.known
    *before, rejected = known.entries
    assert rejected.decision == "reject"
    inputs = json.loads(rejected.inputs)
    inputs["rules"]["rollout"]["stages"] = [{"name": "at-once", "percent": 100}]
    other = replace(known, entries=(*before, replace(rejected, inputs=json.dumps(inputs))))
    assert other.rules == RULES


def test_what_an_older_judge_wrote_is_shown_in_its_words(world: World) -> None:
    world.tries_version_2()
    known = world.known
    hold = known.entries[-1]
    inputs = json.loads(hold.inputs) | {"rules": {"stages": []}}
    result = {"numbers": {"reason": "pairs", "both": 3, "only_old": 1}}
    old = replace(hold, inputs=json.dumps(inputs), result=json.dumps(result), words="few pairs")
    known = replace(known, entries=(old,))
    said = list(lines(known, known.look(), world.now))
    assert "  missing       pairs: few pairs" in said
    assert "  nothing was compared yet" in said


# ---------------------------------------------------------------- when it ends


def look(stage: str = "half", days: float = 2.0, e: float = 20.0, **more: Any) -> Look:
    question = Question(
        name=OUTCOMES,
        slice="all",
        counted="heard",
        known=200,
        difference=-0.01,
        new=4,
        old=8,
        harm=Evidence(0.5, 1200.0),
        on_harm="roll_back",
        not_worse=Evidence(e, 40.0),
    )
    asked = replace(question, **more)
    known = 30 if stage == "shadow" else asked.known
    time = DAY + round(days * DAY_MS)
    return Look("hold", 2, stage, DAY, "", time, "samples", days, known, "samples", (asked,))


def rules(**more: Any) -> Rules:
    return RULES.model_copy(update=more)


@pytest.mark.parametrize(
    ("at", "day", "last"),
    [
        (look(known=200), 4.0, "samples"),  # 400 wanted
        (look(known=800, e=39.0), 2.0 * 3.6889 / 3.6636, "evidence of outcomes"),
        (look(known=800, e=6.4), 2.0 * 3.6889 / 1.8563, "evidence of outcomes"),
        (look(known=800, e=400.0, days=0.5), 1.0, "soak"),
        (look(known=800, e=400.0), 2.0, "soak"),  # all is reached: at the next look
        (look(known=0), None, "samples"),
        (look(known=800, e=0.9), None, "evidence of outcomes"),  # shrinks
        (look(known=800, e=float("nan")), None, "evidence of outcomes"),
        (look(known=30), 26.7, "samples"),  # after max_days
        (look("shadow", days=0.5), 1.0, "soak"),  # 30 of 20 requests, nobody's word is asked
        (look("full", days=2.0, known=200), 7.0, "watch"),
    ],
)
def test_a_stage_ends_when_all_has_grown_as_it_grew_so_far(
    at: Look, day: float | None, last: str
) -> None:
    found = end(at, RULES)
    assert found.last.what == last
    if day is None or day > RULES.max_days:
        assert found.time is None
        assert (found.last.day is None) == (day is None)
    else:
        assert found.time is not None
        assert (found.time - DAY) / DAY_MS == pytest.approx(day, abs=0.01)
    watched = RULES.watch_days if at.stage == "full" else 0
    assert found.given_up == DAY + round((RULES.max_days + watched) * DAY_MS)


def test_a_stage_that_was_paused_ends_so_much_later_and_what_grew_meanwhile_counts() -> None:
    """Four days on the clock, of which it was paused for two."""
    at = replace(look(known=20), since=DAY - 2 * DAY_MS)
    found = end(at, RULES)
    assert found.last == Part("samples", 2 + 4 * (RULES.stages[1].min_samples - 20) / 20)
    assert found.given_up == DAY + round(RULES.max_days * DAY_MS)


def test_pairs_grew_since_the_first_stage_began() -> None:
    """200 of 400 in the three days before the stage and its own two."""
    at = replace(look(known=200, counted="pairs"), pairs_since=DAY - 3 * DAY_MS)
    assert end(at, RULES).last == Part("samples", 2 + 5)
    heard = replace(look(known=200), pairs_since=DAY - 3 * DAY_MS)
    assert end(heard, RULES).last == Part("samples", 2 + 2), "of the stage alone"


def test_of_two_words_the_one_that_proves_first_counts() -> None:
    users, reviewers = look(known=800, e=2.0).questions[0], look(e=30.0).questions[0]
    both = replace(look(known=800), questions=(users, replace(reviewers, name=REVIEW)))
    assert end(both, RULES).last.what == "evidence of review"
    nobody = replace(look(), questions=())
    assert end(nobody, RULES).parts[-1] == Part("evidence", None)


@pytest.mark.parametrize(
    ("at", "reason", "told"),
    [
        (look(known=200), "samples", "in 2 days, on 2024-10-08 00:00 UTC: samples"),
        (look(known=800, e=400.0), "soak", "at one of the next looks"),
        (look(known=800, e=400.0), "approval", "as soon as that is there"),
        (
            look(known=800, e=0.9),
            "unproven",
            "not at this rate: no growth in evidence of outcomes; given up on 2024-10-25 00:00 UTC",
        ),
        (
            look(known=30),
            "samples",
            "not at this rate: samples only on day 26.7; given up on 2024-10-25 00:00 UTC",
        ),
        (look(known=200), "paused", "it stays until `driftgate resume`"),
    ],
)
def test_the_end_in_words(at: Look, reason: str, told: str) -> None:
    assert end_in_words(end(at, RULES), at.time, reason) == told


@pytest.mark.parametrize(
    ("e", "share"),
    [(1.0, 0.0), (0.01, 0.0), (0.0, 0.0), (10.0, 0.5), (100.0, 1.0), (float("inf"), 1.0)],
)
def test_evidence_is_drawn_by_its_logarithm(e: float, share: float) -> None:
    assert Evidence(e, 100.0).share == pytest.approx(share)
    assert Evidence(float("nan"), 100.0).share == 0.0


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    monkeypatch.setattr(rollout_cli, "settings", lambda *_: Settings())
    monkeypatch.setattr(rollout_cli, "looks_url", lambda _: "")
    monkeypatch.setattr(rollout_cli, "system_time", lambda *_: world.now)
    for module in (bus_kafka, rollout_cli, orders):
        monkeypatch.setattr(module, "KafkaBus", lambda *_: world.harness.bus)
    return lambda words: CliRunner().invoke(cli.app, ["rollout", *words.split()])


def test_the_command_says_it_all(world: World, command: Callable[[str], Result]) -> None:
    for words in (M, f"{M} --replay"):
        done = command(words)
        assert (done.exit_code, done.stdout) == (0, "triage: no version was released yet\n")
    world.tries_version_2()
    assert command(M).stdout.rstrip() == world.says().rstrip()
    told = json.loads(command(f"{M} --json").stdout)
    assert (told["challenger"], told["look"]["days"]) == (2, 2)


def test_the_newest_look_comes_from_the_promoter(
    world: World, command: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tries_version_2()
    world.evidence = stored(2.1)
    world.day(3.2)
    assert (
        "200 samples, 400 wanted; looked at 2024-10-07 02:24 UTC, 2.4 hours ago"
        in command(M).stdout
    )
    port = serve(world.health, 0)
    monkeypatch.setattr(rollout_cli, "looks_url", lambda _: f"http://127.0.0.1:{port}/looks")
    assert "210 samples, 400 wanted; looked at 2024-10-07 04:48 UTC, 0 s ago" in command(M).stdout


def test_a_stack_of_this_machine_says_where_the_looks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rollout_cli.looks_url(tmp_path) == ""
    config = StackConfig(tmp_path)
    monkeypatch.setattr(stack, "running", lambda _: config)
    assert rollout_cli.looks_url(tmp_path) == "http://127.0.0.1:9405/looks"


def test_a_rollout_is_replayed_from_its_audit(
    world: World, command: Callable[[str], Result]
) -> None:
    world.tries_version_2()
    world.evidence = Stored(comparisons=(harmful(),))
    world.day(3.3)
    said = command(f"{M} --replay").stdout
    told = [line for line in said.splitlines() if line.startswith("2024")]
    assert [line.split(": ")[0].split("  ")[1:] for line in told] == [
        ["idle v2", "start"],
        ["loading v2", "advance"],
        ["shadow v2", "advance"],
        ["half v2", "hold"],
        ["half v2", "rollback"],
    ]
    assert said.count("  outcomes  ") == 2
    looks = json.loads(command(f"{M} --replay --json").stdout)
    assert [look["decision"] for look in looks][-2:] == ["hold", "rollback"]


def test_a_rollout_is_followed_until_it_is_over(
    world: World, command: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tries_version_2()

    def worse(_: float) -> None:
        world.evidence = Stored(comparisons=(harmful(),))
        world.day(3.3)

    monkeypatch.setattr(time, "sleep", worse)
    said = command(f"{M} --follow").stdout
    assert "version 1 is champion, none is tried" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("other", "model 'other' is not declared"),
        (f"{M} --follow --json", "--follow: expected alone"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    command: Callable[[str], Result], words: str, told: str
) -> None:
    done = command(words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
