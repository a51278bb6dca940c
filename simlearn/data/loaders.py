"""The loaders of the four kinds of samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from simlearn.data.group_batch_sampler import GroupBatchSampler, refuse_lonely
from simlearn.data.kinds import GroupKind, Key, LabelKind, PairKind, RankingKind
from simlearn.data.samplers import EpochPlan
from simlearn.data.similarity_data_loader import SimilarityDataLoader
from simlearn.data.sources import ColumnSpec
from simlearn.samples import SimilarityGroupSample, SimilarityLabelSample


class PairsSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityPairSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        batch_size: samples a batch, on each process.
        obj_a: the first object's column.
        obj_b: the second object's column.
        score: the score's column; None for 1 everywhere.
        subgroup: the subgroup's column; None for 0 everywhere.
        obj_a_id: the column with the first object's name; None tells objects by their content.
        obj_b_id: likewise the second's.
        subgroup_key: turns a subgroup into a stable name.
        **options: see `SimilarityDataLoader`.
    """

    kind_class = PairKind

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        obj_a: ColumnSpec | None = None,
        obj_b: ColumnSpec | None = None,
        score: ColumnSpec | None = None,
        subgroup: ColumnSpec | None = None,
        obj_a_id: ColumnSpec | None = None,
        obj_b_id: ColumnSpec | None = None,
        subgroup_key: Key | None = None,
        **options: Any,
    ) -> None:
        columns = {"obj_a": obj_a, "obj_b": obj_b, "score": score, "subgroup": subgroup}
        columns |= {"obj_a_id": obj_a_id, "obj_b_id": obj_b_id}
        super().__init__(dataset, batch_size, key=subgroup_key, columns=columns, **options)


class RankingSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityRankingSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        batch_size: samples a batch, on each process.
        query: the query's column.
        documents: the column with the list of candidates.
        relevances: the column with their relevances.
        query_id: the column with the query's name; None tells it by its content.
        document_ids: the column with the list of the candidates' names, likewise.
        **options: see `SimilarityDataLoader`.
    """

    kind_class = RankingKind

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        query: ColumnSpec | None = None,
        documents: ColumnSpec | None = None,
        relevances: ColumnSpec | None = None,
        query_id: ColumnSpec | None = None,
        document_ids: ColumnSpec | None = None,
        **options: Any,
    ) -> None:
        columns = {"query": query, "documents": documents, "relevances": relevances}
        columns |= {"query_id": query_id, "document_ids": document_ids}
        super().__init__(dataset, batch_size, columns=columns, **options)


class LabelSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityLabelSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        batch_size: samples a batch, on each process.
        obj: the object's column.
        labels: the column with the label or labels.
        obj_id: the column with the object's name; None tells objects by their content.
        label_key: turns a label into a stable name.
        **options: see `SimilarityDataLoader`.
    """

    kind_class = LabelKind

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        obj: ColumnSpec | None = None,
        labels: ColumnSpec | None = None,
        obj_id: ColumnSpec | None = None,
        label_key: Key | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            dataset, batch_size, key=label_key, columns={"obj": obj, "labels": labels, "obj_id": obj_id}, **options
        )

    def groups(self) -> Tensor:
        """(L,) int64 ids of the labels of all samples, with repetitions. A stream is read to its end."""
        kind = LabelKind(self.kind.key)
        samples = (SimilarityLabelSample(None, labels) for labels in self.source.values("labels"))
        return torch.tensor([label for sample in samples for label in sorted(kind.label_set(sample))], dtype=torch.long)


class GroupSimilarityDataLoader(SimilarityDataLoader):
    """Batches of `SimilarityGroupSample`, or of rows with these columns.

    Args:
        dataset: see `SimilarityDataLoader`.
        batch_size: samples a batch, on each process.
        obj: the object's column.
        group: the group's column.
        obj_id: the column with the object's name; None tells objects by their content.
        group_key: turns a group into a stable name.
        samples_per_group: K: in training, batches hold `batch_size // K` groups with K samples each
            (`GroupBatchSampler`); None takes samples as they come.
        **options: see `SimilarityDataLoader`.

    Raises:
        ValueError: when `batch_size` holds fewer than two groups of K samples.
    """

    kind_class = GroupKind

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        obj: ColumnSpec | None = None,
        group: ColumnSpec | None = None,
        obj_id: ColumnSpec | None = None,
        group_key: Key | None = None,
        samples_per_group: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            dataset, batch_size, key=group_key, columns={"obj": obj, "group": group, "obj_id": obj_id}, **options
        )
        self.samples_per_group = samples_per_group
        self._groups: Tensor | None = None
        if samples_per_group is None:
            return
        refuse_lonely(samples_per_group)
        if self.is_stream or self.sampler is not None or self.batch_sampler is not None or self.shuffle is False:
            raise ValueError(
                "samples_per_group needs samples with numbers, and puts them into batches by itself; leave out "
                "sampler, batch_sampler and shuffle"
            )
        if self.batch_size < 2 * samples_per_group:
            raise ValueError(
                f"batch_size={self.batch_size} holds fewer than two groups of {samples_per_group}, so nothing would be "
                f"a negative; take at least {2 * samples_per_group}"
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
            values = self.source.values("group")
            self._groups = torch.tensor([self.kind.stable(value, "group") for value in values], dtype=torch.long)
        return self._groups


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
