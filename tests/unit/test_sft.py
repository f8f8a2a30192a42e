from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import tiny_llama, tiny_lm
from version_files import digest

from driftgate.bases import BaseRef, resolve
from driftgate.errors import BadConfig, BadInput
from driftgate.generator.base import load
from driftgate.generator.chat import Chat
from driftgate.generator.prompt import Prompt
from driftgate.generator.question import Question
from driftgate.generator.serving import Generator
from services.trainer.failures import TrainingFailed
from services.trainer.recipes import Trained
from services.trainer.sft import network as networks
from services.trainer.sft.method import Method
from services.trainer.sft.network import Adapted
from services.trainer.sft.packing import Layout, seen
from services.trainer.sft.pairs import Limits, Pair, pairs_of, shared_prefix, validated
from services.trainer.sft.tune import tune

TEAMS = {"paid": "billing", "late": "parcels", "broken": "repairs"}
ROWS = [
    (f"{start} {word}{end}", f'{{"team": "{team}"}}')
    for word, team in TEAMS.items()
    for start in ("it is", "the order was", "my thing, which I ordered in May, is")
    for end in ("", " again", ", what now?", " and I am not amused by this at all")
]
PROMPT = Prompt("Name the team.", "Message: {text}")
LIMITS = Limits(128, 32)
METHOD = Method(layers=1, epochs=3, learning_rate=2e-2, batch_size=8, validation_share=0.2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseRef:
    """Its output layer can tell tokens apart, which one of usual random weights hardly can."""
    return resolve(str(tiny_llama(tmp_path_factory.mktemp("llama"), initializer_range=0.3)))


def train(base: BaseRef, out: Path, **changed: Any) -> Trained:
    settings: dict[str, Any] = {
        "rows": ROWS,
        "prompt": PROMPT,
        "limits": LIMITS,
        "method": METHOD,
        "seed": 7,
        "progress": lambda share, doing: None,
        "device": "cpu",
        **changed,
    }
    return tune(base=base, out=out, **settings)


def test_a_version_names_its_base(base: BaseRef, tmp_path: Path) -> None:
    train(base, tmp_path / "v", method=replace(METHOD, epochs=1))
    other = resolve(str(tiny_llama(tmp_path / "other", seed=1)))
    with pytest.raises(BadConfig, match="serve it on its own base"):
        Generator(other, device="cpu").load("v", tmp_path / "v")


def pairs(base: BaseRef, rows: list[tuple[str, str]] = ROWS) -> list[Pair]:
    return pairs_of(rows, Chat.of(base), PROMPT, LIMITS)[0]


def answered(model: Any, chat: Chat, text: str) -> str:
    """Greedily."""
    asked = torch.tensor([chat.prompt(PROMPT.system, PROMPT.user(text))])
    seen = torch.ones_like(asked)
    found = model.generate(input_ids=asked, attention_mask=seen, max_new_tokens=32, do_sample=False)
    return chat.text(found[0, asked.shape[1] :].tolist())


# ---------------------------------------------------------------- what is learned


def test_a_version_answers_as_it_was_taught_by_peft_and_by_the_engine(
    base: BaseRef, tmp_path: Path
) -> None:
    from peft import PeftModel

    told: list[tuple[float, str]] = []
    made = train(
        base,
        tmp_path / "v",
        method=Method(layers=2, epochs=20, learning_rate=1e-2, batch_size=8, validation_share=0),
        progress=lambda share, doing: told.append((share, doing)),
    )
    assert made.losses[-1] < 0.1 * made.losses[0]
    assert sorted(p.name for p in (tmp_path / "v").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "probe.json",
    ]
    chat, untaught = Chat.of(base), load(base, device="cpu")
    assert answered(untaught, chat, "the lamp is broken") != '{"team": "repairs"}'
    taught = PeftModel.from_pretrained(untaught, tmp_path / "v")
    engine = Generator(base, device="cpu")
    engine.load("v", tmp_path / "v")
    for word, team in TEAMS.items():
        text, expected = f"it is {word} again", f'{{"team": "{team}"}}'
        assert answered(taught, chat, text) == expected
        (written,) = engine.answers([Question("v", engine.prompt(PROMPT, text))])
        assert written.text == expected
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, "trained")
    assert any("step 3 of" in doing and "loss" in doing for _, doing in told)


