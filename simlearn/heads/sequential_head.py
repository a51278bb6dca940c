"""The head of layers and heads, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, overload

from torch import Tensor, nn

from simlearn.components.torch_layers import describe
from simlearn.embeddings import Embeddings
from simlearn.files import LoadError
from simlearn.heads._sizes import input_size, keeps_size
from simlearn.heads.encoder_head import EncoderHead, needs_call, values_of
from simlearn.meta import Meta


class SequentialHead(EncoderHead):
    """Applies modules in order; a list of modules that can be changed (`append`, `[]`, `del`, `len`, iteration).

    It is saved as JSON and safetensors, without pickle. So its modules must be heads or layers of torch.nn: linear
    ones, activations, normalisations, dropouts, `Flatten` and `Unflatten`. Any other module trains, but raises on
    `save`. A module that stands at two places is stored and trained once.

    Args:
        modules: layers and heads, poolings among them. For many vectors an object, (N, M, D), take layers that act on
            the last dimension; `nn.BatchNorm1d` is given the vectors that count.
        output_size: the length of the embeddings that come out.
        input_embedding_size: D; default: what the given modules say.

    Raises:
        TypeError: for what is no module.
        ValueError: when the modules do not tell the input size; in `forward` and `embed` when vectors of another size
            than `output_size` come out, or when a layer changes how many vectors an object has, whose mask it cannot
            see.

    >>> head = SequentialHead(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), output_size=4)
    >>> head.input_embedding_size, len(head)
    (8, 3)
    """

    version_1_prefix: ClassVar[str] = "layers."
    part_base: ClassVar[type] = EncoderHead

    def __init__(self, *modules: nn.Module, output_size: int, input_embedding_size: int | None = None) -> None:
        super().__init__(_first_input_size(modules) if input_embedding_size is None else input_embedding_size)
        if output_size < 1:
            raise ValueError(f"output_size must be at least 1, got {output_size}")
        self._output_size = output_size
        self.layers = nn.ModuleList(_checked(module) for module in modules)

    @property
    def output_size(self) -> int:
        """The constructor's `output_size`."""
        return self._output_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Apply the modules without meta."""
        return self.forward(input_vectors)

    def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
        """Apply the modules in order, heads with `meta`."""
        values, mask = self._apply_all(input_vectors, None, meta)
        return values_of(Embeddings(values, mask), self) if mask is not None else values

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        """Apply the modules in order, heads by their `embed`."""
        if needs_call(self, SequentialHead):
            return super().embed(embeddings, meta)
        return Embeddings(*self._apply_all(embeddings.blank().values, embeddings.mask, meta))

    def _apply_all(self, values: Tensor, mask: Tensor | None, meta: Meta | None) -> tuple[Tensor, Tensor | None]:
        """Of tensors: between its layers a head may have more dimensions than embeddings have."""
        many = values.ndim == 3
        for layer in self.layers:
            if isinstance(layer, EncoderHead) and values.ndim in (2, 3):
                made = layer.embed(Embeddings(values, mask), meta)
                values, mask = made.values, made.mask
            elif isinstance(layer, EncoderHead):
                values = layer(values, meta)
            elif isinstance(layer, nn.BatchNorm1d) and many and values.ndim == 3:
                values = Embeddings(values, mask).map_vectors(layer).values
            else:
                values = _applied(layer, values, mask)
        if values.shape[-1] != self._output_size:
            raise ValueError(
                f"SequentialHead made vectors of {values.shape[-1]} values, its output_size is {self._output_size}; "
                "give it the output size of its last layer"
            )
        return values, mask

    def append(self, module: nn.Module) -> SequentialHead:
        """Add a module at the end; returns the head."""
        self.layers.append(_checked(module))
        return self

    @overload
    def __getitem__(self, index: int) -> nn.Module: ...

    @overload
    def __getitem__(self, index: slice) -> list[nn.Module]: ...

    def __getitem__(self, index: int | slice) -> nn.Module | list[nn.Module]:
        return list(self.layers)[index]

    def __setitem__(self, index: int, module: nn.Module) -> None:
        self.layers[index] = _checked(module)

    def __delitem__(self, index: int | slice) -> None:
        del self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.layers)

    def kept_arguments(self) -> dict[str, Any]:
        """The modules as they are now."""
        return {"modules": tuple(self), "output_size": self._output_size}

    def check_savable(self) -> None:
        """Whether files can say what its modules are.

        Raises:
            TypeError: for a module that cannot be saved, with what to do about it.
            ValueError: when two layers share a weight.
        """
        layers = {id(module): module for module in self if not isinstance(module, EncoderHead)}
        for index, module in enumerate(self):
            try:
                _ = describe(module) if id(module) in layers else None
            except TypeError as error:
                raise TypeError(f"module {index} of the SequentialHead: {error}") from None
        weights = [weight for layer in layers.values() for weight in layer.parameters()]
        if len({id(weight) for weight in weights}) < len(weights):
            raise ValueError(
                "two layers of a SequentialHead share a weight, which its file cannot say; use one layer twice, "
                "or wrap them in a subclass of EncoderHead"
            )

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """Layers were described in the settings, heads lay in `heads/<index>`."""
        if not isinstance(settings.get("modules"), list):
            raise LoadError(f"{folder} holds no SequentialHead: its config.json lists no modules")
        modules: list[dict[str, Any]] = []
        layers: list[int] = []
        for index, entry in enumerate(settings["modules"]):
            if not isinstance(entry, dict):
                raise LoadError(f"{folder}: module {index} must be an object, got {entry!r:.100}")
            if "same_as" in entry:
                first = entry["same_as"]
                if first not in range(index):
                    raise LoadError(f"{folder}: module {index} must repeat an earlier one, got {entry!r:.100}")
                modules.append({"$layer": layers.index(first)} if first in layers else modules[first])
            elif "head" in entry:
                modules.append({"$part": f"{place}/heads/{index}".strip("/")})
            else:
                modules.append({"$layer": entry})
                layers.append(index)
        return {**settings, "modules": modules}


def _applied(layer: nn.Module, values: Tensor, mask: Tensor | None) -> Tensor:
    made: Tensor = layer(values)
    if mask is not None and made.shape[:-1] != mask.shape:
        raise ValueError(
            f"{type(layer).__name__} made vectors of shape {tuple(made.shape)} from a mask of shape "
            f"{tuple(mask.shape)}, which it cannot see; put a head with embed(embeddings, meta) in its place"
        )
    return made


def _checked(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"SequentialHead takes modules, got {type(module).__name__}; "
            "most functions have a module that does the same, such as nn.ReLU() for torch.relu"
        )
    return module


def _first_input_size(modules: tuple[nn.Module, ...]) -> int:
    for module in modules:
        size = input_size(_checked(module))
        if size is not None:
            return size
        if not keeps_size(module):
            break
    raise ValueError("the modules do not tell what vectors SequentialHead takes; pass input_embedding_size")
