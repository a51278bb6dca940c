"""The default optimiser, and the check that an optimiser forgets nothing."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from simlearn.encoders import Encoder


def default_optimizer(
    parts: Iterable[nn.Module], learning_rate: float, encoder_learning_rate: float, weight_decay: float
) -> AdamW:
    """AdamW over everything that training changes, whose settings are decided a parameter at a time.

    Args:
        parts: modules, in the order of the optimiser's state.
        learning_rate: for weights that start from nothing.
        encoder_learning_rate: for those that encoders call pretrained, which a large step would destroy.
        weight_decay: for matrices; biases, gates and norms are not decayed (Loshchilov & Hutter 2019 decay all, which
            pulls a gate towards half open and a norm towards zero).
    """
    parts = list(parts)
    encoders = [module for part in parts for module in part.modules() if isinstance(module, Encoder)]
    pretrained = {id(parameter) for encoder in encoders for parameter in encoder.pretrained_parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for parameter in (parameter for part in parts for parameter in part.parameters()):
        if not parameter.requires_grad or id(parameter) in seen:
            continue
        seen.add(id(parameter))
        rate = encoder_learning_rate if id(parameter) in pretrained else learning_rate
        groups.setdefault((rate, weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return AdamW([{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()])


def linear_warmup(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Raise the learning rates from near zero to their values over the first `steps` steps, then keep them."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (steps + 1)))


def forgotten(named_parameters: Iterable[tuple[str, nn.Parameter]], optimizers: Iterable[Optimizer]) -> list[str]:
    """The names of trainable parameters that no optimiser holds."""
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return [name for name, parameter in named_parameters if parameter.requires_grad and id(parameter) not in held]
