"""The margins of a teacher between the candidates of each query."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from simlearn.distances import Distance
from simlearn.losses.loss_result import LossResult
from simlearn.losses.ranking_loss import Candidates, RankingLoss

Margins = Literal["first", "all"]


class MarginMSELoss(RankingLoss):
    """Scores the candidates of a query as far apart as a teacher does (Hofstätter et al. 2020).

    The relevances of a ranking are the scores of the teacher, such as a cross-encoder. The squared difference of the
    student's and the teacher's margins, averaged over the margins of a query and then over the queries. The student may
    score on a level of its own, but not in another unit: the cosine, at most 1, cannot reach the margins of logits.

    Args:
        margins: `"first"`, between the first candidate, by custom the positive, and each other one; `"all"`, between
            any two, so that their order does not matter.
        scale: multiplied with the student's scores, to bring them to the range of the teacher's.
        distance_metric_name: how embeddings compare; None where the model configures a scorer. The dot product, as in
            the paper, can reach any margin.

    Raises:
        ValueError: for unknown margins, and a scale of 0 or less.
    """

    def __init__(
        self,
        margins: Margins = "first",
        scale: float = 1.0,
        distance_metric_name: Distance | str | None = Distance.DOT_PRODUCT,
    ) -> None:
        super().__init__(distance_metric_name)
        if margins not in get_args(Margins):
            raise ValueError(f"margins must be one of {list(get_args(Margins))}, got {margins!r}")
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.margins = margins
        self.scale = scale

    def rank(self, candidates: Candidates) -> LossResult:
        """The mean over the queries with at least two candidates."""
        if self.margins == "all":
            terms = self._between_all(candidates)
        else:
            terms = self._from_first(candidates)
        return candidates.mean_of(terms / (candidates.counts - 1).clamp(min=1), candidates.chosen_from)

    def _from_first(self, candidates: Candidates) -> Tensor:
        first = candidates.offsets[candidates.owners]
        scores, relevances = self.scale * candidates.scores, candidates.relevances
        return candidates.sum(((scores[first] - scores) - (relevances[first] - relevances)).square())

    def _between_all(self, candidates: Candidates) -> Tensor:
        """Σ over any two of (eᵢ − eⱼ)², for the errors e of C candidates, is C · Σ (eᵢ − ē)²; times 2 / C here."""
        counts = candidates.counts.clamp(min=1)

        def centred(values: Tensor) -> Tensor:
            return values - (candidates.sum(values) / counts)[candidates.owners]

        errors = centred(self.scale * candidates.scores) - centred(candidates.relevances)
        return 2 * candidates.sum(errors.square())
