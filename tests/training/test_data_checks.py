"""What data can never teach is refused before the first step, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import small_models
import torch
from small_models import NumbersEncoder, SmallModel, quiet_trainer
from torch.utils.data import Dataset, IterableDataset

from simlearn import (
    ContrastiveLoss,
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    MultipleNegativesRankingLoss,
    NegativeCacheConfig,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityLoss,
    SimilarityPairSample,
    SimilarityRankingSample,
    SoftmaxLoss,
    TripletLoss,
    XbmConfig,
    fit,
)
from simlearn.training.data_checks import check_data

MNRL, TRIPLET, CONTRASTIVE, SOFTMAX = (
    MultipleNegativesRankingLoss(),
    TripletLoss(),
    ContrastiveLoss(),
    SoftmaxLoss(4, 8),
)


def pairs(count: int = 600, score: float = 1.0, subgroup: Any = 0, document: str = "d{}") -> SimilarityDataLoader:
    return PairsSimilarityDataLoader(
        [SimilarityPairSample(f"q{n}", document.format(n), score, subgroup) for n in range(count)]
    )


def groups(*sizes: int) -> SimilarityDataLoader:
    names = [group for group, size in enumerate(sizes) for _ in range(size)]
    return GroupSimilarityDataLoader([SimilarityGroupSample(f"o{n}", group) for n, group in enumerate(names)])


def labels(*sets: Any) -> SimilarityDataLoader:
    return LabelSimilarityDataLoader([SimilarityLabelSample(f"o{n}", one) for n, one in enumerate(sets)])


def rankings(*relevances: list[float], batch_size: int = 32, document: str = "d{}-{}") -> SimilarityDataLoader:
    samples = [
        SimilarityRankingSample(f"q{n}", [document.format(n, m) for m in range(len(one))], one)
        for n, one in enumerate(relevances)
    ]
    return RankingSimilarityDataLoader(samples, batch_size)


HOPELESS: list[tuple[str, SimilarityDataLoader, SimilarityLoss, str]] = [
    ("pairs, no positive", pairs(score=0.0), MNRL, "needs similar objects, and no two are: every score is 0 or less"),
    ("pairs, no positive", pairs(score=0.0), CONTRASTIVE, "every score is 0 or less"),
    (
        "pairs, one subgroup",
        pairs(subgroup="s"),
        MNRL,
        "needs different objects, and all are alike: all pairs are of one",
    ),
    ("pairs, one document", pairs(document="d"), MNRL, "all pairs are of one subgroup or of one object"),
    ("one pair", pairs(1), MNRL, "all pairs are of one subgroup or of one object"),
    (
        "pairs, all alike",
        pairs(),
        CONTRASTIVE,
        r"no score is below 1 and no two subgroups differ; add pairs with score=0",
    ),
    ("pairs, one subgroup", pairs(subgroup=5), CONTRASTIVE, "no score is below 1 and no two subgroups differ"),
    ("groups, no positive", groups(*[1] * 700), TRIPLET, "no two are: every group has one object; give objects that"),
    ("groups, no negative", groups(700), TRIPLET, "all are alike: there is only one group"),
    ("groups, one class", groups(700), SOFTMAX, "all are alike: there is only one group"),
    ("labels, no positive", labels("a", "b", [], "c"), TRIPLET, "no two are: no label is shared"),
    (
        "labels, no negative",
        labels(*[["a", n] for n in range(600)]),
        TRIPLET,
        "one label is shared by all; leave it out",
    ),
    ("rankings, no positive", rankings([0.0, -1.0], [0.0]), TRIPLET, "every relevance is 0 or less"),
    ("one ranking, no negative", rankings([1.0, 2.0]), TRIPLET, "all candidates are relevant, or one object; add some"),
    (
        "rankings, one document",
        rankings([1.0], [1.0], document="d"),
        MNRL,
        "all candidates are relevant, or one object",
    ),
    ("rankings alone", rankings([1.0], [2.0], batch_size=1), MNRL, "every relevance is above 0; add candidates"),
]


@pytest.mark.parametrize(("loader", "loss", "message"), [one[1:] for one in HOPELESS], ids=[one[0] for one in HOPELESS])
def test_what_can_never_teach_is_refused(loader: SimilarityDataLoader, loss: SimilarityLoss, message: str) -> None:
    with pytest.raises(ValueError, match=f"{type(loss).__name__}.*{message}"):
        check_data(loader, loss)


FINE: list[tuple[str, SimilarityDataLoader, SimilarityLoss]] = [
    ("pairs", pairs(2), MNRL),
    (
        "an explicit negative",
        PairsSimilarityDataLoader([*pairs(600).source, SimilarityPairSample("x", "y", 0.0)]),
        CONTRASTIVE,
    ),
    ("graded pairs", pairs(score=0.7), CONTRASTIVE),
    (
        "late other subgroup",
        PairsSimilarityDataLoader([*pairs(600, subgroup=1).source, *pairs(1, subgroup=2).source]),
        CONTRASTIVE,
    ),
    (
        "late other document",
        PairsSimilarityDataLoader([*pairs(600, document="d").source, SimilarityPairSample("x", "y")]),
        MNRL,
    ),
    (
        "documents in order",
        PairsSimilarityDataLoader([*pairs(8, document="d").source, *pairs(256, document="e").source]),
        MNRL,
    ),
    ("two groups", groups(700, 1), TRIPLET),
    ("far twins", groups(*[1] * 600, 2), TRIPLET),
    ("groups in order", groups(500, 500, 500), TRIPLET),
    ("classes without positives", groups(1, 1), SOFTMAX),
    ("far shared label", labels(*range(600), *range(600)), TRIPLET),
    ("the first shares with all", labels(["a", "b"], *["a"] * 300, *["b"] * 300), TRIPLET),
    ("unlabelled", labels("a", "a", []), TRIPLET),
    ("rankings", rankings([1.0, 0.0]), TRIPLET),
    ("rankings alone", rankings([1.0, 0.0], batch_size=1), TRIPLET),
    ("others' candidates", rankings([1.0], [1.0]), MNRL),
    ("no candidates at first", rankings([], [], [1.0, 0.0]), TRIPLET),
]


@pytest.mark.parametrize(("loader", "loss"), [one[1:] for one in FINE], ids=[one[0] for one in FINE])
def test_what_can_teach_is_not(loader: SimilarityDataLoader, loss: SimilarityLoss) -> None:
    check_data(loader, loss)


def test_samples_of_a_kind_that_the_loss_does_not_take() -> None:
    with pytest.raises(
        TypeError, match="ContrastiveLoss learns from pairs, GroupSimilarityDataLoader gives groups; take"
    ):
        check_data(groups(2, 2), CONTRASTIVE)
    with pytest.raises(TypeError, match="SoftmaxLoss learns from groups or labels, PairsSimilarityDataLoader"):
        check_data(pairs(), SOFTMAX)


def test_one_sample_a_batch() -> None:
    alone = PairsSimilarityDataLoader(list(pairs(4).source), 1)
    with pytest.raises(ValueError, match="MultipleNegativesRankingLoss takes its negatives from the batch: batch_size"):
        check_data(alone, MNRL)
    check_data(alone, MNRL, world_size=2)
    check_data(PairsSimilarityDataLoader(list(pairs(4).source), 1, batch_sampler=[[0, 1]]), MNRL)
    check_data(PairsSimilarityDataLoader([*pairs(2).source, *pairs(2, score=0.0).source], 1), CONTRASTIVE)
    grouped = GroupSimilarityDataLoader(list(groups(2, 2).source), 1)
    with pytest.raises(ValueError, match="TripletLoss compares the objects of a batch: batch_size must be at least 2"):
        check_data(grouped, TRIPLET)
    check_data(grouped, SOFTMAX)


class Counting(Dataset[Any]):
    """Counts what is read of it."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples
        self.read = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.read += 1
        return self.samples[index]


