"""The head that sends each object through the head of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from simlearn.distributed import with_zero_gradients
from simlearn.embeddings import Embeddings
from simlearn.files import LoadError
from simlearn.heads.encoder_head import EncoderHead, needs_call, values_of
from simlearn.meta import Categories, Meta, index_select

META_KEY = "encoder"


class SwitchHead(EncoderHead):
    """One head for each kind of object, behind a `SwitchEncoder`, whose meta says which encoder took which object.

    The rows of a kind go through their head together, by its `embed`, so that its own dropout and meta work. Weights
    of a head that got no row of a batch get a zero gradient instead of none: all processes of a distributed run then
    have the same gradients to average, whatever rows each of them has.

    Args:
        options: heads by the name of the encoder; they take vectors of one size and give vectors of one size. One head
            under two names is stored and trained once.
        input_embedding_size: D.
        dropout: probability of dropping an input value in training, before the options' own dropout, in [0, 1).

    Raises:
        TypeError: for an option that is no head.
        ValueError: for no options, or options of different sizes.
    """

    part_base: ClassVar[type] = EncoderHead

    def __init__(self, options: Mapping[str, EncoderHead], input_embedding_size: int, dropout: float = 0.0) -> None:
        super().__init__(input_embedding_size, dropout)
        if not options:
            raise ValueError("SwitchHead needs at least one option, a head by the name of its encoder")
        for name, head in options.items():
            if not isinstance(head, EncoderHead):
                raise TypeError(f"option {name!r} must be an EncoderHead, got {type(head).__name__}")
            if head.input_embedding_size != input_embedding_size:
                raise ValueError(
                    f"option {name!r} takes vectors of {head.input_embedding_size} values, but SwitchHead gets "
                    f"{input_embedding_size}; give both the embedding size of the SwitchEncoder"
                )
        sizes = {name: head.output_size for name, head in options.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"all options must give vectors of one size, got {sizes}")
        self._names = tuple(options)
        # A list: in a ModuleDict no option could be called "keys" or "train".
        self.heads = nn.ModuleList(options.values())
        self._output_size = sizes[self._names[0]]

    @property
    def options(self) -> dict[str, EncoderHead]:
        """The heads by name."""
        return {name: head for name, head in zip(self._names, self.heads, strict=True) if isinstance(head, EncoderHead)}

    @property
    def output_size(self) -> int:
        """The options' output size."""
        return self._output_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Raise: without meta there is no way to choose."""
        return self.forward(input_vectors)

    def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
        """Send each row through the head of its kind.

        Args:
            input_vectors: (N, D), or (N, M, D) for many vectors an object.
            meta: with the column "encoder", N names of options.

        Returns:
            (N, output_size), or (N, M, output_size), in the order of the input.

        Raises:
            ValueError: when the column is missing, is no column of N names, or names an unknown option.
        """
        return values_of(self._switch(Embeddings(input_vectors), meta), self)

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        """Send each object through the `embed` of its kind's head; where they have many vectors, padded alike.

        Raises:
            ValueError: as `forward`, and when some options give one vector an object and others many.
        """
        if needs_call(self, SwitchHead):
            return super().embed(embeddings, meta)
        return self._switch(embeddings.blank(), meta)

    def _switch(self, embeddings: Embeddings, meta: Meta | None) -> Embeddings:
        codes = self._codes(meta, len(embeddings)).to(embeddings.device)
        vectors = Embeddings(self.dropout(embeddings.values), embeddings.mask)
        order = codes.argsort(stable=True)
        rows_by_option = torch.split(order, codes.bincount(minlength=len(self._names)).tolist())
        parts: dict[str, Embeddings] = {}
        idle: list[Tensor] = []
        for (name, head), rows in zip(self.options.items(), rows_by_option, strict=True):
            if len(rows):
                parts[name] = head.embed(vectors.take(rows), index_select(meta or {}, rows))
            else:
                idle += head.parameters()
        if len({part.is_multi_vector for part in parts.values()}) > 1:
            raise ValueError(
                "all options must give one vector an object or all must give many, got the shapes "
                f"{ {name: tuple(part.values.shape) for name, part in parts.items()} }"
            )
        if parts:
            output = Embeddings.concatenate(list(parts.values())).take(order.argsort())
            values, mask = output.values, output.mask
        else:
            # No rows at all: the sum of nothing is 0, and keeps the encoder in the graph.
            values = vectors.values.new_zeros(*vectors.values.shape[:-1], self._output_size) + vectors.values.sum()
            mask = vectors.mask
        return Embeddings(with_zero_gradients(values, idle), mask)

    def kept_arguments(self) -> dict[str, Any]:
        """The heads by name."""
        return {"options": self.options}

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """The settings had the number of each option's folder."""
        numbers = settings.get("options")
        if not isinstance(numbers, dict) or not all(type(number) is int for number in numbers.values()):
            raise LoadError(f"{folder} holds no SwitchHead: its config.json has no options with numbers")
        parts = {name: {"$part": f"{place}/heads/{number}".strip("/")} for name, number in numbers.items()}
        return {**settings, "options": parts}

    def _codes(self, meta: Meta | None, count: int) -> Tensor:
        if count == 0:  # columns of no objects have no names
            return torch.empty(0, dtype=torch.long)
        column = (meta or {}).get(META_KEY)
        if not isinstance(column, Categories):
            found = "no meta" if meta is None else "numbers there" if column is not None else f"columns {sorted(meta)}"
            raise ValueError(
                f"SwitchHead needs the meta column {META_KEY!r} with the name of each object's option, got {found}; "
                "use it behind a SwitchEncoder, or give the column with simlearn.meta.columns"
            )
        if len(column) != count:
            raise ValueError(f"the meta column {META_KEY!r} has {len(column)} entries for {count} objects")
        try:
            return column.rename(self._names)
        except ValueError as error:
            raise ValueError(f"the meta column {META_KEY!r} names options that SwitchHead lacks: {error}") from error
