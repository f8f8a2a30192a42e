"""Every engine that writes keeps `driftgate.engines.Writer`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_writer import FakeWriter
from safetensors.torch import load_file, save_file
from stand_in_vllm import StandInVllm, serving
from tiny_adapters import tiny_adapter
from tiny_llama import tiny_llama

from driftgate.bases import BaseRef, resolve
from driftgate.engines import Prediction, Writer
from driftgate.errors import BadConfig, BadInput, Corrupt, QueueFull
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Question, Sampling
from driftgate.generator.serving import Generator
from driftgate.generator.upstream import Upstream
from driftgate.tasks import task_of
from driftgate.tasks.text_generation import Declared

VERSIONS = ("one", "two", "three")
TEXTS = (
    "Where is my order?",
    "",
    "¿Dónde está mi pedido? 😡 ありがとう",
    "charged twice " * 40,
    "refund, please",
)
PROMPT = Prompt("Answer in one line.", "{text}")

Make = Callable[..., Writer]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseRef:
    return resolve(str(tiny_llama(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def folders(base: BaseRef, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Versions of different ranks, on different maps."""
    settings: dict[str, dict[str, Any]] = {
        "one": {},
        "two": {"r": 8, "target_modules": ["q_proj", "v_proj"]},
        "three": {"r": 2, "target_modules": ["down_proj", "o_proj"], "use_rslora": True},
    }
    return {
        name: tiny_adapter(tmp_path_factory.mktemp(name), base, seed, **settings[name])
        for seed, name in enumerate(VERSIONS)
    }


@pytest.fixture(scope="module")
def upstream(base: BaseRef) -> Iterator[StandInVllm]:
    with serving(StandInVllm(base)) as stand_in:
        yield stand_in


@pytest.fixture(params=["local", "upstream", "fake"])
def make(request: pytest.FixtureRequest, base: BaseRef, folders: dict[str, Path]) -> Make:
    """Makes engines with all versions resident."""

    def made(**sizes: int) -> Writer:
        engine: Writer
        if request.param == "local":
            engine = Generator(base, device="cpu", precision="fp32", **sizes)
        elif request.param == "upstream":
            engine = Upstream(base, request.getfixturevalue("upstream").url, **sizes)
        else:
            engine = FakeWriter(base.digest, **sizes)
        for name, folder in folders.items():
            engine.load(name, folder)
        return engine

    return made


def question(
    engine: Writer, version: str = "one", text: str = TEXTS[0], seed: int = 0, **sampling: Any
) -> Question:
    given = Sampling(**{"max_new_tokens": 20, **sampling})
    return Question(version, engine.prompt(PROMPT, text), given, seed)


def mixed(engine: Writer, **sampling: Any) -> list[Question]:
    """Every version with every text, in turns."""
    return [
        question(engine, version, text, seed, **sampling)
        for seed, text in enumerate(TEXTS)
        for version in VERSIONS
    ]


def alone(engine: Writer, asked: Question) -> Answer:
    (found,) = engine.answers([asked])
    assert isinstance(found, Answer)
    return found


def finished(engine: Writer) -> dict[int, tuple[list[str], Answer]]:
    """Steps until nothing is open: by handle, what was shown and the whole answer."""
    shown: dict[int, list[str]] = {}
    whole: dict[int, Answer] = {}
    while engine.busy:
        for one in engine.step():
            assert one.handle not in whole, "written after it had ended"
            assert one.error is None
            shown.setdefault(one.handle, []).append(one.text)
            if one.answer:
                whole[one.handle] = one.answer
    return {handle: (shown[handle], answer) for handle, answer in whole.items()}


def same(found: Sequence[Any], wanted: Sequence[Answer]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert replace(one, mean_log_probability=None) == replace(other, mean_log_probability=None)
        assert one.mean_log_probability == pytest.approx(other.mean_log_probability, abs=1e-4)


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "top_p": 0.9}])
def test_a_mixed_batch_answers_as_one_at_a_time(make: Make, sampling: dict[str, float]) -> None:
    engine = make()
    asked = mixed(engine, **sampling)
    wanted = [alone(engine, one) for one in asked]
    assert len({answer.text for answer in wanted}) > 10, "versions and texts matter"
    same(engine.answers(asked), wanted)
    same(make(places=2, queue=2).answers(asked), wanted)


