"""Playing a world: refused requests, which labels are known, and failures that say why."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from rich.console import Console

from deploy.local import stack
from driftgate import model_repo
from driftgate.artifacts import Artifacts
from driftgate.audit import Audit
from driftgate.bus_memory import MemoryBus
from driftgate.bus_tools import publish
from driftgate.codec import Codec
from driftgate.dead_letters import dead_letter
from driftgate.errors import (
    BadConfig,
    BadInput,
    BusUnavailable,
    DriftgateError,
    RouterUnavailable,
)
from driftgate.events import DAY_MS, DLQ, AuditEntry, Routing
from driftgate.health import log_for
from driftgate.labelled.rows import Row
from driftgate.review import drawn
from driftgate.router_pb import router_pb2, router_pb2_grpc
from driftgate.runtime.service import AuditDraft
from driftgate.runtime.ticker import Ticker
from driftgate.tasks import task_of
from services.simulator import demo, session
from services.simulator.demo import EXAMPLE, Plan, announce, drills
from services.simulator.facts import Facts
from services.simulator.feedback_model import LOUD, FeedbackProfile
from services.simulator.lengths import Calendar
from services.simulator.lineage import Followed
from services.simulator.play import (
    LaunchFailedError,
    Player,
    PlayFailedError,
    PlayStoppedError,
    TooManyRefusedError,
    seed_file,
)
from services.simulator.profiles import SHIPPED, mix_of
from services.simulator.quiescence import NotQuiescentError
from services.simulator.reasons import BY_MODEL, reasons
from services.simulator.report import write_report
from services.simulator.router_calls import RequestRefusedError, RouterCalls
from services.simulator.scoring import Gain, Result, Told, Week
from services.simulator.session import Played, drills_stopped, log_to, played_through
from services.simulator.world import START, World
from services.trainer.rows import seed_rows

CODEC = Codec.load(Path(__file__).resolve().parents[2] / "schemas")
MODEL = "support-triage"
# Line ends for `str.splitlines`, but not for JSON.
SEPARATORS = "next\u2028line\u2029and\u0085then\x0bor\x0cend"


class Router:
    """Answers `refund` to everything, and refuses the text `bad`."""

    def predict(self, request: Any) -> Any:
        if request.text == "bad":
            raise RequestRefusedError(f"request {request.request_id}: text: got 'bad'")
        return router_pb2.PredictReply(label="refund", version=1)


@dataclass
class Quiescent:
    """Nothing is ever behind; an error, if one is set, is raised instead."""

    error: Exception | None = None
    log: Any = field(default_factory=lambda: log_for("simulate"))

    def of_ingestion(self) -> None: ...

    def of_all(self) -> None:
        if self.error:
            raise self.error


def row(text: str, label: str, day: int, hour: int = 9) -> Row:
    return Row(text, label, START + day * DAY_MS + hour * 3_600_000)


def world(*days: tuple[Row, ...]) -> World:
    launch = (row("money back", "refund", -2), row("where is it", "delivery", -1))
    return World("w", launch, days, START)


@pytest.fixture
def bus() -> MemoryBus:
    found = MemoryBus()
    found.ensure(CODEC.topics.by_name.values())
    return found


def player(bus: MemoryBus, played: World, **kwargs: Any) -> Player:
    repo = model_repo.read(EXAMPLE)
    users = (FeedbackProfile(share=1.0, wrong=0.0),)
    given = {"users": users, "quiescence": Quiescent()} | kwargs
    return Player(played, repo, "sha256:0", bus, CODEC, Artifacts("memory://world"), "r", **given)


def ask(found: Player, day: int) -> None:
    with ThreadPoolExecutor(4) as threads:
        found.ask(day, Router(), threads)  # type: ignore[arg-type]


def test_one_refused_request_is_counted_and_does_not_end_a_world(bus: MemoryBus) -> None:
    day = (*(row("ok", "refund", 0) for _ in range(9)), row("bad", "refund", 0))
    found = player(bus, world(day))
    ask(found, 0)
    assert [request.version for request in found.ledger.day(0)] == [1] * 9
    assert found.ledger.refused == [f"request {MODEL}-000-0009: text: got 'bad'"]


def test_a_world_ends_when_more_than_a_hundredth_of_a_day_is_refused(bus: MemoryBus) -> None:
    day = (*(row("ok", "refund", 0) for _ in range(197)), *(row("bad", "refund", 0),) * 3)
    ask(player(bus, world((*day[:-1], day[0]))), 0)
    found = player(bus, world(day, day))
    with pytest.raises(TooManyRefusedError, match=r"refused 3 of 200 requests of day 2; the first"):
        ask(found, 1)


def test_a_label_is_known_once_feedback_has_named_it(bus: MemoryBus) -> None:
    """`payment` is new in week 1: only answers after the first feedback on it count as known."""
    quick = FeedbackProfile(share=1.0, wrong=0.0, delay_hours=0.01)
    days = ((row("a", "payment", 0), row("b", "refund", 0, 10)), (row("c", "payment", 1),))
    found = player(bus, world(*days), users=(quick,))
    counts = []
    for number in range(2):
        ask(found, number)
        counts.append(found.summary(number).known)
    assert counts == [1, 1]
    assert [truth.known for truth in found.ledger.truths().values()] == [False, True, True]


def test_users_and_reviewers_say_what_they_make_of_answers_and_it_is_counted(
    bus: MemoryBus,
) -> None:
    """The sample is the repo's, whatever the profile; nothing is counted before it is sent."""
    days = tuple(tuple(row(f"{d} {n}", "refund", d, n % 24) for n in range(300)) for d in range(2))
    found = player(bus, world(*days), users=(FeedbackProfile(share=0.5),))
    release(bus)
    ask(found, 0)
    assert found.ledger.told() == Told(right=300)
    due = found.ledger.due(START + 60 * DAY_MS)
    found.ledger.sent(due)
    by_users = {one.request_id for one in due if one.reviewer is None}
    reviewed = {one.request_id for one in due if one.kind == "review"}
    assert reviewed == {
        one.request_id for one in found.ledger.day(0) if drawn(MODEL, one.request_id, 0.03)
    }
    assert found.ledger.told() == Told(right=300, told_right=len(by_users), reviewed=len(reviewed))
    assert found.mix.name == "labels, review"


