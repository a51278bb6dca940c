"""Distances against plain float64 loops, and where floating point is at its worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from simlearn import distances
from simlearn.distances import BaseDistance, Distance, Euclidean, normalize

ALL = [Distance.get_by_name(name) for name in Distance]
COSINE, DOT_PRODUCT = Distance.get_by_name("cosine"), Distance.get_by_name("dot_product")
EUCLIDEAN, MANHATTAN = Distance.get_by_name("euclidean"), Distance.get_by_name("manhattan")
FORMS = ["distance", "similarity", "distance_matrix", "similarity_matrix"]

each_distance = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
each_form = pytest.mark.parametrize("form", FORMS)


def by_loop(cls: type[BaseDistance], x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Distance and similarity of two vectors, in the words of the definition."""
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    if cls is DOT_PRODUCT:
        return -dot, dot
    if cls is COSINE:
        norms = math.sqrt(sum(a * a for a in x)) * math.sqrt(sum(b * b for b in y))
        cos = dot / norms if norms > 0 else 0.0
        return 1 - cos, cos
    differences = [abs(a - b) for a, b in zip(x, y, strict=True)]
    d = sum(differences) if cls is MANHATTAN else math.sqrt(sum(a * a for a in differences))
    return d, 1 / (1 + d)


@st.composite
def vector_pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """x (N, D) and y (M, D) in float32; values of moderate size, with zeros, and rows that repeat."""
    n, m, size = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    value = st.one_of(st.just(0.0), st.floats(2**-10, 10, width=32), st.floats(-10, -(2**-10), width=32))
    x = torch.tensor(draw(st.lists(st.lists(value, min_size=size, max_size=size), min_size=n, max_size=n)))
    y = torch.tensor(draw(st.lists(st.lists(value, min_size=size, max_size=size), min_size=m, max_size=m)))
    if draw(st.booleans()):
        y[0] = x[0]
    return x, y


