"""What do the towers of a retrieval model cost beside a plain torch loop, and a large table beside dense AdamW?

First an epoch of `simlearn.fit` on (query, product) pairs with bags of tokens and categories, batch 1024, dimension 64:
against a hand-written loop that collates, encodes, compares and steps by the same formulas. With `tokens=True` both
sides have the tokens ready; without, both tokenise each batch. Objects are told by their names, as a catalogue has
them, and by their content. The figure is the processor time of whole epochs, the first one left out.

Then a step of a table of 200,000 × 256, as qdrl has it, with sparse gradients behind the default optimiser, against
the dense one.

    python benchmarks/two_towers.py [--tiny]
"""

from __future__ import annotations

import argparse
import logging
import random
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    CategoricalEncoder,
    Fields,
    HashedNGrams,
    MLPHead,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    TrainableModel,
    TwoTower,
    fit,
)
from simlearn.training.optimization import default_optimizer

SIZE, BUCKETS, BATCH = 64, 16_384, 1024
SYLLABLES = "ba be bi bo bu da de di do du ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu".split()


def catalogue(count: int) -> list[dict[str, Any]]:
    """Pairs of a query and a product of four fields, with their numbers."""
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(2, 4))) for _ in range(3000)]
    products = [
        {
            "title": " ".join(draw.choices(words, k=7)),
            "category": f"category {draw.randrange(50)}",
            "price": draw.random(),
            "id": number,
        }
        for number in range(count // 2)
    ]
    pairs = []
    for number in range(count):
        product = draw.choice(products)
        query = " ".join(draw.sample(str(product["title"]).split(), 3))
        pairs.append({"query": query, "product": product, "query_id": number, "product_id": product["id"]})
    return pairs


class Search(TrainableModel):
    """Two towers over shared words."""

    def __init__(self, tokens: bool) -> None:
        torch.manual_seed(0)
        self.tokens = tokens
        super().__init__(warmup=0)

    def configure_encoders(self) -> TwoTower:
        words = BagOfTokensEncoder(HashedNGrams(BUCKETS), SIZE)
        kinds = CategoricalEncoder([f"category {n}" for n in range(50)], 16)
        return TwoTower(query=words, document=Fields(title=words, category=kinds))

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        return MLPHead(input_embedding_size, [], SIZE)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss(scale=10.0)

    def configure_caches(self) -> CacheConfig | None:
        return CacheConfig(tokens=True) if self.tokens else None


class EpochTimes(pl.Callback):
    """Processor seconds of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self._start = time.process_time()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.process_time() - self._start)


def of_fit(pairs: list[dict[str, Any]], tokens: bool, named: bool, epochs: int) -> float:
    """Processor seconds of an epoch of `fit`."""
    times = EpochTimes()
    names = {"obj_a_id": "query_id", "obj_b_id": "product_id"} if named else {}
    loader = PairsSimilarityDataLoader(pairs, BATCH, obj_a="query", obj_b="product", **names)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[times],
    )
    fit(Search(tokens), loader, trainer=trainer)
    return min(times.seconds[1:])


def of_a_loop(pairs: list[dict[str, Any]], tokens: bool, epochs: int) -> float:
    """Processor seconds of an epoch of a plain loop."""
    model = Search(tokens=False)
    encoders, heads = model.model.plan.encoders, model.model.heads
    words, kinds = encoders["query"], encoders["category"]
    vectorize, number_of = words.vectorizer, {f"category {n}": n + 1 for n in range(50)}
    optimizer = default_optimizer([model.model], 1e-3, 1e-3, 0.01)

    def bag(text: str) -> Tensor:
        return torch.tensor(vectorize(text), dtype=torch.long)

    def joined(bags: list[Tensor]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([len(one) for one in bags])
        return torch.cat(bags), lengths.cumsum(0) - lengths

    queries = [pair["query"] for pair in pairs]
    titles = [pair["product"]["title"] for pair in pairs]
    categories = torch.tensor([number_of[pair["product"]["category"]] for pair in pairs])
    ids = torch.tensor([pair["product_id"] for pair in pairs])
    if tokens:
        bags = {name: list(map(bag, texts)) for name, texts in (("q", queries), ("t", titles))}
        flat = {name: joined(own) for name, own in bags.items()}
        sizes = {name: torch.tensor([len(one) for one in own]) for name, own in bags.items()}

    def batch(name: str, texts: list[str], rows: Tensor) -> tuple[Tensor, Tensor]:
        if not tokens:
            return joined([bag(texts[row]) for row in rows.tolist()])
        values, starts = flat[name]
        lengths = sizes[name][rows]
        offsets = lengths.cumsum(0) - lengths
        places = torch.repeat_interleave(starts[rows] - offsets, lengths) + torch.arange(int(lengths.sum()))
        return values[places], offsets

    best = float("inf")
    for epoch in range(epochs):
        start = time.process_time()
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(BATCH)[: len(pairs) // BATCH]:
            left = heads["query"](words.table(*batch("q", queries, rows)))
            title = words.table(*batch("t", titles, rows))
            right = heads["document"](torch.cat([kinds.table(categories[rows]), title], dim=1))
            scores = 10.0 * F.normalize(left, dim=1) @ F.normalize(right, dim=1).T
            same = ids[rows][:, None] == ids[rows]
            same.fill_diagonal_(False)
            loss = F.cross_entropy(scores.masked_fill(same, -torch.inf), torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch:
            best = min(best, time.process_time() - start)
    return best


def milliseconds(step: Callable[[], None], repeats: int) -> float:
    """Processor milliseconds of a step, the fastest of some."""
    step()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        step()
        best = min(best, time.process_time() - start)
    return 1000 * best


def of_a_table(rows: int, size: int, sparse: bool, repeats: int) -> float:
    """Milliseconds of forward, backward and step."""
    table = nn.EmbeddingBag(rows, size, mode="mean", sparse=sparse)
    optimizer = default_optimizer([table], 1e-3, 1e-3, 0.01)
    tokens = torch.randint(rows, (64 * 20,), generator=torch.Generator().manual_seed(0))
    offsets = torch.arange(0, 64 * 20, 20)

    def step() -> None:
        optimizer.zero_grad()
        table(tokens, offsets).square().sum().backward()
        optimizer.step()

    return milliseconds(step, repeats)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a few batches")
    tiny = parser.parse_args().tiny
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    pairs = catalogue((2 if tiny else 20) * BATCH)
    epochs = 2 if tiny else 5
    print("| tokens | objects told by | plain loop, s | simlearn, s | ratio |\n|---|---|---|---|---|")
    for tokens in (True, False):
        plain = of_a_loop(pairs, tokens, epochs)
        for named in (True, False):
            ours = of_fit(pairs, tokens, named, epochs)
            what = ("kept" if tokens else "made anew", "name" if named else "content")
            print(f"| {what[0]} | {what[1]} | {plain:.3f} | {ours:.3f} | {ours / plain:.2f} |", flush=True)
    rows, size = (2000, 16) if tiny else (200_000, 256)
    dense, sparse = (of_a_table(rows, size, kind, 3 if tiny else 10) for kind in (False, True))
    print("\n| table | dense, ms | sparse, ms | ratio |\n|---|---|---|---|")
    print(f"| {rows:,} x {size} | {dense:.1f} | {sparse:.1f} | {dense / sparse:.1f} |")


if __name__ == "__main__":
    main()