def test_loud_people_ask_under_their_own_name(bus: MemoryBus) -> None:
    asked = []

    class Listening(Router):
        def predict(self, request: Any) -> Any:
            asked.append(request.subject)
            return super().predict(request)

    day = tuple(replace(row(f"{n}", "refund", 0), subject=f"c-{n}") for n in range(200))
    found = player(bus, world(day), users=mix_of("loud-users").users)
    with ThreadPoolExecutor(4) as threads:
        found.ask(0, Listening(), threads)  # type: ignore[arg-type]
    loud = [subject for subject in asked if subject.startswith(LOUD)]
    assert 60 < len(loud) < 140
    assert sorted(asked) == sorted(one.subject for one in found.ledger.day(0))


def test_a_launch_without_a_version_fails(bus: MemoryBus) -> None:
    with pytest.raises(LaunchFailedError, match="launch data of 2 rows led to no version"):
        player(bus, world()).play()


def test_a_system_that_has_lived_further_is_refused_before_anything_is_declared(
    bus: MemoryBus,
) -> None:
    Ticker(bus, CODEC, "another", 0).write(START + DAY_MS)
    with pytest.raises(BadConfig, match="already lived past"):
        player(bus, world()).play()
    assert list(bus.read_all(["models", "commands"])) == []


def test_ctrl_c_ends_a_world_that_waits(bus: MemoryBus) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    went_on: list[str] = []

    class Interrupted(Quiescent):
        def of_ingestion(self) -> None:
            signal.raise_signal(signal.SIGINT)
            went_on.append("waited on")

    release(bus)
    with pytest.raises(KeyboardInterrupt):
        player(bus, world(()), quiescence=Interrupted()).play()
    assert went_on == []


def release(bus: MemoryBus) -> None:
    """What the launch leads to."""
    arm = {"base": "b", "base_digest": "", "salt": "", "sticky_by": "subject", "repo_hash": ""}
    routing = Routing(model=MODEL, epoch=1, arms=(), shadows=(), time=START, **arm)
    publish(bus.producer(), CODEC, [routing])


