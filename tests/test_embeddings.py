"""Vectors, one or many an object, with their mask."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from processes import run_on_two
from torch import Tensor

from simlearn.embeddings import Embeddings, gather_embeddings


def single(size: int, seed: int = 0) -> Embeddings:
    return Embeddings(torch.randn(size, 3, generator=torch.Generator().manual_seed(seed)))


def many(size: int, length: int, masked: bool = True, seed: int = 0) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(size, length, 3, generator=generator)
    return Embeddings(values, torch.rand(size, length, generator=generator) > 0.3 if masked else None)


KINDS = {"one vector": single, "many": lambda size: many(size, 2, False), "masked": lambda size: many(size, 2)}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


def assert_same(first: Embeddings, second: Embeddings) -> None:
    assert torch.equal(first.values, second.values)
    assert (first.mask is None) == (second.mask is None)
    if first.mask is not None and second.mask is not None:
        assert torch.equal(first.mask, second.mask)


def test_nothing_that_the_mask_hides_is_left() -> None:
    values = torch.tensor([[[1.0], [torch.nan]], [[torch.inf], [2.0]]], requires_grad=True)
    blank = Embeddings(values, torch.tensor([[True, False], [False, True]])).blank()
    assert blank.values.flatten().tolist() == [1, 0, 0, 2]
    blank.values.sum().backward()
    assert values.grad is not None and values.grad.flatten().tolist() == [1, 0, 0, 1]
    assert (one := single(2)).blank() is one


def test_a_function_is_given_the_vectors_that_count() -> None:
    seen = list[tuple[int, ...]]()

    def doubled(vectors: Tensor) -> Tensor:
        seen.append(tuple(vectors.shape))
        return torch.cat([vectors, vectors], dim=1)

    masked = Embeddings(torch.ones(2, 3, 4), torch.tensor([[True, False, True], [False, False, False]]))
    made = masked.map_vectors(doubled)
    assert made.mask is masked.mask and made.values.sum(2).tolist() == [[8, 0, 8], [0, 0, 0]]
    assert Embeddings(torch.ones(2, 3, 4)).map_vectors(doubled).values.shape == (2, 3, 8)
    assert Embeddings(torch.ones(2, 4)).map_vectors(doubled).values.shape == (2, 8)
    assert Embeddings(torch.ones(0, 3, 4), torch.ones(0, 3).bool()).map_vectors(doubled).values.shape == (0, 3, 8)
    assert seen == [(2, 4), (6, 4), (2, 4), (0, 4)]


def test_what_they_say_of_themselves() -> None:
    one, more = single(4), many(4, 2)
    assert (len(one), one.size, one.is_multi_vector, one.device.type) == (4, 3, False, "cpu")
    assert (len(more), more.size, more.is_multi_vector, more.device.type) == (4, 3, True, "cpu")


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (torch.ones(3), None, r"must be \(N, D\) or \(N, M, D\), got shape \(3,\)"),
        (torch.ones(1, 2, 3, 4), None, r"got shape \(1, 2, 3, 4\)"),
        (torch.ones(2, 3), torch.ones(2, 3).bool(), "one vector an object takes no mask"),
        (torch.ones(2, 3, 4), torch.ones(2, 4).bool(), r"must be \(N, M\) = \(2, 3\) .* got \(2, 4\)"),
        (torch.ones(2, 3, 4), torch.ones(2, 3).long(), "must be bool, got torch.int64"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(values: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embeddings(values, mask)


@each_kind
def test_take(make: object) -> None:
    whole: Embeddings = make(5)  # type: ignore[operator]
    rows = torch.tensor([4, 0, 0])
    taken = whole.take(rows)
    assert torch.equal(taken.values, whole.values[rows])
    assert taken.mask is None if whole.mask is None else torch.equal(taken.mask, whole.mask[rows])
    assert_same(whole.take(slice(1, 3)), whole.take(torch.tensor([1, 2])))


@each_kind
def test_split_is_the_inverse_of_concatenate(make: object) -> None:
    whole: Embeddings = make(5)  # type: ignore[operator]
    parts = whole.split([2, 0, 3])
    assert [len(part) for part in parts] == [2, 0, 3]
    assert_same(Embeddings.concatenate(parts), whole)


def test_concatenate_pads_the_shorter_parts() -> None:
    short, long = many(2, 2, masked=False), many(3, 4)
    whole = Embeddings.concatenate([short, long])
    assert whole.values.shape == (5, 4, 3) and whole.mask is not None
    assert torch.equal(whole.values[:2, :2], short.values) and not whole.values[:2, 2:].any()
    assert whole.mask[:2].tolist() == [[True, True, False, False]] * 2
    assert torch.equal(whole.mask[2:], long.full_mask()) and torch.equal(whole.values[2:], long.values)


@pytest.mark.parametrize("parts", [[], [single(2), many(2, 3)], [many(2, 3), single(2)]], ids=["none", "1+2", "2+1"])
def test_parts_of_two_kinds_are_refused(parts: list[Embeddings]) -> None:
    with pytest.raises(ValueError, match="at least one part, all of them with one vector"):
        Embeddings.concatenate(parts)


def test_pad_and_full_mask() -> None:
    embeddings = many(2, 3, masked=False)
    assert embeddings.pad(3) is embeddings
    assert embeddings.full_mask().all() and embeddings.full_mask().shape == (2, 3)
    assert embeddings.pad(4).full_mask().tolist() == [[True, True, True, False]] * 2
    for refused in (embeddings, single(2)):
        with pytest.raises(ValueError, match=r"cannot pad values of shape .* to 2 vectors"):
            refused.pad(2)


@each_kind
def test_one_process_gathers_itself(make: object) -> None:
    embeddings: Embeddings = make(2)  # type: ignore[operator]
    assert gather_embeddings([embeddings], []) == [embeddings]


def gathered(parts: list[Embeddings], sizes: list[list[int]]) -> tuple[list[Embeddings], list[Tensor | None], int]:
    leaves = [Embeddings(part.values.requires_grad_(), part.mask) for part in parts]
    calls, collective = [0], dist.all_gather

    def counting(*args: object) -> None:
        calls[0] += 1
        collective(*args)  # type: ignore[arg-type]

    dist.all_gather = counting
    try:
        joined = gather_embeddings(leaves, sizes)
    finally:
        dist.all_gather = collective
    visible = [one.values if one.mask is None else one.values * one.mask[..., None] for one in joined]
    sum(values.square().sum() for values in visible).backward()  # type: ignore[union-attr]
    gradients = [leaf.values.grad for leaf in leaves]
    return [Embeddings(one.values.detach(), one.mask) for one in joined], gradients, calls[0]


KINDS = {
    "one vector": (single(3), single(2, 1)),
    "no mask": (many(3, 2, False), many(2, 2, False, 1)),
    "masks": (many(3, 2), many(2, 2, True, 1)),
    "one mask": (many(3, 2, False), many(2, 4, True, 1)),
    "lengths": (many(3, 4, False), many(2, 1, False, 1)),
    "empty": (many(0, 1), many(2, 3, False, 1)),
}


@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), ["one vector", "lengths", "masks"]], ids=", ".join)
def test_two_processes_gather_all_at_once(kinds: list[str]) -> None:
    parts = list(zip(*(KINDS[kind] for kind in kinds), strict=True))  # of each process
    sizes = [[len(part) for part in own] for own in parts]
    answers = run_on_two(gathered, *[(list(own), sizes) for own in parts])
    for (joined, gradients, collectives), own in zip(answers, parts, strict=True):
        assert collectives == (1 if kinds == ["one vector"] else 2)
        for one, grad, part, kind in zip(joined, gradients, own, kinds, strict=True):
            whole = Embeddings.concatenate(KINDS[kind])
            if whole.mask is not None:
                assert torch.equal(one.full_mask(), whole.full_mask())
            else:
                assert one.mask is None
            assert torch.equal(one.values, whole.values)
            visible = part.values if part.mask is None else part.values * part.mask[..., None]
            torch.testing.assert_close(grad, 2 * 2 * visible)  # once for each process's loss
