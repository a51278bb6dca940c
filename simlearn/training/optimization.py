"""The default optimiser, and the check that an optimiser forgets nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer, SparseAdam
from torch.optim.lr_scheduler import LambdaLR

from simlearn.encoders import Encoder


def default_optimizer(
    parts: Iterable[nn.Module], learning_rate: float, encoder_learning_rate: float, weight_decay: float
) -> Optimizer:
    """AdamW over everything that training changes, whose settings are decided a parameter at a time.

    Tables with sparse gradients get a `SparseAdam` behind it: AdamW would read and write the whole table in every step.
    No table that starts from nothing is decayed, which would shrink the rows that no sample touches.

    Args:
        parts: modules, in the order of the optimiser's state.
        learning_rate: for weights that start from nothing.
        encoder_learning_rate: for those that encoders call pretrained, which a large step would destroy.
        weight_decay: for matrices; biases, gates and norms are not decayed (Loshchilov & Hutter 2019 decay all, which
            pulls a gate towards half open and a norm towards zero).
    """
    modules = [module for part in parts for module in part.modules()]
    encoders = [module for module in modules if isinstance(module, Encoder)]
    pretrained = {id(parameter) for encoder in encoders for parameter in encoder.pretrained_parameters()}
    tables = {
        id(parameter): getattr(module, "sparse", False) is True
        for module in modules
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) or getattr(module, "sparse", False) is True
        for parameter in module.parameters(recurse=False)
    }
    dense: dict[tuple[float, float], list[nn.Parameter]] = {}
    sparse: dict[float, list[nn.Parameter]] = {}
    seen: set[int] = set()
    for parameter in (parameter for module in modules for parameter in module.parameters(recurse=False)):
        if not parameter.requires_grad or id(parameter) in seen:
            continue
        seen.add(id(parameter))
        rate = encoder_learning_rate if id(parameter) in pretrained else learning_rate
        if tables.get(id(parameter)):
            sparse.setdefault(rate, []).append(parameter)
            continue
        decays = parameter.ndim > 1 and (id(parameter) not in tables or id(parameter) in pretrained)
        dense.setdefault((rate, weight_decay if decays else 0.0), []).append(parameter)
    groups = [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in dense.items()]
    behind = [{"params": params, "lr": rate} for rate, params in sparse.items()]
    if not behind:
        return AdamW(groups)
    optimizers: list[Optimizer] = [AdamW(groups)] if groups else []
    return DenseAndSparse([*optimizers, SparseAdam(behind)])


class DenseAndSparse(Optimizer):
    """Several optimisers as one, with one state and one list of groups, for schedules and checkpoints.

    Args:
        optimizers: of different parameters; they are used by nobody else.
    """

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        self._optimizers = list(optimizers)
        super().__init__([group for one in self._optimizers for group in one.param_groups], {})
        self._share()

    def _share(self) -> None:
        start = 0
        for one in self._optimizers:
            stop = start + len(one.param_groups)
            one.param_groups, one.state, start = self.param_groups[start:stop], self.state, stop

    def step(self, closure: Any = None) -> Any:
        """A step of each."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for one in self._optimizers:
            one.step()
        return value

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The state of all."""
        super().load_state_dict(state_dict)
        self._share()


def clip_sparse(parameters: Iterable[nn.Parameter], limit: float, by_value: bool = False) -> bool:
    """Clip gradients, sparse ones among them, which torch's own functions do not take.

    Args:
        parameters: those with gradients are clipped together.
        limit: the largest norm of all gradients together, or the largest value.
        by_value: clip each value.

    Returns:
        Whether there were sparse gradients; where not, nothing is done.
    """
    graded = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    if not any(gradient.is_sparse for _, gradient in graded):
        return False
    values: list[Tensor] = []
    for parameter, gradient in graded:
        if gradient.is_sparse:
            parameter.grad = gradient.coalesce()  # a row that came several times has one gradient, their sum
            values.append(parameter.grad.values())
        else:
            values.append(gradient)
    if by_value:
        for value in values:
            value.clamp_(-limit, limit)
        return True
    norm = torch.stack([torch.linalg.vector_norm(value).to(values[0].device) for value in values]).norm()
    for value in values:
        value.mul_((limit / (norm + 1e-6)).clamp(max=1.0).to(value.device))  # as torch.nn.utils.clip_grad_norm_
    return True


def linear_warmup(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Raise the learning rates from near zero to their values over the first `steps` steps, then keep them."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (steps + 1)))


def forgotten(named_parameters: Iterable[tuple[str, nn.Parameter]], optimizers: Iterable[Optimizer]) -> list[str]:
    """The names of trainable parameters that no optimiser holds."""
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return [name for name, parameter in named_parameters if parameter.requires_grad and id(parameter) not in held]