# ---------------------------------------------------------------- the router


class Service(router_pb2_grpc.RouterServicer):
    """Answers as `statuses` say, one a call, and then with an answer."""

    def __init__(self, *statuses: Any) -> None:
        self.statuses = list(statuses)
        self.asked: list[str] = []

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.asked.append(request.request_id)
        if self.statuses:
            context.abort(self.statuses.pop(0), "because")
        return router_pb2.PredictReply(label="refund", version=1)


@contextmanager
def serving(service: Service) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    router_pb2_grpc.add_RouterServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_a_call_that_may_succeed_later_is_made_again_under_the_same_id() -> None:
    away, full = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
    service, retries = Service(away, full, away), Retries()
    with serving(service) as address:
        calls = RouterCalls(address, 2, None, retries)
        assert calls.predict(router_pb2.PredictRequest(request_id="r-1")).label == "refund"
        calls.close()
    assert (service.asked, retries.count) == (["r-1"] * 4, 3)


def test_what_the_router_refuses_is_asked_once() -> None:
    service = Service(grpc.StatusCode.INVALID_ARGUMENT)
    with serving(service) as address:
        calls = RouterCalls(address, 1, None)
        with pytest.raises(RequestRefusedError, match="request r-1: because"):
            calls.predict(router_pb2.PredictRequest(request_id="r-1"))
        calls.close()
    assert service.asked == ["r-1"]


def test_a_router_that_stays_away_is_no_refusal() -> None:
    with serving(Service(*[grpc.StatusCode.UNAVAILABLE] * 1000)) as address:
        calls = RouterCalls(address, 1, 0.01)
        with pytest.raises(RouterUnavailable, match=r"r-1: the router did not answer in 0.01 s: b"):
            calls.predict(router_pb2.PredictRequest(request_id="r-1"))
        calls.close()


def test_closing_ends_a_call_that_is_tried_for_ever() -> None:
    retries = Retries()
    with serving(Service(*[grpc.StatusCode.UNAVAILABLE] * 1000)) as address:
        calls = RouterCalls(address, 1, None, retries)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(calls.predict, router_pb2.PredictRequest(request_id="r-1"))
            assert retries.seen.wait(30)
            calls.close()
            with pytest.raises(RouterUnavailable):
                waiting.result(30)


class Retries:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0
        self.seen = Event()

    def __call__(self) -> None:
        self.count += 1
        self.seen.set()


# ---------------------------------------------------------------- failures


def fill(bus: MemoryBus) -> None:
    """What a failed launch leaves: a refusal, another model's decision, and a dead letter."""
    producer = bus.producer()
    for model, decision, summary in ((MODEL, "refuse", "61 rows"), ("other", "train", "fine")):
        draft = AuditDraft(
            model=model, decision=decision, inputs={}, result={}, summary=summary, time=START
        )
        publish(producer, CODEC, Audit("trainer").chained(draft))
    producer.send("commands", MODEL.encode(), b"bytes")
    producer.send("commands", b"other", b"bytes")
    for record in bus.read_all(["commands"]):
        error = BadInput("malformed", "value", b"bytes", "a record of commands")
        publish(producer, CODEC, [dead_letter(record, error, "promoter", START)])


def test_a_failure_says_what_the_trainer_and_the_dead_letters_say(bus: MemoryBus) -> None:
    fill(bus)
    with pytest.raises(PlayFailedError) as caught:
        played_through(player(bus, world()), "`driftgate audit m`")
    said = str(caught.value).splitlines()
    assert said == [
        "the launch data of 2 rows led to no version. What the system says:",
        "  trainer, refuse: 61 rows",
        "  promoter could not use a record of topic commands: value: got b'bytes', expected a "
        "record of commands",
        "To look further: `driftgate audit m`",
    ]


