from __future__ import annotations

import pytest
import torch

from simlearn import BagOfTokensEncoder, HashedNGrams

TEXTS = ["sort a list", "", "norm", "a list"]


def encoder(**options: float) -> BagOfTokensEncoder:
    torch.manual_seed(0)
    return BagOfTokensEncoder(HashedNGrams(buckets=64), 8, **options)  # type: ignore[arg-type]


def test_the_mean_of_the_vectors_of_the_tokens() -> None:
    model = encoder()
    vectors = model(model.get_collate_fn()(TEXTS))
    for text, vector in zip(TEXTS, vectors, strict=True):
        tokens = model.vectorizer(text)
        expected = model.table.weight[tokens].mean(0) if tokens else torch.zeros(8)
        torch.testing.assert_close(vector, expected)


def test_norm_is_the_length_of_every_vector_but_the_empty() -> None:
    model = encoder(norm=0.7)
    vectors = model(model.get_collate_fn()(TEXTS))
    torch.testing.assert_close(vectors.norm(dim=1), torch.tensor([0.7, 0.0, 0.7, 0.7]))
    vectors.sum().backward()
    assert torch.isfinite(model.table.weight.grad).all()


def test_other_objects_than_texts_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Field\(name, encoder\)"):
        encoder().get_collate_fn()([{"title": "text"}])


@pytest.mark.parametrize("options", [{"norm": 0.0}, {"norm": -1.0}])
def test_bad_norm(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="norm must be above 0"):
        encoder(**options)
