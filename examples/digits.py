"""Recognise digits that were never seen in training.

    python examples/digits.py

A model learns from scikit-learn's digits 0 to 6 what makes two pictures show the same digit. Digits 7, 8 and 9 are the
test: the nearest pictures of such a digit should show it too.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import simlearn
from simlearn import Encoder, GroupSimilarityDataLoader, SimilarityGroupSample, TrainableModel, TripletLoss

TRAINED = range(7)
UNSEEN = range(7, 10)


class PixelEncoder(Encoder):
    """A small convolutional network over 8 × 8 pictures, from nothing and therefore trainable."""

    def __init__(self, embedding_size: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, embedding_size),
        )
        self.size = embedding_size

    @property
    def embedding_size(self) -> int:
        return self.size

    def get_collate_fn(self) -> Any:
        return stack_pictures

    def forward(self, batch: Tensor) -> Tensor:
        return self.layers(batch)

    def get_config_dict(self) -> dict[str, Any]:
        return {"embedding_size": self.size}


def stack_pictures(pictures: list[np.ndarray]) -> Tensor:
    """(N, 1, 8, 8) in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).float()[:, None] / 16.0


class DigitModel(TrainableModel):
    """The encoder alone: the head is empty."""

    def configure_encoders(self) -> PixelEncoder:
        return PixelEncoder()

    def configure_loss(self) -> TripletLoss:
        return TripletLoss(margin=0.3, mining="semi_hard")


def r_precision(vectors: np.ndarray, labels: np.ndarray) -> float:
    """The mean share of right ones among the R nearest, where R others show the same digit."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1)
    same = labels[order] == labels[:, None]
    return float(np.mean([row[: (labels == label).sum() - 1].mean() for row, label in zip(same, labels, strict=True)]))


def main() -> None:
    """Train on some digits, test on the others."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", default="digits", help="where to save the servable")
    parser.add_argument("--small", action="store_true", help="fewer pictures, to see that everything runs")
    arguments = parser.parse_args()

    pictures, labels = load_digits(return_X_y=True)
    pictures = pictures.reshape(-1, 8, 8)[: 500 if arguments.small else None]
    labels = labels[: len(pictures)]
    known = [SimilarityGroupSample(p, int(d)) for p, d in zip(pictures, labels, strict=True) if d in TRAINED]
    unseen = np.isin(labels, UNSEEN)

    torch.manual_seed(0)
    model = DigitModel()
    simlearn.fit(
        model,
        train_dataloader=GroupSimilarityDataLoader(known[::2], batch_size=56, samples_per_group=8),
        val_dataloader=GroupSimilarityDataLoader(known[1::2], batch_size=500),
    )
    raw = r_precision(pictures[unseen].reshape(-1, 64), labels[unseen])
    trained = r_precision(model.model.encode(list(pictures[unseen]), batch_size=256), labels[unseen])
    print(f"\nR-precision on the digits {', '.join(map(str, UNSEEN))}, which training never saw:")
    print(f"  pixels {raw:.3f}\n  model  {trained:.3f}")
    model.save_servable(arguments.output, scores={"R-precision on unseen digits": trained})
    print(f"\nSaved; load it with SimilarityModel.load({arguments.output!r}, classes=(PixelEncoder,)).")


if __name__ == "__main__":
    main()