def test_same_seed_same_bytes_other_seed_other_bytes(base: BaseRef, tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("again", 7), ("other", 8)):
        train(base, tmp_path / name, seed=seed)
    one, again, other = (digest(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one["adapter_model.safetensors"] != other["adapter_model.safetensors"]


class Killed(Exception):
    pass


NOISE = [(f"message {n} of {n * 7919 % 101}", f"{n * 7907 % 97:02}") for n in range(60)]
"""Targets at random: what is learned by heart helps nowhere else."""

BY_HEART = Method(
    layers=2, epochs=30, learning_rate=2e-2, batch_size=8, validation_share=0.3, patience=2
)


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(base: BaseRef, tmp_path: Path) -> None:
    """Also when its best epoch lies before the kill."""
    unbroken = train(base, tmp_path / "unbroken", rows=NOISE, method=BY_HEART)
    best, epochs = int(unbroken.metrics["best_epoch"]), len(unbroken.losses)
    assert epochs == best + 2
    steps: list[str] = []

    def kill(share: float, doing: str) -> None:
        steps.extend([doing] if doing.startswith("step") else [])
        if len(steps) == (best + 1) * unbroken.steps // epochs + 2:  # in the last epoch
            raise Killed

    asked: dict[str, Any] = {"rows": NOISE, "method": BY_HEART, "checkpoint": tmp_path / "kept"}
    with pytest.raises(Killed):
        train(base, tmp_path / "killed", progress=kill, **asked)
    resumed = train(base, tmp_path / "resumed", **asked)
    assert resumed.metrics["resumed_epochs"] == best + 1
    assert (resumed.losses, resumed.validation) == (unbroken.losses, unbroken.validation)
    assert digest(tmp_path / "resumed") == digest(tmp_path / "unbroken")


def test_a_run_that_stopped_early_does_not_go_on_when_it_is_resumed(
    base: BaseRef, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    ended = train(base, tmp_path / "ended", rows=NOISE, method=BY_HEART, checkpoint=kept)
    again = train(base, tmp_path / "again", rows=NOISE, method=BY_HEART, checkpoint=kept)
    assert len(ended.losses) < 30
    assert again.metrics["resumed_epochs"] == len(again.losses) == len(ended.losses)
    assert digest(tmp_path / "again") == digest(tmp_path / "ended")


@pytest.mark.parametrize("changed", [{"seed": 8}, {"rows": ROWS[1:]}])
def test_a_checkpoint_of_another_run_is_passed_over(
    base: BaseRef, tmp_path: Path, changed: dict[str, Any]
) -> None:
    method, kept = replace(METHOD, epochs=1), tmp_path / "kept"
    train(base, tmp_path / "first", checkpoint=kept, method=method)
    second = train(base, tmp_path / "second", checkpoint=kept, method=method, **changed)
    assert second.metrics["resumed_epochs"] == 0


def test_the_best_epoch_is_kept_and_a_training_that_gets_worse_stops(
    base: BaseRef, tmp_path: Path
) -> None:
    made = train(base, tmp_path / "v", rows=NOISE, method=BY_HEART)
    best = int(made.metrics["best_epoch"])
    assert best < len(made.losses) == best + 2 < 30

    network = Adapted(load(base, device="cpu"), pairs(base, NOISE), BY_HEART)
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "v" / "adapter_model.safetensors")
    set_peft_model_state_dict(network.model, weights)
    _, held = validated(network.pairs, 0.3)
    with torch.no_grad():
        found = float(torch.cat([network.losses([row]) for row in held]).mean())
    assert found == pytest.approx(min(made.validation), abs=0.02)


@pytest.mark.parametrize("rate", [1e20, float("inf")])
def test_a_training_that_diverges_ends_in_words(base: BaseRef, tmp_path: Path, rate: float) -> None:
    method = Method(layers=1, epochs=2, learning_rate=rate)
    kept = tmp_path / "kept"
    with pytest.raises(TrainingFailed, match=r"diverged: \w+ in epoch 1.*method\.learning_rate"):
        train(base, tmp_path / "v", method=method, checkpoint=kept)
    assert not kept.exists()
    assert not (tmp_path / "v").exists()


def test_a_base_that_lora_does_not_fit_is_refused_before_its_weights_are_read(
    tmp_path: Path,
) -> None:
    folder = tiny_llama(tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    told: list[str] = []
    with pytest.raises(BadConfig, match="has no chat template"):
        train(
            resolve(str(folder)), tmp_path / "v", progress=lambda share, doing: told.append(doing)
        )
    assert told == []


def test_a_base_in_4_bits_is_trained(base: BaseRef, tmp_path: Path) -> None:
    method = Method(kind="qlora", layers=2, epochs=8, learning_rate=1e-2, batch_size=8)
    made = train(base, tmp_path / "v", method=method)
    assert made.losses[-1] < 0.5 * made.losses[0]


# ---------------------------------------------------------------- what the loss is of


def grown(base: BaseRef) -> Adapted:
    """With an adapter that says something."""
    found = Adapted(load(base, device="cpu"), pairs(base), Method(layers=1))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in found.model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
    return found


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "product_dtype", lambda device: torch.float32)


SHAPES = ("llama", "llama3", "qwen2", "qwen3", "gemma", "gemma3_text", "mistral")


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("shape", SHAPES)
def test_packed_pairs_get_what_transformers_gives_each_alone(tmp_path: Path, shape: str) -> None:
    """Losses and gradients, with and without kept activations, at windows shorter than a pair."""
    windows = {"sliding_window": 24} if shape in ("mistral", "gemma3_text") else {}
    other = resolve(
        str(tiny_lm(tmp_path / shape, shape, num_hidden_layers=3, initializer_range=0.3, **windows))
    )
    network = grown(other)
    assert network._packs
    assert network.prefix > 5
    rows = [3, 0, 17, 30]
    parameters = [p for p in network.model.parameters() if p.requires_grad]

    def grads(losses: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(losses.sum(), parameters))

    computed = network.losses(rows)
    network.keep(lambda share: None)
    kept = network.losses(rows)
    network._packs = False
    alone = network.losses(rows)
    torch.testing.assert_close(computed, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(kept, alone, atol=1e-4, rtol=1e-4)
    for packed, plain in zip(grads(kept), grads(alone), strict=True):
        assert (packed - plain).norm() < 1e-3 * plain.norm()


@pytest.mark.usefixtures("exact")
def test_only_the_answer_bears_loss(base: BaseRef) -> None:
    network = grown(base)
    row = 5
    pair = network.pairs[row]
    whole = torch.tensor([[*pair.prompt, *pair.completion]])
    logits = network.model(input_ids=whole).logits[0].log_softmax(-1)
    ids = list(pair.completion)
    expected = [-logits[len(pair.prompt) - 1 + at, token] for at, token in enumerate(ids)]
    torch.testing.assert_close(network.losses([row]), torch.stack(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("exact")
def test_without_room_activations_are_computed_anew(
    base: BaseRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = grown(base)
    network.keep(lambda share: None)
    kept = network.losses([1, 2, 3])
    monkeypatch.setattr(networks, "KEPT_BYTES", 0)
    other = grown(base)
    other.keep(lambda share: None)
    assert not other._kept
    torch.testing.assert_close(other.losses([1, 2, 3]), kept, atol=1e-3, rtol=1e-4)


@pytest.mark.usefixtures("exact")
def test_what_does_not_pack_is_computed_pair_by_pair(
    base: BaseRef, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packed = grown(base).losses([1, 4])

    def refuses(*given: Any, **named: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(networks.packing, "attention", refuses)
    other = grown(base)
    assert not other._packs
    torch.testing.assert_close(other.losses([1, 4]), packed, atol=1e-4, rtol=1e-4)
    assert train(base, tmp_path / "v").losses[-1] < 3


def test_a_step_takes_as_many_passes_as_memory_asks_for(
    base: BaseRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = train(base, tmp_path / "one")
    monkeypatch.setattr(networks, "TOKENS", {"cpu": 90})
    parts = train(base, tmp_path / "parts")
    assert parts.steps == one.steps
    assert parts.losses == pytest.approx(one.losses, rel=0.02)


def test_passes_take_every_pair_once_and_stay_small(base: BaseRef) -> None:
    network = Adapted(load(base, device="cpu"), pairs(base), METHOD)
    rows = list(range(len(ROWS)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(networks, "TOKENS", {"cpu": 150})
        parts = list(network.passes(rows))
    assert sorted(row for part in parts for row in part) == rows
    tokens = [network.prefix + sum(network.own[row] for row in part) for part in parts]
    assert max(tokens) <= 150 < tokens[0] + network.own[parts[1][0]]


# ---------------------------------------------------------------- pairs


def test_a_pair_is_the_prompt_of_serving_and_the_answer_up_to_its_end(base: BaseRef) -> None:
    chat = Chat.of(base)
    (pair,), left_out = pairs_of([(" Hello  there", ' {"a": 1}\n')], chat, PROMPT, LIMITS)
    assert list(pair.prompt) == chat.prompt("Name the team.", "Message:  Hello  there")
    assert chat.text(pair.completion) == '{"a": 1}'
    assert pair.completion[-1] in chat.ends
    assert not chat.ends & set(pair.completion[:-1])
    assert left_out == {}


def test_pairs_that_are_too_long_are_counted_and_the_others_learned(base: BaseRef) -> None:
    rows = [*ROWS, ("word " * 300, "x"), ("short", "long " * 99), ("short", "longer " * 99)]
    found, left_out = pairs_of(rows, Chat.of(base), PROMPT, LIMITS)
    assert [pair.text for pair in found] == [text for text, _ in ROWS]
    assert left_out == {
        "prompt is longer than max_input_tokens (128)": 1,
        "answer is longer than max_new_tokens (32)": 2,
    }


def test_a_pair_that_the_template_refuses_stops_no_other(
    base: BaseRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Chat.of(base)
    written = chat.completion

    def refuses(text: str) -> list[int]:
        if text == "odd":
            raise BadConfig("the chat template does not append it")
        return written(text)

    monkeypatch.setattr(chat, "completion", refuses)
    found, left_out = pairs_of([("a", "odd"), ("b", "even")], chat, PROMPT, LIMITS)
    assert [pair.text for pair in found] == ["b"]
    assert left_out == {"the base's chat template does not render it": 1}


def test_nothing_but_pairs_that_are_too_long_is_said_so(base: BaseRef, tmp_path: Path) -> None:
    rows = [("word " * 300, "x")] * 3
    with pytest.raises(BadInput, match=r"3 prompt is longer than max_input_tokens \(128\)"):
        train(base, tmp_path / "v", rows=rows)


def test_a_shared_prefix_leaves_each_prompt_a_token() -> None:
    def prefix(*prompts: tuple[int, ...]) -> int:
        return shared_prefix([Pair("", prompt, (9,)) for prompt in prompts])

    assert prefix((1, 2, 3, 4), (1, 2, 5)) == 2
    assert prefix((1, 2, 3), (1, 2, 3)) == 2
    assert prefix((1, 2), (1, 2, 3)) == 1
    assert prefix((1, 2), (3, 4)) == 0
    assert prefix((1,)) == 0


def test_inputs_that_are_alike_are_validated_together() -> None:
    found = [Pair(text, (1,), (2,)) for n in range(200) for text in (f"Text {n}", f"text  {n}")]
    learned, held = validated(found, 0.1)
    assert sorted([*learned, *held]) == list(range(400))
    assert 20 < len(held) < 60
    assert {at // 2 for at in learned}.isdisjoint(at // 2 for at in held)
    assert {found[at].text for at in held} >= {
        found[at].text for at in validated(found[:300], 0.1)[1]
    }


@pytest.mark.parametrize(("share", "count"), [(0.0, 3), (0.1, 1), (1.0, 3)])
def test_something_is_always_learned(share: float, count: int) -> None:
    found = [Pair(f"text {n}", (1,), (2,)) for n in range(count)]
    learned, held = validated(found, share)
    assert learned
    assert not held or share > 0


def test_positions_begin_anew_for_each_pair() -> None:
    layout = Layout(2, (3, 1))
    assert layout.positions().tolist() == [[0, 1, 2, 3, 4, 2]]
    assert layout.last([2, 1]).tolist() == [3, 4, 5]
    assert Layout(0, (2, 2)).positions().tolist() == [[0, 1, 0, 1]]


def test_a_window_ends_what_is_seen() -> None:
    assert seen(3, 3, None, torch.device("cpu")) is None
    assert seen(2, 4, None, torch.device("cpu")).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert seen(2, 4, 2, torch.device("cpu")).int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]


def test_losses_are_finite_numbers(base: BaseRef, tmp_path: Path) -> None:
    made = train(base, tmp_path / "v")
    assert all(map(math.isfinite, made.losses + made.validation))
