"""Servables and encoded objects that format version 1 left on disk are what they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.hearing import hearing
from fixtures.version1_classes import (
    ENCODED,
    FOLDER,
    NUMBERS,
    SERVABLES,
    TEXTS,
    ByLength,
    OwnFiles,
    Times,
    Words,
    objects_of,
)
from small_models import NumbersEncoder
from tiny_servables import CLASSES

from simlearn.encoders import TextEncoder
from simlearn.models import EncodedObjects, SimilarityModel

EXPECTED = np.load(FOLDER / "expected.npz", allow_pickle=False)
NAMES = sorted(path.name for path in SERVABLES.iterdir())


def load(path: Path) -> SimilarityModel:
    return SimilarityModel.load(path, classes=(*CLASSES, ByLength, Words, OwnFiles, NumbersEncoder))


def check_outputs(model: SimilarityModel, name: str) -> None:
    objects = objects_of(name)
    given = {
        "query": model.encode_query(objects),
        "document": model.encode_document(objects),
        "similarity": model.similarity(objects, objects),
    }
    for what, values in given.items():
        expected = EXPECTED[f"servables/{name}/{what}"]
        assert values.dtype == expected.dtype
        # Bit for bit on the machine that made them; another one's matrix products differ in the last bits.
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6, err_msg=f"{name} {what}")


def test_every_servable_of_the_fixture_has_outputs() -> None:
    assert len(NAMES) == 25
    assert {name.split("/")[1] for name in EXPECTED if name.startswith("servables/")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_servable_says_what_it_said(name: str) -> None:
    check_outputs(load(SERVABLES / name), name)


@pytest.mark.parametrize("name", NAMES)
def test_it_survives_being_saved_anew(name: str, tmp_path: Path) -> None:
    load(SERVABLES / name).save(tmp_path / "anew")
    check_outputs(load(tmp_path / "anew"), name)


def test_what_was_tied_is_tied() -> None:
    model = load(SERVABLES / "two-towers")
    assert sorted(model.plan.encoders) == ["kind", "query"]
    query: Any = model.tower("query").head
    assert query[1] is query[4], "a layer at two places"
    document: Any = model.tower("document").head
    assert document.options["short"] is document.options["empty"], "a head under two names"
    assert document.options["short"] is not document.options["long"]
    assert (model.plan["query"][0].prompt, model.plan["document"][1].prompt) == ("query: ", "p ")
    assert model.plan["query"][0].encoder == model.plan["document"][1].encoder, "one encoder in both towers"


def test_dtypes_and_freezing_are_kept() -> None:
    assert {tensor.dtype for tensor in load(SERVABLES / "half").state_dict().values()} == {torch.bfloat16}
    trainable = {name: encoder.trainable for name, encoder in load(SERVABLES / "two-towers").plan.encoders.items()}
    assert trainable == {"kind": True, "query": False}
    assert not load(SERVABLES / "bag").plan.encoders["default"].trainable


@pytest.mark.parametrize("name", ["own", "text", "foreign"])
def test_encoded_objects_are_read(name: str) -> None:
    encoded = EncodedObjects(ENCODED / name)
    expected = EXPECTED[f"encoded/{name}"]
    assert len(encoded) == len(expected) and len(encoded.vectors) == len(expected) - 2
    np.testing.assert_array_equal(encoded.take(slice(None)).values, expected)


def test_encoding_to_disk_goes_on_with_a_model_of_simlearn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ENCODED / "text", tmp_path / "text")
    model = load(SERVABLES / "text")
    seen = []
    forward = TextEncoder.forward
    monkeypatch.setattr(TextEncoder, "forward", lambda self, batch: (seen.append(1), forward(self, batch))[1])
    with hearing() as heard:
        encoded = model.encode_to_disk(TEXTS + TEXTS[:2], tmp_path / "text")
    assert not seen and not heard
    np.testing.assert_array_equal(encoded.take(slice(None)).values, EXPECTED["encoded/text"])
    more = model.encode_to_disk([*TEXTS, "something new"], tmp_path / "text")
    assert len(seen) == 1
    np.testing.assert_allclose(more.take([-1]).values, model.encode(["something new"]), rtol=1e-5, atol=1e-6)


def test_encoding_to_disk_starts_anew_with_a_vectorizer_that_was_not_told_from_others(tmp_path: Path) -> None:
    shutil.copytree(ENCODED / "own", tmp_path / "own")
    model = load(SERVABLES / "encoded-own")
    for run in range(2):
        with hearing() as heard:
            encoded = model.encode_to_disk(TEXTS + TEXTS[:2], tmp_path / "own")
        assert len(heard) == (0 if run else 1) and (run or "BagOfTokensEncoder" in heard[0]), heard
        np.testing.assert_allclose(encoded.take(slice(None)).values, EXPECTED["encoded/own"], rtol=1e-5, atol=1e-6)


def test_encoding_to_disk_starts_anew_with_a_class_whose_settings_were_not_told(tmp_path: Path) -> None:
    shutil.copytree(ENCODED / "foreign", tmp_path / "foreign")
    encoder = Times(1.0)
    with hearing() as heard:
        encoded = SimilarityModel(encoder).encode_to_disk(NUMBERS + NUMBERS[:2], tmp_path / "foreign")
    assert encoder.encoded == len(NUMBERS)
    assert len(heard) == 1 and "Times" in heard[0], heard
    np.testing.assert_array_equal(encoded.take(slice(None)).values, EXPECTED["encoded/foreign"])


def test_encoding_to_disk_never_takes_the_vectors_of_other_settings(tmp_path: Path) -> None:
    """Version 1 would have gone on in the folder, which holds a third of them."""
    shutil.copytree(ENCODED / "foreign", tmp_path / "foreign")
    with hearing() as heard:
        encoded = SimilarityModel(Times(3.0)).encode_to_disk(NUMBERS, tmp_path / "foreign")
    assert len(heard) == 1 and "Times" in heard[0], heard
    np.testing.assert_array_equal(encoded.take(slice(None)).values, 3 * np.array(NUMBERS, np.float32))
