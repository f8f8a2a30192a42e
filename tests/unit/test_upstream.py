"""Another server computes the answers: what it may do wrong, and what is noticed of it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from stand_in_vllm import Fault, StandInVllm, serving
from tiny_adapters import tiny_adapter
from tiny_llama import tiny_llama

from driftgate import config
from driftgate.bases import BaseRef, resolve
from driftgate.engines import Engines
from driftgate.errors import (
    BadConfig,
    BadInput,
    Corrupt,
    DriftgateError,
    UpstreamUnavailable,
    WrongAdapter,
)
from driftgate.generator.probe import PROBE
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Question, Sampling
from driftgate.generator.serving import Generator
from driftgate.generator.upstream import Upstream
from driftgate.tasks.text_generation import TextGeneration

PROMPT = Prompt("Answer in one line.", "{text}")
ONE, TWO = "1" * 64, "2" * 64
PATIENT = 30.0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseRef:
    return resolve(str(tiny_llama(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def folders(base: BaseRef, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: tiny_adapter(tmp_path_factory.mktemp("version"), base, seed)
        for seed, name in enumerate((ONE, TWO))
    }


@pytest.fixture(scope="module")
def server(base: BaseRef) -> Iterator[StandInVllm]:
    with serving(StandInVllm(base)) as stand_in:
        yield stand_in


@pytest.fixture
def upstream(server: StandInVllm) -> StandInVllm:
    server.adapters.clear()
    server.serves.clear()
    server.faults.clear()
    server.asked.clear()
    server.token, server.positions = "", 2048
    return server


def question(
    engine: Upstream | Generator, version: str = ONE, seed: int = 0, **how: Any
) -> Question:
    sampling = Sampling(**{"max_new_tokens": 12, **how})
    return Question(version, engine.prompt(PROMPT, "Where is my order?"), sampling, seed)


def text(found: Answer | DriftgateError) -> str:
    assert isinstance(found, Answer)
    return found.text


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


def unrecorded(folder: Path, into: Path) -> Path:
    """The same version, trained before there were records."""
    shutil.copytree(folder, into)
    (into / PROBE).unlink()
    return into


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("how", [{}, {"temperature": 1.2, "top_p": 0.9}, {"stop": ("e", "a")}])
def test_it_answers_as_the_local_engine_does(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm, how: dict[str, Any]
) -> None:
    engine, local = Upstream(base, upstream.url), Generator(base, device="cpu", precision="fp32")
    for name, folder in folders.items():
        engine.load(name, folder)
        local.load(name, folder)
    asked = [question(local, name, seed, **how) for seed in range(3) for name in folders]
    for found, wanted in zip(engine.answers(asked), local.answers(asked), strict=True):
        assert isinstance(found, Answer)
        assert isinstance(wanted, Answer)
        assert replace(found, mean_log_probability=0) == replace(wanted, mean_log_probability=0)
        assert found.mean_log_probability == pytest.approx(wanted.mean_log_probability, abs=1e-3)


def test_adapters_are_named_by_digest_and_unloaded_when_they_answer_nobody_any_more(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    engine = Upstream(base, upstream.url + "/v1/")
    engine.load(ONE, folders[ONE])
    assert upstream.adapters == {ONE: folders[ONE]}
    handle = engine.open(question(engine))
    engine.unload(ONE)
    told = [one for _ in iter(lambda: engine.busy, False) for one in engine.step()]
    assert [one.handle for one in told if one.answer] == [handle]
    until(lambda: not upstream.adapters)


def test_an_engine_that_nobody_holds_ends_its_thread(base: BaseRef, upstream: StandInVllm) -> None:
    before = set(threading.enumerate())
    engine = Upstream(base, upstream.url)
    (thread,) = set(threading.enumerate()) - before
    del engine
    thread.join(PATIENT)
    assert not thread.is_alive()


def test_a_cancelled_answer_is_not_written_on_by_the_server(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    engine = Upstream(base, upstream.url)
    engine.load(ONE, folders[ONE])
    handle = engine.open(question(engine, max_new_tokens=1500))
    until(lambda: bool(engine.step()))
    engine.cancel(handle)
    (ended,) = [one for one in engine.step() if one.answer]
    assert ended.answer
    assert ended.answer.tokens_out < 1500
    until(lambda: upstream.open == 0)


def test_the_server_says_how_much_it_can_read(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    upstream.positions = 400
    engine = Upstream(base, upstream.url)
    engine.load(ONE, folders[ONE])
    asked = question(engine, max_new_tokens=10_000)
    (found,) = engine.answers([asked])
    assert isinstance(found, Answer)
    assert found.tokens_in + found.tokens_out == 400
    with pytest.raises(BadInput, match="at most 399 tokens"):
        engine.open(replace(asked, prompt=(7,) * 400))


# ---------------------------------------------------------------- what proves a version


def loading(base: BaseRef, upstream: StandInVllm, **folders: Path) -> Upstream:
    engine = Upstream(base, upstream.url)
    for name, folder in folders.items():
        engine.load(name, folder)
    return engine


def test_the_base_in_place_of_a_version_is_noticed(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm, tmp_path: Path
) -> None:
    upstream.serves["v"] = None
    for folder in (folders[ONE], unrecorded(folders[ONE], tmp_path / "v")):
        with pytest.raises(WrongAdapter, match="it answers as the base does"):
            loading(base, upstream, v=folder)
        assert not upstream.adapters, "what is wrong is not left there"


def test_another_version_in_place_of_one_is_noticed(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm, tmp_path: Path
) -> None:
    upstream.serves["v"] = folders[TWO]
    with pytest.raises(WrongAdapter, match="it answers as version two does"):
        loading(base, upstream, two=folders[TWO], v=folders[ONE])
    with pytest.raises(WrongAdapter, match="nats a token from the recorded one"):
        loading(base, upstream, v=folders[ONE])
    with pytest.raises(WrongAdapter, match="it answers as version two does"):
        loading(base, upstream, two=folders[TWO], v=unrecorded(folders[ONE], tmp_path / "v"))


def test_another_base_is_noticed(base: BaseRef, folders: dict[str, Path], tmp_path: Path) -> None:
    other = resolve(str(tiny_llama(tmp_path / "other", seed=1)))
    disguised = replace(other, digest=base.digest, weights=base.weights)
    with serving(StandInVllm(disguised)) as stand_in, pytest.raises(WrongAdapter):
        loading(base, stand_in, v=folders[ONE])


def test_a_version_that_is_swapped_later_answers_nobody_until_it_is_right_again(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    engine = Upstream(base, upstream.url, proven_seconds=0.02)
    for name, folder in folders.items():
        engine.load(name, folder)
    (before,) = engine.answers([question(engine)])
    upstream.faults[ONE] = "hangs midway"
    handle, other = engine.open(question(engine)), engine.open(question(engine, TWO))
    until(lambda: any(one.handle == handle for one in engine.step()))
    upstream.serves[ONE] = folders[TWO]
    ended = {}
    while ended.keys() != {handle, other}:
        ended |= {one.handle: one for one in engine.step() if one.answer or one.error}
    assert isinstance(ended[handle].error, WrongAdapter)
    assert ended[other].answer
    assert engine.resident() == {TWO}
    with pytest.raises(BadConfig, match="not resident"):
        engine.open(question(engine))
    upstream.serves.clear()
    upstream.faults.clear()
    until(lambda: engine.resident() == {ONE, TWO})
    assert text(*engine.answers([question(engine)])) == text(before)


def test_a_server_that_was_started_anew_is_given_its_versions_again(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    engine = loading(base, upstream, **folders)
    asked = [question(engine, name, seed) for seed in range(3) for name in folders]
    before = engine.answers(asked)
    upstream.adapters.clear()
    assert list(map(text, engine.answers(asked))) == list(map(text, before))


def test_a_name_that_is_taken_by_another_version_is_noticed_and_taken_back(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    upstream.adapters[ONE] = folders[TWO]
    engine = Upstream(base, upstream.url)
    with pytest.raises(WrongAdapter):
        engine.load(ONE, folders[ONE])
    engine.load(ONE, folders[ONE])
    assert engine.resident() == {ONE}


@pytest.mark.parametrize(
    "told", ["", "[]", '{"tokens": [1, 2], "places": [1], "base": [-1], "adapted": []}']
)
def test_a_damaged_record_is_refused(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm, tmp_path: Path, told: str
) -> None:
    shutil.copytree(folders[ONE], tmp_path / "v")
    (tmp_path / "v" / PROBE).write_text(told)
    with pytest.raises(Corrupt, match=PROBE):
        loading(base, upstream, v=tmp_path / "v")


# ---------------------------------------------------------------- a server in trouble


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("hangs", "said nothing in time"),
        ("hangs midway", "said nothing in time"),
        ("answers 500", "answers 500, 'EngineCore"),
        ("answers HTML", "ended before the answer did"),
        ("breaks off", "RemoteProtocolError"),
        ("ends early", "ended before the answer did"),
        ("says an error", "CUDA out of memory"),
        ("talks rubbish", "expected a part of an answer"),
        ("no logprobs", "expected `logprobs` with the answer"),
    ],
)
def test_what_goes_wrong_is_the_error_of_its_own_question(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm, fault: Fault, told: str
) -> None:
    engine = Upstream(base, upstream.url, patience=3.0)
    for name, folder in folders.items():
        engine.load(name, folder)
    asked = [question(engine, ONE), question(engine, TWO), question(engine, ONE, 1)]
    wanted = engine.answers(asked)
    upstream.faults[ONE] = fault
    found = engine.answers(asked)
    assert isinstance(found[0], UpstreamUnavailable)
    assert told in str(found[0])
    assert isinstance(found[2], UpstreamUnavailable)
    assert text(found[1]) == text(wanted[1])
    upstream.faults.clear()
    assert text(*engine.answers(asked[:1])) == text(wanted[0])


def test_a_server_that_is_away_can_be_asked_later(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    away = Upstream(base, "http://127.0.0.1:1")
    with pytest.raises(UpstreamUnavailable, match=r"127\.0\.0\.1:1: ConnectError"):
        away.load(ONE, folders[ONE])
    assert away.resident() == frozenset()


def test_a_server_that_does_not_see_the_folder_says_so(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "absolute", lambda path: Path("/elsewhere") / path.name)
    with pytest.raises(BadConfig, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        loading(base, upstream, v=folders[ONE])


def test_the_token_opens_the_server_and_is_never_told(
    base: BaseRef, folders: dict[str, Path], upstream: StandInVllm
) -> None:
    upstream.token = "t0p-secret"
    engine = Upstream(base, upstream.url, SecretStr("t0p-secret"))
    engine.load(ONE, folders[ONE])
    assert text(*engine.answers([question(engine)]))
    upstream.token = "another"
    (refused,) = engine.answers([question(engine)])
    assert isinstance(refused, UpstreamUnavailable)
    assert "check DRIFTGATE_UPSTREAM_TOKEN" in str(refused)
    assert "t0p-secret" not in str(refused)


# ---------------------------------------------------------------- declared


def test_the_operator_says_which_bases_are_computed_elsewhere(
    base: BaseRef, upstream: StandInVllm
) -> None:
    told = {"DRIFTGATE_UPSTREAM": f"{base.name}={upstream.url}", "DRIFTGATE_UPSTREAM_TOKEN": "abc"}
    settings = config.load(told)
    assert "abc" not in repr(settings)
    engines = Engines(1, settings.upstream, settings.upstream_token)
    assert isinstance(engines.of(TextGeneration.kind, base.name), Upstream)
    assert isinstance(Engines().of(TextGeneration.kind, base.name), Generator)


@pytest.mark.parametrize(
    "told", ["http://gpu:8000", "base=gpu:8000", "a=http://x,a=http://y", "=x"]
)
def test_an_upstream_that_names_no_base_or_no_server_is_refused(told: str) -> None:
    with pytest.raises(BadConfig, match="DRIFTGATE_UPSTREAM"):
        config.load({"DRIFTGATE_UPSTREAM": told})
