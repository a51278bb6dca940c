"""One vector a text, or many: a bi-encoder, Poly-encoders and late interaction, trained from nothing.

    python examples/late_interaction.py

The task is that of `quickstart.py`: find Python functions by description. A small transformer, whose words are learnt
from the same texts, is trained anew for each model; nothing is downloaded. Each is asked for the right one of ten
functions, and of all functions of modules that it never saw.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from python_functions import Function, collect, split
from pytorch_lightning import Trainer
from quickstart import pairs, search

import simlearn
from simlearn import (
    BiEncoder,
    LateInteraction,
    PairsSimilarityDataLoader,
    PolyEncoder,
    RerankingEvaluator,
    SimilarityRankingSample,
    TrainableModel,
    TransformerEncoder,
)


def small_transformer(texts: Sequence[str], folder: Path) -> str:
    """A BERT of two layers with random weights, and a tokenizer with the words of the texts; returns a folder."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = BertWordPieceTokenizer()
    words.train_from_iterator(texts, vocab_size=8000, show_progress=False)
    words.save_model(str(folder))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def one_in_ten(functions: Sequence[Function]) -> RerankingEvaluator:
    """Which of ten functions does a description belong to?"""
    drawn, samples = random.Random(0), []
    for function in functions:
        others = drawn.sample([one.text for one in functions if one is not function], 9)
        samples.append(SimilarityRankingSample(function.description, [function.text, *others], [1.0] + [0.0] * 9))
    return RerankingEvaluator(samples, metrics=["recall@1", "recall@2", "recall@5", "mrr"])


def main() -> None:
    """Train each, and compare what they find, what that takes, and what is kept of a text."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a few functions only, to see that everything runs")
    small = parser.parse_args().small
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # which devices there are, again and again

    functions = collect(("stdlib",), limit=500 if small else None)
    known, held_out = split(functions, held_out=100 if small else 600)
    folder = Path(tempfile.mkdtemp())
    torch.manual_seed(0)
    source = small_transformer([text for one in known for text in (one.description, one.text)], folder)
    ten, everything, texts = one_in_ten(held_out), search(held_out), [function.text for function in held_out]
    rates = {"learning_rate": 1e-3, "encoder_learning_rate": 5e-4}
    models: dict[str, Callable[[TransformerEncoder], TrainableModel]] = {
        "bi-encoder": lambda body: BiEncoder(body, **rates),
        "poly, first 16": lambda body: PolyEncoder(body, codes=16, variant="first", **rates),
        "poly, 16 codes": lambda body: PolyEncoder(body, codes=16, **rates),
        "late interaction": lambda body: LateInteraction(body, size=64, **rates),
    }
    names = ["R@1/10", "R@2/10", "R@5/10", "MRR", "recall@10", "train s", "rank ms", "KB a text"]
    print(f"{'':18s}" + "".join(f"{name:>11s}" for name in names))
    reports = {}
    for name, make in models.items():
        torch.manual_seed(0)
        model = make(TransformerEncoder(source, trainable=True, max_length=48))
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1 if small else 8,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        start = time.perf_counter()
        simlearn.fit(model, PairsSimilarityDataLoader(pairs(known), batch_size=64), trainer=trainer)
        trained = time.perf_counter() - start
        reports[name] = report = simlearn.evaluate(ten, model=model)
        found = simlearn.evaluate(everything, model=model)
        stored = model.model.encode_to_disk(texts, folder / f"index of {name}", role="document")
        start = time.perf_counter()
        for function in held_out[:50]:
            model.model.rank(function.description, stored, top_k=10)
        ranked = 20 * (time.perf_counter() - start)
        kept = stored.take(slice(0, None))
        values = kept.values[kept.full_mask()] if kept.is_multi_vector else kept.values
        figures = [*(report[metric] for metric in ("recall@1", "recall@2", "recall@5", "mrr")), found["recall@10"]]
        sizes = [trained, ranked, values.nbytes / 1024 / len(texts)]
        print(f"{name:18s}" + "".join(f"{value:11.3f}" for value in figures) + "".join(f"{v:11.1f}" for v in sizes))
    print("\nThe right one of ten, late interaction beside the bi-encoder:\n")
    print(reports["late interaction"].compare(reports["bi-encoder"]))


if __name__ == "__main__":
    main()
