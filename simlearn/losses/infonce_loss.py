"""Contrastive softmax: InfoNCE, NT-Xent, SupCon and their kin."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.contrast import contrast
from simlearn.losses.logsumexp import segment_logsumexp
from simlearn.losses.loss_result import LossResult
from simlearn.losses.multiple_negatives_ranking_loss import each_positive
from simlearn.losses.sampling_bias import LogQ, check_log_q, correction
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.relations import Relation
from simlearn.scoring import Scorer

Positives = Literal["each", "supcon", "any"]


def supervised_contrastive(positives: Tensor, anchors: Tensor, against: Tensor, counts: Tensor) -> Tensor:
    """Softmax cross-entropy of each positive against all positives and negatives of its anchor.

    `L_out` of Khosla et al. 2020. An anchor without a negative adds a zero: there is nothing to tell positives from.
    See `contrast.Formula`.
    """
    has_both, against, together = _facing(positives, anchors, against, counts)
    terms = (torch.logaddexp(against, together)[anchors] - positives) / counts[anchors]
    return torch.where(has_both[anchors], terms, 0.0).sum()


def any_positive(positives: Tensor, anchors: Tensor, against: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy of all positives together against the negatives of their anchor (MIL-NCE, Miech et al. 2020).

    It is enough that one of the positives is near. See `contrast.Formula`.
    """
    has_both, against, together = _facing(positives, anchors, against, counts)
    return torch.where(has_both, F.softplus(against - together), 0.0).sum()


def _facing(positives: Tensor, anchors: Tensor, against: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which anchors have both, the log-sum-exps of their negatives and positives; 0, without a gradient, of others."""
    has_both = (against > -torch.inf) & (counts > 0)
    together = segment_logsumexp(positives, anchors, len(against))
    return has_both, torch.where(has_both, against, 0.0), torch.where(has_both, together, 0.0)


_FORMULAS = {"each": each_positive, "supcon": supervised_contrastive, "any": any_positive}


class InfoNCELoss(SimilarityLoss):
    """Tells the positives of each anchor from its negatives by a softmax with a temperature.

    Which paper's loss it is follows from the data and the options:

    * InfoNCE (van den Oord et al. 2018): one positive an anchor, `symmetric=False`.
    * CLIP (Radford et al. 2021): pairs, `learnable_temperature=True` from 0.07, `symmetric=True`.
    * NT-Xent (SimCLR, Chen et al. 2020): groups of two views of an object each, `positives="each"`.
    * SupCon (Khosla et al. 2020, `L_out`): groups or labels, `positives="supcon"`.
    * MIL-NCE (Miech et al. 2020): several positives an anchor of which one is enough, `positives="any"`. `L_in` of
      Khosla et al. is this plus a constant.
    * Additive margin softmax (Yang et al. 2019, as CosFace has it for classes): `margin` above 0.

    With one positive an anchor the three are the same. An anchor without a negative adds a zero.

    Args:
        temperature: what scores are divided by; where it is learnt, what it starts from.
        learnable_temperature: learn the logarithm of 1 / temperature with the model. The temperature never falls below
            0.01, or where it started if that is less, as in CLIP.
        symmetric: also tell the anchor of each positive from the other anchors; the mean of both directions. Groups and
            labels are symmetric by themselves: every object asks, and every object answers.
        positives: what several positives of one anchor are to each other: `"each"` is compared with the negatives only;
            `"supcon"` has the other positives in its denominator too; `"any"` takes them together.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
        margin: taken from the scores of positives, which so must be nearer by it.
        log_q: correct for how often documents are drawn into a batch: popular ones are negatives more often than a
            softmax over all documents would have them. True has, on average, the gradient of that softmax; `"all"` is
            the correction of Yi et al. 2019. The loader tells the probabilities (`document_log_q=`).

    Raises:
        ValueError: for a temperature of 0 or less, a negative margin, and unknown positives or `log_q`.
    """

    takes_memory: ClassVar[bool] = True
    takes_extra: ClassVar[bool] = True
    takes_graded_scores: ClassVar[bool] = False  # a softmax over positives cannot express them

    def __init__(
        self,
        temperature: float = 0.05,
        learnable_temperature: bool = False,
        symmetric: bool = True,
        positives: Positives = "each",
        distance_metric_name: Distance | str | None = None,
        margin: float = 0.0,
        log_q: LogQ = False,
    ) -> None:
        super().__init__(distance_metric_name)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        if positives not in get_args(Positives):
            raise ValueError(f"positives must be one of {', '.join(get_args(Positives))}, got {positives!r}")
        self.initial_temperature = temperature
        self.symmetric = symmetric
        self.positives = positives
        self.margin = margin
        self.log_q = check_log_q(log_q)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learnable_temperature else None

    @property
    def temperature(self) -> float:
        """What scores are divided by now."""
        return self.initial_temperature if self.log_scale is None else 1 / self._scale(self.log_scale).item()

    @property
    def logit_scale(self) -> Tensor | float:
        """1 / temperature, in the graph where it is learnt."""
        return 1 / self.initial_temperature if self.log_scale is None else self._scale(self.log_scale)

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
            _FORMULAS[self.positives],
            self.logit_scale,
            margin=self.margin,
            symmetric=self.symmetric,
            per_row=extra,
            tile_bytes=self.tile_bytes,
            **correction(self.log_q, relation, queries.values.dtype),
        )

    def _scale(self, log_scale: Tensor) -> Tensor:
        """Bounded from above, but with the gradient of one that is not, so that it comes back from there."""
        most = -math.log(min(self.initial_temperature, 0.01))
        return (log_scale - (log_scale - most).clamp(min=0).detach()).exp()
