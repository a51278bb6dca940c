"""The model that is trained and served: objects in, embeddings and similarities out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.encoders import Encoder
from simlearn.encoding import encode_in_batches, evaluating, modules_of
from simlearn.files import LoadError
from simlearn.heads import EncoderHead
from simlearn.models.encoded_objects import EncodedObjects
from simlearn.models.encoding_to_disk import encode_to_disk
from simlearn.models.model_card import ModelCard
from simlearn.models.output import finished
from simlearn.models.ranking import Predicts, Ranked, Ranks, check_sizes, rank
from simlearn.models.servable import load_model_parts, save_model_parts
from simlearn.scoring import CosineScorer, Scorer
from simlearn.towers.inputs import Inputs
from simlearn.towers.plan import EncoderSpec, Plan, plan
from simlearn.towers.tower import Tower, heads_by_role


class SimilarityModel(nn.Module):
    """Encoders, joined by a head, compared by a scorer; for queries and documents alike, or one tower for each.

    Args:
        encoders: an encoder, a dictionary of them, `Field`, `Fields` or `TwoTower`.
        head: the head; for two towers `{"query": ..., "document": ...}`, or one head for both. None passes the
            encoders' embeddings on.
        scorer: how embeddings compare; None for cosine.

    Raises:
        ValueError: when a head does not fit the encoders' embedding size.
    """

    def __init__(
        self,
        encoders: EncoderSpec | Plan,
        head: EncoderHead | Mapping[str, EncoderHead] | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        super().__init__()
        self.plan = encoders if isinstance(encoders, Plan) else plan(encoders)
        self.encoders = nn.ModuleDict(self.plan.encoders)
        self.heads = nn.ModuleDict(heads_by_role(self.plan, head))
        self.scorer = scorer if scorer is not None else CosineScorer()
        self.card = ModelCard()
        for encoder in self.plan.encoders.values():
            encoder.freeze_if_required()

    def input_size(self, role: str) -> int:
        """The sum of the embedding sizes of a tower's encoders: what its head receives."""
        return self.plan.input_size(role)

    @property
    def is_symmetric(self) -> bool:
        """Whether queries and documents go through one tower."""
        return self.plan.is_symmetric

    def tower(self, role: str = "query") -> Tower:
        """The tower of a role; the same for both where the model is symmetric."""
        heads: Any = self.heads._modules
        encoders: Any = self.encoders._modules
        return Tower(self.plan[role], encoders, heads[role if role in heads else "query"])

    @property
    def embedding_size(self) -> int:
        """The length of the model's embeddings.

        Raises:
            ValueError: for towers of unequal size.
        """
        sizes = {role: self.tower(role).embedding_size for role in self.plan.roles}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the towers have embeddings of sizes {sizes}; ask model.tower(role).embedding_size")
        return sizes["query"]

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a model without any."""
        for module in modules_of(self):
            for tensor in chain(module._parameters.values(), module._buffers.values()):
                if tensor is not None:
                    return tensor.device
        return torch.device("cpu")

    def forward(self, inputs: Inputs, role: str = "query") -> Tensor:
        """Embeddings (N, D) or (N, M, D) of collated inputs, with gradients."""
        return self.tower(role).embed(inputs).values

    @overload
    def encode(
        self, inputs: Any, batch_size: int = ..., to_numpy: Literal[True] = ..., **options: Any
    ) -> np.ndarray: ...
    @overload
    def encode(self, inputs: Any, batch_size: int = ..., *, to_numpy: Literal[False], **options: Any) -> Tensor: ...
    @overload
    def encode(self, inputs: Any, batch_size: int, to_numpy: bool, **options: Any) -> np.ndarray | Tensor: ...
    def encode(self, inputs: Any, batch_size: int = 32, to_numpy: bool = True, **options: Any) -> np.ndarray | Tensor:
        """Embed objects with a symmetric model.

        Args:
            inputs: a list is many objects, anything else is one.
            batch_size: how many objects at once.
            to_numpy: numpy float32 (float64 for a float64 model), or a tensor on the model's device and in its dtype,
                which may take part in training.
            **options: `normalize` (to unit length), `truncate_dim` (keep the first values; before normalising) and
                `show_progress`.

        Returns:
            (N, D); (0, D) for an empty list, (1, D) for one object.

        Raises:
            ValueError: for a model with two towers, naming `encode_query` and `encode_document`.
        """
        if not self.is_symmetric:
            raise ValueError(
                "this model encodes queries and documents differently: call encode_query or encode_document"
            )
        return self._encode("query", inputs, batch_size, to_numpy, **options)

    def encode_query(
        self, inputs: Any, batch_size: int = 32, to_numpy: bool = True, **options: Any
    ) -> np.ndarray | Tensor:
        """Embed queries; arguments as for `encode`."""
        return self._encode("query", inputs, batch_size, to_numpy, **options)

    def encode_document(
        self, inputs: Any, batch_size: int = 32, to_numpy: bool = True, **options: Any
    ) -> np.ndarray | Tensor:
        """Embed documents; arguments as for `encode`."""
        return self._encode("document", inputs, batch_size, to_numpy, **options)

    def _encode(
        self,
        role: str,
        inputs: Any,
        batch_size: int,
        to_numpy: bool,
        *,
        normalize: bool = False,
        truncate_dim: int | None = None,
        show_progress: bool = False,
    ) -> np.ndarray | Tensor:
        embeddings = self.embed(inputs, role, batch_size=batch_size, show_progress=show_progress)
        if embeddings.is_multi_vector:
            raise ValueError(
                "this model has many vectors an object; call model.embed(...) for Embeddings with their mask"
            )
        values = embeddings.values
        if to_numpy and values.dtype is not torch.float64:  # numpy has no bfloat16
            values = values.float()
        values = finished(values, normalize=normalize, truncate_dim=truncate_dim)
        return values.cpu().numpy() if to_numpy else values

    def embed(
        self, inputs: Any, role: str = "query", *, batch_size: int = 32, show_progress: bool = False
    ) -> Embeddings:
        """Embed objects as `Embeddings`, one or many vectors an object, on the model's device and without gradients.

        The model is in eval mode meanwhile and left as it was.

        Args:
            inputs: a list is many objects, anything else is one.
            role: which tower.
            batch_size: how many objects at once.
            show_progress: whether to show a progress bar.
        """
        objects = inputs if isinstance(inputs, list) else [inputs]
        tower = self.tower(role)
        if not objects:
            return tower.embeddings_of_nothing()
        collate, device = tower.collator(), self.device
        on_cpu = device.type == "cpu"  # which is where batches are made
        with evaluating(self), torch.no_grad():
            return encode_in_batches(
                objects,
                lambda batch: tower.embed(collate(batch) if on_cpu else collate(batch).to(device)),
                batch_size=batch_size,
                progress="Encoding" if show_progress else None,
            )

    def encode_to_disk(
        self,
        objects: Iterable[Any],
        path: str | Path,
        role: str | None = None,
        *,
        key: Callable[[Any], Any] | None = None,
        batch_size: int = 32,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> EncodedObjects:
        """Embed any number of objects into a folder, equal ones once, in bounded memory (but for 60 bytes an object).

        Call it again after a kill, or with other objects: only new ones are encoded, and the folder is in their order.

        Args:
            objects: an iterable, such as a generator; read once, a few batches at a time.
            path: the folder; one for each model and role.
            role: which tower; needed where there are two.
            key: for objects that are large or whose content has no key: from an object to what tells it apart, such
                as an id. An object that changes must change its key.
            batch_size: how many objects at once.
            dtype: what vectors are kept in, such as `torch.float16`; None for the model's own.
            **options: `normalize`, `truncate_dim` and `show_progress`, as for `encode`.

        Raises:
            ValueError: for a folder that another model filled, or that keeps another dtype.
            FileExistsError: for a folder that holds something else.
        """
        if role is None and not self.is_symmetric:
            raise ValueError("this model encodes queries and documents differently: pass role='query' or 'document'")
        options |= {"key": key, "batch_size": batch_size, "dtype": dtype}
        return encode_to_disk(self, objects, path, role or "query", **options)

    def similarity(self, queries: Any, documents: Any, batch_size: int = 32) -> np.ndarray:
        """Scores of queries against documents by the model's scorer.

        Args:
            queries: a list of N queries, or one.
            documents: a list of M documents, or one.
            batch_size: how many objects are encoded at once.

        Returns:
            (N, M) float32, higher is more similar.
        """
        first = self.embed(queries, "query", batch_size=batch_size)
        second = self.embed(documents, "document", batch_size=batch_size)
        check_sizes(self, first.size, second.size)
        with torch.no_grad():
            scores: Tensor = self.scorer(first, second)
        return scores.float().cpu().numpy()

    def rank(
        self,
        query: Any,
        candidates: Sequence[Any] | EncodedObjects,
        top_k: int | None = None,
        batch_size: int = 32,
        *,
        rerank: Ranks | Predicts | None = None,
        first: int = 100,
        objects: Sequence[Any] | None = None,
    ) -> Ranked:
        """Order candidates by their score for one query.

        Args:
            query: the query.
            candidates: the documents, or what `encode_to_disk` made of them, so that each is encoded once.
            top_k: how many to return; None for all.
            batch_size: how many candidates are encoded at once.
            rerank: another model that orders the `first` best again: a `SimilarityModel` of many vectors, or a
                `CrossEncoder` of sentence-transformers, which reads query and document together; whatever has
                `rank(query, candidates, top_k)` or `predict(pairs)`. Its scores are returned, of these alone.
            first: how many of them; at least `top_k`.
            objects: the documents themselves, where the candidates are encoded and another model reads them.

        Returns:
            (index in `candidates`, score), best first; equal scores in the order of the candidates.

        Raises:
            ValueError: for numbers out of range, and where another model has no objects to read.
        """
        return rank(self, query, candidates, top_k, batch_size, rerank, first, objects)

    def save(self, path: str | Path) -> None:
        """Write a servable folder: safetensors, JSON and a README; over an older servable too, in one step.

        Raises:
            FileExistsError: when something else is there.
        """
        save_model_parts(path, self.plan, dict(self.heads.items()), self.scorer, self.card)  # type: ignore[arg-type]

    @classmethod
    def load(
        cls, path: str | Path, classes: Iterable[type] = (), trusted_modules: Iterable[str] = ()
    ) -> SimilarityModel:
        """Load a servable, in eval mode, on the CPU. Nothing from the folder is executed.

        Args:
            path: a folder that `save` or `save_servable` wrote.
            classes: your own encoder, head and scorer classes, also those of a notebook.
            trusted_modules: names of modules they may be imported from instead.

        Raises:
            LoadError: when the folder is no servable, is damaged or of a newer format.
            UntrustedError: when it holds what could run code, or names a class you did not pass.
        """
        parts, heads, scorer, card = load_model_parts(path, classes, trusted_modules)
        try:
            model = cls(parts, heads, scorer)
        except Exception as error:  # each part loaded, but not the one that belongs here
            raise LoadError(f"{path} holds parts that do not fit each other: {error}") from error
        model.card = card
        model.eval()
        return model


MetricModel = SimilarityModel


__all__ = ["Encoder", "MetricModel", "SimilarityModel"]
