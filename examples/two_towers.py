"""Two towers: a head for the questions, another for the answers.

    python examples/two_towers.py

The task is that of `quickstart.py`, searching Python functions by description. A description and a signature are
different kinds of text, so each gets a head of its own; the frozen encoder is shared, stored once and run once for each
text.
"""

from __future__ import annotations

import argparse

import numpy as np
from python_functions import collect, split
from quickstart import packaged_encoder, pairs, search

import simlearn
from simlearn import (
    CacheConfig,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityModel,
    SkipConnectionHead,
    TextEncoder,
    TrainableModel,
    TwoTower,
)


class TwoTowerSearch(TrainableModel):
    """One encoder, two heads."""

    def __init__(self, encoder: str) -> None:
        self.encoder = encoder
        super().__init__(learning_rate=3e-3)

    def configure_encoders(self) -> TwoTower:
        text = TextEncoder(self.encoder)
        return TwoTower(query=text, document=text)

    def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
        return SkipConnectionHead(input_embedding_size)  # called once for each tower

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss(scale=20.0, symmetric=True)

    def configure_caches(self) -> CacheConfig:
        return CacheConfig()


def main() -> None:
    """Train, evaluate, save, and ask one question."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a sentence-transformers model or folder; default: the packaged MiniLM")
    parser.add_argument("--output", default="two-tower-search", help="where to save the servable")
    parser.add_argument("--small", action="store_true", help="a few functions only, to see that everything runs")
    arguments = parser.parse_args()

    functions = collect(("stdlib",), limit=900 if arguments.small else 4000)
    rest, held_out = split(functions, held_out=200 if arguments.small else 500)
    train, validation = split(rest, held_out=100 if arguments.small else 250)
    model = TwoTowerSearch(arguments.model or packaged_encoder())
    evaluator = search(held_out)
    before = simlearn.evaluate(evaluator, model=model)
    simlearn.fit(
        model,
        train_dataloader=PairsSimilarityDataLoader(pairs(train), batch_size=256),
        val_dataloader=PairsSimilarityDataLoader(pairs(validation), batch_size=256),
    )
    after = simlearn.evaluate(evaluator, model=model)
    print(f"\nFinding one of {len(held_out)} held-out functions, before and after training on {len(train)}:\n")
    print(after.compare(before))

    model.save_servable(arguments.output, scores=after)
    served = SimilarityModel.load(arguments.output)
    documents = served.encode_document([function.text for function in held_out], normalize=True)
    query = "the largest number"
    scores = documents @ served.encode_query(query, normalize=True)[0]
    print(f"\n{query}")
    for index in np.argsort(-scores)[:3]:
        print(f"    {scores[index]:.3f}  {held_out[index].text}")


if __name__ == "__main__":
    main()
