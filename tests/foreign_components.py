"""Heads as users write them, who have read no more than that a head has `transform` and `output_size`."""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from simlearn.heads import EncoderHead

SIZE = 4


class Same(EncoderHead):
    """What they have in common."""

    @property
    def output_size(self) -> int:
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors


class Gain(Same):
    def __init__(self, input_embedding_size: int, gain: float = 1.0) -> None:
        super().__init__(input_embedding_size)
        self.gain = gain

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors * self.gain


class Options(Same):
    def __init__(self, input_embedding_size: int, **kwargs: Any) -> None:
        super().__init__(input_embedding_size)
        self.power = kwargs.get("power", 1)
        self.shift = kwargs.get("shift", 0.0)

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors.pow(self.power) + self.shift


class ByPlace(Same):
    def __init__(self, input_embedding_size: int, gain: float, /, shift: float = 0.0) -> None:
        super().__init__(input_embedding_size)
        self.scale = gain
        self.shift = shift

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors * self.scale + self.shift


class Lambda(Same):
    def __init__(self, input_embedding_size: int, gain: float = 1.0) -> None:
        super().__init__(input_embedding_size)
        self.apply_gain = lambda vectors: vectors * gain

    def transform(self, input_vectors: Tensor) -> Tensor:
        return self.apply_gain(input_vectors)


def scaled(vectors: Tensor, gain: float) -> Tensor:
    return vectors * gain


class Partial(Same):
    """One partial as an argument, another in an attribute."""

    def __init__(self, input_embedding_size: int, first: Callable[[Tensor], Tensor], gain: float = 1.0) -> None:
        super().__init__(input_embedding_size)
        self.first = first
        self.second = functools.partial(scaled, gain=gain)

    def transform(self, input_vectors: Tensor) -> Tensor:
        return self.second(self.first(input_vectors))


def scaling(gain: float) -> Callable[[Tensor], Tensor]:
    def scale(vectors: Tensor) -> Tensor:
        return vectors * gain

    return scale


class Closure(Same):
    def __init__(self, input_embedding_size: int, gain: float = 1.0) -> None:
        super().__init__(input_embedding_size)
        self.scale = scaling(gain)

    def transform(self, input_vectors: Tensor) -> Tensor:
        return self.scale(input_vectors)


class Called(Same):
    """Takes a function."""

    def __init__(self, input_embedding_size: int, function: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__(input_embedding_size)
        self.function = function

    def transform(self, input_vectors: Tensor) -> Tensor:
        return self.function(input_vectors)


class Kind(Enum):
    PLAIN = 1
    DOUBLE = 2


class Range(NamedTuple):
    low: float
    high: float


@dataclass
class Settings:
    gain: float = 1.0
    kind: Kind = Kind.PLAIN
    clip: Range | None = None
    names: list[str] = field(default_factory=list)


class Configured(Same):
    def __init__(self, input_embedding_size: int, settings: Settings) -> None:
        super().__init__(input_embedding_size)
        self.settings = settings

    def transform(self, input_vectors: Tensor) -> Tensor:
        return (input_vectors * self.settings.gain * self.settings.kind.value).clamp(*self.settings.clip)


class Weighted(Same):
    def __init__(self, weights: np.ndarray) -> None:
        super().__init__(len(weights))
        self.weights = weights

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors * torch.from_numpy(self.weights)


class Doubled(nn.Module):
    def __init__(self, size: int, times: int = 2) -> None:
        super().__init__()
        self.size, self.times = size, times
        self.layer = nn.Linear(size, size)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layer(vectors) * self.times


class Around(Same):
    """Around a module, which it freezes and initialises, as one would before training."""

    def __init__(self, input_embedding_size: int, inner: nn.Module) -> None:
        super().__init__(input_embedding_size)
        self.inner = inner
        for parameter in inner.parameters():
            nn.init.normal_(parameter)
        inner.requires_grad_(False)
        inner.eval()

    def transform(self, input_vectors: Tensor) -> Tensor:
        return self.inner(input_vectors)


class Silent(Same):
    """What decides nothing, or is a name: a logger, a lock, a pattern, functions of torch."""

    def __init__(self, input_embedding_size: int) -> None:
        super().__init__(input_embedding_size)
        self.log = logging.getLogger("simlearn.tests")
        self.lock = threading.Lock()
        self.pattern = re.compile("[a-z]+")
        self.activation, self.other = torch.relu, nn.functional.gelu

    def transform(self, input_vectors: Tensor) -> Tensor:
        return self.other(self.activation(input_vectors))


HEADS: dict[str, Callable[[], Same]] = {
    "no get_config_dict": lambda: Gain(SIZE, 5.0),
    "**kwargs": lambda: Options(SIZE, power=3, shift=0.5),
    "positional-only": lambda: ByPlace(SIZE, 5.0, shift=2.0),
    "a lambda in an attribute": lambda: Lambda(SIZE, 5.0),
    "partials": lambda: Partial(SIZE, functools.partial(scaled, gain=3.0), 5.0),
    "a closure": lambda: Closure(SIZE, 5.0),
    "a dataclass": lambda: Configured(SIZE, Settings(5.0, Kind.DOUBLE, Range(-3.0, 2.0), ["a"])),
    "an array": lambda: Weighted(np.arange(SIZE, dtype=np.float32)),
    "a module of one's own": lambda: Around(SIZE, Doubled(SIZE, 3)),
    "modules of torch": lambda: Around(SIZE, nn.Sequential(nn.Linear(SIZE, SIZE), nn.Tanh(), Doubled(SIZE))),
    "a layer": lambda: Around(SIZE, nn.Linear(SIZE, SIZE)),
    "what decides nothing": lambda: Silent(SIZE),
    "a function of torch": lambda: Called(SIZE, torch.sigmoid),
    "a function of torch.nn.functional": lambda: Called(SIZE, nn.functional.softplus),
    "a function of one's own": lambda: Called(SIZE, functools.partial(scaled, gain=2.0)),
}
CLASSES = (
    Gain, Options, ByPlace, Lambda, Partial, Closure, Called, Kind, Range, Settings, Configured, Weighted, Doubled,
    Around, Silent, scaled,
)  # fmt: skip
"""What loading has to be given; a function among the arguments too."""
