"""Watch a triplet loss collapse, and what prevents it.

    python examples/collapse.py

Scikit-learn's digits, a tenth of the training labels wrong, and one small network trained with several losses. The
plain batch-hard triplet loss maps every picture to the same point. Prints a table and draws docs/tutorials/collapse.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from collapse_picture import draw
from digits import PixelEncoder
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

import simlearn
from simlearn import (
    GroupEvaluator,
    GroupLoss,
    GroupSimilarityDataLoader,
    InfoNCELoss,
    Relation,
    SimilarityGroupSample,
    SimilarityLoss,
    TrainableModel,
    TripletLoss,
)
from simlearn.evaluation.health import effective_rank

WRONG_LABELS = 0.1


class PlainTripletLoss(GroupLoss):
    """The hardest positive and negative of each anchor, as the literature has it; simlearn's own differs."""

    def __init__(self, margin: float = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        vectors = F.normalize(embeddings, dim=1)
        distances = 1 - vectors @ vectors.T
        same = groups[:, None] == groups
        farthest = distances.masked_fill(~same, 0).amax(1)
        nearest = distances.masked_fill(same, 2).amin(1)
        return F.relu(farthest - nearest + self.margin).mean()


@dataclass
class Run:
    """One training, and what came of it."""

    name: str
    make_loss: Callable[[], SimilarityLoss]
    learning_rate: float = 1e-3
    wrong_labels: float = WRONG_LABELS
    losses: list[float] = field(default_factory=list)  # one a step, as all lists here
    cosines: list[float] = field(default_factory=list)  # between different groups
    vectors: np.ndarray = field(default_factory=lambda: np.empty(0))  # of held-out pictures, of length 1


PLAIN, DIVIDED, SEMI_HARD = "plain batch-hard", "TripletLoss()", 'TripletLoss(mining="semi_hard")'


def runs() -> list[Run]:
    """What is compared."""
    return [
        Run(PLAIN, PlainTripletLoss),
        Run("  all labels right", PlainTripletLoss, wrong_labels=0.0),
        Run("  learning rate 1e-4", PlainTripletLoss, learning_rate=1e-4),
        Run("  margin 0.1", lambda: PlainTripletLoss(0.1)),
        Run("TripletLoss(soft=True)", lambda: TripletLoss(soft=True)),
        Run(DIVIDED, TripletLoss),
        Run(SEMI_HARD, lambda: TripletLoss(mining="semi_hard")),
        Run('TripletLoss(mining="all")', lambda: TripletLoss(mining="all")),
        Run("InfoNCELoss()", InfoNCELoss),
    ]


class WatchedModel(TrainableModel):
    """Writes the loss and the mean cosine between different groups down at every step."""

    def __init__(self, run: Run) -> None:
        self.run = run
        super().__init__(learning_rate=run.learning_rate)

    def configure_encoders(self) -> PixelEncoder:
        return PixelEncoder()

    def configure_loss(self) -> SimilarityLoss:
        return self.run.make_loss()

    def process_results(
        self, embeddings: Tensor, targets: Relation, batch_idx: int, stage: simlearn.TrainStage, **kwargs: Any
    ) -> None:
        vectors = F.normalize(embeddings.detach(), dim=1)
        self.run.cosines.append((vectors @ vectors.T)[targets.negatives()].mean().item())

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.run.losses.append(outputs["loss"].item())


def mislabelled(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The labels, so many of them drawn anew at random."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(labels)) < share
    return np.where(wrong, generator.integers(0, 10, len(labels)), labels)


def train(run: Run, pictures: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> None:
    """Train on every other picture, and look at the rest, whose labels are right."""
    torch.manual_seed(seed)
    model = WatchedModel(run)
    given = mislabelled(labels[::2], run.wrong_labels, seed)
    samples = [SimilarityGroupSample(*pair) for pair in zip(pictures[::2], given.tolist(), strict=True)]
    loader = GroupSimilarityDataLoader(samples, batch_size=120, samples_per_group=12)
    settings = {
        **simlearn.trainer_defaults(),
        "max_epochs": epochs,
        "enable_progress_bar": False,
        "callbacks": [],
        "accelerator": "cpu",
    }
    simlearn.fit(model, loader, trainer=pl.Trainer(**settings))
    run.vectors = model.model.encode(list(pictures[1::2]), batch_size=256, normalize=True)


def mean_cosine(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Between pictures of different digits."""
    return float((vectors @ vectors.T)[labels[:, None] != labels].mean())


def r_precision(vectors: np.ndarray, labels: np.ndarray) -> float:
    """The mean share of right ones among the R nearest, where R others show the same digit."""
    samples = [SimilarityGroupSample(row, int(label)) for row, label in enumerate(labels)]
    evaluator = GroupEvaluator(samples, metrics=["r_precision"])
    return simlearn.evaluate(evaluator, model=lambda rows, role: vectors[rows])["r_precision"]


def report(name: str, losses: list[float] | None, vectors: np.ndarray, labels: np.ndarray) -> None:
    """Print a row."""
    steps = f"{losses[0]:7.3f}{np.mean(losses[-20:]):7.3f}" if losses else " " * 14
    cosine, rank = mean_cosine(vectors, labels), effective_rank(torch.from_numpy(vectors))
    print(f"{name:32}{steps}{cosine:8.3f}{rank:7.1f}{r_precision(vectors, labels):13.3f}", flush=True)


def main() -> None:
    """Train with each loss, print what comes of it, draw three of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", default="collapse.svg", help="where to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="a few steps, to see that everything runs")
    arguments = parser.parse_args()

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # nine times what a trainer has found
    pictures, labels = load_digits(return_X_y=True)
    pictures = pictures.reshape(-1, 8, 8)
    print(f"{'loss':32}{'first':>7}{'last':>7}{'cosine':>8}{'rank':>7}{'R-precision':>13}")
    torch.manual_seed(arguments.seed)
    untrained = WatchedModel(runs()[0]).model.encode(list(pictures[1::2]), batch_size=256, normalize=True)
    report("untrained", None, untrained, labels[1::2])
    found = {}
    for run in runs():
        train(run, pictures, labels, 2 if arguments.small else 70, arguments.seed)
        found[run.name] = run
        report(run.name, run.losses, run.vectors, labels[1::2])
    draw(arguments.picture, found[PLAIN], [found[SEMI_HARD], found[DIVIDED]], labels[1::2], margin=0.3)
    print(f"\nDrew {arguments.picture}.")


if __name__ == "__main__":
    main()
