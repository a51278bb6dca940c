"""Classification by cosine, with a margin on the cosine."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from torch import Tensor

from simlearn.losses.classification import MarginSoftmaxLoss


class CosFaceLoss(MarginSoftmaxLoss):
    """Cross-entropy over scaled cosines with one learnt vector a class; the own class has a margin to make up for.

    CosFace: Large Margin Cosine Loss for Deep Face Recognition (Wang et al. 2018). An object with several labels has
    the margin on all of them, and a target that is uniform over them.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the number of classes.
        margin: taken from the cosine with the own class.
        scale: multiplied with the cosines.
        classes: the groups or labels, for streams; `simlearn.fit` finds them otherwise.

    Raises:
        ValueError: for sizes below 1, a negative margin, or a scale of 0 or less.
    """

    def __init__(
        self,
        embedding_size: int,
        num_groups: int,
        margin: float = 0.35,
        scale: float = 64.0,
        classes: Iterable[Hashable] | None = None,
    ) -> None:
        super().__init__(embedding_size, num_groups, scale, classes)
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        self.margin = margin

    def harder(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """The cosines less the margin."""
        return cosines - self.margin
