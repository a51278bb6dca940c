"""What all losses share.

A library loss implements `compute(queries, documents, relation, scorer)` over a pure function of tensors. A user's loss
may instead implement `forward(embeddings, groups)` or `forward(embeddings, pairs, labels, subgroups)`: the base classes
turn one into the other, so that both train, and both can be called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from simlearn.components import Component
from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.call_forms import CallForms, Labels
from simlearn.losses.loss_result import LossResult
from simlearn.losses.tiling import TILE_BYTES
from simlearn.relations import Relation, RelationCheck, RelationKind
from simlearn.scoring import DistanceScorer, Scorer

ALL_RELATIONS = frozenset(RelationKind)


def _with_its_distance(compute: Callable[..., LossResult | Tensor]) -> Callable[..., LossResult | Tensor]:
    """A `compute` that refuses to compare by another distance than its loss names, which was ignored otherwise."""

    @wraps(compute)
    def checked(
        self: SimilarityLoss,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Scorer,
        **beside: Tensor | None,
    ) -> LossResult | Tensor:
        self.check_scorer(scorer)
        return compute(self, queries, documents, relation, scorer, **beside)

    return checked


class SimilarityLoss(nn.Module, Component):
    """The base of all losses.

    In training a model calls `compute`; outside of it a loss is a module like any other, called on tensors: `forward`.

    Args:
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
    """

    relations: ClassVar[frozenset[RelationKind]] = ALL_RELATIONS
    """The kinds of samples the loss learns from."""
    needs_positives: ClassVar[bool] = True
    """Whether data without any similar objects teaches it nothing."""
    needs_negatives: ClassVar[bool] = True
    """Whether data without any different objects teaches it nothing."""
    takes_batch_as_negatives: ClassVar[bool] = True
    """Whether objects that nobody judged count as different."""
    compares_across_batch: ClassVar[bool] = True
    """Whether a sample's loss depends on the other samples of its batch, those of other processes among them. Where it
    does not, `compute` returns a `LossResult` that is a plain sum over samples and what it is divided by."""
    takes_memory: ClassVar[bool] = False
    """Whether `compute` takes more documents than its batch has: those of earlier batches, behind its own."""
    takes_extra: ClassVar[bool] = False
    """Whether `compute` takes `extra=`, (N,) one more logit against each query, such as that of a negative cache.
    `logit_scale` then tells what scores are multiplied with."""
    takes_graded_scores: ClassVar[bool] = True
    """Whether a pair's score may lie between 0, different, and 1, similar."""
    tile_bytes: int = TILE_BYTES
    """The budget of a tile of scores; set it on a loss whose batches need more or less."""

    def __init__(self, distance_metric_name: Distance | str | None = None) -> None:
        super().__init__()
        self.distance = None if distance_metric_name is None else Distance(distance_metric_name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compute" in vars(cls):  # each class has one of its own: only here do all computes pass
            cls.compute = _with_its_distance(cls.compute)  # type: ignore[method-assign]

    def scorer(self) -> Scorer:
        """The scorer of the loss's own distance, cosine by default."""
        return DistanceScorer(self.distance if self.distance is not None else Distance.COSINE)

    @property
    def logit_scale(self) -> Tensor | float:
        """What scores are multiplied with, 1 / temperature; of losses that take an extra logit."""
        raise NotImplementedError(f"{type(self).__name__} has no logits")

    def check_scorer(self, scorer: Scorer) -> None:
        """Whether a scorer compares as the loss was told to; `compute` asks by itself.

        Args:
            scorer: how embeddings are to be compared; one without a distance, as of many vectors, contradicts none.

        Raises:
            ValueError: where the loss names a distance and the scorer has another one.
        """
        theirs = getattr(scorer, "distance", None)
        if self.distance is not None and isinstance(theirs, Distance) and theirs is not self.distance:
            raise ValueError(
                f"{type(self).__name__} compares by {self.distance.value}, the scorer by {theirs.value}; name the "
                "distance in one place: build the loss with distance_metric_name=None, or pass loss.scorer()"
            )

    def compute(
        self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer
    ) -> LossResult | Tensor:
        """The loss of N queries and M documents.

        Args:
            queries: N embeddings.
            documents: M embeddings; the same object as `queries` where the relation is shared.
            relation: what is similar to what.
            scorer: how embeddings compare.

        Returns:
            A scalar in the graph, or a `LossResult` with counts.

        Raises:
            ValueError: where the loss names a distance and the scorer another one; see `check_scorer`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute or forward")

    def relation_check(self, training: bool = True) -> RelationCheck | None:
        """A picklable function that raises ValueError for labels the loss cannot use; None checks nothing.

        It runs in the collator, on the CPU: looking at values later would make the GPU wait.

        Args:
            training: whether the labels are learnt from, rather than evaluated.
        """
        return None if self.takes_graded_scores else partial(_refuse_graded_pairs, type(self).__name__)

    def _called(
        self,
        queries: Tensor | Embeddings | None = None,
        documents: Tensor | Embeddings | None = None,
        labels: Labels | None = None,
        subgroups: Tensor | None = None,
        *,
        groups: Tensor | None = None,
        scores: Tensor | None = None,
        relation: Relation | None = None,
        embeddings: Tensor | Embeddings | None = None,
        pairs: Tensor | None = None,
    ) -> Tensor:
        """The loss of tensors, by the loss's own distance.

        * `loss(queries, documents)`: row i belongs to row i, and to nothing else of the batch.
        * `loss(queries, documents, scores=scores)`: (N,) scores are of pairs; (N, K) of the K candidates of each query,
          which are N · K documents, query after query; (N, M) of all documents for all queries, where NaN says nothing.
        * `loss(embeddings, groups=groups)`, or `loss(embeddings, groups)`: objects of one group are alike.
        * `loss(embeddings, labels=labels)`: objects with a label in common are alike.
        * `loss(queries, documents, relation=relation)`: what a `Relation` says; of groups and labels without documents.
        * `loss(embeddings, pairs, labels, subgroups)`: pairs of rows and their scores, as in Quaterion.

        A loss takes the forms of the samples that it learns from; see `relations`. In a process group it is the loss of
        what this process passes: gathering the batches of all is what training does.

        Args:
            queries: (N, D), or (N, M, D) for many vectors an object, or `Embeddings`.
            documents: likewise; a tensor (N,) is taken for groups, and integers (B, 2) for pairs.
            labels: a list of labels for each object, of which those of class losses are told apart as in samples; or
                (N, C) of zeros and ones, whose labels are 0 to C - 1. With pairs, their (B,) scores.
            subgroups: (N,) of all embeddings, with pairs; 0 says nothing.
            groups: (N,) whole numbers.
            scores: above 0 for what is similar; graded where the loss takes it.
            relation: what is similar to what.
            embeddings: `queries`, by the name they have in Quaterion.
            pairs: (B, 2) rows of the embeddings, for the second argument.

        Returns:
            A scalar in the graph.

        Raises:
            TypeError: for a form that the loss does not take, naming those that it takes.
            ValueError: for shapes that do not fit, and labels that the loss cannot use.
        """
        if queries is not None and embeddings is not None:
            raise TypeError(f"{type(self).__name__} was given queries and embeddings, which are one; pass one of them")
        forms = CallForms(type(self).__name__, self.relations, needs_scores=not self.takes_batch_as_negatives)
        objects = queries if queries is not None else embeddings
        compared = forms.read(objects, documents, pairs, labels, subgroups, groups, scores, relation)
        check = self.relation_check()
        if check is not None:
            check(compared[2].to("cpu"))  # where checks keep what they compare with
        return LossResult.of(self.compute(*compared, self.scorer())).value

    # As in torch's modules: so a user's loss may have a signature of its own.
    forward: Callable[..., Any] = _called


def _refuse_graded_pairs(name: str, relation: Relation) -> None:
    if relation.kind is not RelationKind.PAIRS:
        return
    scores = relation.paired_scores()
    graded = (scores > 0) & (scores < 1)
    if bool(graded.any()):
        raise ValueError(
            f"{name} got the score {scores[graded][0].item():g}: a pair is either a positive (1) "
            "or an explicit negative (0 or less). CoSENTLoss or ContrastiveLoss learns from graded scores; round them "
            "otherwise"
        )
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(f"{name} takes finite scores; drop or mend the pairs with NaN or infinity")
