from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simlearn import NumericEncoder
from simlearn.components import load_component, save_component
from simlearn.encoders import Encoder

ROWS: list[Any] = [{"price": price, "weight": weight} for price, weight in [(1, 4.0), (3, None), (8, 1.0), (0, 1.0)]]


def encode(encoder: NumericEncoder, objects: list[Any]) -> torch.Tensor:
    found: torch.Tensor = encoder(encoder.get_collate_fn()(objects))
    return found


def test_standard() -> None:
    encoder = NumericEncoder(["price", "weight"]).fit(iter(ROWS))
    price, weight = np.array([1, 3, 8, 0]), np.array([4.0, 1.0, 1.0])
    expected = torch.tensor(
        [
            [(row["price"] - price.mean()) / price.std(), 0.0, 0, 1]
            if row["weight"] is None
            else [(row["price"] - price.mean()) / price.std(), (row["weight"] - weight.mean()) / weight.std(), 0, 0]
            for row in ROWS
        ]
    ).float()
    torch.testing.assert_close(encode(encoder, ROWS), expected)
    assert encoder.embedding_size == 4 and encoder.fit([{"price": 1, "weight": 1}]) is encoder


def test_log_is_odd_and_standardised() -> None:
    encoder = NumericEncoder(["price"], transform="log").fit([-100.0, 0.0, 100.0])
    found = encode(encoder, [-100.0, 0.0, 100.0, 1e6])[:, 0]
    torch.testing.assert_close(found[:3], torch.tensor([-(1.5**0.5), 0.0, 1.5**0.5]))
    assert found[3] > found[2]


def test_quantiles_are_places_in_the_training_data() -> None:
    values = np.random.default_rng(0).lognormal(size=4000) ** 3
    encoder = NumericEncoder("price", transform="quantile").fit(values.tolist())
    asked = np.sort(values)[::40]
    share = (values[None] < asked[:, None]).mean(1)
    np.testing.assert_allclose(encode(encoder, asked.tolist())[:, 0], 2 * share - 1, atol=0.02)
    found = encode(encoder, [-1e9, 1e9, None])
    assert found[:, 0].tolist() == [-1.0, 1.0, 0.0] and found[:, 1].tolist() == [0, 0, 1]


def test_quantiles_of_values_that_repeat_are_the_middle_of_their_places() -> None:
    encoder = NumericEncoder("stock", transform="quantile").fit([0] * 500 + [1] * 500)
    assert encode(encoder, [0, 1])[:, 0].tolist() == pytest.approx([-0.5, 0.5], abs=0.02)
    alike = NumericEncoder("stock", transform="quantile").fit([3.0, 3.0])
    assert encode(alike, [3.0])[:, 0].tolist() == pytest.approx([0.0], abs=0.02)


def test_attributes_texts_and_single_numbers() -> None:
    @dataclass
    class Product:
        price: Any

    encoder = NumericEncoder(["price"]).fit([Product(1), Product("3"), Product(""), Product(math.nan)])
    expected = encode(encoder, [1, 3, None, None])
    assert torch.equal(encode(encoder, [{"price": "1"}, 3, " ", Product(None)]), expected)


@pytest.mark.parametrize("transform", ["standard", "log", "quantile"])
def test_numbers_that_are_all_alike(transform: Any) -> None:
    assert encode(NumericEncoder(["price"], transform).fit([2.0, 2.0]), [2.0]).isfinite().all()


@pytest.mark.parametrize("transform", ["standard", "log", "quantile"])
def test_its_scale_is_saved(transform: Any, tmp_path: Path) -> None:
    encoder = NumericEncoder(["price", "weight"], transform).fit(ROWS)
    save_component(encoder, tmp_path)
    assert torch.equal(encode(load_component(tmp_path, Encoder), ROWS), encode(encoder, ROWS))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{"price": "cheap"}], "price must be a finite number"),
        ([{"price": math.inf}], "price must be a finite number"),
        ([{"cost": 1}], "no field 'price', only"),
        ([], "no object has the number price"),
        ([None, {"price": None}], "no object has the number price"),
    ],
)
def test_bad_numbers(objects: list[Any], message: str) -> None:
    with pytest.raises((KeyError, ValueError), match=message):
        NumericEncoder(["price"]).fit(objects)


def test_it_must_be_fitted() -> None:
    with pytest.raises(RuntimeError, match="call its fit"):
        encode(NumericEncoder(["price"]), [1.0])


@pytest.mark.parametrize("options", [{"names": []}, {"names": ["a", "a"]}, {"names": ["a"], "transform": "z"}])
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        NumericEncoder(**options)
