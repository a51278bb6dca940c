"""How far apart two vectors are, and how similar: one row with one row, or every row with every row.

Every reduction runs in at least fp32 whatever the inputs' type or autocast, pair and matrix forms agree, and vectors
that coincide or are zero have finite values and gradients. One thing stays the caller's: where
`torch.set_float32_matmul_precision` allows TF32, the matrices of `Cosine` and `DotProduct` on a GPU have its precision.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import Enum

import torch
from torch import Tensor

from simlearn.precision import at_least_single

# At or below this norm a vector counts as zero: it has no direction.
_ZERO_NORM = 1e-12

# A squared distance in float64 below this share of |x|² + |y|² is rounding. Distances below 3e-7 of the norm become 0
# by it; rounding the vectors themselves to fp32 moves them by 1e-7.
_ROUNDING = 2.0**-44

# Elements that the backward pass of `torch.cdist` may hold at a time: half a gigabyte of fp32.
_CDIST_ELEMENTS = 2**27


class BaseDistance:
    """A distance and the similarity that goes with it. Smaller distances are larger similarities.

    A subclass computes one measure, for pairs and for matrices, and says how distance and similarity follow from it.
    """

    @classmethod
    def distance(cls, x: Tensor, y: Tensor) -> Tensor:
        """The distances between x[i] and y[i].

        Args:
            x: (N, D).
            y: (N, D).

        Returns:
            (N,), fp32 or, where an input is float64, float64.

        Raises:
            ValueError: when the shapes do not fit.
        """
        return cls._distance_from(cls._measure_pairs(x, y))

    @classmethod
    def similarity(cls, x: Tensor, y: Tensor) -> Tensor:
        """The similarities (N,) of x[i] and y[i]; arguments and errors as for `distance`."""
        return cls._similarity_from(cls._measure_pairs(x, y))

    @classmethod
    def distance_matrix(cls, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The distances between every x[i] and every y[j].

        Args:
            x: (N, D).
            y: (M, D); default: x.

        Returns:
            (N, M), fp32 or, where an input is float64, float64.

        Raises:
            ValueError: when the shapes do not fit.
        """
        return cls._distance_from(cls._measure_matrix(x, y))

    @classmethod
    def similarity_matrix(cls, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The similarities (N, M) of every x[i] and every y[j]; arguments and errors as for `distance_matrix`."""
        return cls._similarity_from(cls._measure_matrix(x, y))

    @classmethod
    def _measure_pairs(cls, x: Tensor, y: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape != y.shape:
            raise ValueError(
                f"{cls.__name__} compares two (N, D) tensors row by row, got shapes {tuple(x.shape)} and "
                f"{tuple(y.shape)}; the _matrix methods compare every row of one with every row of the other"
            )
        with _no_autocast(x.device):
            return cls._pairs(*_at_least_fp32(x, y))

    @classmethod
    def _measure_matrix(cls, x: Tensor, y: Tensor | None) -> Tensor:
        y = x if y is None else y
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
            raise ValueError(
                f"{cls.__name__} compares x (N, D) with y (M, D), got shapes {tuple(x.shape)} and {tuple(y.shape)}; "
                "both need the same D, and a single vector needs a row dimension (vector[None])"
            )
        with _no_autocast(x.device):
            return cls._matrix(*_at_least_fp32(x, y))

    @staticmethod
    def _pairs(x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    @staticmethod
    def _matrix(x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    @staticmethod
    def _distance_from(measure: Tensor) -> Tensor:
        return measure

    @staticmethod
    def _similarity_from(measure: Tensor) -> Tensor:
        return 1 / (1 + measure)


class Cosine(BaseDistance):
    """Similarity cos(x, y) in [-1, 1], distance 1 − cos(x, y) in [0, 2]; a zero vector has cosine 0 with any other."""

    @staticmethod
    def _pairs(x: Tensor, y: Tensor) -> Tensor:
        return (normalize(x) * normalize(y)).sum(dim=-1).clamp(-1.0, 1.0)

    @staticmethod
    def _matrix(x: Tensor, y: Tensor) -> Tensor:
        unit = normalize(x)
        return (unit @ (unit if y is x else normalize(y)).T).clamp(-1.0, 1.0)

    @staticmethod
    def _distance_from(measure: Tensor) -> Tensor:
        return 1 - measure

    @staticmethod
    def _similarity_from(measure: Tensor) -> Tensor:
        return measure


class DotProduct(BaseDistance):
    """Similarity x·y, distance −x·y, both unbounded."""

    @staticmethod
    def _pairs(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(dim=-1)

    @staticmethod
    def _matrix(x: Tensor, y: Tensor) -> Tensor:
        return x @ y.T

    @staticmethod
    def _distance_from(measure: Tensor) -> Tensor:
        return -measure

    @staticmethod
    def _similarity_from(measure: Tensor) -> Tensor:
        return measure


class Euclidean(BaseDistance):
    """Distance d = ‖x − y‖ in [0, ∞), similarity 1 / (1 + d) in (0, 1]; the gradient of coinciding vectors is zero."""

    @staticmethod
    def _pairs(x: Tensor, y: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(x - y, dim=-1)
        return norms

    @staticmethod
    def _matrix(x: Tensor, y: Tensor) -> Tensor:
        """Through a matrix product in float64.

        |x|² + |y|² − 2 x·y cancels for near vectors: in fp32 it has no correct digit below a distance of 5e-4 of the
        norm. In float64 it resolves what fp32 inputs hold, several times faster than subtracting vectors one by one.
        """
        if x.dtype == torch.float64 or x.device.type == "mps":  # nothing wider at hand
            return _cdist(x, y, p=2.0)
        dtype = x.dtype
        x, y = x.double(), y.double()
        scale = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
        squared = torch.addmm(scale, x, y.T, alpha=-2)
        apart = squared > _ROUNDING * scale
        # The inner `where` keeps 0 out of the square root, whose gradient there is infinite.
        distances: Tensor = torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)
        return distances.to(dtype)


class Manhattan(BaseDistance):
    """Distance d = Σᵢ ‖xᵢ − yᵢ‖ in [0, ∞), similarity 1 / (1 + d) in (0, 1]; equal coordinates have no gradient."""

    @staticmethod
    def _pairs(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().sum(dim=-1)

    @staticmethod
    def _matrix(x: Tensor, y: Tensor) -> Tensor:
        return _cdist(x, y, p=1.0)


class Distance(str, Enum):
    """The distances by name."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"
    DOT_PRODUCT = "dot_product"
    MANHATTAN = "manhattan"

    @staticmethod
    def get_by_name(name: str) -> type[BaseDistance]:
        """The class of a distance.

        Args:
            name: a `Distance` or its value.

        Raises:
            ValueError: for an unknown name.

        >>> Distance.get_by_name("cosine").distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([1.])
        """
        try:
            return _CLASSES[Distance(name)]
        except ValueError:
            raise ValueError(
                f"unknown distance {name!r}; known are {[distance.value for distance in Distance]}"
            ) from None


_CLASSES: dict[Distance, type[BaseDistance]] = {
    Distance.EUCLIDEAN: Euclidean,
    Distance.COSINE: Cosine,
    Distance.DOT_PRODUCT: DotProduct,
    Distance.MANHATTAN: Manhattan,
}


def normalize(vectors: Tensor) -> Tensor:
    """Vectors (..., D) of length 1, in at least fp32; zero vectors stay as they are.

    `torch.nn.functional.normalize` divides a zero vector by its epsilon, which makes its gradient 1e12 times too large;
    here a zero vector is divided by 1.
    """
    vectors = vectors.to(at_least_single(vectors))
    norms = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.where(norms > _ZERO_NORM, norms, 1.0)


def _at_least_fp32(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dtype = at_least_single(x, y)
    converted = x.to(dtype)
    return converted, converted if y is x else y.to(dtype)


def _no_autocast(device: torch.device) -> AbstractContextManager[None]:
    # Autocast would turn the matrix products back into half precision.
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _cdist(x: Tensor, y: Tensor, p: float) -> Tensor:
    """`torch.cdist` without a matrix product, in blocks of rows.

    Its backward pass on a GPU holds a difference for every pair and coordinate, an (N, M, D) tensor; in blocks it holds
    those of one block.
    """
    rows = max(1, _CDIST_ELEMENTS // max(1, y.numel()))
    blocks = [torch.cdist(block, y, p=p, compute_mode="donot_use_mm_for_euclid_dist") for block in torch.split(x, rows)]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