def test_a_failure_is_told_when_the_system_cannot_be_asked(bus: MemoryBus) -> None:
    found = player(bus, world(), quiescence=Quiescent(PlayFailedError("the bus is away")))

    def away() -> None:
        bus.down = True
        raise PlayFailedError("the bus is away")

    found.quiescence.of_all = away  # type: ignore[method-assign]
    with pytest.raises(PlayFailedError, match=r"(?s)the bus is away.*could not be read"):
        played_through(found, "")


@pytest.mark.parametrize(
    "error", [BusUnavailable("asking b:1"), NotQuiescentError("after 900 s: trainer is behind")]
)
def test_an_outage_that_ends_a_world_may_be_over_the_next_time(
    error: DriftgateError, bus: MemoryBus
) -> None:
    """The command line makes status 3 of it, and 2 of what fails again."""
    with pytest.raises(PlayStoppedError, match=r"(?s)To look further: `driftgate audit m`") as told:
        played_through(player(bus, world(), quiescence=Quiescent(error)), "`driftgate audit m`")
    assert told.value.retriable
    assert str(error) in str(told.value)
    assert not PlayFailedError.retriable


def entry(service: str, decision: str, words: str) -> AuditEntry:
    texts = dict.fromkeys(("audit_id", "inputs", "result", "previous_hash", "hash"), "")
    return AuditEntry(
        model=MODEL, service=service, decision=decision, words=words, time=START, **texts
    )


def test_only_the_last_decisions_are_told() -> None:
    entries = [entry("trainer", "train", str(n)) for n in range(50)]
    entries.append(entry("router", "x", "no decider"))
    assert reasons(entries, [], MODEL)[-1] == "trainer, train: 49"
    assert len(reasons(entries, [], MODEL)) < 10


def test_a_failed_demo_keeps_its_files_and_says_how_to_look_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_down: list[Path] = []

    def fails(*_: Any, look_further: str, **__: Any) -> None:
        raise PlayFailedError(look_further)

    state = tmp_path / "state"
    shown = io.StringIO()
    monkeypatch.setattr(
        demo, "example_plan", lambda *_: Plan(replace(world(), notes=("n",)), EXAMPLE)
    )
    monkeypatch.setattr(demo, "play", fails)
    monkeypatch.setattr(stack, "up", lambda *_: None)
    monkeypatch.setattr(stack, "down", taken_down.append)
    with pytest.raises(PlayFailedError) as caught:
        demo.run(None, state, tmp_path / "r.html", Calendar(), SHIPPED, Console(file=shown))
    assert str(caught.value) == (
        f"`driftgate up --clock world --state {state}`, then "
        f"`driftgate audit {MODEL} --state {state}`"
    )
    assert (taken_down, state.exists()) == ([state, state], True)
    assert "2 rows at launch" in shown.getvalue()


def test_an_interrupted_demo_says_that_it_takes_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    shown = io.StringIO()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "example_plan", lambda *_: Plan(world(), EXAMPLE))
    monkeypatch.setattr(demo, "play", interrupted)
    monkeypatch.setattr(stack, "up", lambda *_: None)
    monkeypatch.setattr(stack, "down", lambda _: said.append(shown.getvalue()))
    with pytest.raises(KeyboardInterrupt):
        demo.run(None, tmp_path, tmp_path / "r", Calendar(), SHIPPED, Console(file=shown))
    assert "is being stopped, which takes some seconds" in said[-1]


def test_a_worlds_notes_are_shown() -> None:
    shown = io.StringIO()
    announce(
        replace(world(), notes=("dates are [kept] in order only",)),
        SHIPPED,
        Console(file=shown, width=200),
    )
    played = "  feedback is played as complaints: feedback on 60% of wrong and 20% of right answers"
    assert played in shown.getvalue()
    assert "  dates are [kept] in order only\n" in shown.getvalue()


def test_nothing_of_the_worlds_log_is_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log" / "simulate.log"
    with log_to(path) as log:
        log.warning("retrying", attempt=1)
    assert json.loads(path.read_text())["event"] == "retrying"
    assert capsys.readouterr() == ("", "")


def launchable(count: int) -> tuple[Row, ...]:
    """Launch rows that the example's gate can be judged on, if they are enough."""
    labels = model_repo.read(EXAMPLE).config.task.labels[:2]
    return tuple(
        Row(f"text {n}", labels[n % 2], START, slices={"language": "es" if n % 3 else "en"})
        for n in range(count)
    )


