"""Can adapters be trained on a base? Known from its configuration, before anything is trained."""

from __future__ import annotations

from driftgate.bases import BaseRef
from driftgate.classifier.base import tokenizer
from driftgate.errors import BadConfig
from driftgate.lora_targets import outline, require_linear_maps

EXPECTED = "expected an encoder such as BERT, RoBERTa or DistilBERT"


def adaptable(base: BaseRef) -> None:
    """Passes when LoRA fits a base. Reads configuration and tokenizer, no weights.

    Raises:
        BadConfig: it does not fit, and why.
    """
    from transformers import AutoModel

    tokenizer(base)
    network = outline(base, AutoModel, EXPECTED)
    if getattr(network.config, "is_encoder_decoder", False):
        raise BadConfig(f"base: {base.name!r} has a decoder beside its encoder; {EXPECTED}")
    require_linear_maps(base, network, EXPECTED)
