"""What losses with one vector a class share: which group is which class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from simlearn.hashing import stable_id
from simlearn.losses.similarity_loss import GroupLoss
from simlearn.relations import Relation, RelationCheck

UNUSED = torch.iinfo(torch.int64).max


class ClassLoss(GroupLoss):
    """The base of losses that learn a vector for each group of the training data.

    The groups stand in the sorted buffer `class_ids`, which `simlearn.fit` fills with one pass over the training data,
    and which checkpoints hold. For streams, or without `fit`, name them with `classes`.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the most groups there may be.
        classes: the groups, by their names in the samples.

    Raises:
        ValueError: for sizes below 1.
    """

    needs_positives: ClassVar[bool] = False
    class_ids: Tensor

    def __init__(self, embedding_size: int, num_groups: int, classes: Iterable[Hashable] | None = None) -> None:
        super().__init__()
        if embedding_size < 1 or num_groups < 1:
            raise ValueError(f"embedding_size and num_groups must be at least 1, got {embedding_size} and {num_groups}")
        self.embedding_size = embedding_size
        self.num_groups = num_groups
        self.register_buffer("class_ids", torch.full((num_groups,), UNUSED))
        if classes is not None:
            self.set_classes(torch.tensor([stable_id(one) for one in classes], dtype=torch.long))

    @property
    def has_classes(self) -> bool:
        """Whether the groups are known."""
        return bool((self.class_ids != UNUSED).any())

    def set_classes(self, groups: Tensor) -> None:
        """Take the distinct values of (N,) int64 groups as the classes.

        Raises:
            ValueError: when there are more than `num_groups`.
        """
        distinct = torch.unique(groups)
        if len(distinct) > self.num_groups:
            raise ValueError(
                f"the data has {len(distinct)} groups, {type(self).__name__} was built for "
                f"num_groups={self.num_groups}; build it with num_groups={len(distinct)}"
            )
        self.class_ids.fill_(UNUSED)
        self.class_ids[: len(distinct)] = distinct.to(self.class_ids.device)

    def class_of(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """The class (N,) of each group in [0, C), and whether it is known (N,)."""
        classes = torch.searchsorted(self.class_ids, groups.contiguous()).clamp(max=self.num_groups - 1)
        return classes, self.class_ids[classes] == groups

    def relation_check(self, training: bool = True) -> RelationCheck | None:
        """In training, refuses groups that are no class; in evaluation they are skipped and counted."""
        return _RefuseUnknown(self.class_ids.detach().cpu().clone(), type(self).__name__) if training else None

    def get_config_dict(self) -> dict[str, Any]:
        """The constructor's arguments, less the classes, which are in the state."""
        return {"embedding_size": self.embedding_size, "num_groups": self.num_groups}


@dataclass(frozen=True)
class _RefuseUnknown:
    class_ids: Tensor
    name: str

    def __call__(self, relation: Relation) -> None:
        if relation.groups is None:
            raise TypeError(f"{self.name} takes groups, got {relation.kind}")
        unknown = ~torch.isin(relation.groups, self.class_ids)
        if bool(unknown.any()):
            known = int((self.class_ids != UNUSED).sum())
            raise ValueError(
                f"group {int(relation.groups[unknown][0])} is none of the {known} classes of {self.name}; pass "
                "classes=... with all of them, or train with simlearn.fit, which finds them in the training data"
            )
