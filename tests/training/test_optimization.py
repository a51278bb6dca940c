"""Learning rates, weight decay and warm-up."""

from __future__ import annotations

from typing import Any

import pytest
from small_models import NumbersEncoder, SmallModel, quiet_trainer, small_pairs

from simlearn import (
    SoftmaxLoss,
    fit,
)


def test_pretrained_encoders_get_the_smaller_rate_and_matrices_the_decay() -> None:
    class Pretrained(NumbersEncoder):
        pretrained = True  # type: ignore[assignment]

    class Model(SmallModel):
        def configure_encoders(self) -> Any:
            return {"old": Pretrained(), "new": NumbersEncoder()}

    model = Model(SoftmaxLoss(16, 16), learning_rate=0.1, encoder_learning_rate=0.01, warmup=0)
    optimizer = model.configure_optimizers()["optimizer"]
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    expected = {name: (0.01 if ".old." in name else 0.1) for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)][0] == expected[name], name
        assert rates[id(parameter)][1] == (0.01 if parameter.ndim > 1 else 0.0), name


def test_warmup_is_linear() -> None:
    class Watching(SmallModel):
        rates: list[float]

        def on_train_batch_start(self, *args: Any) -> None:
            self.rates.append(self.optimizers().param_groups[0]["lr"])

    model = Watching(warmup=3, learning_rate=0.4)
    model.rates = []
    fit(model, small_pairs(), trainer=quiet_trainer())
    assert model.rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4])
