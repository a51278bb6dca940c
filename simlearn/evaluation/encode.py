"""From a model, or a function that encodes, to the embeddings that an evaluator asks for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from simlearn.data.embedding_objects import model_in
from simlearn.data.object_ids import ObjectIds
from simlearn.data.similarity_data_loader import SimilarityDataLoader
from simlearn.embeddings import Embeddings
from simlearn.scoring import CosineScorer, Scorer

Encode: TypeAlias = Callable[[list[Any], str], Any]
"""From N objects and their role, `"query"` or `"document"`, to embeddings: `Embeddings`, or (N, D) in any form."""


def encoder_of(model: Any, scorer: Scorer | None, batch_size: int, show_progress: bool) -> tuple[Encode, Scorer]:
    """How to encode with a model, and how its embeddings compare.

    Args:
        model: a `SimilarityModel`, a `TrainableModel`, anything with `encode_query` and `encode_document` (such as a
            SentenceTransformer), or an `Encode` function.
        scorer: how embeddings compare; None for the model's own, and for cosine where it has none.
        batch_size: how many objects a `SimilarityModel` encodes at once.
        show_progress: whether it shows a progress bar.

    Raises:
        TypeError: for anything else.
    """
    found = model_in(model)
    if found is not None:

        def embed(objects: list[Any], role: str) -> Embeddings:
            return found.embed(objects, role, batch_size=batch_size, show_progress=show_progress)

        return embed, scorer if scorer is not None else found.scorer
    scorer = scorer if scorer is not None else CosineScorer()
    if hasattr(model, "encode_query") and hasattr(model, "encode_document"):
        return lambda objects, role: getattr(model, f"encode_{role}")(objects), scorer
    if not callable(model):
        raise TypeError(
            "an evaluator needs model=: a SimilarityModel, a TrainableModel, or a function encode(objects, role); got "
            f"{'none' if model is None else 'a ' + type(model).__name__}"
        )
    encode: Encode = model
    return encode, scorer


class ObjectSet:
    """Objects, each distinct one kept once, so that it is encoded once.

    Args:
        ids: what N objects are called, for messages.
        objects: the N objects.
        name: what they are, in the singular, for messages.
    """

    def __init__(self, ids: Sequence[Hashable], objects: Sequence[Any], name: str) -> None:
        self.ids = list(ids)
        self.name = name
        self.content = ObjectIds()(objects)
        """(N,) int64, equal where objects are."""
        first, self.rows = first_of_each(self.content)
        self.distinct: list[Any] = [objects[row] for row in first.tolist()]
        self.n_repeated = len(self.ids) - len(self.distinct)
        self.n_empty = sum(isinstance(obj, str) and not obj.strip() for obj in objects)

    def __len__(self) -> int:
        return len(self.ids)

    def embed(self, encode: Encode, role: str) -> Embeddings:
        """The embeddings of the N objects.

        Raises:
            ValueError: for another number of embeddings than objects, and for NaN or infinite ones, naming an object.
        """
        with torch.no_grad():
            embeddings = _as_embeddings(encode(self.distinct, role))
        if len(embeddings) != len(self.distinct):
            raise ValueError(f"the model gave {len(embeddings)} embeddings for {len(self.distinct)} objects")
        embeddings = embeddings.detach()
        rows = self.rows.to(embeddings.device)
        values = embeddings.values
        if embeddings.mask is not None:
            values = values.masked_fill(~embeddings.mask[..., None], 0.0)
        bad = ~values.isfinite().flatten(1).all(1)[rows]
        if bool(bad.any()):
            example = self.ids[int(bad.nonzero()[0, 0])]
            raise ValueError(
                f"the model gave {int(bad.sum())} of {len(self)} {self.name} objects an embedding with NaN or infinite "
                f"values, for instance {example!r}; they cannot be ranked, and dropping them would flatter the model"
            )
        return embeddings.take(rows) if self.n_repeated else embeddings

    def notes(self) -> list[str]:
        """What should be known of the objects."""
        notes = []
        if self.n_repeated:
            notes.append(f"{self.n_repeated:,} {self.name} objects repeat another one's content.")
        if self.n_empty:
            notes.append(f"{self.n_empty:,} {self.name} texts are empty.")
        return notes


def first_of_each(content: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each distinct id (n,), ascending, and for each row the number of its id among those."""
    unique, inverse = torch.unique(content, return_inverse=True)
    rows = torch.arange(len(content))
    first = rows.new_full((len(unique),), len(content)).scatter_reduce(0, inverse, rows, reduce="amin")
    order = first.argsort()
    return first[order], order.argsort()[inverse]


def samples_of(data: Any, kind: type[Any]) -> list[Any]:
    """The samples of a list, a data set or a loader.

    Raises:
        TypeError: for samples of another kind.
        ValueError: when there are none.
    """
    source: Iterable[Any] = data.source if isinstance(data, SimilarityDataLoader) else data
    numbered: Any = source
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, (list, tuple)):
        samples = [numbered[row] for row in range(len(numbered))]
    else:
        samples = list(source)
    if not samples:
        raise ValueError("there is no sample, so nothing to evaluate")
    for sample in samples:
        if not isinstance(sample, kind):
            raise TypeError(f"this evaluator takes {kind.__name__}s, got a {type(sample).__name__}")
    return samples


def _as_embeddings(encoded: Any) -> Embeddings:
    if isinstance(encoded, Embeddings):
        return encoded
    if not isinstance(encoded, Tensor):
        encoded = torch.from_numpy(np.asarray(encoded, dtype=np.float32))
    return Embeddings(encoded)
