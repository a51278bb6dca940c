"""What a model encodes, compares and ranks, and that it stays as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_servables import Letters, ManyVectors, Numbers, Scaled, Sharp
from torch import nn

from simlearn.heads import EmptyHead, MLPHead
from simlearn.models import MetricModel, ModelCard, SimilarityModel
from simlearn.scoring import DotScorer
from simlearn.towers import Fields, TwoTower

TEXTS = ["red spoon", "", "a list of cats and dogs", "b", "the of the", "sort"]


@pytest.fixture
def model() -> SimilarityModel:
    torch.manual_seed(0)
    return SimilarityModel(Letters(6), MLPHead(6, [5], 4))


@pytest.fixture
def asymmetric() -> SimilarityModel:
    torch.manual_seed(0)
    return SimilarityModel(
        TwoTower(query=Letters(6), document=Fields(title=Letters(6, seed=1), price=Numbers(3))),
        {"query": MLPHead(6, [], 4), "document": MLPHead(9, [], 4)},
    )


class TestEncode:
    def test_a_list_is_many_objects(self, model: SimilarityModel) -> None:
        vectors = model.encode(TEXTS)
        assert (vectors.shape, vectors.dtype) == ((6, 4), np.float32)
        for row, text in enumerate(TEXTS):
            np.testing.assert_allclose(model.encode([text])[0], vectors[row], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "one", ["red", {"title": "red"}, ("red", "blue"), np.zeros(3), {"a"}, 3.5, None, b"red", range(3)], ids=repr
    )
    def test_anything_else_is_one(self, one: Any) -> None:
        seen: list[Any] = []

        class Remembering(Letters):
            def get_collate_fn(self) -> Any:
                return lambda objects: (seen.extend(objects), super(Remembering, self).get_collate_fn()(["a"]))[1]

        vectors = SimilarityModel(Remembering()).encode(one)
        assert vectors.shape == (1, 6)
        assert len(seen) == 1 and seen[0] is one

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
    def test_nothing(self, model: SimilarityModel, dtype: torch.dtype) -> None:
        model.to(dtype)
        whole, none = model.encode(["a"], to_numpy=False), model.encode([], to_numpy=False)
        assert (none.shape, none.dtype, none.device) == ((0, 4), whole.dtype, whole.device)
        assert model.encode([], truncate_dim=2, normalize=True).shape == (0, 2)
        assert model.encode([]).dtype == model.encode(["a"]).dtype
        assert SimilarityModel(Letters(3)).encode([]).shape == (0, 3)

    @given(st.permutations(TEXTS + ["red spoon"] * 2), st.integers(1, 10))
    @settings(max_examples=20, deadline=None)
    def test_order_is_kept_whatever_the_lengths_and_batches(self, texts: list[str], batch_size: int) -> None:
        model = SimilarityModel(Letters(6))
        expected = np.concatenate([model.encode([text]) for text in texts])
        np.testing.assert_allclose(model.encode(texts, batch_size=batch_size), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model.encode(texts, batch_size, True), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
    def test_unit_length_in_every_dtype(self, model: SimilarityModel, dtype: torch.dtype) -> None:
        vectors = model.to(dtype).encode(TEXTS, normalize=True)
        assert vectors.dtype == (np.float64 if dtype is torch.float64 else np.float32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
        tensor = model.encode(TEXTS, normalize=True, to_numpy=False)
        assert tensor.dtype == dtype
        np.testing.assert_allclose(tensor.double().norm(dim=1), 1, rtol=1e-2)

    def test_truncated_before_normalising(self, model: SimilarityModel) -> None:
        short = model.encode(TEXTS)[:, :3]
        np.testing.assert_array_equal(model.encode(TEXTS, truncate_dim=3), short)
        expected = short / np.linalg.norm(short, axis=1, keepdims=True)
        np.testing.assert_allclose(model.encode(TEXTS, truncate_dim=3, normalize=True), expected, rtol=1e-5)
        for wrong in (0, -1, 5):
            with pytest.raises(ValueError, match=rf"truncate_dim must be in \[1, 4\], got {wrong}"):
                model.encode(TEXTS, truncate_dim=wrong)

    def test_a_zero_vector_stays_zero(self, model: SimilarityModel) -> None:
        for weight in model.parameters():
            nn.init.zeros_(weight)
        assert not model.encode(TEXTS, normalize=True).any()

    def test_tensors_take_part_in_training(self, model: SimilarityModel) -> None:
        vectors = model.encode(TEXTS, to_numpy=False, normalize=True)
        assert not vectors.requires_grad and not vectors.is_inference()
        layer = nn.Linear(4, 1)
        layer(vectors).sum().backward()
        assert layer.weight.grad is not None and layer.weight.grad.any()

    def test_progress_on_demand(self, model: SimilarityModel, capsys: pytest.CaptureFixture[str]) -> None:
        model.encode(TEXTS)
        assert capsys.readouterr() == ("", "")
        model.encode(TEXTS, show_progress=True)
        assert "Encoding" in capsys.readouterr().err

    def test_wrong_arguments(self, model: SimilarityModel) -> None:
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            model.encode(TEXTS, batch_size=0)
        with pytest.raises(TypeError, match="normalise"):
            model.encode(TEXTS, normalise=True)


class TestModes:
    def test_every_module_is_left_as_it_was(self, model: SimilarityModel) -> None:
        randomness = random.Random(0)
        modules = list(model.modules())
        for _ in range(5):
            before = [randomness.random() < 0.5 for _ in modules]
            for module, mode in zip(modules, before, strict=True):
                module.training = mode
            model.encode(TEXTS)
            assert [module.training for module in modules] == before

    def test_dropout_rests_meanwhile(self, model: SimilarityModel) -> None:
        expected = model.eval().encode(TEXTS)
        np.testing.assert_array_equal(model.train().encode(TEXTS), expected)
        assert model.plan.encoders["default"].dropout.training  # type: ignore[union-attr]

    def test_also_when_encoding_fails(self, model: SimilarityModel) -> None:
        model.train()
        with pytest.raises(TypeError):
            model.encode([object(), 3], batch_size=1, truncate_dim="a")
        assert all(module.training for module in model.modules())
        assert torch.is_grad_enabled()

    def test_train_and_eval_return_the_model(self, model: SimilarityModel) -> None:
        assert model.eval() is model and model.train() is model


class TestTwoTowers:
    def test_encode_names_the_other_two(self, asymmetric: SimilarityModel) -> None:
        with pytest.raises(ValueError, match="call encode_query or encode_document"):
            asymmetric.encode(TEXTS)
        documents = [{"title": "red", "price": 1.0}, {"title": "blue", "price": 2.0}]
        assert np.asarray(asymmetric.encode_query(TEXTS)).shape == (6, 4)
        assert np.asarray(asymmetric.encode_document(documents, normalize=True, truncate_dim=2)).shape == (2, 2)
        assert asymmetric.similarity(["red"], documents).shape == (1, 2)
        assert not asymmetric.is_symmetric

    def test_of_unequal_size(self) -> None:
        model = SimilarityModel(TwoTower(query=Letters(3), document=Letters(5)))
        assert np.asarray(model.encode_query("a")).shape == (1, 3)
        assert np.asarray(model.encode_document("a")).shape == (1, 5)
        assert [type(head) for head in model.heads.values()] == [EmptyHead, EmptyHead]
        with pytest.raises(ValueError, match=r"sizes \{'query': 3, 'document': 5\}; ask model\.tower\(role\)"):
            _ = model.embedding_size
        with pytest.raises(
            ValueError, match="queries have 3 values and documents 5, which CosineScorer cannot compare; give"
        ):
            model.similarity(["a"], ["b"])
        with pytest.raises(ValueError, match="cannot compare"):
            model.rank("a", ["b"])

    def test_shared_encoders_are_in_the_parameters_once(self) -> None:
        words = Letters(3)
        model = SimilarityModel(TwoTower(query=words, document=Fields(title=words, body=words)))
        assert [name for name, _ in model.named_parameters()] == ["encoders.query.letters.weight"]

    def test_symmetric_roles_agree(self, model: SimilarityModel) -> None:
        np.testing.assert_array_equal(model.encode_query(TEXTS), model.encode_document(TEXTS))
        assert model.embedding_size == 4


class TestRanking:
    def test_similarity_is_the_scorers(self) -> None:
        model = SimilarityModel(Letters(6), scorer=DotScorer())
        vectors = model.encode(TEXTS)
        scores = model.similarity(TEXTS[:2], TEXTS)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, vectors[:2] @ vectors.T, rtol=1e-5, atol=1e-6)
        assert model.similarity("red", TEXTS).shape == (1, 6)
        assert model.similarity([], TEXTS).shape == (0, 6)
        assert model.similarity(TEXTS, []).shape == (6, 0)

    def test_best_first_with_ties_in_order(self, model: SimilarityModel) -> None:
        candidates = ["b", "red", "red", "b", "red"]
        ranked = model.rank("red", candidates)
        assert [place for place, _ in ranked] == [1, 2, 4, 0, 3]
        assert ranked[0][1] == pytest.approx(1, abs=1e-6)
        assert all(type(place) is int and type(score) is float for place, score in ranked)
        assert model.rank("red", candidates, top_k=2) == ranked[:2]
        assert model.rank("red", candidates, top_k=9, batch_size=1) == ranked

    def test_limits(self, model: SimilarityModel) -> None:
        assert model.rank("red", []) == []
        assert model.rank("red", (), top_k=3) == []  # type: ignore[arg-type]
        for wrong in (0, -1):
            with pytest.raises(ValueError, match=f"top_k must be at least 1, got {wrong}"):
                model.rank("red", ["a"], top_k=wrong)

    def test_a_list_is_one_query(self) -> None:
        seen: list[Any] = []

        class Lists(Letters):
            def get_collate_fn(self) -> Any:
                return lambda objects: (
                    seen.append(objects),
                    super(Lists, self).get_collate_fn()(["a"] * len(objects)),
                )[1]

        SimilarityModel(Lists()).rank(["two", "words"], [["a"], ["b", "c"]])
        assert seen[0] == [["two", "words"]]

    def test_a_scorer_with_weights(self) -> None:
        model = SimilarityModel(Letters(6), scorer=Sharp(2.0))
        assert "scorer.scale" in dict(model.named_parameters())
        doubled, plain = (
            model.similarity(TEXTS, TEXTS),
            SimilarityModel(Letters(6), scorer=DotScorer()).similarity(TEXTS, TEXTS),
        )
        np.testing.assert_allclose(doubled, 2 * plain, rtol=1e-5, atol=1e-6)


class TestConstruction:
    def test_many_vectors_are_embedded_not_encoded(self) -> None:
        model = SimilarityModel(ManyVectors(6))
        embeddings = model.embed(["red", "a"], batch_size=1)
        assert embeddings.values.shape == (2, 4, 6)
        assert embeddings.full_mask().tolist() == [[True] * 4, [True, True, False, False]]
        with pytest.raises(ValueError, match=r"many vectors an object; call model\.embed"):
            model.encode(["red"])

    def test_head_of_another_size(self) -> None:
        with pytest.raises(
            ValueError, match="the query head takes embeddings of size 5, the encoders give 6; build it from"
        ):
            SimilarityModel(Letters(6), EmptyHead(5))

    @pytest.mark.parametrize("head", [nn.Linear(6, 2), {"query": nn.Linear(6, 2)}])
    def test_head_that_is_none(self, head: Any) -> None:
        with pytest.raises(TypeError, match="the query head must be an EncoderHead, got Linear"):
            SimilarityModel(Letters(6), head)

    @pytest.mark.parametrize("heads", [{}, {"document": EmptyHead(6)}, {"query": EmptyHead(6), "other": EmptyHead(6)}])
    def test_heads_by_role(self, heads: Any) -> None:
        with pytest.raises(ValueError, match="heads must be given for query and document"):
            SimilarityModel(TwoTower(query=Letters(6), document=Letters(6)), heads)
        with pytest.raises(ValueError, match=r"needs two towers: TwoTower\("):
            SimilarityModel(Letters(6), {"query": EmptyHead(6), "document": EmptyHead(6)})

    def test_frozen_encoders_are_frozen(self) -> None:
        model = SimilarityModel({"a": Letters(2, frozen=True), "b": Letters(2)}, Scaled(4)).train()
        assert [name for name, weight in model.named_parameters() if weight.requires_grad] == [
            "encoders.b.letters.weight",
            "heads.query.factor",
        ]
        assert not model.encoders["a"].training and model.encoders["b"].training

    def test_a_model_without_weights(self) -> None:
        class Ones(Numbers):
            def __init__(self) -> None:
                nn.Module.__init__(self)

            embedding_size = 2  # type: ignore[assignment]

            def forward(self, batch: torch.Tensor) -> torch.Tensor:
                return batch.expand(-1, 2)

        model = SimilarityModel(Ones())
        assert model.device == torch.device("cpu")
        assert model.encode([1.0, 2.0]).tolist() == [[1, 1], [2, 2]]
        assert model.encode([]).shape == (0, 2)

    def test_names(self) -> None:
        assert MetricModel is SimilarityModel
        assert isinstance(SimilarityModel(Letters()).card, ModelCard)

    def test_forward_has_gradients(self, model: SimilarityModel) -> None:
        inputs = model.tower().collator()(TEXTS)
        model(inputs).sum().backward()
        assert all(weight.grad is not None for weight in model.parameters())