@each_distance
@settings(max_examples=60, deadline=None)
@given(pair=vector_pairs())
def test_agrees_with_loops(cls: type[BaseDistance], pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    rows = [[by_loop(cls, a, b) for b in y.tolist()] for a in x.tolist()]
    expected = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(cls.distance_matrix(x, y).double(), expected[..., 0], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(cls.similarity_matrix(x, y).double(), expected[..., 1], atol=2e-5, rtol=2e-5)


@each_distance
@settings(max_examples=40, deadline=None)
@given(pair=vector_pairs())
def test_pairs_and_matrix_agree(cls: type[BaseDistance], pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    left, right = x.repeat_interleave(len(y), dim=0), y.repeat(len(x), 1)
    for pairs, matrix in ((cls.distance, cls.distance_matrix), (cls.similarity, cls.similarity_matrix)):
        torch.testing.assert_close(pairs(left, right).view(len(x), len(y)), matrix(x, y), atol=1e-5, rtol=1e-5)


@each_distance
@pytest.mark.parametrize("form", ["distance_matrix", "similarity_matrix"])
def test_one_argument_means_itself(cls: type[BaseDistance], form: str) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(getattr(cls, form)(x), getattr(cls, form)(x, x.clone()))


@each_distance
@each_form
def test_gradcheck(cls: type[BaseDistance], form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    y = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(cls, form), (x, y))
    if form.endswith("matrix") and cls is not EUCLIDEAN and cls is not MANHATTAN:  # there the diagonal has a kink
        assert torch.autograd.gradcheck(getattr(cls, form), (x,))


@each_distance
@each_form
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_computes_in_at_least_fp32(cls: type[BaseDistance], form: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 64, generator=generator).to(dtype) for _ in range(2))
    exact = getattr(cls, form)(x.double(), y.double())
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            found = getattr(cls, form)(x, y)
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-5)


@each_distance
def test_mixed_and_integer_types_are_promoted(cls: type[BaseDistance]) -> None:
    x, y = torch.tensor([[1, 2], [-3, 4]], dtype=torch.int8), torch.tensor([[1.0, 2.0], [0.5, -4.0]])
    torch.testing.assert_close(cls.distance_matrix(x, y), cls.distance_matrix(x.float(), y))
    assert cls.distance(y.half(), y.bfloat16()).dtype == torch.float32
    assert cls.distance(y.half(), y.double()).dtype == torch.float64


@each_distance
@each_form
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", ["coinciding", "zero", "both zero", "tiny"])
def test_values_and_gradients_are_finite(cls: type[BaseDistance], form: str, dtype: torch.dtype, case: str) -> None:
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    tiny = 1e-3 if dtype == torch.float16 else 1e-6  # below, the gradient of a cosine is too large for float16
    x, y = {
        "coinciding": (vectors, vectors),
        "zero": (torch.zeros(3, 8), vectors),
        "both zero": (torch.zeros(3, 8), torch.zeros(3, 8)),
        "tiny": (vectors * tiny, vectors * 2 * tiny),
    }[case]
    x, y = x.to(dtype, copy=True).requires_grad_(), y.to(dtype, copy=True).requires_grad_()
    values = getattr(cls, form)(x, y)
    assert values.isfinite().all()
    for gradient in torch.autograd.grad(values.sum(), (x, y)):
        assert gradient.isfinite().all()
        if case != "tiny":
            assert gradient.abs().max() < 100


@pytest.mark.parametrize("cls", [EUCLIDEAN, MANHATTAN], ids=lambda cls: cls.__name__)
def test_coinciding_vectors_have_distance_and_gradient_zero(cls: type[BaseDistance]) -> None:
    x = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = x.detach().clone()
    assert cls.distance(x, y).eq(0).all() and cls.similarity(x, y).eq(1).all()
    diagonal = cls.distance_matrix(x, y).diagonal()
    assert diagonal.eq(0).all()
    (gradient,) = torch.autograd.grad(diagonal.sum(), x)
    assert gradient.eq(0).all()


def test_cosine_stays_in_its_range() -> None:
    x = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    assert COSINE.similarity_matrix(x).max() <= 1 and COSINE.similarity(x, -x).min() >= -1
    assert COSINE.distance_matrix(x).min() >= 0 and COSINE.distance_matrix(x, -x).max() <= 2
    assert COSINE.distance(x, x * 3).min() >= 0


def test_cosine_of_a_zero_vector_is_zero() -> None:
    x, y = torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 2.0]])
    assert COSINE.similarity(x, y).item() == COSINE.similarity_matrix(x, y).item() == 0
    assert COSINE.distance(x, y).item() == COSINE.distance_matrix(x, y).item() == 1


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_euclidean_matrix_resolves_near_vectors(gap: float, offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = normalize(torch.randn(20, 384, generator=generator)) + offset / math.sqrt(384)
    y = x + gap * normalize(torch.randn(20, 384, generator=generator))
    exact = torch.linalg.vector_norm(x.double() - y.double(), dim=1)
    # Within the rounding of fp32 vectors of length 1, though the square of the distance is far below it.
    torch.testing.assert_close(EUCLIDEAN.distance_matrix(x, y).diagonal().double(), exact, atol=1e-7, rtol=1e-6)


def test_euclidean_matrix_gradient_of_near_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    x = normalize(torch.randn(20, 64, generator=generator)).requires_grad_()
    y = x.detach() + 1e-4 * normalize(torch.randn(20, 64, generator=generator))
    (by_matrix,) = torch.autograd.grad(EUCLIDEAN.distance_matrix(x, y).diagonal().sum(), x)
    (by_pairs,) = torch.autograd.grad(EUCLIDEAN.distance(x, y).sum(), x)
    torch.testing.assert_close(by_matrix, by_pairs, atol=1e-5, rtol=1e-4)


def test_euclidean_matrix_does_not_overflow() -> None:
    x, y = torch.full((1, 4), 1e30), torch.full((1, 4), -1e30)
    assert Euclidean.distance_matrix(x, y).item() == pytest.approx(4e30, rel=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_cdist_in_blocks(monkeypatch: pytest.MonkeyPatch, p: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, generator=generator, requires_grad=True)
    y = torch.randn(4, 3, generator=generator, requires_grad=True)
    weights = torch.randn(7, 4, generator=generator)
    whole = distances._cdist(x, y, p)
    expected = torch.autograd.grad((whole * weights).sum(), (x, y))
    monkeypatch.setattr(distances, "_CDIST_ELEMENTS", 2 * y.numel())
    blocks = distances._cdist(x, y, p)
    assert torch.equal(blocks, whole)
    for found, wanted in zip(torch.autograd.grad((blocks * weights).sum(), (x, y)), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@each_distance
@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_no_vectors(cls: type[BaseDistance], n: int, m: int) -> None:
    x, y = torch.zeros(n, 4, requires_grad=True), torch.zeros(m, 4, requires_grad=True)
    for form in ("distance_matrix", "similarity_matrix"):
        values = getattr(cls, form)(x, y)
        assert values.shape == (n, m)
        assert [len(gradient) for gradient in torch.autograd.grad(values.sum(), (x, y))] == [n, m]
    assert cls.distance(x[:0], y[:0]).shape == (0,)


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the number of elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@each_distance
def test_memory_is_that_of_the_matrix(cls: type[BaseDistance]) -> None:
    x, y = torch.randn(30, 20, requires_grad=True), torch.randn(40, 20, requires_grad=True)
    with LargestTensor() as largest:  # type: ignore[no-untyped-call]
        torch.autograd.grad(cls.similarity_matrix(x, y).sum(), (x, y))
    assert largest.elements == 30 * 40


@each_distance
def test_changes_neither_inputs_nor_outputs(cls: type[BaseDistance]) -> None:
    x, y = torch.randn(3, 4), torch.randn(3, 4)
    before = x.clone(), y.clone()
    for form in FORMS:
        getattr(cls, form)(x, y).fill_(7.0)
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])


@each_distance
@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,)), ((2, 3, 4), (2, 3, 4))])
def test_pair_shapes_that_do_not_fit(cls: type[BaseDistance], shapes: tuple[Any, Any]) -> None:
    x, y = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"row by row, got shapes .* the _matrix methods"):
        cls.distance(x, y)


@each_distance
@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((4,), (3, 4)), ((3, 4), (2, 3, 4))])
def test_matrix_shapes_that_do_not_fit(cls: type[BaseDistance], shapes: tuple[Any, Any]) -> None:
    x, y = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"x \(N, D\) with y \(M, D\), got shapes .* same D"):
        cls.similarity_matrix(x, y)


def test_names() -> None:
    assert [name.value for name in Distance] == ["euclidean", "cosine", "dot_product", "manhattan"]
    assert Distance.get_by_name("euclidean") is Distance.get_by_name(Distance.EUCLIDEAN) is Euclidean
    with pytest.raises(ValueError, match=r"unknown distance 'chebyshev'; known are \['euclidean', 'cosine'"):
        Distance.get_by_name("chebyshev")


def test_normalize_keeps_zero_vectors_and_their_gradient_small() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    unit = normalize(x)
    assert unit.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    (gradient,) = torch.autograd.grad(unit.sum(), x)
    assert gradient[1].tolist() == [1.0, 1.0]
