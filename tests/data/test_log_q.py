"""How often documents are drawn."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_models import quiet_trainer

from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    HashedNGrams,
    IntervalLogQ,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    StreamedLogQ,
    TrainableModel,
    fit,
)
from simlearn.data.log_q import KnownLogQ

ROWS = [
    {"q": f"query {n}", "d": f"document {n % 5 if n < 20 else n}", "id": f"d{n % 5 if n < 20 else n}"}
    for n in range(24)
]


def loader_of(data: Any = ROWS, **options: Any) -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(data, batch_size=8, obj_a="q", obj_b="d", obj_b_id="id", **options)


def test_counted_in_one_pass() -> None:
    loader = loader_of(document_log_q="count")
    log_q = loader.log_q()
    assert log_q is not None and loader.log_q() is log_q, "once"
    relation = next(iter(loader_of())).relation
    assert relation.document_ids is not None
    assert log_q(relation.document_ids).exp().tolist() == pytest.approx([4 / 24] * 8)


def test_told_by_name() -> None:
    log_q = loader_of(document_log_q={"d0": 3, "d1": 1}).log_q()
    relation = next(iter(loader_of())).relation
    assert log_q is not None and relation.document_ids is not None
    assert log_q(relation.document_ids)[:3].exp().tolist() == pytest.approx([0.75, 0.25, 0.25]), "as rare as the rarest"


def zipf(count: int, draws: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    probabilities = 1 / torch.arange(1.0, count + 1)
    probabilities /= probabilities.sum()
    return probabilities, torch.multinomial(probabilities, draws, replacement=True, generator=generator)


def test_count_min_sketch_is_near_and_never_below() -> None:
    probabilities, drawn = zipf(1000, 40_000)
    sketch = StreamedLogQ(width=4096, depth=4)
    ids = drawn * 7919 - 3
    for batch in ids.split(100):
        sketch(batch)
    asked = torch.arange(50) * 7919 - 3
    found = sketch(asked).exp()
    counts = torch.bincount(drawn, minlength=1000)[:50] + 1
    assert (found * (len(ids) + 50) >= counts - 0.5).all()
    torch.testing.assert_close(found, probabilities[:50], rtol=0.25, atol=2e-4)


def test_intervals_follow_the_probabilities() -> None:
    probabilities, drawn = zipf(200, 400_000)
    intervals = IntervalLogQ(width=2**16, rate=0.02)
    for batch in drawn.view(-1, 50):
        found = intervals(batch)
    told = {int(one): float(value) for one, value in zip(batch, found, strict=True)}
    for number in (0, 1, 2, 3):
        # A step tells only whether a document was among the 50: one that nearly always is looks rarer than it is.
        chance = 1 - (1 - float(probabilities[number])) ** 50
        assert math.exp(told[number]) * 50 == pytest.approx(chance, rel=0.5)


class Model(TrainableModel):
    def __init__(self, loss: Any, cache: CacheConfig | None = None) -> None:
        torch.manual_seed(0)
        self.given = loss, cache
        super().__init__()

    def configure_encoders(self) -> BagOfTokensEncoder:
        return BagOfTokensEncoder(HashedNGrams(64), 4)

    def configure_loss(self) -> Any:
        return self.given[0]

    def configure_caches(self) -> CacheConfig | None:
        return self.given[1]


@pytest.mark.parametrize("source", ["count", StreamedLogQ(64)], ids=["counted", "streamed"])
def test_training_by_samples_and_by_columns_is_the_same(source: Any) -> None:
    models = []
    for cache in (None, CacheConfig(tokens=True)):
        loss = MultipleNegativesRankingLoss(log_q=True)
        given = StreamedLogQ(64) if isinstance(source, StreamedLogQ) else source
        model = Model(loss, cache)
        fit(model, loader_of(document_log_q=given), trainer=quiet_trainer(max_epochs=1))
        models.append(model)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)
    plain = Model(MultipleNegativesRankingLoss())
    fit(plain, loader_of(), trainer=quiet_trainer(max_epochs=1))
    assert any(not torch.equal(a, b) for a, b in zip(plain.parameters(), models[0].parameters(), strict=True))


def test_a_loss_that_nobody_tells_is_refused_before_the_first_step() -> None:
    with pytest.raises(ValueError, match="give it document_log_q='count'"):
        fit(Model(MultipleNegativesRankingLoss(log_q=True)), loader_of(), trainer=quiet_trainer())


@pytest.mark.parametrize(
    ("given", "message"),
    [("counted", "must be 'count'"), ({"a": 0}, "finite numbers above 0"), ({}, "finite numbers above 0")],
)
def test_bad_sources(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loader_of(document_log_q=given)
    with pytest.raises(ValueError, match="at least 1"):
        StreamedLogQ(0)
    with pytest.raises(ValueError, match="rate in"):
        IntervalLogQ(rate=0.0)


def test_what_is_no_logarithm_of_a_probability() -> None:
    model = Model(MultipleNegativesRankingLoss(log_q=True))
    loader = loader_of(document_log_q=lambda ids: torch.ones(len(ids)))
    with pytest.raises(ValueError, match="logarithms of probabilities, finite numbers of 0 or less"):
        fit(model, loader, trainer=quiet_trainer())
    assert KnownLogQ.of_ids(torch.tensor([1, 1, 2]))(torch.tensor([1])).exp().item() == pytest.approx(2 / 3)
