"""The one encode loop: batches of similar length, results in the objects' own order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_on_two
from torch import nn

from simlearn.embeddings import Embeddings
from simlearn.encoding import encode_in_batches, encode_shared, evaluating, rough_length


def length_and_first(batch: list[str]) -> Embeddings:
    return Embeddings(torch.tensor([[float(len(text)), float(ord(text[0])) if text else -1.0] for text in batch]))


def characters(batch: list[str]) -> Embeddings:
    """A vector for each character, as many as the batch needs, at least one."""
    longest = max(1, *(len(text) for text in batch))
    values = torch.zeros(len(batch), longest, 1)
    mask = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, text in enumerate(batch):
        values[row, : len(text), 0] = torch.tensor([float(ord(letter)) for letter in text])
        mask[row, : len(text)] = True
    return Embeddings(values, mask)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20), st.integers(1, 25))
@settings(deadline=None)
def test_order_is_kept(texts: list[str], batch_size: int) -> None:
    encoded = encode_in_batches(texts, length_and_first, batch_size=batch_size)
    assert torch.equal(encoded.values, length_and_first(texts).values)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20), st.integers(1, 25))
@settings(deadline=None)
def test_order_and_masks_of_many_vectors_are_kept(texts: list[str], batch_size: int) -> None:
    encoded, expected = encode_in_batches(texts, characters, batch_size=batch_size), characters(texts)
    assert torch.equal(encoded.values, expected.values)
    assert torch.equal(encoded.full_mask(), expected.full_mask())


def test_batches_hold_objects_of_similar_length_the_longest_first() -> None:
    """The batch that needs most memory comes first: what fits then, fits to the end."""
    batches: list[list[str]] = []

    def remembering(batch: list[str]) -> Embeddings:
        batches.append(batch)
        return length_and_first(batch)

    encode_in_batches(["a", "bbb", "", "bb", "dddd", "cc"], remembering, batch_size=2)
    assert batches == [["dddd", "bbb"], ["bb", "cc"], ["a", ""]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_the_encoders(dtype: torch.dtype) -> None:
    encoded = encode_in_batches(
        ["a", "bb"], lambda batch: Embeddings(length_and_first(batch).values.to(dtype)), batch_size=1
    )
    assert encoded.values.dtype == dtype


def test_gradients_pass_where_the_caller_wants_them() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    encoded = encode_in_batches(
        ["a", "bb"], lambda batch: Embeddings(length_and_first(batch).values * weight), batch_size=1
    )
    encoded.values[:, 0].sum().backward()
    assert weight.grad == 3


class TestRefusals:
    @pytest.mark.parametrize("batch_size", [0, -1])
    def test_batch_size(self, batch_size: int) -> None:
        with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
            encode_in_batches(["a"], length_and_first, batch_size=batch_size)

    def test_nothing(self) -> None:
        with pytest.raises(ValueError, match="nothing to encode"):
            encode_in_batches([], length_and_first)

    def test_too_few_embeddings(self) -> None:
        with pytest.raises(ValueError, match="returned 1 embeddings for 3 objects"):
            encode_in_batches(["a", "b", "c"], lambda batch: Embeddings(torch.zeros(1, 2)))

    @pytest.mark.parametrize("sizes", [[2, 1], [1, 2]])
    def test_sizes_that_change(self, sizes: list[int]) -> None:
        """A vector of size 1 would be broadcast into all places of a longer one."""
        left = list(sizes)
        with pytest.raises(ValueError, match=rf"vectors of size {sizes[0]}, then of size {sizes[1]}"):
            encode_in_batches(["a", "b"], lambda batch: Embeddings(torch.ones(1, left.pop(0))), batch_size=1)

    @pytest.mark.parametrize("first", [True, False])
    def test_one_vector_and_many(self, first: bool) -> None:
        kinds = [characters, length_and_first] if first else [length_and_first, characters]
        with pytest.raises(ValueError, match="one vector an object for some batches and many for others"):
            encode_in_batches(["a", "b"], lambda batch: kinds.pop(0)(batch), batch_size=1)


class TestProgress:
    def test_counts_objects_on_demand(self, capsys: pytest.CaptureFixture[str]) -> None:
        encode_in_batches(["a", "b"], length_and_first, batch_size=1)
        assert capsys.readouterr().err == ""
        encode_in_batches(["a", "b"], length_and_first, batch_size=1, progress="Caching")
        assert "Caching" in (shown := capsys.readouterr().err) and "/2" in shown

    def test_bar_goes_when_encoding_fails(self) -> None:
        from tqdm.auto import tqdm

        with pytest.raises(ZeroDivisionError):
            encode_in_batches(["a", "b"], lambda batch: 1 / 0, progress="Caching")  # type: ignore[arg-type, return-value]
        assert not list(getattr(tqdm, "_instances", []))


@pytest.mark.parametrize(
    ("obj", "length"),
    [
        ("red", 3),
        (b"ab", 2),
        ({"title": "red", "tags": ["a", ("bc",)], "price": 3.0}, 6),
        (["a", 1, None], 1),
        ([], 0),
        (12345, 0),
        (None, 0),
        (torch.zeros(5), 0),
    ],
    ids=repr,
)
def test_rough_length(obj: Any, length: int) -> None:
    assert rough_length(obj) == length


def test_modes_come_back_one_by_one() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Linear(1, 1)))
    model[1][0].eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(module.training for module in model.modules())
        _ = 1 / 0
    assert [module.training for module in model.modules()] == before
    model.eval()
    with evaluating(model):
        pass
    assert not any(module.training for module in model.modules())


def share_of(texts: list[str], many: bool) -> tuple[list[int], list[list[float]]]:
    seen: list[int] = []

    def encode(part: slice) -> Embeddings:
        seen.append(part.stop - part.start)
        return (characters if many else length_and_first)(texts[part])

    return seen, encode_shared(len(texts), encode).values.tolist()


@pytest.mark.parametrize("many", [False, True], ids=["one vector", "many vectors"])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_processes_share_the_objects_and_have_all_embeddings(count: int, many: bool) -> None:
    texts = ["a", "bbb", "", "bb", "dddd", "cc", "ee", "f"][:count]
    expected = (characters if many else length_and_first)(texts).values.tolist()
    assert share_of(texts, many) == ([count], expected)
    (first, found), (second, same) = run_on_two(share_of, (texts, many), (texts, many))
    assert found == same == expected
    assert [*first, *second] == ([count // 2, count - count // 2] if count > 1 else [1, 1])
