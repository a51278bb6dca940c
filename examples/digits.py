"""Put pictures of the same digit close together, and ask what that is worth for digits never seen.

    python examples/digits.py

A model learns from half of scikit-learn's digits 0 to 6 what makes two pictures show the same digit. It is compared
with the bare pixels twice: on the other half, where it is far better, and on the digits 7, 8 and 9, where it is not.
Seven groups teach a model these seven; to be good on groups that it never saw it needs many more.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import simlearn
from simlearn import (
    Encoder,
    GroupEvaluator,
    GroupSimilarityDataLoader,
    SimilarityGroupSample,
    TrainableModel,
    TripletLoss,
)

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


def stack_pictures(pictures: list[np.ndarray]) -> Tensor:
    """(N, 1, 8, 8) in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).float()[:, None] / 16.0


class DigitModel(TrainableModel):
    """The encoder alone: the head is empty."""

    def configure_encoders(self) -> PixelEncoder:
        return PixelEncoder()

    def configure_loss(self) -> TripletLoss:
        return TripletLoss(margin=0.3, mining="semi_hard")


def pixels(pictures: list[np.ndarray], role: str) -> np.ndarray:
    """What there is without a model: a function that encodes is evaluated like one."""
    return np.stack(pictures).reshape(-1, 64)


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

    torch.manual_seed(0)
    model = DigitModel()
    simlearn.fit(
        model,
        train_dataloader=GroupSimilarityDataLoader(known[::2], batch_size=56, samples_per_group=8),
        val_dataloader=GroupSimilarityDataLoader(known[1::2], batch_size=500),
    )
    strangers = [SimilarityGroupSample(p, int(d)) for p, d in zip(pictures, labels, strict=True) if d in UNSEEN]
    scores = {}
    for name, samples in (("new pictures of known digits", known[1::2]), ("digits never seen", strangers)):
        evaluator = GroupEvaluator(samples, metrics=["r_precision", "map@r", "knn_accuracy@5"], batch_size=256)
        before, after = (simlearn.evaluate(evaluator, model=one) for one in (pixels, model))
        print(f"\nPixels and model, {name}:\n\n{after.compare(before)}")
        scores |= {f"{metric}, {name}": value for metric, value in after.items()}
    model.save_servable(arguments.output, scores=scores)
    print(f"\nSaved; load it with SimilarityModel.load({arguments.output!r}, classes=(PixelEncoder,)).")


if __name__ == "__main__":
    main()
