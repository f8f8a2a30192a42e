"""The local engine writes what transformers and peft write, alone and in a mixed batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_adapters import tiny_adapter
from tiny_llama import SHAPES, tiny_llama, tiny_lm

from driftgate.bases import BaseRef, resolve
from driftgate.errors import BadConfig, BadInput, Corrupt
from driftgate.generator.attention import Cache
from driftgate.generator.base import load
from driftgate.generator.chat import Chat
from driftgate.generator.network import Piece
from driftgate.generator.packed import pack
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Answer, Question, Sampling
from driftgate.generator.sampling import drawn
from driftgate.generator.serving import READ, Generator
from driftgate.generator.streaming import settled

TEXTS = ("Where is my order?", "paid twice " * 30, "¿Dónde está? 😡", "no")
ADAPTERS: dict[str, dict[str, Any]] = {
    "all": {"r": 4},
    "some": {"r": 8, "target_modules": ["q_proj", "down_proj"]},
    "one": {"r": 1, "target_modules": ["v_proj"], "use_rslora": True},
}
WRITES = 24

Edit = Callable[[dict[str, torch.Tensor], dict[str, Any]], object]


def adapted(base: BaseRef, folder: Path) -> dict[str, Path]:
    return {
        name: tiny_adapter(folder / name, base, seed, **changed)
        for seed, (name, changed) in enumerate(ADAPTERS.items())
    }


def piecewise(chat: Chat, tokens: list[int]) -> str:
    """The text of tokens that come one by one. Bytes that are no character, as random networks
    write them, may read otherwise in one piece."""
    shown = ""
    for end in range(1, len(tokens) + 1):
        text, _ = settled(chat.text(tokens[:end]), ())
        shown += text[len(shown) :]
    return shown


def by_peft(
    base: BaseRef, folder: Path, prompt: tuple[int, ...], ends: frozenset[int]
) -> list[int]:
    """The tokens that `generate` writes, greedily."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(load(base, device="cpu"), folder).eval()
    ids = torch.tensor([prompt])
    found = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=WRITES,
        do_sample=False,
        eos_token_id=sorted(ends),
    )
    return list(found[0, len(prompt) :].tolist())


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_mixed_batch_writes_what_peft_writes(shape: str, tmp_path: Path) -> None:
    window = {"sliding_window": 40} if shape in ("mistral", "gemma3_text") else {}
    # Untied, since random networks with tied embeddings repeat their last token.
    base = resolve(str(tiny_lm(tmp_path / "base", shape, tie_word_embeddings=False, **window)))
    folders = adapted(base, tmp_path)
    engine = Generator(base, device="cpu", precision="fp32")
    asked = []
    for name, folder in folders.items():
        engine.load(name, folder)
        prompts = [engine.prompt(Prompt("Be brief.", "{text}"), text) for text in TEXTS]
        asked += [Question(name, prompt, Sampling(max_new_tokens=WRITES)) for prompt in prompts]
    found = engine.answers(asked)
    for one, answer in zip(asked, found, strict=True):
        wanted = by_peft(base, folders[one.version], one.prompt, engine.chat.ends)
        assert isinstance(answer, Answer)
        assert answer.text == piecewise(engine.chat, wanted)
        assert answer.tokens_out == len(wanted)
    assert len({answer.text for answer in found if isinstance(answer, Answer)}) > len(TEXTS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseRef:
    return resolve(str(tiny_llama(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def folders(base: BaseRef, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return adapted(base, tmp_path_factory.mktemp("adapters"))


def ready(base: BaseRef, folders: dict[str, Path], **settings: Any) -> Generator:
    engine = Generator(base, device="cpu", **{"precision": "fp32", **settings})
    for name, folder in folders.items():
        engine.load(name, folder)
    return engine


def test_a_mean_log_probability_is_that_of_the_whole_text(
    base: BaseRef, folders: dict[str, Path]
) -> None:
    from peft import PeftModel

    engine = ready(base, folders)
    prompt = engine.prompt(Prompt(None, "{text}"), TEXTS[0])
    tokens = by_peft(base, folders["all"], prompt, engine.chat.ends)
    model = PeftModel.from_pretrained(load(base, device="cpu"), folders["all"]).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
    chances = torch.log_softmax(logits[len(prompt) - 1 : -1], 1)
    wanted = chances[range(len(tokens)), tokens].mean()
    (found,) = engine.answers([Question("all", prompt, Sampling(max_new_tokens=WRITES))])
    assert isinstance(found, Answer)
    assert found.mean_log_probability == pytest.approx(float(wanted), abs=1e-4)


def test_in_bfloat16_a_batch_answers_to_the_bit_as_one_alone(
    base: BaseRef, folders: dict[str, Path]
) -> None:
    engine = ready(base, folders, precision="bf16")
    asked = [
        Question(name, engine.prompt(Prompt(None, "{text}"), text), Sampling(max_new_tokens=WRITES))
        for text in TEXTS
        for name in folders
    ]
    alone = [answer for one in asked for answer in engine.answers([one])]
    assert engine.answers(asked) == alone


@pytest.mark.parametrize("shape", ["llama", "gemma"])
def test_no_step_shows_a_part_of_a_character(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = resolve(str(tiny_lm(tmp_path / "base", shape)))
    engine = ready(base, {"all": tiny_adapter(tmp_path / "all", base, 0)})
    text = "¿Dónde 😀😡 注文?"
    answer = engine.chat.completion(text)
    tokens = answer[: next(at for at, token in enumerate(answer) if token in engine.chat.ends)]
    assert len(tokens) > len(text.replace(" ", "")), "characters of several tokens"
    dictate(monkeypatch, engine, tokens)
    for length in range(1, len(tokens) + 1):
        engine.open(Question("all", (5,), Sampling(max_new_tokens=length)))
        shown = ""
        while engine.busy:
            (one,) = engine.step()
            shown += one.text
            assert text.startswith(shown)
        assert one.answer is not None
        assert one.answer.text == shown
    assert shown == text


def dictate(monkeypatch: pytest.MonkeyPatch, engine: Generator, tokens: list[int]) -> None:
    """The network writes these tokens, whatever it is asked."""
    network = engine._network

    def certain(piece: Piece) -> torch.Tensor:
        logits = torch.zeros(network.vocabulary)
        logits[tokens[piece.cache.length]] = 1e3
        piece.cache.length += 1
        return logits

    monkeypatch.setattr(network, "read", certain)
    monkeypatch.setattr(network, "write", lambda pieces: torch.stack([*map(certain, pieces)]))


def test_in_bfloat16_far_positions_are_told_apart(tmp_path: Path) -> None:
    # Larger weights than at the start of a training make attention look at single tokens.
    base = resolve(str(tiny_llama(tmp_path / "sharp", initializer_range=0.2)))
    found = []
    for precision in ("fp32", "bf16"):
        engine = ready(base, {}, precision=precision)
        cache = Cache(1500)
        found.append(engine._network.read(Piece([*range(5, 505)] * 3, cache, {})))
    exact, rounded = found
    assert float((exact - rounded).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize("shape", ["llama", "qwen2"])  # without biases, and with
def test_packed_weights_give_the_same_products(shape: str, tmp_path: Path) -> None:
    network = load(resolve(str(tiny_lm(tmp_path, shape))), device="cpu").to(torch.bfloat16)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear) and module.bias is not None:
            torch.nn.init.normal_(module.bias)
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        plain = network(input_ids=ids).logits
        pack(network)
        torch.testing.assert_close(network(input_ids=ids).logits, plain)


def test_a_long_prompt_does_not_hold_up_open_answers(
    base: BaseRef, folders: dict[str, Path]
) -> None:
    engine = ready(base, folders)
    writing = engine.open(Question("all", (1, 2, 3), Sampling(max_new_tokens=50)))
    engine.step()
    prompt = tuple(range(20, 120)) * 8
    long = engine.open(Question("some", prompt, Sampling(max_new_tokens=1)))
    told: list[int] = []
    while long not in told:
        told += [one.handle for one in engine.step()]
    assert told.count(writing) == -(-len(prompt) // READ)


def test_an_answer_ends_at_the_last_position_of_its_base(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    base = resolve(str(tiny_llama(tmp_path / "short", max_position_embeddings=16)))
    engine = ready(base, {"all": tiny_adapter(tmp_path / "all", base, 0)})
    (found,) = engine.answers([Question("all", (5,) * 10, Sampling(max_new_tokens=100))])
    assert isinstance(found, Answer)
    assert found.finish_reason == "length"
    assert found.tokens_in + found.tokens_out == 17  # the last token needs no position
    (refused,) = engine.answers([Question("all", (5,) * 16)])
    assert isinstance(refused, BadInput)
    with pytest.raises(BadInput, match="prompt: got 512, expected token ids below 512"):
        engine.open(Question("all", (5, 512)))


def test_whole_answers_do_not_wait_for_a_queue_that_others_fill(
    base: BaseRef, folders: dict[str, Path]
) -> None:
    engine = ready(base, folders, places=1, queue=2)
    question = Question("all", (1, 2, 3), Sampling(max_new_tokens=WRITES))
    (wanted,) = engine.answers([question])
    others = [engine.open(question) for _ in range(3)]
    told = engine.step()
    tokens = engine._open[0].tokens[:]
    (found,) = engine.answers([Question("some", (4, 5), Sampling(max_new_tokens=2))])
    assert isinstance(found, Answer)
    assert engine._open[0].tokens == tokens  # nobody's text lasts as long as another's
    while engine.busy:
        told += engine.step()
    texts = {one: "".join(w.text for w in told if w.handle == one) for one in others}
    assert isinstance(wanted, Answer)
    assert set(texts.values()) == {wanted.text}


def test_a_question_that_fails_leaves_nothing_of_whole_answers(
    base: BaseRef, folders: dict[str, Path]
) -> None:
    engine = ready(base, folders)
    with pytest.raises(BadConfig, match="gone is not resident"):
        engine.answers([Question("all", (1, 2)), Question("gone", (1, 2))])
    assert not engine.busy


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_smallest_temperature_takes_the_likeliest_token(top_p: float) -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, -4.0])
    sampling = Sampling(temperature=5e-324, top_p=top_p)
    assert [drawn(logits, sampling, chance) for chance in (0.0, 0.5, 0.999)] == [1, 1, 1]


def test_numbers_that_are_not_finite_end_one_answer_alone(
    base: BaseRef, folders: dict[str, Path], tmp_path: Path
) -> None:
    wild = tiny_adapter(tmp_path / "wild", base, 0, std=1e37)
    engine = ready(base, folders)
    asked = [Question(name, (5, 6, 7), Sampling(max_new_tokens=WRITES)) for name in folders]
    wanted = engine.answers(asked)
    engine.load("wild", wild)
    found = engine.answers([*asked, Question("wild", (5, 6, 7))])
    assert [one.text for one in found[:-1] if isinstance(one, Answer)] == [
        one.text for one in wanted if isinstance(one, Answer)
    ]
    assert isinstance(found[-1], Corrupt)


@pytest.mark.parametrize(
    ("edit", "error", "told"),
    [
        (lambda t, c: c.update(use_dora=True), BadConfig, "use_dora is True, expected plain LoRA"),
        (lambda t, c: c.update(bias="all"), BadConfig, "bias is 'all', expected plain LoRA"),
        (lambda t, c: c.update(peft_type="IA3"), BadConfig, "peft_type is 'IA3'"),
        (lambda t, c: c.update(r=None), Corrupt, "lacks a usable r or lora_alpha"),
        (lambda t, c: c.update(r=0), Corrupt, "lacks a usable r or lora_alpha"),
        (lambda t, c: t.pop(min(t)), Corrupt, "A and B of"),
        (lambda t, c: t.update({min(t): t[min(t)][:1]}), Corrupt, "A and B of"),
        (lambda t, c: t[min(t)].fill_(float("nan")), Corrupt, "not finite"),
        (lambda t, c: t.update({min(t): t[min(t)][:, :3]}), BadConfig, "does not fit base"),
        (
            lambda t, c: t.update({n.replace("layers.1", "layers.7"): t.pop(n) for n in list(t)}),
            BadConfig,
            "no linear map there",
        ),
        (
            lambda t, c: t.update({"base_model.model.lm_head.weight": torch.ones(2, 2)}),
            BadConfig,
            "it changes base_model.model.lm_head.weight",
        ),
    ],
)
def test_what_is_no_plain_lora_of_the_base_is_refused(
    base: BaseRef,
    folders: dict[str, Path],
    tmp_path: Path,
    edit: Edit,
    error: type[Exception],
    told: str,
) -> None:
    tensors = load_file(folders["all"] / "adapter_model.safetensors")
    config = json.loads((folders["all"] / "adapter_config.json").read_text())
    edit(tensors, config)
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(kept, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    engine = ready(base, {})
    with pytest.raises(error, match=told):
        engine.load("odd", tmp_path)
    assert engine.resident() == frozenset()


def test_a_base_whose_attention_is_not_ours_is_refused(
    base: BaseRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaAttention

    usual = LlamaAttention.forward

    def by_itself(self: Any, *given: Any, **named: Any) -> Any:
        named.pop("pieces", None)
        return usual(self, *given, **named)

    monkeypatch.setattr(LlamaAttention, "forward", by_itself)
    with pytest.raises(BadConfig, match="cannot be served by the local engine"):
        Generator(base, device="cpu")
