"""Learning rates, weight decay and warm-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import NumbersEncoder, SmallModel, groups, quiet_trainer, small_pairs, weights
from torch import Tensor, nn

from simlearn import (
    BagOfTokensEncoder,
    BestWeights,
    Encoder,
    GroupSimilarityDataLoader,
    HashedNGrams,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SampledSoftmaxLoss,
    SimilarityPairSample,
    SoftmaxLoss,
    SwitchEncoder,
    TrainableModel,
    fit,
)
from simlearn.training.optimization import clip_sparse


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


def test_rates_are_decided_a_parameter_at_a_time() -> None:
    class Adapted(NumbersEncoder):
        pretrained = True  # type: ignore[assignment]

        def __init__(self) -> None:
            super().__init__()
            self.adapter = nn.Linear(2, 2)

        def pretrained_parameters(self) -> Any:
            return self.linear.parameters()

    class Pretrained(NumbersEncoder):
        pretrained = True  # type: ignore[assignment]

    class Switch(SwitchEncoder):
        @staticmethod
        def encoder_selection(record: Any) -> str:
            return "adapted"

    class Model(SmallModel):
        def configure_encoders(self) -> Any:
            return Switch({"adapted": Adapted(), "old": Pretrained(), "new": NumbersEncoder()})

    model = Model(learning_rate=0.1, encoder_learning_rate=0.01, warmup=0)
    optimizer = model.configure_optimizers()["optimizer"]
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    options: Any = model.model.plan.encoders["default"]
    expected = {"adapted": 0.01, "old": 0.01, "new": 0.1}
    for name, rate in expected.items():
        assert all(rates[id(parameter)] == rate for parameter in options.options[name].linear.parameters()), name
    assert all(rates[id(parameter)] == 0.1 for parameter in options.options["adapted"].adapter.parameters())


class Table(Encoder):
    """A user's table with sparse gradients, beside a dense weight."""

    embedding_size = 8  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(1000, 8, sparse=True)
        self.scale = nn.Parameter(torch.ones(8))

    def get_collate_fn(self) -> Any:
        return torch.tensor

    def forward(self, batch: Tensor) -> Tensor:
        return self.rows(batch) * self.scale


class TableModel(TrainableModel):
    def configure_encoders(self) -> Any:
        return Table()

    def configure_loss(self) -> Any:
        return MultipleNegativesRankingLoss()


def table_pairs() -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader([SimilarityPairSample(i, i + 500) for i in range(64)], batch_size=16)


def test_tables_with_sparse_gradients_train_behind_the_default_optimiser(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TableModel(learning_rate=0.1, warmup=3)
    table: Any = model.model.plan.encoders["default"]
    before, scale = table.rows.weight.detach().clone(), table.scale.detach().clone()
    trainer = quiet_trainer()
    fit(model, table_pairs(), trainer=trainer)
    changed = (table.rows.weight.detach() != before).any(1).nonzero()[:, 0]
    assert set(changed.tolist()) == {*range(64), *range(500, 564)}, "rows that no sample touched do not even decay"
    assert not torch.equal(table.scale.detach(), scale)
    optimizer: Any = model.optimizers(use_pl_optimizer=False)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1], "the schedule reaches both"
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    whole = TableModel(learning_rate=0.1, warmup=3)
    whole.load_state_dict(model.state_dict())
    fit(model, table_pairs(), trainer=quiet_trainer(max_epochs=4), ckpt_path=str(tmp_path / "a.ckpt"))
    fit(whole, table_pairs(), trainer=quiet_trainer(max_epochs=4), ckpt_path=str(tmp_path / "a.ckpt"))
    for one, other in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other), "state and groups come back"


def test_sampled_classes_with_sparse_gradients_train() -> None:
    model = SmallModel(SampledSoftmaxLoss(8, 16, num_sampled=4, sparse=True))
    before = weights(model)
    fit(model, GroupSimilarityDataLoader(groups(), batch_size=16), trainer=quiet_trainer())
    assert all(not torch.equal(weights(model)[name], before[name]) for name in before if name.endswith("kernel"))


@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("limit", [0.01, 100.0])
def test_sparse_gradients_are_clipped_as_dense_ones(algorithm: str, limit: float) -> None:
    torch.manual_seed(0)
    rows = torch.tensor([3, 3, 0])
    clipped = []
    for sparse in (True, False):
        torch.manual_seed(0)
        table, linear = nn.Embedding(5, 4, sparse=sparse), nn.Linear(4, 2)
        (linear(table(rows)) * torch.arange(1.0, 7).view(3, 2)).sum().backward()
        parameters = [*table.parameters(), *linear.parameters()]
        if sparse:
            assert clip_sparse(parameters, limit, algorithm == "value")
        else:
            assert not clip_sparse(parameters, limit, algorithm == "value")
            clip: Any = nn.utils.clip_grad_value_ if algorithm == "value" else nn.utils.clip_grad_norm_
            clip(parameters, limit)
        clipped.append([one.grad.to_dense() for one in parameters if one.grad is not None])
    for one, other in zip(*clipped, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_fit_clips_sparse_gradients(algorithm: str) -> None:
    trainer = quiet_trainer(gradient_clip_val=0.1, gradient_clip_algorithm=algorithm)
    model = TableModel(learning_rate=0.1)
    before = weights(model)
    fit(model, table_pairs(), trainer=trainer)
    assert all(not torch.equal(weights(model)[name], before[name]) for name in before)


def test_the_best_weights_of_a_sparse_table_come_back() -> None:
    torch.manual_seed(0)
    model, kept = TableModel(learning_rate=10.0, warmup=0), BestWeights("train_loss")
    fit(model, table_pairs(), trainer=quiet_trainer(max_epochs=3, callbacks=[kept]))
    table: Any = model.model.plan.encoders["default"]
    assert kept.epoch is not None and table.rows.weight.isfinite().all()


def test_tables_that_start_from_nothing_are_not_decayed() -> None:
    class Dense(TableModel):
        def configure_encoders(self) -> Any:
            return BagOfTokensEncoder(HashedNGrams(64), 8)

    optimizer = Dense(weight_decay=0.5).configure_optimizers()["optimizer"]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]
    assert type(optimizer) is torch.optim.AdamW
