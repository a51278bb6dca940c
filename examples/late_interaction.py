"""One vector a text, or many: a bi-encoder, a Poly-encoder and late interaction over one frozen transformer.

    python examples/late_interaction.py

The task is that of `quickstart.py`: find Python functions by description. All three read the tokens of the packaged
MiniLM, which are encoded once, kept in a folder, and shared by the three; what is trained is what comes behind them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from python_functions import collect, split
from pytorch_lightning import Trainer
from quickstart import packaged_encoder, pairs, search

import simlearn
from simlearn import (
    BiEncoder,
    CacheConfig,
    CosineScorer,
    EncoderHead,
    LateInteraction,
    LearntCodes,
    MeanPooling,
    PairsSimilarityDataLoader,
    PolyAttention,
    PolyEncoder,
    Scorer,
    SequentialHead,
    SimilarityModel,
    SkipConnectionHead,
    TransformerEncoder,
)

folder = tempfile.mkdtemp()


class Cached(BiEncoder):
    """What the frozen transformer makes of a text is kept, token by token."""

    def configure_caches(self) -> CacheConfig:
        return CacheConfig(save_dir=folder)


class OneVector(Cached):
    """The mean of the tokens, which this transformer was trained for, and a head that is trained."""

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        pooling, head = MeanPooling(input_embedding_size), SkipConnectionHead(input_embedding_size, n_layers=2)
        return SequentialHead(pooling, head, output_size=input_embedding_size)

    def configure_scorer(self) -> Scorer:
        return CosineScorer()


class SomeVectors(Cached, PolyEncoder):
    """Learnt codes of a description look for what a function may ask for."""

    def configure_query_head(self, input_embedding_size: int) -> EncoderHead:
        return LearntCodes(input_embedding_size, self.codes, init="uniform", attention="sqrt")

    def configure_document_head(self, input_embedding_size: int) -> EncoderHead:
        pooling, head = MeanPooling(input_embedding_size), SkipConnectionHead(input_embedding_size, n_layers=2)
        return SequentialHead(pooling, head, output_size=input_embedding_size)

    def configure_scorer(self) -> Scorer:
        return PolyAttention("sqrt", normalize=True)


class AllVectors(Cached, LateInteraction):
    """Each token of a description looks for its best match."""


def main() -> None:
    """Train the three, compare them, and let one order what another has found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a transformer, by name or folder; default: the packaged MiniLM")
    parser.add_argument("--small", action="store_true", help="a few functions only, to see that everything runs")
    arguments = parser.parse_args()

    functions = collect(("stdlib",), limit=400 if arguments.small else None)
    known, held_out = split(functions, held_out=100 if arguments.small else 600)
    body, evaluator = TransformerEncoder(arguments.model or packaged_encoder(), max_length=48), search(held_out)
    texts = [function.text for function in held_out]
    models = {
        "one vector": lambda: OneVector(body, scale=20.0, learning_rate=3e-3),
        "16 codes": lambda: SomeVectors(body, codes=16, scale=20.0, learning_rate=1e-3),
        "all tokens": lambda: AllVectors(body, size=64, learning_rate=3e-3),
    }
    trained = {}
    titles = f"{'recall@1':>9s} {'recall@10':>10s} {'mrr':>6s} {'train s':>8s} {'search ms':>10s} {'KB a text':>10s}"
    print(f"{'':12s} {titles}")
    for name, make in models.items():
        torch.manual_seed(0)
        model = trained[name] = make()
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=2 if arguments.small else 10,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        start = time.perf_counter()
        simlearn.fit(model, PairsSimilarityDataLoader(pairs(known), batch_size=64), trainer=trainer)
        seconds = time.perf_counter() - start
        report = simlearn.evaluate(evaluator, model=model)
        stored = model.model.encode_to_disk(texts, Path(folder) / f"index {name}", role="document")
        start = time.perf_counter()
        for function in held_out[:20]:
            model.model.rank(function.description, stored, top_k=10)
        milliseconds = 50 * (time.perf_counter() - start)
        kilobytes = (
            sum(
                chunk.values[chunk.full_mask()].nbytes if chunk.is_multi_vector else chunk.values.nbytes
                for chunk in stored.chunks()
            )
            / 1024
            / len(texts)
        )
        figures = f"{report['recall@1']:9.3f} {report['recall@10']:10.3f} {report['mrr']:6.3f}"
        print(f"{name:12s} {figures} {seconds:8.1f} {milliseconds:10.1f} {kilobytes:10.1f}")

    first, second = trained["one vector"].model, trained["all tokens"].model
    query = "put a list into random order"
    print(f"\n{query}: one vector finds, all tokens order")
    for place, score in first.rank(query, texts, top_k=3, rerank=second, first=50):
        print(f"  {score:.3f}  {texts[place]}")
    second.save(Path(folder) / "servable")
    SimilarityModel.load(Path(folder) / "servable")


if __name__ == "__main__":
    main()
