"""The base of the loaders that users make: recipes for batches, which training binds to a model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from simlearn.data.batch import SampleBatch, collate_samples
from simlearn.data.bound_loader import BoundLoader
from simlearn.data.kinds import KINDS, Key, SampleKind
from simlearn.data.kinds.sample_kind import as_tensor
from simlearn.data.log_q import KnownLogQ, LogQSource
from simlearn.data.query_transform import GivenTransform, seeded
from simlearn.data.samplers import BatchSamplerBatches, EpochPlan, RandomBatches, SamplerBatches
from simlearn.data.shards import ShardedDataset
from simlearn.data.share import chunks
from simlearn.data.sources import ColumnSpec, MapSource, SampleReader, StreamSource, read, source_of
from simlearn.relations import RelationKind

_WORKER_OPTIONS = frozenset(
    "num_workers pin_memory timeout worker_init_fn multiprocessing_context prefetch_factor generator".split()
)

_COUNTED = 1024
"""Samples read at once to count their documents."""


class SimilarityDataLoader:
    """A recipe for batches of samples; use the subclass for your kind of samples.

    Iterated by itself it gives `SampleBatch`es of raw objects: those of the first epoch, nothing left out.
    `simlearn.fit` reads the recipe and leaves it as it is, so one loader can be used many times.

    Args:
        dataset: a torch `Dataset` or `IterableDataset`, a list, a pandas frame, a Hugging Face data set, a path or glob
            of files (see `ShardedDataset`), or any iterable that starts anew each time; of samples, or of rows whose
            columns are named. A column is named by its name, by its place in a tuple, by several names (the object is a
            dictionary then) or by a function of the row.
        batch_size: samples a batch, on each process.
        shuffle: a new random order each epoch, of files within a buffer; None shuffles in training only.
        sampler: yields sample numbers, instead of `shuffle`; a torch sampler or any iterable. Every process reads it
            and takes its share.
        batch_sampler: yields lists of sample numbers, instead of `batch_size` and `shuffle`; or an `EpochPlan` such as
            `GroupBatchSampler`.
        drop_last: leave out the global batch that cannot be filled; None does in training only.
        seed: where random orders come from, 0 or more; they also depend on the epoch.
        dataset_version: names the content of the data set, such as a date or a hash, and changes with it: a cache on
            disk then recognises the data without looking at it. None takes the fingerprint of a Hugging Face data set,
            and knows no version of any other.
        sharded: the stream gives each worker of each process its own samples. Otherwise it must give all of them the
            same ones in the same order, and they are split here.
        query_transform: changes each query (or object of a group) in training, anew in every epoch: a function of the
            query and a seed, such as `KeyboardTypos(0.3)`, or of the query alone. The seed goes to a parameter called
            `seed`, or to a second one without a default. It depends on `seed`, the epoch and the number of the sample,
            in a stream on its place there (with `sharded=True`, on its place in what one worker reads). Ids, and what
            is known to be similar, are those of the query as it was. It runs in the loader's workers, which need to
            pickle it. Vectors of changed queries are not kept: a frozen encoder that reads them must not be cached.
        document_log_q: how often documents are drawn into a batch, for losses with `log_q`: `"count"` counts them in
            one pass over the data or the files; another text names the column of the rows that tells it (of a ranking,
            of each document); or counts or probabilities by the documents' names; or a function of their ids, such as
            `StreamedLogQ()` for a stream. Counts and probabilities are brought to a sum of 1.
        key: turns groups, subgroups or labels into stable names; subclasses call it after what it is for.
        columns: which column of a row is which argument of a sample; subclasses have an argument for each.
        **worker_options: `num_workers`, `pin_memory`, `timeout`, `worker_init_fn`, `multiprocessing_context`,
            `prefetch_factor` and `generator` of torch's DataLoader.

    Raises:
        TypeError: for data that cannot be read, and for unknown options.
        ValueError: for options that exclude each other.
    """

    kind_class: ClassVar[type[SampleKind]]

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: EpochPlan | Iterable[Sequence[int]] | None = None,
        drop_last: bool | None = None,
        seed: int = 0,
        sharded: bool = False,
        dataset_version: str | None = None,
        query_transform: GivenTransform | None = None,
        document_log_q: str | Mapping[Hashable, float] | LogQSource | None = None,
        key: Key | None = None,
        columns: Mapping[str, ColumnSpec | None] | None = None,
        **worker_options: Any,
    ) -> None:
        if not hasattr(self, "kind_class"):
            raise TypeError(f"use the loader of your kind of samples: {', '.join(kind.loader for kind in KINDS)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        if unknown := sorted(set(worker_options) - _WORKER_OPTIONS):
            raise TypeError(f"{type(self).__name__} has no option {unknown}; it passes {sorted(_WORKER_OPTIONS)} on")
        nothing: Any = [None]
        DataLoader(nothing, **worker_options)  # refuses options that do not go together now, not at the first batch
        if shuffle and (sampler is not None or batch_sampler is not None):
            raise ValueError("a sampler decides the order by itself; leave out shuffle")
        if sampler is not None and batch_sampler is not None:
            raise ValueError("give a sampler or a batch_sampler, not both")
        named = {name: spec for name, spec in (columns or {}).items() if spec is not None}
        self.kind = self.kind_class(key)
        reader = SampleReader(self.kind, named)
        if isinstance(dataset, (str, Path)):
            told = [document_log_q] if isinstance(document_log_q, str) and document_log_q != "count" else []
            columns_read = None if reader.names is None else [*reader.names, *told]
            dataset = ShardedDataset(dataset, columns_read, seed=seed)
        self.shards = dataset if isinstance(dataset, ShardedDataset) else None
        """The files that it reads; None for other data."""
        self.source: MapSource | StreamSource = source_of(dataset, reader)
        if isinstance(self.source, StreamSource):
            if (shuffle and self.shards is None) or sampler is not None or batch_sampler is not None:
                raise ValueError(
                    "a stream comes in its own order; shuffle inside it, or give a data set with numbered samples"
                )
            if sharded and self.shards is not None:
                raise ValueError("the rows of files are dealt to workers and processes here; leave out sharded=True")
        elif sharded:
            raise ValueError("sharded=True is for streams; samples with numbers are always split here")
        elif not len(self.source):
            raise ValueError("the data set is empty; there is nothing to learn from or to evaluate")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        if query_transform is not None:
            seeded(query_transform)  # refuses what cannot be called so now, not in a worker
        if isinstance(document_log_q, Mapping):
            document_log_q = KnownLogQ.of_counts(document_log_q)
        if not (document_log_q is None or isinstance(document_log_q, str) or callable(document_log_q)):
            raise ValueError(
                f"document_log_q must be 'count', the name of a column, counts by the documents' names, or a function "
                f"of ids, got {document_log_q!r:.80}"
            )
        if isinstance(document_log_q, str) and isinstance(self.source, StreamSource) and self.shards is None:
            raise ValueError("a stream is not counted beforehand; give document_log_q=StreamedLogQ()")
        self._log_q: Any = document_log_q
        self.seed = seed
        self.query_transform = query_transform
        self.sharded = sharded
        given = getattr(dataset, "_fingerprint", None) if dataset_version is None else dataset_version
        self.dataset_version: str | None = None if given is None else str(given)
        self.worker_options = worker_options

    @property
    def relation(self) -> RelationKind:
        """The kind of relation that its samples give."""
        return self.kind.relation

    @property
    def is_stream(self) -> bool:
        """Whether samples come in their own order, without numbers."""
        return isinstance(self.source, StreamSource)

    @property
    def knows_log_q(self) -> bool:
        """Whether it tells how often documents are drawn."""
        return self._log_q is not None

    def log_q(self, ids: Tensor | None = None) -> LogQSource | None:
        """How often documents are drawn, counted now where that is wanted; None where nobody wants to know.

        Args:
            ids: (L,) of the documents of all samples, where they are known; else they are read to be counted.
        """
        if self._log_q == "count":
            return KnownLogQ.of_ids(self._document_ids() if ids is None else ids)
        if isinstance(self._log_q, str):
            return KnownLogQ.of_column(self._document_ids() if ids is None else ids, self._told(self._log_q))
        found: LogQSource | None = self._log_q
        return found

    def _document_ids(self) -> Tensor:
        runs = chunks(self.source, _COUNTED)
        return torch.cat([as_tensor(self.kind.document_ids(self.kind.ids(samples))) for samples in runs])

    def _told(self, column: str) -> Tensor:
        """A column of all rows, end to end where it is one of lists."""
        values = (read(row, column) for row in self.source.rows())
        numbers = chain.from_iterable(map(list, values)) if self.kind.has_candidates else values
        return torch.tensor(list(numbers), dtype=torch.float64)

    def epoch_plan(self, training: bool) -> EpochPlan | None:
        """What plans the batches of an epoch; None for a stream."""
        if isinstance(self.source, StreamSource):
            return None
        if hasattr(self.batch_sampler, "plan"):
            return cast(EpochPlan, self.batch_sampler)
        if self.batch_sampler is not None:
            return BatchSamplerBatches(self.batch_sampler, self.seed)
        if self.sampler is not None:
            return SamplerBatches(self.sampler, self.batch_size, self.seed)
        shuffle = training if self.shuffle is None else self.shuffle
        return RandomBatches(len(self.source), self.batch_size, shuffle, self.seed)

    def bind(self, collate: Callable[[list[Any]], Any], *, training: bool, **options: Any) -> BoundLoader:
        """The iterable for one process; see `BoundLoader`."""
        return BoundLoader(self, collate, training=training, **options)

    def _unbound(self) -> BoundLoader:
        return self.bind(partial(collate_samples, self.kind), training=False)

    def __iter__(self) -> Iterator[SampleBatch]:
        return iter(self._unbound())

    def __len__(self) -> int:
        return len(self._unbound())

    def __repr__(self) -> str:
        size = "a stream" if isinstance(self.source, StreamSource) else f"{len(self.source)} samples"
        batches = f"batch_size={self.batch_size}" if self.batch_sampler is None else f"{self.batch_sampler!r:.80}"
        return f"{type(self).__name__}({size}, {batches})"