@pytest.mark.parametrize(
    ("make", "loader", "loss", "most"),
    [
        (PairsSimilarityDataLoader, pairs(5000), MNRL, 8),
        (GroupSimilarityDataLoader, groups(*[4] * 500), TRIPLET, 5),
        (LabelSimilarityDataLoader, labels(*"abcabc" * 100), TRIPLET, 4),
        (RankingSimilarityDataLoader, rankings(*[[1.0, 0.0]] * 500), TRIPLET, 8),
    ],
)
def test_few_samples_are_read(make: Any, loader: SimilarityDataLoader, loss: SimilarityLoss, most: int) -> None:
    data = Counting(list(loader.source))
    check_data(make(data), loss)
    assert 0 < data.read <= most


def test_the_other_columns_are_left_alone() -> None:
    def explode(row: Any) -> Any:
        raise AssertionError("groups are enough")

    rows = [{"group": number % 2} for number in range(6)]
    check_data(GroupSimilarityDataLoader(rows, obj=explode, group="group"), TRIPLET)


class Stream(IterableDataset[Any]):
    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples())


def test_streams() -> None:
    with pytest.raises(ValueError, match="the data set is empty; there is nothing to learn from"):
        check_data(PairsSimilarityDataLoader(Stream(list)), MNRL)
    check_data(PairsSimilarityDataLoader(Stream(lambda: list(pairs(4).source))), MNRL)
    with pytest.raises(ValueError, match="every score is 0 or less"):
        check_data(PairsSimilarityDataLoader(Stream(lambda: list(pairs(4, score=0.0).source))), MNRL)


def test_a_stream_without_end_is_left_after_a_while() -> None:
    def samples() -> Iterator[SimilarityGroupSample]:
        yield from (SimilarityGroupSample(0.0, 0) for _ in iter(int, 1))

    check_data(GroupSimilarityDataLoader(Stream(samples)), TRIPLET)


class Unknown:
    """An object whose content nobody can tell."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.told = lambda: values


class Remembering(SmallModel):
    def configure_encoders(self) -> Any:
        class ReadsUnknown(NumbersEncoder):
            def get_collate_fn(self) -> Any:
                return lambda objects: torch.tensor([obj.values for obj in objects])

        return ReadsUnknown()


class RememberingMore(Remembering):
    def configure_negative_cache(self) -> NegativeCacheConfig:
        return NegativeCacheConfig(16)


@pytest.mark.parametrize("make", [lambda: Remembering(xbm=XbmConfig(start_iteration=0)), RememberingMore])
def test_a_memory_knows_objects_again(make: Any) -> None:
    unnamed = [SimilarityPairSample(Unknown(one.obj_a), Unknown(one.obj_b)) for one in small_models.pairs(16)]
    named = [replace(one, obj_a_id=row, obj_b_id=100 + row) for row, one in enumerate(unnamed)]
    with pytest.raises(TypeError, match="that of the queries cannot be told; name them .* obj_a_id= and obj_b_id="):
        fit(make(), PairsSimilarityDataLoader(unnamed, 8), trainer=quiet_trainer())
    fit(make(), PairsSimilarityDataLoader(named, 8), trainer=quiet_trainer(max_epochs=1))