def test_a_world_whose_launch_cannot_lead_to_a_version_is_refused_before_anything_is_sent() -> None:
    repo = model_repo.read(EXAMPLE)
    session.check(replace(world(), launch=launchable(700)), repo)
    says = r"of 100 rows \(of 100 persons\) are held out, and gate.min_cases asks for 80"
    with pytest.raises(BadConfig, match=says):
        session.check(replace(world(), launch=launchable(100)), repo)


def test_a_failed_world_knows_how_it_was_read_and_leaves_neither_bus_nor_store_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bus: MemoryBus
) -> None:
    closed: list[str] = []
    read: list[Any] = []

    class Closing:
        def __init__(self, name: str) -> None:
            self.close = lambda: closed.append(name)

    def fails(failing: Player, _: str) -> None:
        read.append(failing.reading)
        raise PlayFailedError("no")

    monkeypatch.setattr(session, "KafkaBus", lambda _: Closing("bus"))
    monkeypatch.setattr(session.Store, "connect", lambda *_: Closing("store"))
    monkeypatch.setattr(session, "played_through", fails)
    settings = session.Settings(state_dir=tmp_path)
    with pytest.raises(PlayFailedError):
        session.play(
            EXAMPLE,
            replace(world(), launch=launchable(700)),
            settings,
            tmp_path / "r.html",
            users=SHIPPED.users,
            seed=7,
            reading={"rows": 2},
            console=Console(quiet=True),
        )
    assert (sorted(closed), read) == (["bus", "store"], [{"rows": 2}])


def test_texts_with_other_line_ends_come_through_a_seed_file(tmp_path: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path}")
    given = replace(world(), launch=(row(SEPARATORS, "refund", -2), row("plain", "refund", -1)))
    task = task_of(model_repo.read(EXAMPLE).config.task)
    found = seed_rows(artifacts, artifacts.put(seed_file(given, MODEL, "label")), task)
    assert [one.text for one in found] == [SEPARATORS, "plain"]


# ---------------------------------------------------------------- what is said at the end


def facts(**kwargs: Any) -> Facts:
    names = ("answers", "requests", "candidates", "verdicts", "rollouts", "alerts", "audit")
    empty: dict[str, Any] = {name: [] for name in names}
    counted = ("answers", "doubled", "dead_letters", "feedback", "outcomes", "audit")
    counts = dict.fromkeys(counted, 0)
    return Facts(**(empty | {"counts": counts} | kwargs))


def shown_at_the_end(played: Played) -> str:
    out = Console(file=io.StringIO(), width=200)
    demo.show(played, Path("report.html"), (), out)
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_summary_of_a_world_without_a_refresh_or_an_answer() -> None:
    assert "-" in shown_at_the_end(Played(Result((), 0.8, None, (), None), facts(), (), True))
    week = Week(1, 20, 0.7, None, 1, known=0.9)
    found = shown_at_the_end(
        Played(Result((week,), 0.8, None, (), None, (1,)), facts(), (), True, ("request [x] no",))
    )
    assert "there was none" in found
    assert "weeks below the gate line itself" in found
    assert "requests refused: 1; the first: request [x] no\n" in found
    assert "90.0%" in found


def test_the_terminal_says_what_was_played_who_spoke_and_what_lacked_evidence() -> None:
    lacked = ("version 3 was given up in its rollout: no answer in 21 days",)
    told = Told(right=90, wrong=10, told_right=18, told_wrong=6)
    result = Result((), 0.8, None, (), None)
    found = shown_at_the_end(
        Played(result, facts(), (), True, feedback="complaints", told=told, lacking=lacked)
    )
    assert "complaints" in found
    assert "24.0%" in found
    assert "users said something of 24.0% of 100 answers (60.0% of the wrong" in found
    assert f"not learned or decided for want of evidence:\n  {lacked[0]}\n" in found


