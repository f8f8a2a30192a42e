"""LoRA's step with one large product a map in each direction, where `peft` takes three.

`y = x (W + s·B·A)ᵀ + b`: the sum is formed once a step, at rank / tokens of the product's cost, and
the gradients of A and B go through the rank. W itself gets none. The products run in bfloat16 where
the processor has instructions for it, with parameters, sums and gradients in fp32 (Kalamkar et al.
2019, https://arxiv.org/abs/1905.12322). Measured on one core with AVX512-BF16, top layers of
MiniLM, batches of 32 short texts: 1.13 times as fast as `peft` in fp32, 1.86 times in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _Merged(torch.autograd.Function):
    """The map and its gradients with respect to x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
        dtype: torch.dtype,
    ) -> Tensor:
        merged = torch.addmm(weight, b, a, alpha=scaling).to(dtype)
        rows = x.reshape(-1, x.shape[-1]).to(dtype)
        ctx.save_for_backward(rows, merged, a, b)
        ctx.scaling, ctx.shape = scaling, x.shape
        y = (rows @ merged.T).float()
        return (y if bias is None else y.add_(bias)).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, merged, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1]).to(rows.dtype)
        grad_x = (grad @ merged).float().view(ctx.shape) if ctx.needs_input_grad[0] else None
        grad_a = (grad @ (ctx.scaling * b).to(rows.dtype)).T @ rows
        grad_b = grad.T @ (rows @ (ctx.scaling * a).to(rows.dtype).T)
        return grad_x, None, None, grad_a.float(), grad_b.float(), None, None


def merge_products(model: Any, dtype: torch.dtype) -> None:
    """Let every LoRA map of a `peft` model compute this way. Its parameters stay `peft`'s."""
    from peft.tuners.lora import Linear

    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = partial(_forward, module, dtype)


def frozen_products(modules: Iterable[Any], dtype: torch.dtype) -> None:
    """Let linear maps that are not trained compute in `dtype`, in which their weights are then
    held. A weight that is shared with another module stays there as it is."""
    for module in modules:
        module.weight = torch.nn.Parameter(module.weight.to(dtype), requires_grad=False)
        module.forward = partial(_frozen, module)


def _frozen(module: Any, x: Tensor) -> Tensor:
    y = functional.linear(x.to(module.weight.dtype), module.weight).float()
    return y if module.bias is None else y + module.bias


def _forward(module: Any, dtype: torch.dtype, x: Tensor) -> Tensor:
    found: Tensor = _Merged.apply(
        x,
        module.base_layer.weight,
        module.base_layer.bias,
        module.lora_A["default"].weight,
        module.lora_B["default"].weight,
        module.scaling["default"],
        dtype,
    )
    return found


def product_dtype(device: str) -> torch.dtype:
    """bfloat16 on a processor that computes it natively, else fp32."""
    flags = torch.cpu.get_capabilities()
    native = flags.get("avx512_bf16") or flags.get("amx_bf16")
    return torch.bfloat16 if device == "cpu" and native else torch.float32
