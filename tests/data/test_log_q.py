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
    RankingSimilarityDataLoader,
    StreamedLogQ,
    TrainableModel,
    fit,
)
from simlearn.data.log_q import KnownLogQ
from simlearn.training.session import Session
from simlearn.training.stage import TrainStage

ROWS = [
    {"q": f"query {n}", "d": f"document {n % 5 if n < 20 else n}", "id": f"d{n % 5 if n < 20 else n}"}
    for n in range(24)
]


def loader_of(data: Any = ROWS, **options: Any) -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(data, batch_size=8, obj_a="q", obj_b="d", obj_b_id="id", **options)


def test_counted_in_one_pass() -> None:
    loader = loader_of(document_log_q="count")
    log_q = loader.log_q()
    assert log_q is not None
    relation = next(iter(loader_of())).relation
    assert relation.document_ids is not None
    assert log_q(relation.document_ids).exp().tolist() == pytest.approx([4 / 24] * 8)


def test_told_by_name() -> None:
    log_q = loader_of(document_log_q={"d0": 3, "d1": 1}).log_q()
    relation = next(iter(loader_of())).relation
    assert log_q is not None and relation.document_ids is not None
    assert log_q(relation.document_ids[:2]).exp().tolist() == pytest.approx([0.75, 0.25])
    with pytest.raises(ValueError, match="tells nothing of 4 of the 8 documents of a batch; give the count"):
        log_q(relation.document_ids)


def test_told_by_a_column() -> None:
    rows = [{**row, "often": 3.0 if row["id"] == "d0" else 1.0} for row in ROWS]
    log_q, ids = loader_of(rows, document_log_q="often").log_q(), next(iter(loader_of())).relation.document_ids
    assert log_q is not None and ids is not None
    assert log_q(ids[:2]).exp().tolist() == pytest.approx([3 / 11, 1 / 11]), (
        "nine documents, one of them thrice as often"
    )
    rows[5]["often"] = 2.0
    with pytest.raises(ValueError, match="different things of one document"):
        loader_of(rows, document_log_q="often").log_q()
    with pytest.raises(KeyError, match="no column 'seldom'"):
        loader_of(rows, document_log_q="seldom").log_q()
    ranking = {"query": "a", "documents": ["b", "c"], "relevances": [1, 0], "often": [1, 3]}
    names = {"query": "query", "documents": "documents", "relevances": "relevances"}
    loader = RankingSimilarityDataLoader([ranking], 1, **names, document_log_q="often")
    told, own = loader.log_q(), next(iter(loader)).relation.document_ids
    assert told is not None and own is not None and told(own).exp().tolist() == pytest.approx([0.25, 0.75])


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


def test_the_sketch_counts_beyond_what_fp32_can() -> None:
    sketch = StreamedLogQ(width=64, depth=2)
    sketch(torch.zeros(1, dtype=torch.long))
    sketch._counts *= 2**25
    sketch._total = 2**26
    assert float(sketch(torch.zeros(1, dtype=torch.long))) == pytest.approx(math.log(0.5))
    before = int(sketch._counts.max())
    sketch(torch.zeros(3, dtype=torch.long))
    assert int(sketch._counts.max()) == before + 3


@pytest.mark.parametrize("width", [2**16, 1000])
def test_intervals_follow_the_probabilities(width: int) -> None:
    probabilities, drawn = zipf(200, 400_000)
    intervals = IntervalLogQ(width=width, rate=0.01)
    told: dict[int, list[float]] = {}
    for batch in drawn.view(-1, 50):
        found = intervals(batch)
        for one, value in zip(batch.tolist(), found.tolist(), strict=True):
            told.setdefault(one, []).append(value)
    for number in range(20):  # the first is a fifth of all, and in nearly every batch
        late = told[number][len(told[number]) // 2 :]
        assert math.exp(sum(late) / len(late)) == pytest.approx(float(probabilities[number]), rel=0.15)


def test_intervals_one_by_one_are_those_of_batches() -> None:
    ids = torch.tensor([5, 3, 5, 5, 9, 3, 5, 9, 9])
    whole, single = IntervalLogQ(64, rate=0.3), IntervalLogQ(64, rate=0.3)
    found = whole(ids)
    last = {int(one): float(single(one[None])) for one in ids}
    assert found.tolist() == pytest.approx([last[one] for one in ids.tolist()])
    assert len(whole(ids[:0])) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_counts_anew(workers: int) -> None:
    """Or the same epoch would be another one after a restart, and with workers."""
    loader = loader_of(document_log_q=StreamedLogQ(64), num_workers=workers)
    model = Model(MultipleNegativesRankingLoss(log_q=True))
    bound = Session(model.model, model.loss, {TrainStage.TRAIN: loader}).bound(TrainStage.TRAIN, 0, 1)
    first, second = ([batch.relation.document_log_q for batch in bound] for _ in range(2))
    assert all(map(torch.equal, first, second)) and len(first) == 3


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
    [
        (7, "must be 'count', the name of a column"),
        ({"a": 0}, "finite numbers above 0"),
        ({}, "finite numbers above 0"),
    ],
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