def test_what_is_to_be_copied_at_the_end_is_cut_by_no_border(tmp_path: Path) -> None:
    out = io.StringIO()
    played = Played(Result((), 0.8, None, (), None), facts(), (), True, ("no: " + "x" * 200,))
    report = tmp_path / ("long" * 30) / "report.html"
    demo.show(played, report, demo.NEXT, Console(file=out, width=80))
    refused, *below = out.getvalue().splitlines()[-4:]
    assert refused.endswith("x" * 200)
    assert below == [f"page: {report}", *(f"next: {step}" for step in demo.NEXT)]


@pytest.mark.parametrize("weeks", [(), (Week(1, 20, 0.7, None, 1, known=0.925),)])
def test_the_page_tells_what_could_be_known_how_the_world_was_fitted_and_what_was_refused(
    tmp_path: Path, weeks: tuple[Week, ...]
) -> None:
    path = tmp_path / "report.html"
    write_report(
        path,
        model_repo.read(EXAMPLE).config,
        replace(world(), notes=("dates are kept in order only",)),
        Result(weeks, 0.8, None, (), None, (1,)),
        facts(),
        held=True,
        false_alarms=(),
        causes=(),
        refused=("request r-1: too long",),
        feedback="complaints, review",
        told=Told(right=900, wrong=100, told_right=180, told_wrong=60, reviewed=30),
        lacking=("version 2 was given up in its rollout: <no> answer",),
    )
    page = path.read_text()
    assert "label has had feedback" in page.partition("<table>")[0]
    assert "Dates are kept in order only." in page
    assert "The first: request r-1: too long" in page
    assert "the loop held under complaints, review</h1>" in page
    assert "<b>24.0 %</b>of answers got feedback of users" in page
    assert "(60.0% of the wrong and 20.0% of the right ones), reviewers of 3.0%." in page
    assert "<li>version 2 was given up in its rollout: &lt;no&gt; answer</li>" in page
    assert not weeks or "92.5 %" in page


EDIT = Followed(
    *("ticket-extract-003-0001", 1, "where is <it>", '{"team":"repair"}', '{"team":"delivery"}'),
    *({"team": "changed"}, START, START + DAY_MS, "d" * 64, "sha256:card", 2),
    *(START + 3 * DAY_MS, START + 4 * DAY_MS, START + 4 * DAY_MS, START + 8 * DAY_MS),
)


def test_page_and_terminal_of_a_model_that_writes_tell_degrees_format_gain_and_one_edit(
    tmp_path: Path,
) -> None:
    week = Week(1, 90, 0.6, 0.4, 2, loop_grade=0.91, frozen_grade=0.82, well_formed=0.995)
    result, measures = Result((week,), 0.4, 1, (), 0.2), ("exact match", "field F1")
    gain = Gain(320, 0.2, 0.15, 0.25)
    path = tmp_path / "report.html"
    write_report(
        path,
        model_repo.read(demo.example("ticket-extract")).config,
        world(),
        result,
        facts(),
        held=True,
        false_alarms=(),
        causes=(),
        feedback="edits",
        told=Told(),
        measures=measures,
        gain=gain,
        followed=EDIT,
    )
    page = path.read_text()
    assert "label has had feedback" not in page
    for said in ("91.0 %", "82.0 %", "99.5 %", "Exact match and field F1 are counted"):
        assert said in page
    assert "on the 320 requests that both answered +15.0 to +25.0 (95 %)" in page
    story = page.partition("<h2>One edit")[2].partition("</table>")[0]
    for said in (EDIT.request_id, "where is &lt;it&gt;", "edit of team", "d" * 12, "7.0 days"):
        assert said in story
    assert "waiting for a request 29 %, training 14 %, evaluation 0 %, rollout 57 %" in story
    shown = shown_at_the_end(
        Played(result, facts(), (), True, measures=measures, gain=gain, followed=EDIT)
    )
    assert "field F1 of the one-off" in shown
    assert "20.0% (95 %: +15.0% to +25.0%)" in shown
    assert f"one edit followed: request {EDIT.request_id}" in shown
    assert "label has had feedback" not in shown


