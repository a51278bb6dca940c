"""Figures that tell whether a space of embeddings is used, as pure functions.

A metric of rankings looks at the order of neighbours alone, and a space in which all vectors are nearly one point still
has an order. These figures look at the space itself.

None of them centres the vectors. What is left of a collapsed space when its mean is taken away is noise, which fills
all directions evenly: a centred rank *rises* while a space collapses. Uncentred, the one direction that all vectors
share is counted as what it is. Where embeddings compare by a distance that does not look at the origin, an offset
common to all of them raises `mean_cosine` though nothing is wrong; `mean_distance` is the figure to watch there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from simlearn.distances import normalize
from simlearn.precision import double_on
from simlearn.scoring import Scorer
from simlearn.search import top_k

_TILE = 2048
"""Rows compared with all others at once."""


def mean_cosine(embeddings: Tensor) -> float:
    """The mean cosine of all pairs of two rows, in [-1, 1]: near 1 all embeddings are one point.

    Of unit vectors it follows from their sum, so that all N (N - 1) pairs cost no more than N.

    Args:
        embeddings: (N, D), N at least 2.

    Raises:
        ValueError: for another shape, fewer than two rows, or NaN and infinite values.
    """
    units = _units(embeddings)
    count = len(units)
    total = float(units.sum(0).square().sum() - units.square().sum())
    return max(-1.0, min(1.0, total / (count * (count - 1))))


def mean_distance(embeddings: Tensor) -> float:
    """The root of the mean squared Euclidean distance of all pairs of two rows, 0 or more.

    Arguments and errors as for `mean_cosine`.
    """
    values = _checked(embeddings)
    spread = values - values.mean(0)
    return math.sqrt(2 * float(spread.square().sum()) / (len(values) - 1))


def effective_rank(embeddings: Tensor, centred: bool = False) -> float:
    """How many directions the embeddings take up: from 1, when they are one point, to min(N, D).

    The exponential of the entropy of the shares that the directions have in the squared length of all rows (Roy and
    Vetterli 2007 take the shares of singular values; with their squares small noise in many directions counts little).
    Rows are brought to unit length first.

    Args:
        embeddings: (N, D), N at least 2.
        centred: take the mean away first. It then tells how evenly differences are spread, and is high for noise: no
            sign of collapse.

    Returns:
        The rank; 0 where nothing has a length.

    Raises:
        ValueError: as for `mean_cosine`.
    """
    units = _units(embeddings)
    if centred:
        units = units - units.mean(0)
    # The Gram matrix over the smaller side: its eigenvalues are the squared singular values.
    gram = units.T @ units if units.shape[1] <= len(units) else units @ units.T
    squares = torch.linalg.eigvalsh(gram).clamp(min=0)
    total = squares.sum()
    if float(total) <= 1e-20:
        return 0.0
    shares = squares / total
    return float(torch.exp(-torch.xlogy(shares, shares).sum()))


def alignment(first: Tensor, second: Tensor, exponent: float = 2.0) -> float:
    """The mean distance of similar objects on the unit sphere, to a power: 0 is perfect, at most 2^exponent.

    Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity (2020).

    Args:
        first: (P, D) one object of each similar pair.
        second: (P, D) the other.
        exponent: the power.

    Raises:
        ValueError: for shapes that differ, no pair, or NaN and infinite values.
    """
    if first.shape != second.shape:
        raise ValueError(f"pairs need two tensors of one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    difference = _units(first, at_least=1) - _units(second, at_least=1)
    return float(difference.norm(dim=1).pow(exponent).mean())


def uniformity(embeddings: Tensor, temperature: float = 2.0) -> float:
    """The logarithm of the mean of exp(-t d²) over all pairs on the unit sphere: 0 for one point, lower is more even.

    For t = 2 and many dimensions it is about -3.9 at best (Wang and Isola 2020).

    Args:
        embeddings: (N, D), N at least 2. All pairs are compared: take a sample of what is large.
        temperature: t.

    Raises:
        ValueError: as for `mean_cosine`.
    """
    units = _units(embeddings)
    count, total = len(units), 0.0
    for start in range(0, count, _TILE):
        squared = (2 - 2 * units[start : start + _TILE] @ units.T).clamp(min=0)
        potentials = torch.exp(-temperature * squared)
        total += float(potentials.sum() - potentials.diagonal(start).sum())
    return math.log(max(total / (count * (count - 1)), 1e-300))


def hubness(embeddings: Tensor, k: int = 10, scorer: Scorer | None = None) -> float:
    """The skewness of how often an object is among the k nearest of the others: 0 when all are so equally often.

    Above about 1.5 some objects are near to everything, and are found whatever is asked for (Radovanović et al. 2010).

    Args:
        embeddings: (N, D), N at least 3.
        k: how many neighbours; at most N - 1 are taken.
        scorer: how they compare; None for cosine.

    Raises:
        ValueError: for fewer than three rows, k below 1, or NaN and infinite values.
    """
    values = _checked(embeddings, at_least=3)
    found = top_k(values.float(), values.float(), min(k, len(values) - 1), scorer, exclude_self=True)
    counts = torch.bincount(found.indices.flatten().cpu(), minlength=len(values)).double()
    deviation = counts - counts.mean()
    variance = float(deviation.square().mean())
    return 0.0 if variance < 1e-12 else float(deviation.pow(3).mean()) / variance**1.5


def norm_spread(embeddings: Tensor) -> float:
    """The standard deviation of the vectors' lengths over their mean: 0 when all are equally long.

    Cosine does not see lengths, a dot product does. Arguments and errors as for `mean_cosine`.
    """
    norms = _checked(embeddings).norm(dim=1)
    mean = float(norms.mean())
    return float(norms.std()) / mean if mean > 0 else 0.0


def dead_dimensions(embeddings: Tensor, least: float = 1e-3) -> int:
    """How many dimensions hardly change from object to object: they are stored and searched for nothing.

    Args:
        embeddings: (N, D), N at least 2.
        least: a dimension is dead when its standard deviation is at most this share of the root mean square of all of
            them. In a space that is one point none stands out, and none or all are dead.

    Raises:
        ValueError: as for `mean_cosine`.
    """
    deviations = _checked(embeddings).std(dim=0)
    usual = float(deviations.square().mean().sqrt())
    return int((deviations <= least * usual).sum())


@dataclass(frozen=True)
class Health:
    """The health of a space of embeddings.

    Args:
        mean_cosine: see the function of that name; likewise the others.
        mean_distance: of all pairs.
        effective_rank: uncentred.
        uniformity: lower is more even.
        hubness: of the 10 nearest.
        norm_spread: of the lengths.
        dead_dimensions: how many.
        count: of how many objects.
        size: D.
        alignment: of similar pairs, where some were given.
    """

    mean_cosine: float
    mean_distance: float
    effective_rank: float
    uniformity: float
    hubness: float
    norm_spread: float
    dead_dimensions: int
    count: int
    size: int
    alignment: float | None = None

    @classmethod
    def of(cls, embeddings: Tensor, pairs: tuple[Tensor, Tensor] | None = None, scorer: Scorer | None = None) -> Health:
        """Measure embeddings.

        Args:
            embeddings: (N, D), N at least 3; a few hundred are enough, and more than some thousands slow.
            pairs: (P, D) and (P, D) embeddings of similar objects.
            scorer: how the neighbours compare, for `hubness`; None for cosine.

        Raises:
            ValueError: for fewer than three rows, or NaN and infinite values.

        >>> Health.of(torch.eye(4)).effective_rank
        4.0
        """
        return cls(
            mean_cosine(embeddings),
            mean_distance(embeddings),
            round(effective_rank(embeddings), 6),
            uniformity(embeddings),
            hubness(embeddings, scorer=scorer),
            norm_spread(embeddings),
            dead_dimensions(embeddings),
            len(embeddings),
            embeddings.shape[1],
            None if pairs is None else alignment(*pairs),
        )

    def figures(self) -> dict[str, float]:
        """The figures by name, less the sizes and what was not measured."""
        names = [field.name for field in fields(self) if field.name not in ("count", "size")]
        return {name: float(getattr(self, name)) for name in names if getattr(self, name) is not None}

    def __str__(self) -> str:
        lines = [f"{name.replace('_', ' '):<18}{value:>9.3f}" for name, value in self.figures().items()]
        return "\n".join([f"{self.count} embeddings of size {self.size}", *lines])


def _units(embeddings: Tensor, at_least: int = 2) -> Tensor:
    units: Tensor = normalize(_checked(embeddings, at_least))
    return units


def _checked(embeddings: Tensor, at_least: int = 2) -> Tensor:
    """In double precision: what is told of a collapsed space is its differences, which are small."""
    if embeddings.ndim != 2:
        raise ValueError(
            f"health is measured of one vector an object, (N, D); got the shape {tuple(embeddings.shape)}. Of many "
            "vectors an object take their mean, or measure the vectors themselves"
        )
    if len(embeddings) < at_least:
        raise ValueError(f"at least {at_least} embeddings are needed, got {len(embeddings)}")
    if not bool(embeddings.isfinite().all()):
        bad = int((~embeddings.isfinite()).any(dim=1).sum())
        raise ValueError(f"{bad} of {len(embeddings)} embeddings are NaN or infinite; mend the model or drop them")
    return embeddings.detach().to(double_on(embeddings.device))
