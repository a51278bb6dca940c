"""Classification by cosine, with a margin on the angle."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor

from simlearn.losses.classification import MarginSoftmaxLoss


class ArcFaceLoss(MarginSoftmaxLoss):
    """Cross-entropy over scaled cosines with the vectors of each class; the own class is seen at a larger angle.

    ArcFace (Deng et al. 2019), with K vectors a class as Sub-center ArcFace (Deng et al. 2020), and margins that are
    larger for rare classes (Ha et al. 2020). With θ the angle to the own class, cos(θ + m) is computed without an arc
    cosine, so gradients are finite at θ = 0 and θ = π. Beyond θ = π − m, where it would rise again, it goes on as
    cos θ + cos m − 1, which is continuous and falls. An object with several labels has the margin on all of them, and a
    target that is uniform over them.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the number of classes.
        scale: multiplied with the cosines.
        margin: in radians, or a range `(low, high)`: the most frequent class has `low`, the rarest `high`, and one with
            n samples a margin that is linear in n^(-1/4); halfway between where all are as frequent.
        sub_centers: K vectors a class, of which the nearest counts; 3 or so for noisy labels.
        classes: the groups or labels, for streams; `simlearn.fit` finds them otherwise. For a range of margins a
            mapping from each to its number of samples.

    Raises:
        ValueError: for sizes below 1, a scale of 0 or less, or margins that do not ascend in [0, π).
    """

    margins: Tensor

    def __init__(
        self,
        embedding_size: int,
        num_groups: int,
        scale: float = 64.0,
        margin: float | Sequence[float] = 0.5,
        sub_centers: int = 1,
        classes: Iterable[Hashable] | None = None,
    ) -> None:
        if sub_centers < 1:
            raise ValueError(f"sub_centers must be at least 1, got {sub_centers}")
        super().__init__(embedding_size, num_groups, scale, None, sub_centers)
        ends = tuple(margin) if isinstance(margin, Sequence) else (margin, margin)
        if len(ends) != 2 or not 0 <= ends[0] <= ends[1] < math.pi:
            raise ValueError(f"margin must be a number or a range (low, high) in [0, π), got {margin}")
        self.margin = ends
        self.register_buffer("margins", torch.full((num_groups,), sum(ends) / 2))
        if classes is not None:
            self._name_classes(classes)

    def use_counts(self, counts: Tensor) -> None:
        """Sets the margin of each class by its number of samples."""
        low, high = self.margin
        self.margins.fill_((low + high) / 2)
        rarity = counts.double() ** -0.25
        if low == high or not len(counts) or rarity.min() == rarity.max():
            return
        share = (rarity - rarity.min()) / (rarity.max() - rarity.min())
        self.margins[: len(counts)] = (low + (high - low) * share).to(self.margins)

    def harder(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """The cosines of angles that are larger by the margin."""
        margins = self.margins.to(cosines.dtype)[classes]
        squared = (1.0 - cosines) * (1.0 + cosines)
        # Below this the sine is rounding, and its gradient would be infinite.
        real = squared > torch.finfo(cosines.dtype).eps
        sines = torch.where(real, torch.where(real, squared, 1.0).sqrt(), 0.0)
        turned = cosines * margins.cos() - sines * margins.sin()
        return torch.where(cosines > -margins.cos(), turned, cosines + margins.cos() - 1.0)