def test_what_is_wrong_with_a_text_is_edited_and_the_launch_hands_over_outputs(
    bus: MemoryBus,
) -> None:
    def ticket(team: str) -> str:
        fields = {"product": None, "urgency": "low", "order": None, "amount": None, "date": None}
        return json.dumps({"language": "en", "team": team} | fields)

    class Writing(Router):
        def predict(self, request: Any) -> Any:
            return router_pb2.PredictReply(label=ticket("repair"), version=1)

    day = tuple(row(f"m {n}", ticket(("repair", "billing")[n % 2]), 0) for n in range(20))
    launched = replace(world(day), launch=(row("m", ticket("advice"), -1),))
    repo = model_repo.read(demo.example("ticket-extract"))
    users = (FeedbackProfile(share=1.0, share_right=0.0, wrong=0.0, changed=0.0, name="edits"),)
    found = Player(
        *(launched, repo, "sha256:0", bus, CODEC, Artifacts("memory://world"), "r"),
        users=users,
        quiescence=Quiescent(),  # type: ignore[arg-type]
    )
    with ThreadPoolExecutor(4) as threads:
        found.ask(0, Writing(), threads)  # type: ignore[arg-type]
    due = found.ledger.due(START + 60 * DAY_MS)
    edits = [(one.edited, one.label) for one in due if one.kind == "edit"]
    assert edits == [(ticket("billing"), None)] * 10
    reviews = {one.edited for one in due if one.kind == "review"}
    assert reviews == {ticket("repair"), ticket("billing")}  # what was right is said too
    assert (found.summary(0).right, found.summary(0).known) == (10, 20)
    assert found.never_named == set()
    (line,) = seed_file(launched, "m", "output").decode().splitlines()
    assert json.loads(line)["output"] == ticket("advice")


def request(name: str) -> dict[str, Any]:
    return {"retrain_id": name, "drill": "shuffle-labels:a=b", "reason": "operator"}


@pytest.fixture
def refusal() -> Iterator[dict[str, Any]]:
    yield {"service": "trainer", "decision": "refuse", "words": "m:drill: 12 labelled rows"}


def test_a_rehearsed_fault_that_the_trainer_refused_got_through_nowhere(
    refusal: dict[str, Any],
) -> None:
    planned = drills("shuffle-labels:a=b", 24)
    asked = [request("m:drill")]
    assert drills_stopped(facts(requests=asked, audit=[refusal]), planned)
    assert not drills_stopped(facts(requests=asked), planned)
    through = {"version": 2, "drill": "shuffle-labels:a=b"}
    passed = facts(
        requests=asked, candidates=[through], verdicts=[{"version": 2, "result": "pass"}]
    )
    assert not drills_stopped(passed, planned)


def test_a_fault_is_rehearsed_half_way_and_only_where_the_gate_would_see_it() -> None:
    (drill,) = drills("shuffle-labels:all", 4)
    assert drill.day == 7
    assert drills(None, 24) == []
    rows = tuple(row("text", "a" if n % 4 else "b", n) for n in range(100))  # 75 % are a
    shown = io.StringIO()
    for gate, seen in ((0.9, True), (0.6, False)):
        assert demo.detectable(rows, gate, Console(file=shown)) is seen
    assert "no fault is rehearsed" in shown.getvalue()


def test_the_shipped_world_rehearses_a_fault_of_its_protected_slice(tmp_path: Path) -> None:
    plan = demo.example_plan(tmp_path, Calendar())
    assert plan.fault == "shuffle-labels:language=es"
    assert demo.example_plan(tmp_path, Calendar(), shuffle=True).fault is None


def test_a_file_that_cannot_be_played_removes_nothing_of_an_earlier_demo(tmp_path: Path) -> None:
    state = tmp_path / "state"
    demo.empty(state)
    (state / "kept").touch()
    (tmp_path / "few.csv").write_text("text,label\nhello,a\nbye,b\n")
    with pytest.raises(BadConfig, match="2 rows"):
        demo.run(
            tmp_path / "few.csv",
            state,
            tmp_path / "r.html",
            Calendar(),
            SHIPPED,
            Console(quiet=True),
        )
    assert (state / "kept").exists()


def test_every_dead_letter_topic_that_is_read_exists() -> None:
    assert {kind.TOPIC + DLQ for kind in BY_MODEL} <= set(CODEC.topics.names())
