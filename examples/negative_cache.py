"""A softmax over thousands of documents, with batches of 32.

    python examples/negative_cache.py

The task is that of `quickstart.py`: find Python functions by description. The model starts from nothing. It is trained
once with the negatives of its small batches, and once beside a negative cache, which keeps the functions of earlier
batches and lets all of them stand in the softmax of each description.
"""

from __future__ import annotations

import argparse
import logging

import torch
from python_functions import Function, collect, split
from pytorch_lightning import Trainer
from quickstart import pairs, search

import simlearn
from simlearn import (
    BagOfTokensEncoder,
    HashedNGrams,
    MLPHead,
    MultipleNegativesRankingLoss,
    NegativeCacheConfig,
    NegativeCacheHealth,
    PairsSimilarityDataLoader,
    TrainableModel,
    TwoTower,
)


class Search(TrainableModel):
    """Two heads over one bag of n-grams."""

    def __init__(self, cache: NegativeCacheConfig | None) -> None:
        torch.manual_seed(0)
        self.cache = cache
        super().__init__(learning_rate=1e-3)

    def configure_encoders(self) -> TwoTower:
        words = BagOfTokensEncoder(HashedNGrams(2**17), embedding_size=128)
        return TwoTower(query=words, document=words)

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        return MLPHead(input_embedding_size, [], 128)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss(scale=20.0)

    def configure_negative_cache(self) -> NegativeCacheConfig | None:
        return self.cache


def train(functions: list[Function], cache: NegativeCacheConfig | None, epochs: int) -> Search:
    """Train with batches of 32."""
    model = Search(cache)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[] if cache is None else [NegativeCacheHealth()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    simlearn.fit(model, PairsSimilarityDataLoader(pairs(functions), batch_size=32), trainer=trainer)
    if cache is not None:
        figures = trainer.callback_metrics
        for name in ("fill", "staleness", "age", "age_p95"):
            print(f"cache_{name}: {float(figures[f'train_cache_{name}']):.3g}")
    return model


def main() -> None:
    """Train without and with a cache, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a few functions only, to see that everything runs")
    small = parser.parse_args().small
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # which devices there are, again and again

    functions = collect(("stdlib",), limit=600) if small else collect()
    known, held_out = split(functions, held_out=100 if small else 1000)
    epochs, evaluator = 2 if small else 4, search(held_out)
    # Of a model that starts from nothing the cache should not count before everything was there once.
    cache = NegativeCacheConfig(size=len(known) // 2, samples=4, start_filled=1.0)
    without, beside = (simlearn.evaluate(evaluator, model=train(known, one, epochs)) for one in (None, cache))
    print(f"\nFinding one of {len(held_out)} functions of other modules, without the cache and beside it:\n")
    print(beside.compare(without))


if __name__ == "__main__":
    main()
