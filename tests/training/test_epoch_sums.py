from __future__ import annotations

import torch
from processes import run_on_two

from simlearn.training.epoch_sums import EpochSums


def test_weighted_sums_start_anew_when_taken() -> None:
    sums = EpochSums()
    sums.add("train_loss", torch.tensor(2.0), 3)
    sums.add("train_loss", torch.tensor(1.0), 1)
    sums.add("validation_loss", torch.tensor(5.0))
    assert sums.take("train_", over_processes=False) == {"train_loss": (7.0, 4.0)}
    assert sums.take("train_", over_processes=False) == {}
    assert sums.take("validation_", over_processes=True) == {"validation_loss": (5.0, 1.0)}


def test_many_small_terms_are_summed_in_double() -> None:
    sums = EpochSums()
    for _ in range(10_000):
        sums.add("x", torch.tensor(0.1))
    assert abs(sums.take("x", over_processes=False)["x"][0] - 10_000 * float(torch.tensor(0.1))) < 1e-6


def _take(names: list[str]) -> dict[str, tuple[float, float]]:
    sums = EpochSums()
    for name in names:
        sums.add(name, torch.tensor(2.0), 3)
    return sums.take("v_", over_processes=True)


def test_processes_may_know_different_names() -> None:
    for totals in run_on_two(_take, (["v_loss", "v_count"],), (["v_loss"],)):
        assert totals == {"v_loss": (12.0, 6.0), "v_count": (6.0, 3.0)}
    for totals in run_on_two(_take, ([],), (["v_loss"],)):
        assert totals == {"v_loss": (6.0, 3.0)}
