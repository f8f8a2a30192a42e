from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bases import tiny
from tiny_llama import SHAPES, tiny_llama, tiny_lm

from driftgate.bases import MINILM, BaseRef, resolve
from driftgate.errors import BadConfig
from driftgate.generator.base import adaptable, load
from driftgate.generator.chat import Chat


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def llama(whole: Path, tmp_path: Path) -> Path:
    """A folder of one's own to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "llama"))


def logits(base: BaseRef, network: Any) -> torch.Tensor:
    ids = torch.tensor([Chat.of(base).prompt("Be brief.", "Where is my order?")])
    with torch.inference_mode():
        return network(ids).logits[0].float()


@pytest.mark.parametrize("shape", SHAPES)
def test_bases_of_each_family_are_adapted_and_loaded(tmp_path: Path, shape: str) -> None:
    base = resolve(str(tiny_lm(tmp_path, shape)))
    adaptable(base)
    network = load(base, device="cpu")
    assert not network.training
    assert all(not weight.requires_grad for weight in network.parameters())
    assert all(weight.dtype == torch.float32 for weight in network.parameters())
    assert torch.isfinite(logits(base, network)).all()


def test_a_qlora_base_is_held_in_four_bits(whole: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    base = resolve(str(whole))
    network = load(base, "qlora", device="cpu")
    held = [module for module in network.modules() if isinstance(module, Linear4bit)]
    assert len(held) == 2 * 7  # all linear maps of both layers, not the output
    assert all(module.weight.quant_state.quant_type == "nf4" for module in held)
    assert all(module.weight.quant_state.nested for module in held)
    assert not network.training
    assert all(not weight.requires_grad for weight in network.parameters())
    exact = logits(base, load(base, device="cpu"))
    found = logits(base, network)
    assert not torch.equal(found, exact)
    assert torch.corrcoef(torch.stack([found.flatten(), exact.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model_type": "unheard_of"}, "model_type 'unheard_of'"),
        ({"architectures": ["LlamaModel"]}, r"architectures \['LlamaModel'\]"),
        ({"architectures": None}, r"architectures \[\]"),
        (
            {"quantization_config": {"quant_method": "gptq"}},
            r"quantised already \(gptq\)",
        ),
        ({"num_attention_heads": "four"}, "transformers cannot build the network"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(
    llama: Path, changed: dict[str, Any], told: str
) -> None:
    file = llama / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    with pytest.raises(BadConfig, match=told):
        adaptable(resolve(str(llama)))


def test_an_encoder_is_no_generator() -> None:
    base = resolve(MINILM)
    for refuse in (adaptable, load):
        with pytest.raises(BadConfig, match=r"'bert' and architectures \['BertModel'\]"):
            refuse(base)


def test_layers_without_linear_maps_are_refused(llama: Path, tmp_path: Path) -> None:
    """GPT-2 has maps of its own class."""
    gpt2 = tiny(tmp_path / "gpt2", "gpt2", architectures=["GPT2LMHeadModel"])
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(llama / name, gpt2)
    file = gpt2 / "config.json"
    config = json.loads(file.read_text()) | {"architectures": ["GPT2LMHeadModel"]}
    file.write_text(json.dumps(config))
    with pytest.raises(BadConfig, match=r"\(gpt2\) hold no torch\.nn\.Linear.*Mistral"):
        adaptable(resolve(str(gpt2)))


def test_a_base_without_chat_template_is_refused(llama: Path) -> None:
    (llama / "chat_template.jinja").unlink()
    with pytest.raises(BadConfig, match="has no chat template"):
        adaptable(resolve(str(llama)))


def test_missing_weights_are_not_drawn_at_random(llama: Path) -> None:
    file = llama / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(BadConfig, match=r"lack model\.layers\.1\.mlp\.up_proj\.weight"):
        load(resolve(str(llama)), device="cpu")


def test_an_output_tied_to_the_input_is_not_missed(tmp_path: Path) -> None:
    base = resolve(str(tiny_llama(tmp_path, tie_word_embeddings=True)))
    adaptable(base)
    network = load(base, device="cpu")
    assert network.lm_head.weight is network.model.embed_tokens.weight