def test_an_answer_says_how_it_was_written(make: Make) -> None:
    engine = make()
    asked = question(engine, max_new_tokens=7)
    answer = alone(engine, asked)
    assert answer.tokens_in == len(asked.prompt)
    assert answer.tokens_out == 7
    assert answer.finish_reason == "length"
    assert answer.mean_log_probability is not None
    assert answer.mean_log_probability < 0


def test_the_seed_alone_decides_what_is_drawn(make: Make) -> None:
    engine = make()
    drawn = [alone(engine, question(engine, seed=s, temperature=1.5)).text for s in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]
    greedy = [alone(engine, question(engine, seed=s)).text for s in (1, 2)]
    assert greedy[0] == greedy[1]


def test_questions_join_and_leave_at_any_step(make: Make) -> None:
    engine = make(places=4)
    asked = [
        replace(one, sampling=replace(one.sampling, max_new_tokens=length))
        for one, length in zip(mixed(engine), (20, 3, 9, 1, 14) * 3, strict=True)
    ]
    wanted = [alone(engine, one) for one in asked]
    found: dict[int, Answer] = {}
    handles = []
    for one in asked:
        handles.append(engine.open(one))
        for _ in range(2):
            found |= {w.handle: w.answer for w in engine.step() if w.answer}
    found |= {handle: answer for handle, (_, answer) in finished(engine).items()}
    same([found[handle] for handle in handles], wanted)


def test_what_is_shown_is_the_answer_piece_by_piece(make: Make) -> None:
    engine = make()
    for one in mixed(engine):
        engine.open(one)
    for shown, answer in finished(engine).values():
        assert "".join(shown) == answer.text


@pytest.mark.parametrize("length", [1, 3, 5])
def test_a_stop_string_ends_an_answer_and_is_never_shown(make: Make, length: int) -> None:
    engine = make()
    whole = alone(engine, question(engine, max_new_tokens=40))
    middle = len(whole.text) // 2
    stop = whole.text[middle : middle + length]
    asked = question(engine, max_new_tokens=40, stop=("never written", stop))
    beside = question(engine, "two", max_new_tokens=40)
    wanted = alone(engine, beside)
    handle, other = engine.open(asked), engine.open(beside)
    found = finished(engine)
    shown, answer = found[handle]
    assert answer.text == "".join(shown) == whole.text[: whole.text.index(stop)]
    assert answer.finish_reason == "stop"
    assert answer.tokens_out < whole.tokens_out
    same([found[other][1]], [wanted])


def test_what_only_begins_a_stop_string_is_written_in_the_end(make: Make) -> None:
    engine = make()
    whole = alone(engine, question(engine))
    asked = question(engine, stop=(whole.text[-3:] + "and more",))
    handle = engine.open(asked)
    shown, answer = finished(engine)[handle]
    assert "".join(shown) == answer.text == whole.text
    assert answer.finish_reason == "length"


def test_a_cancelled_answer_ends_at_the_next_step(make: Make) -> None:
    engine = make(places=2)
    first, second = question(engine), question(engine, "two")
    whole, wanted = alone(engine, first), alone(engine, second)
    cancelled, other, waiting = (engine.open(one) for one in (first, second, first))
    told: list[str] = []
    while len(told) < 3:
        told += [one.text for one in engine.step() if one.handle == cancelled]
    engine.cancel(cancelled)
    engine.cancel(waiting)
    ended = {one.handle: one for one in engine.step() if one.answer}
    assert ended.keys() == {cancelled, waiting}
    answer, unread = ended[cancelled].answer, ended[waiting].answer
    assert answer is not None
    assert answer.finish_reason == "cancelled"
    assert 0 < answer.tokens_out < whole.tokens_out
    assert "".join([*told, ended[cancelled].text]) == answer.text
    assert whole.text.startswith(answer.text)
    assert unread == Answer("", "cancelled", len(first.prompt), 0, None)
    same([finished(engine)[other][1]], [wanted])
    engine.cancel(cancelled)
    engine.cancel(10_000)
    assert engine.step() == []


def test_unloading_ends_no_answer(make: Make) -> None:
    engine = make(places=2)
    asked = [question(engine, version) for version in ("one", "two", "one")]
    wanted = [alone(engine, one) for one in asked]
    handles = [engine.open(one) for one in asked]
    engine.step()
    engine.unload("one")
    engine.unload("one")
    assert engine.resident() == {"two", "three"}
    with pytest.raises(BadConfig, match="one is not resident"):
        engine.open(asked[0])
    found = finished(engine)
    same([found[handle][1] for handle in handles], wanted)


