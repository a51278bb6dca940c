"""In-batch softmax: every other row of the batch is a negative."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.contrast import contrast
from simlearn.losses.loss_result import LossResult
from simlearn.losses.sampling_bias import LogQ, check_log_q, correction
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.relations import Relation
from simlearn.scoring import Scorer


def each_positive(positives: Tensor, anchors: Tensor, against: Tensor, counts: Tensor) -> Tensor:
    """Softmax cross-entropy of each positive against the negatives of its anchor; of several the mean.

    None of them is in the denominator of another. With one positive this is InfoNCE (van den Oord et al. 2018). See
    `contrast.Formula`.
    """
    return (F.softplus(against[anchors] - positives) / counts[anchors]).sum()


class MultipleNegativesRankingLoss(SimilarityLoss):
    """Tells the positive of each anchor from everything else in the batch (InfoNCE; Henderson et al. 2017).

    The other rows are negatives, except those of the same non-default subgroup and those that are the same object. A
    pair with a score of 0 or less makes `obj_b` a negative of `obj_a`; scores strictly between 0 and 1 raise.

    Args:
        scale: 1 / temperature, multiplied with the scores. 20 suits cosine in [-1, 1].
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
        symmetric: also tell the anchor of each positive from the other anchors; the mean of both directions.
        log_q: correct for how often documents are drawn into a batch: popular ones are negatives more often than a
            softmax over all documents would have them. True has, on average, the gradient of that softmax; `"all"` is
            the correction of Yi et al. 2019. The loader tells the probabilities (`document_log_q=`).

    Raises:
        ValueError: for a scale of 0 or less, and an unknown `log_q`.
    """

    takes_memory: ClassVar[bool] = True
    takes_extra: ClassVar[bool] = True
    takes_graded_scores: ClassVar[bool] = False  # a softmax over positives cannot express them

    def __init__(
        self,
        scale: float = 20.0,
        distance_metric_name: Distance | str | None = None,
        symmetric: bool = False,
        log_q: LogQ = False,
    ) -> None:
        super().__init__(distance_metric_name)
        if not scale > 0:
            raise ValueError(f"scale is 1 / temperature and must be above 0, got {scale}")
        self.scale = scale
        self.symmetric = symmetric
        self.log_q = check_log_q(log_q)

    @property
    def logit_scale(self) -> Tensor | float:
        """1 / temperature."""
        return self.scale

    def compute(
        self,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Scorer,
        extra: Tensor | None = None,
    ) -> LossResult:
        """The loss of any relation; `extra` (N,) is one more logit against each query, −inf for none."""
        return contrast(
            queries,
            documents,
            relation,
            scorer,
            each_positive,
            self.logit_scale,
            symmetric=self.symmetric,
            per_row=extra,
            tile_bytes=self.tile_bytes,
            **correction(self.log_q, relation, queries.values.dtype),
        )
