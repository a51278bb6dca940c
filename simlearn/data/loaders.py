"""The loaders that users make: recipes for batches, which training binds to a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from simlearn.data.batch import SampleBatch, collate_samples
from simlearn.data.bound_loader import BoundLoader
from simlearn.data.kinds import GroupKind, Key, LabelKind, PairKind, RankingKind, SampleKind
from simlearn.data.samplers import BatchSamplerBatches, EpochPlan, GroupBatchSampler, RandomBatches, SamplerBatches
from simlearn.data.sources import ColumnSpec, MapSource, SampleReader, StreamSource, source_of
from simlearn.relations import RelationKind
from simlearn.samples import SimilarityGroupSample

_WORKER_OPTIONS = frozenset(
    {
        "num_workers",
        "pin_memory",
        "timeout",
        "worker_init_fn",
        "multiprocessing_context",
        "prefetch_factor",
        "generator",
    }
)


class SimilarityDataLoader:
    """A recipe for batches of samples; use the subclass for your kind of samples.

    Iterated by itself it gives `SampleBatch`es of raw objects. `simlearn.fit` reads the recipe and leaves it as it is, so
    one loader can be used many times.

    Args:
        dataset: a torch `Dataset` or `IterableDataset`, a list, a pandas frame, a Hugging Face data set, or any iterable
            that starts anew each time; of samples, or of rows whose columns are named.
        batch_size: samples a batch, on each process.
        shuffle: a new random order each epoch; None shuffles in training only.
        sampler: yields sample numbers, instead of `shuffle`.
        batch_sampler: yields lists of sample numbers, instead of `batch_size` and `shuffle`.
        drop_last: leave out the global batch that cannot be filled; None does in training only.
        seed: where random orders come from; they also depend on the epoch.
        sharded: the stream gives each worker of each process its own samples; otherwise they are split here.
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
        *,
        batch_size: int = 32,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: EpochPlan | Iterable[Sequence[int]] | None = None,
        drop_last: bool | None = None,
        seed: int = 0,
        sharded: bool = False,
        key: Key | None = None,
        columns: dict[str, ColumnSpec | None] | None = None,
        **worker_options: Any,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if unknown := sorted(set(worker_options) - _WORKER_OPTIONS):
            raise TypeError(f"{type(self).__name__} has no option {unknown}; it passes {sorted(_WORKER_OPTIONS)} on")
        if shuffle and (sampler is not None or batch_sampler is not None):
            raise ValueError("a sampler decides the order by itself; leave out shuffle")
        if sampler is not None and batch_sampler is not None:
            raise ValueError("give a sampler or a batch_sampler, not both")
        named = {name: spec for name, spec in (columns or {}).items() if spec is not None}
        self.kind = self.kind_class(key)
        self.source: MapSource | StreamSource = source_of(dataset, SampleReader(self.kind, named))
        is_stream = isinstance(self.source, StreamSource)
        if is_stream and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "a stream comes in its own order; shuffle inside it, or give a data set with numbered samples"
            )
        if sharded and not is_stream:
            raise ValueError("sharded=True is for streams; samples with numbers are always split here")
        if not is_stream and not len(self.source):  # type: ignore[arg-type]
            raise ValueError("the data set is empty; there is nothing to learn from or to evaluate")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        self.seed = seed
        self.sharded = sharded
        self.worker_options = worker_options

    @property
    def relation(self) -> RelationKind:
        """The kind of relation that its samples give."""
        return self.kind.relation

    @property
    def is_stream(self) -> bool:
        """Whether samples come in their own order, without numbers."""
        return isinstance(self.source, StreamSource)

    def epoch_plan(self, training: bool) -> EpochPlan | None:
        """What plans the batches of an epoch; None for a stream."""
        if isinstance(self.source, StreamSource):
            return None
        if self.batch_sampler is not None:
            return (
                self.batch_sampler if hasattr(self.batch_sampler, "plan") else BatchSamplerBatches(self.batch_sampler)
            )  # type: ignore[return-value, arg-type]
        if self.sampler is not None:
            return SamplerBatches(self.sampler, self.batch_size)
        shuffle = training if self.shuffle is None else self.shuffle
        return RandomBatches(len(self.source), self.batch_size, shuffle, self.seed)

    def bind(self, collate: Callable[[list[Any]], Any], *, training: bool, **options: Any) -> BoundLoader:
        """The iterable for one process; see `BoundLoader`."""
        return BoundLoader(self, collate, training=training, **options)

    def __iter__(self) -> Iterator[SampleBatch]:
        return iter(self.bind(partial(collate_samples, self.kind), training=False))

    def __len__(self) -> int:
        return len(self.bind(partial(collate_samples, self.kind), training=False))

    def __repr__(self) -> str:
        size = "a stream" if isinstance(self.source, StreamSource) else f"{len(self.source)} samples"
        return f"{type(self).__name__}({size}, batch_size={self.batch_size})"


class PairsSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityPairSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        obj_a: the first object's column: a name, several names (a dictionary of them), or a function of the row.
        obj_b: the second object's column.
        score: the score's column; None for 1 everywhere.
        subgroup: the subgroup's column; None for 0 everywhere.
        subgroup_key: turns a subgroup into a stable name.
        **options: see `SimilarityDataLoader`.
    """

    kind_class = PairKind

    def __init__(
        self,
        dataset: Any,
        *,
        obj_a: ColumnSpec | None = None,
        obj_b: ColumnSpec | None = None,
        score: ColumnSpec | None = None,
        subgroup: ColumnSpec | None = None,
        subgroup_key: Key | None = None,
        **options: Any,
    ) -> None:
        columns = {"obj_a": obj_a, "obj_b": obj_b, "score": score, "subgroup": subgroup}
        super().__init__(dataset, key=subgroup_key, columns=columns, **options)


class RankingSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityRankingSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        query: the query's column.
        documents: the column with the list of candidates.
        relevances: the column with their relevances.
        **options: see `SimilarityDataLoader`.
    """

    kind_class = RankingKind

    def __init__(
        self,
        dataset: Any,
        *,
        query: ColumnSpec | None = None,
        documents: ColumnSpec | None = None,
        relevances: ColumnSpec | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dataset, columns={"query": query, "documents": documents, "relevances": relevances}, **options)


class LabelSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityLabelSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        obj: the object's column.
        labels: the column with the label or labels.
        label_key: turns a label into a stable name.
        **options: see `SimilarityDataLoader`.
    """

    kind_class = LabelKind

    def __init__(
        self,
        dataset: Any,
        *,
        obj: ColumnSpec | None = None,
        labels: ColumnSpec | None = None,
        label_key: Key | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dataset, key=label_key, columns={"obj": obj, "labels": labels}, **options)


class GroupSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityGroupSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        obj: the object's column.
        group: the group's column.
        group_key: turns a group into a stable name.
        samples_per_group: K: in training, batches hold `batch_size // K` groups with K samples each (`GroupBatchSampler`);
            None takes samples as they come.
        **options: see `SimilarityDataLoader`.

    Raises:
        ValueError: when `batch_size` holds fewer than two groups of K samples.
    """

    kind_class = GroupKind

    def __init__(
        self,
        dataset: Any,
        *,
        obj: ColumnSpec | None = None,
        group: ColumnSpec | None = None,
        group_key: Key | None = None,
        samples_per_group: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dataset, key=group_key, columns={"obj": obj, "group": group}, **options)
        self.samples_per_group = samples_per_group
        self._group = group
        self._groups: Tensor | None = None
        if samples_per_group is None:
            return
        if self.is_stream or self.sampler is not None or self.batch_sampler is not None:
            raise ValueError("samples_per_group needs samples with numbers and takes no other sampler")
        if samples_per_group < 2:
            raise ValueError(
                f"samples_per_group must be at least 2, or no object has a positive; got {samples_per_group}"
            )
        if self.batch_size < 2 * samples_per_group:
            raise ValueError(
                f"batch_size={self.batch_size} holds fewer than two groups of {samples_per_group}, so nothing would be a "
                f"negative; take at least {2 * samples_per_group}"
            )

    def epoch_plan(self, training: bool) -> EpochPlan | None:
        """P×K batches in training, where asked for."""
        if self.samples_per_group is None or not training:
            return super().epoch_plan(training)
        groups_per_batch = self.batch_size // self.samples_per_group
        return GroupBatchSampler(self.groups(), groups_per_batch, self.samples_per_group, self.seed)

    def groups(self) -> Tensor:
        """(N,) int64 group ids of all samples; read once. A stream is read to its end."""
        if self._groups is None:
            values = self._group_column()
            self._groups = torch.tensor([self.kind.stable(value, "group") for value in values], dtype=torch.long)
        return self._groups

    def _group_column(self) -> Iterable[Any]:
        """The groups alone where the data has columns: reading whole rows might decode an image each."""
        data = getattr(self.source, "data", None)
        if isinstance(self._group, str) and isinstance(self.source, MapSource):
            if isinstance(getattr(data, "columns", None), dict):
                return data.columns[self._group]  # type: ignore[union-attr, no-any-return]
            if self._group in getattr(data, "column_names", ()):
                return data[self._group]  # type: ignore[index, no-any-return]
        return (sample.group for sample in self.source)


class SimilarityGroupDataset(Dataset[SimilarityGroupSample]):
    """Samples from a data set of `(object, label)` tuples, as classification data sets are.

    Args:
        dataset: has `__getitem__` and `__len__`.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> SimilarityGroupSample:
        obj, label = self.dataset[index]
        return SimilarityGroupSample(obj, label)
