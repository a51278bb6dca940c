"""A user's program, for the type checker: `mypy --strict` must accept it as it stands. It is never run."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import simlearn
from simlearn import (
    CacheConfig,
    CacheType,
    Encoder,
    Field,
    Fields,
    GroupSimilarityDataLoader,
    MLPHead,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityModel,
    SimilarityPairSample,
    SkipConnectionHead,
    TextEncoder,
    TrainableModel,
    TripletLoss,
    TwoTower,
)


class Scaled(Encoder):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size, size)

    @property
    def embedding_size(self) -> int:
        return self.layer.out_features

    def forward(self, batch: Tensor) -> Tensor:
        vectors: Tensor = self.layer(batch)
        return vectors


class DocSearch(TrainableModel):
    def configure_encoders(self) -> TextEncoder:
        return TextEncoder("some/model")

    def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
        return SkipConnectionHead(input_embedding_size)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss(scale=20.0, symmetric=True)

    def configure_caches(self) -> CacheConfig:
        return CacheConfig(CacheType.AUTO, mapping={"default": CacheType.CPU})


class ProductSearch(TrainableModel):
    def configure_encoders(self) -> TwoTower:
        text = TextEncoder("some/model")
        return TwoTower(
            query=Field("words", text.with_prompt("query: ")),
            document=Fields(title=text, numbers=Scaled(4)),
        )

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        return MLPHead(input_embedding_size, hidden=[128], output=64)

    def configure_loss(self) -> TripletLoss:
        return TripletLoss(mining="semi_hard")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    pairs = [SimilarityPairSample("a", "b"), SimilarityPairSample(obj_a="a", obj_b="c", score=0.0, subgroup="x")]
    groups = [SimilarityGroupSample("a", group="letters"), SimilarityGroupSample("1", group=3)]
    model = DocSearch(learning_rate=1e-3)
    simlearn.fit(model, PairsSimilarityDataLoader(pairs, batch_size=2))
    simlearn.fit(model, train_dataloader=GroupSimilarityDataLoader(groups, batch_size=8, samples_per_group=2))
    model.save_servable("folder", scores={"mrr": 0.5})
    served = SimilarityModel.load("folder", classes=(Scaled,))
    vectors: np.ndarray = served.encode(["text"])
    tensor: Tensor = served.encode(["text"], to_numpy=False)
    ranked: list[tuple[int, float]] = served.rank("query", ["first", "second"], top_k=1)
    qrels = simlearn.Qrels(torch.tensor([0, 1]), torch.tensor([0]))
    evaluator: simlearn.BaseEvaluator = simlearn.RetrievalEvaluator(["a"], ["b"], {0: [0]})
    report: simlearn.EvaluationReport = simlearn.evaluate(evaluator, model=served)
    simlearn.TripletLos()  # type: ignore[attr-defined]  # strict: an error here if the checker took it for a name
    print(report, qrels)
    print(vectors.shape, tensor.shape, ranked, served.encode_query("query").shape)
