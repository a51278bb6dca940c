"""What losses with one vector a class share: which group or label is which class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from simlearn.hashing import stable_id
from simlearn.losses.forward_losses import GroupLoss
from simlearn.ragged import Ragged, sums
from simlearn.relations import Relation, RelationCheck, RelationKind

UNUSED = torch.iinfo(torch.int64).max


class Members(NamedTuple):
    """Which object is of which class: L memberships of N objects, one each where objects have groups.

    Args:
        owners: (L,) int64 the object of each membership.
        classes: (L,) int64 its class in [0, C); anything where it is not known.
        known: (L,) bool, whether the group or label is a class at all.
        size: N.
    """

    owners: Tensor
    classes: Tensor
    known: Tensor
    size: int

    @property
    def counts(self) -> Tensor:
        """(N,) int64, how many classes each object has."""
        return sums(self.known.long(), self.owners, self.size)

    def mean(self, terms: Tensor) -> Tensor:
        """(N,): the mean of (L,) terms over the classes of each object, 0 for an object without any."""
        return sums(torch.where(self.known, terms, 0.0), self.owners, self.size) / self.counts.clamp(min=1)


class ClassLoss(GroupLoss):
    """The base of losses that learn a vector for each group, or label, of the training data.

    The classes stand in the sorted buffer `class_ids`, which `simlearn.fit` fills with one pass over the training data,
    and which checkpoints hold. For streams, or without `fit`, name them with `classes`. A subclass keeps its vectors in
    the parameter `kernel`, or overrides `truncated` too.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the most classes there may be.
        classes: the groups or labels, by their names in the samples; a mapping tells how many samples each has.

    Raises:
        ValueError: for sizes below 1.
    """

    relations: ClassVar[frozenset[RelationKind]] = frozenset({RelationKind.GROUPS, RelationKind.LABELS})
    needs_positives: ClassVar[bool] = False
    class_ids: Tensor
    kernel: nn.Parameter

    def __init__(self, embedding_size: int, num_groups: int, classes: Iterable[Hashable] | None = None) -> None:
        super().__init__()
        if embedding_size < 1 or num_groups < 1:
            raise ValueError(f"embedding_size and num_groups must be at least 1, got {embedding_size} and {num_groups}")
        self.embedding_size = embedding_size
        self.num_groups = num_groups
        self.register_buffer("class_ids", torch.full((num_groups,), UNUSED))
        if classes is not None:
            self._name_classes(classes)

    def _name_classes(self, classes: Iterable[Hashable]) -> None:
        names = list(classes)
        ids = torch.tensor([stable_id(name) for name in names], dtype=torch.long)
        if isinstance(classes, Mapping):
            ids = torch.repeat_interleave(ids, torch.tensor([int(classes[name]) for name in names], dtype=torch.long))
        self.set_classes(ids)

    @property
    def has_classes(self) -> bool:
        """Whether the classes are known."""
        return bool((self.class_ids != UNUSED).any())

    def set_classes(self, groups: Tensor) -> None:
        """Take the distinct values of int64 groups, or of the labels of all objects, as the classes.

        Args:
            groups: (N,), best of all samples with repetitions: some losses mind how frequent a class is.

        Raises:
            ValueError: when there are more than `num_groups`.
        """
        distinct, counts = torch.unique(groups, return_counts=True)
        if len(distinct) > self.num_groups:
            raise ValueError(
                f"the data has {len(distinct)} groups, {type(self).__name__} was built for "
                f"num_groups={self.num_groups}; build it with num_groups={len(distinct)}"
            )
        self.class_ids.fill_(UNUSED)
        self.class_ids[: len(distinct)] = distinct.to(self.class_ids.device)
        self.use_counts(counts.to(self.class_ids.device))

    def use_counts(self, counts: Tensor) -> None:
        """Called when the classes are set, with the number of samples of each, (c,) with c ≤ C. Default: nothing."""
        return

    def class_of(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """The class (N,) of each group in [0, C), and whether it is known (N,)."""
        classes = torch.searchsorted(self.class_ids, groups.contiguous()).clamp(max=self.num_groups - 1)
        return classes, (self.class_ids[classes] == groups) & (groups != UNUSED)

    def members(self, relation: Relation) -> Members:
        """The classes of the objects.

        Raises:
            TypeError: for a relation without groups and labels.
        """
        objects = torch.arange(relation.n_queries, device=relation.device)
        if relation.groups is not None:
            return Members(objects, *self.class_of(relation.groups), relation.n_queries)
        if relation.labels is None or relation.label_offsets is None:
            raise TypeError(f"{type(self).__name__} takes groups or labels, got {relation.kind}")
        owners = Ragged(relation.label_offsets, relation.labels).owners()
        return Members(owners, *self.class_of(relation.labels), relation.n_queries)

    def counts(self, relation: Relation, members: Members) -> dict[str, Tensor]:
        """What was skipped: groups that are no class; or labels that are none, and objects without a class."""
        unknown = (~members.known).sum()
        if relation.kind is RelationKind.GROUPS:
            return {"unknown_groups": unknown}
        return {"unknown_labels": unknown, "objects_without_class": (members.counts == 0).sum()}

    def truncated(self, size: int) -> dict[str, Tensor]:
        """The parameters, by name, that go with the first `size` values of the embeddings; see `MatryoshkaLoss`."""
        return {"kernel": self.kernel[:size]}

    def relation_check(self, training: bool = True) -> RelationCheck | None:
        """In training, refuses groups and labels that are no class; in evaluation they are skipped and counted."""
        return _RefuseUnknown(self.class_ids.detach().cpu().clone(), type(self).__name__) if training else None

    def kept_arguments(self) -> dict[str, Any]:
        """No classes: they are in the state."""
        return {"classes": None}


def class_losses(loss: nn.Module) -> list[ClassLoss]:
    """The class losses that a loss is or holds, as `SumLoss` and `MatryoshkaLoss` may."""
    return [module for module in loss.modules() if isinstance(module, ClassLoss)]


@dataclass(frozen=True)
class _RefuseUnknown:
    class_ids: Tensor
    name: str

    def __call__(self, relation: Relation) -> None:
        values = relation.groups if relation.groups is not None else relation.labels
        if values is None:
            raise TypeError(f"{self.name} takes groups or labels, got {relation.kind}")
        unknown = ~torch.isin(values, self.class_ids)
        if bool(unknown.any()):
            known = int((self.class_ids != UNUSED).sum())
            what = "group" if relation.groups is not None else "label"
            raise ValueError(
                f"{what} {int(values[unknown][0])} is none of the {known} classes of {self.name}; pass "
                "classes=... with all of them, or train with simlearn.fit, which finds them in the training data"
            )