def test_a_version_loaded_again_answers_as_before(make: Make, folders: dict[str, Path]) -> None:
    engine = make()
    asked = question(engine)
    before = alone(engine, asked)
    engine.unload("one")
    engine.load("one", folders["one"])
    engine.load("one", folders["two"])  # a name that is resident is left as it is
    same([alone(engine, asked)], [before])


def test_an_unknown_version_is_refused_and_no_other(make: Make) -> None:
    engine = make()
    wanted = alone(engine, question(engine))
    handle = engine.open(question(engine))
    with pytest.raises(BadConfig, match="seven is not resident"):
        engine.open(question(engine, "seven"))
    same([finished(engine)[handle][1]], [wanted])


def test_a_full_queue_refuses_until_there_is_room(make: Make) -> None:
    engine = make(places=2, queue=1)
    handles = [engine.open(question(engine, max_new_tokens=n)) for n in (1, 9, 9)]
    with pytest.raises(QueueFull):
        engine.open(question(engine))
    over: list[int] = []
    while not over:
        over = [one.handle for one in engine.step() if one.answer]
    assert set(over) <= set(handles[:2])
    handles.append(engine.open(question(engine)))
    assert finished(engine).keys() == set(handles) - set(over)


@pytest.mark.parametrize("count", [0, 6])
def test_a_prompt_without_tokens_or_with_too_many_is_refused_alone(make: Make, count: int) -> None:
    engine = make()
    bad = replace(question(engine, max_input_tokens=5), prompt=(7,) * count)
    with pytest.raises(BadInput) as refused:
        engine.open(bad)
    assert refused.value.field == "prompt"
    good = question(engine)
    found = engine.answers([good, bad, good])
    assert isinstance(found[1], BadInput)
    same([found[0], found[2]], [alone(engine, good)] * 2)


def test_whole_answers_keep_what_others_have_open(make: Make) -> None:
    engine = make()
    asked = question(engine, "two", max_new_tokens=5)
    wanted = alone(engine, asked)
    handle = engine.open(asked)
    alone(engine, question(engine, max_new_tokens=30))
    shown, answer = finished(engine)[handle]
    same([answer], [wanted])
    assert "".join(shown) == answer.text


def test_predictions_are_whole_answers_in_order(make: Make) -> None:
    engine = make()
    task = task_of(Declared.model_validate({"kind": "text-generation", "max_input_tokens": 500}))
    asked = {"one": ["a", "b", "a"], "two": ["b", "x " * 2_000], "three": []}
    found = task.answers(engine, asked)
    assert {name: len(predictions) for name, predictions in found.items()} == {
        "one": 3,
        "two": 2,
        "three": 0,
    }
    first, second, third = found["one"]
    assert first == third != second
    assert first.confidence is not None
    assert 0 < first.confidence < 1
    assert second.output == task.answers(engine, {"one": ["b"]})["one"][0].output
    assert found["two"][1] == Prediction("", None, {}, 0)  # too long to be asked
    with pytest.raises(BadConfig, match="seven"):
        task.answers(engine, {"seven": ["a"]})


def test_nothing_open_is_nothing_to_do(make: Make) -> None:
    engine = make()
    assert not engine.busy
    assert engine.step() == []
    assert engine.answers([]) == []


def test_a_version_of_another_base_is_refused(
    make: Make, folders: dict[str, Path], tmp_path: Path
) -> None:
    engine = make()
    folder = copied(folders["one"], tmp_path / "other")
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file), file, metadata={"format": "pt", "base_sha256": "0" * 64})
    with pytest.raises(BadConfig, match="trained on base 000"):
        engine.load("other", folder)
    assert engine.resident() == set(VERSIONS)


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("cut", [None, 10])
def test_a_damaged_version_is_refused(
    make: Make, folders: dict[str, Path], tmp_path: Path, file: str, cut: int | None
) -> None:
    engine = make()
    folder = copied(folders["one"], tmp_path / "damaged")
    if cut is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes((folder / file).read_bytes()[:cut])
    with pytest.raises(Corrupt, match="damaged"):
        engine.load("damaged", folder)
    same([alone(engine, question(engine))], [alone(make(), question(engine))])


def copied(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    assert json.loads((target / "adapter_config.json").read_text())
    return target
