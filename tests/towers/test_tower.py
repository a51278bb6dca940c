"""A tower joins its parts in the order of their names, and does the same from cached rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_servables import Letters, ManyVectors, Numbers
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.encoders import SwitchEncoder
from simlearn.heads import EmptyHead, EncoderHead, MLPHead
from simlearn.meta import Meta, columns
from simlearn.models import SimilarityModel
from simlearn.towers import Field, Fields, Tower
from simlearn.towers.inputs import CachedRows
from simlearn.towers.plan import Part, plan

OBJECTS = [{"title": "red", "price": 1.0}, {"title": "spoon", "price": -2.0}, {"title": "", "price": 0.0}]


def tower(spec: Any, head: EncoderHead | None = None) -> Tower:
    return SimilarityModel(spec, head).eval().tower()


class Shows(EncoderHead):
    """Passes on what it gets, and keeps the meta."""

    output_size = 7  # type: ignore[assignment]

    def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
        self.meta = meta
        return input_vectors


class WithMeta(Letters):
    def extract_meta(self, objects: list[Any]) -> list[dict[str, Any]]:
        return [{"length": len(text)} for text in objects]


class Rows:
    """Known vectors of one part."""

    def __init__(self, vectors: Tensor, meta: Meta) -> None:
        self.vectors = vectors
        self.meta = meta

    def take(self, part: Part, rows: CachedRows, device: torch.device) -> tuple[Embeddings, Meta]:
        assert part.name == "title"
        return Embeddings(self.vectors[rows.rows].to(device)), self.meta


def test_parts_are_joined_by_name() -> None:
    letters, numbers = Letters(4).eval(), Numbers(3)
    one = tower(Fields(title=letters, price=numbers))
    assert [part.name for part in one.parts] == ["price", "title"]
    joined = one.embed(one.collator()(OBJECTS)).values
    prices = numbers(torch.tensor([[1.0], [-2.0], [0.0]]))
    titles = letters(letters.get_collate_fn()([obj["title"] for obj in OBJECTS]))
    torch.testing.assert_close(joined, torch.cat([prices, titles], dim=1), rtol=0, atol=0)
    swapped = tower(Fields(price=numbers, title=letters))
    torch.testing.assert_close(swapped.embed(swapped.collator()(OBJECTS)).values, joined, rtol=0, atol=0)


def test_known_rows_stand_for_encoded_objects() -> None:
    letters = WithMeta(4).eval()
    head = Shows(7)
    one = tower(Fields(title=letters, price=Numbers(3)), head)
    expected = one.embed(one.collator()(OBJECTS)).values
    meta = head.meta
    vectors = letters(letters.get_collate_fn()([obj["title"] for obj in reversed(OBJECTS)])).detach()
    inputs = one.collator()(OBJECTS, {"title": lambda titles: CachedRows(torch.tensor([2, 1, 0]))})
    known = Rows(vectors, columns([{"length": len(obj["title"])} for obj in OBJECTS]))
    torch.testing.assert_close(one.embed(inputs, known).values, expected, rtol=1e-6, atol=1e-6)
    assert meta is not None and head.meta is not None
    assert meta["length"].tolist() == head.meta["length"].tolist() == [3, 5, 0]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="rows of a cache, which was not passed"):
        one.embed(inputs)


@pytest.mark.parametrize("head_dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_parts_and_head_of_several_dtypes(dtype: torch.dtype, head_dtype: torch.dtype) -> None:
    """A frozen encoder in half precision under a head in single precision is what memory often allows."""
    encoders = Fields(title=Letters(4).to(dtype), price=Numbers(3))
    one = tower(encoders, MLPHead(7, [], 2).to(head_dtype))
    values = one.embed(one.collator()(OBJECTS)).values
    assert values.dtype == head_dtype
    exact = tower(encoders, MLPHead(7, [], 2))
    exact.head.load_state_dict(one.head.state_dict())
    torch.testing.assert_close(values.float(), exact.embed(exact.collator()(OBJECTS)).values, rtol=0.05, atol=0.05)


def test_wider_of_two_dtypes() -> None:
    one = tower(Fields(title=Letters(4).bfloat16(), price=Numbers(3)))
    assert one.embed(one.collator()(OBJECTS)).values.dtype == torch.float32
    assert one.embeddings_of_nothing().values.shape == (0, 7)


class TestManyVectors:
    def test_keep_their_mask(self) -> None:
        embeddings = (one := tower(ManyVectors(4), MLPHead(4, [], 3))).embed(one.collator()(["ab", "c"]))
        assert embeddings.values.shape == (2, 3, 3)
        assert embeddings.mask is not None and embeddings.mask.tolist() == [[True] * 3, [True, True, False]]

    def test_a_head_may_pool_them(self) -> None:
        class Mean(EmptyHead):
            def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
                return input_vectors.mean(1)

        embeddings = (one := tower(ManyVectors(4), Mean(4))).embed(one.collator()(["ab", "c"]))
        assert embeddings.values.shape == (2, 4) and embeddings.mask is None

    def test_a_pooling_head_sees_the_mask(self) -> None:
        """A mean without it gave "ab" 1.0 alone and 0.25 beside a longer text."""

        class Ones(ManyVectors):
            def forward(self, batch: dict[str, Tensor]) -> Any:
                return Embeddings(batch["mask"][..., None].expand(-1, -1, 4), batch["mask"].bool())

        class Mean(EmptyHead):
            def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
                shown = embeddings.full_mask()[..., None]
                return Embeddings((embeddings.values * shown).sum(1) / shown.sum(1))

        one = tower(Ones(4), Mean(4))
        alone, beside = (one.embed(one.collator()(texts)) for texts in (["ab"], ["ab", "a longer text"]))
        assert alone.values.tolist() == [[1.0] * 4] and beside.values.tolist() == [[1.0] * 4] * 2
        assert beside.mask is None

    def test_a_head_may_change_how_many_there_are(self) -> None:
        class First(EmptyHead):
            def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
                return Embeddings(embeddings.values[:, :2], embeddings.full_mask()[:, :2])

        class Halved(EmptyHead):
            def transform(self, input_vectors: Tensor) -> Tensor:
                return input_vectors[:, :1]

        encoder = ManyVectors(4)
        embeddings = (one := tower(encoder, First(4))).embed(one.collator()(["ab", ""]))
        assert embeddings.values.shape == (2, 2, 4)
        assert embeddings.mask is not None and embeddings.mask.tolist() == [[True, True], [True, False]]
        with pytest.raises(ValueError, match=r"Halved made vectors of shape \(2, 1, 4\) from a mask of shape \(2, 3\)"):
            (one := tower(encoder, Halved(4))).embed(one.collator()(["ab", ""]))

    def test_a_head_that_pools_without_a_mask_is_told(self) -> None:
        class Mean(EmptyHead):
            def transform(self, input_vectors: Tensor) -> Tensor:
                return input_vectors.mean(1)

        with pytest.warns(UserWarning, match="Mean makes one vector of many without their mask"):
            (one := tower(ManyVectors(4), Mean(4))).embed(one.collator()(["ab", "c"]))

    def test_of_nothing(self) -> None:
        class First(EncoderHead):
            output_size = 4  # type: ignore[assignment]

            def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
                return Embeddings(embeddings.values[:, 0])

        for head, shape in (
            (None, (0, 0, 4)),
            (MLPHead(4, [3], 2, normalization="batch"), (0, 0, 2)),
            (First(4), (0, 4)),
        ):
            model = SimilarityModel(ManyVectors(4).double(), None if head is None else head.double())
            nothing = model.embed([])
            assert (nothing.values.shape, nothing.values.dtype) == (shape, torch.float64)
            assert not nothing.values.requires_grad and (head is None or head.training)
            some = model.embed(["ab", "c"])
            assert some.values.shape[2:] == shape[2:]
            assert len(Embeddings.concatenate([nothing, some])) == 2

        class Both(SwitchEncoder):
            @staticmethod
            def encoder_selection(record: Any) -> str:
                return "b" if len(record) > 5 else "a"

        both = SimilarityModel(Both({"a": ManyVectors(4), "b": Letters(4)}))
        assert both.embed([]).values.shape == (0, 0, 4)

    def test_an_encoder_that_does_not_say_so_is_told(self) -> None:
        class Silent(ManyVectors):
            many_vectors = False

        with pytest.warns(
            UserWarning, match="Silent gives many vectors an object without saying so: let it set many_vec"
        ):
            (one := tower(Silent(4))).embed(one.collator()(["ab"]))

    def test_are_not_joined_with_others(self) -> None:
        one = tower({"a": ManyVectors(4), "b": Letters(4)})
        with pytest.raises(ValueError, match="many vectors an object cannot be concatenated with others; pool them"):
            one.embed(one.collator()(["ab", "c"]))

    def test_an_encoder_may_return_embeddings_of_one_vector(self) -> None:
        class One(Letters):
            def forward(self, batch: dict[str, Tensor]) -> Any:
                return Embeddings(super().forward(batch))

        one = tower({"a": One(4), "b": Letters(4)})
        assert one.embed(one.collator()(["ab", "c"])).values.shape == (2, 8)


class TestWhereItIs:
    def test_device_and_size_are_the_heads(self) -> None:
        one = tower(Letters(4), MLPHead(4, [], 3).to("meta"))
        assert one._device() == torch.device("meta")
        assert one.embedding_size == 3

    def test_of_nothing(self) -> None:
        for head, dtype in ((None, torch.bfloat16), (MLPHead(4, [], 4).double(), torch.float64)):
            nothing = tower(Letters(4).bfloat16(), head).embeddings_of_nothing()
            assert (nothing.values.shape, nothing.values.dtype) == ((0, 4), dtype)
            assert not nothing.values.requires_grad

    def test_without_weights(self) -> None:
        parts = plan(Field("a", Letters(4)))["query"]
        assert Tower(parts, {"default": nn.Identity()}, EmptyHead(4))._device() == torch.device("cpu")  # type: ignore[dict-item]
