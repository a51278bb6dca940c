"""Vectors go to folders of mmap_ninja and come from them as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mmap_ninja
import numpy as np
import pytest
import torch
from tiny_servables import Letters, ManyVectors

from simlearn.files import LoadError
from simlearn.models import EncodedObjects, SimilarityModel, mmap_ninja_folders
from simlearn.search import top_k

TEXTS = ["red spoon", "a list of cats and dogs", "b", "the of the", "hello world"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a test need not outlast a power cut; three objects at once cross the borders of chunks."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(mmap_ninja_folders, "_AT_ONCE", 3)


def vectors(count: int = len(TEXTS), dtype: Any = np.float32, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *(shape or (4,)))).astype(dtype)


def everything(encoded: EncodedObjects) -> torch.Tensor:
    return encoded.take(slice(None)).values


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_array_is_read_bit_for_bit_in_its_order(dtype: Any, tmp_path: Path) -> None:
    given = vectors(dtype=dtype)
    mmap_ninja.np_from_ndarray(tmp_path / "given", given)
    encoded = EncodedObjects.from_mmap_ninja(tmp_path / "given", iter(TEXTS))
    assert (len(encoded), encoded.embedding_size) == (5, 4)
    assert everything(encoded).numpy().tobytes() == given.tobytes()
    assert encoded.vectors.dtype == dtype and encoded.vectors.tobytes() == given.tobytes()
    _, found = top_k(torch.from_numpy(given).float(), (chunk.values.float() for chunk in encoded.chunks(2)), k=1)
    assert len(found) == 5


def test_what_the_package_wrote_piece_by_piece_and_the_wrong_way_round(tmp_path: Path) -> None:
    given = vectors()
    mmap_ninja.np_from_generator(tmp_path / "pieces", iter(given), batch_size=2)
    mmap_ninja.np_from_ndarray(tmp_path / "fortran", np.asfortranarray(given))
    for name in ("pieces", "fortran"):
        encoded = EncodedObjects.from_mmap_ninja(tmp_path / name, TEXTS, tmp_path / f"{name} kept")
        np.testing.assert_array_equal(everything(encoded), given)
        assert encoded.path == tmp_path / f"{name} kept"
        np.testing.assert_array_equal(everything(EncodedObjects(encoded.path)), given)


def test_the_temporary_copy_ends_with_its_process(tmp_path: Path) -> None:
    mmap_ninja.np_from_ndarray(tmp_path / "given", vectors())
    script = (
        "import sys; from simlearn.models import EncodedObjects\n"
        "encoded = EncodedObjects.from_mmap_ninja(sys.argv[1], 'abcde'); print(encoded.path, encoded.path.is_dir())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "given")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
    )
    path, existed = answer.stdout.split()
    assert existed == "True" and Path(path).is_relative_to(tmp_path) and not Path(path).parents[1].exists()


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_written_and_read_again_they_are_the_same(dtype: torch.dtype | None, tmp_path: Path) -> None:
    objects = [*TEXTS, TEXTS[0], "", TEXTS[2]]
    encoded = SimilarityModel(Letters(6)).encode_to_disk(objects, tmp_path / "corpus", dtype=dtype)
    encoded.to_mmap_ninja(tmp_path / "written")
    opened = mmap_ninja.np_open_existing(tmp_path / "written")
    assert opened.shape == (8, 6) and opened.dtype == (np.float16 if dtype is torch.float16 else np.float32)
    np.testing.assert_array_equal(opened, everything(encoded).float().numpy())
    again = EncodedObjects.from_mmap_ninja(tmp_path / "written", objects, dtype=dtype)
    assert everything(again).dtype == everything(encoded).dtype
    assert torch.equal(everything(again), everything(encoded))
    assert again.rows.tolist() == encoded.rows.tolist() and len(again.vectors if dtype is None else opened) >= 6


def test_many_vectors_an_object_are_ragged(tmp_path: Path) -> None:
    encoded = SimilarityModel(ManyVectors(6)).encode_to_disk(TEXTS, tmp_path / "corpus")
    encoded.to_mmap_ninja(tmp_path / "written")
    ragged = mmap_ninja.RaggedMmap(tmp_path / "written")
    assert len(ragged) == 5
    for number, text in enumerate(TEXTS):
        own = encoded.take([number])
        np.testing.assert_array_equal(ragged[number], own.values[0].numpy())
        assert ragged[number].shape == (len(text) + 1, 6)
    again = EncodedObjects.from_mmap_ninja(tmp_path / "written", TEXTS).take(slice(None))
    expected = encoded.take(slice(None))
    assert torch.equal(again.values, expected.values) and torch.equal(again.full_mask(), expected.full_mask())


def test_ragged_and_cubes_of_others(tmp_path: Path) -> None:
    items = [np.full((number % 3, 2), number, np.float16) for number in range(1, 6)]
    mmap_ninja.RaggedMmap.from_generator(tmp_path / "ragged", iter(items), batch_size=2)
    ragged = EncodedObjects.from_mmap_ninja(tmp_path / "ragged", TEXTS)
    for number, item in enumerate(items):
        np.testing.assert_array_equal(ragged.take([number]).values[0], item)
    cube = vectors(5, np.float32, 3, 2)
    mmap_ninja.np_from_ndarray(tmp_path / "cube", cube)
    np.testing.assert_array_equal(everything(EncodedObjects.from_mmap_ninja(tmp_path / "cube", TEXTS)), cube)


def test_no_objects(tmp_path: Path) -> None:
    encoded = SimilarityModel(Letters(6)).encode_to_disk([], tmp_path / "corpus")
    encoded.to_mmap_ninja(tmp_path / "written")
    assert mmap_ninja.np_open_existing(tmp_path / "written").shape == (0, 6)
    again = EncodedObjects.from_mmap_ninja(tmp_path / "written", [])
    assert (len(again), again.embedding_size, tuple(everything(again).shape)) == (0, 6, (0, 6))


@pytest.mark.parametrize("count", [0, 2, 4, 6, 9])
def test_another_number_of_objects_is_refused(count: int, tmp_path: Path) -> None:
    mmap_ninja.np_from_ndarray(tmp_path / "given", vectors())
    objects = [str(number) for number in range(count)]
    with pytest.raises(ValueError, match=f"has the vectors of 5 objects, got {count}"):
        EncodedObjects.from_mmap_ninja(tmp_path / "given", iter(objects), tmp_path / "kept")
    assert os.listdir(tmp_path) == ["given"], "nothing is left"


def test_equal_objects_have_one_vector(tmp_path: Path) -> None:
    given = vectors()
    given[4] = given[0] * 1.0001
    mmap_ninja.np_from_ndarray(tmp_path / "given", given)
    encoded = EncodedObjects.from_mmap_ninja(tmp_path / "given", ["a", "b", "c", "d", "a"])
    assert encoded.rows.tolist() == [0, 1, 2, 3, 0] and len(encoded.vectors) == 4
    with pytest.raises(ValueError, match=r"equal objects have different vectors in .*given.* in their order"):
        EncodedObjects.from_mmap_ninja(tmp_path / "given", ["a", "a", "c", "d", "e"])


def test_a_model_adds_nothing_to_what_it_did_not_encode(tmp_path: Path) -> None:
    mmap_ninja.np_from_ndarray(tmp_path / "given", vectors(5, np.float32, 6))
    EncodedObjects.from_mmap_ninja(tmp_path / "given", TEXTS, tmp_path / "kept")
    with pytest.raises(ValueError, match="another model"):
        SimilarityModel(Letters(6)).encode_to_disk(TEXTS, tmp_path / "kept")


def test_existing_folders_are_not_overwritten(tmp_path: Path) -> None:
    mmap_ninja.np_from_ndarray(tmp_path / "given", vectors())
    encoded = EncodedObjects.from_mmap_ninja(tmp_path / "given", TEXTS, tmp_path / "kept")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="choose another path or remove it"):
        encoded.to_mmap_ninja(tmp_path / "given")
    with pytest.raises(FileExistsError, match="choose another path or remove it"):
        EncodedObjects.from_mmap_ninja(tmp_path / "given", TEXTS, tmp_path / "kept")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


class TestDamage:
    @pytest.fixture
    def given(self, tmp_path: Path) -> Path:
        mmap_ninja.np_from_ndarray(tmp_path / "given", vectors())
        return tmp_path / "given"

    def refused(self, folder: Path, match: str) -> None:
        with pytest.raises(LoadError, match=match):
            EncodedObjects.from_mmap_ninja(folder, TEXTS)

    def test_a_missing_folder_is_not_made(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "nowhere", "no folder of mmap_ninja: it has no type.ninja")
        assert not (tmp_path / "nowhere").exists()

    def test_a_folder_of_strings(self, tmp_path: Path) -> None:
        mmap_ninja.StringsMmap.from_strings(tmp_path / "strings", TEXTS)
        self.refused(tmp_path / "strings", "cannot be opened by mmap_ninja|not floats")

    def test_data_cut_short(self, given: Path) -> None:
        os.truncate(given / "data.ninja", 70)
        self.refused(given, "cannot be opened by mmap_ninja")

    def test_a_killed_writer_left_more_than_it_said(self, given: Path) -> None:
        with (given / "data.ninja").open("ab") as file:
            file.write(bytes(8))
        mmap_ninja.np_extend_dir(given, vectors(1))  # these rows are shifted by two numbers
        self.refused(given, "holds more than its shape says: a writer was killed")

    def test_an_empty_shape(self, given: Path) -> None:
        (given / "shape.ninja").write_bytes(b"")
        self.refused(given, "holds more than its shape says")

    def test_what_is_no_vector(self, tmp_path: Path) -> None:
        for number, array in enumerate([np.arange(5), vectors(5, np.int16), np.arange(5.0), vectors(5, np.complex64)]):
            mmap_ninja.np_from_ndarray(tmp_path / str(number), array)
            self.refused(tmp_path / str(number), r"not floats \(N, D\) or \(N, M, D\), or ragged")

    def test_ragged_items_that_are_no_vectors(self, tmp_path: Path) -> None:
        mmap_ninja.RaggedMmap.from_lists(tmp_path / "flat", [np.ones(size) for size in (1, 2, 3, 4, 5)])
        mmap_ninja.RaggedMmap.from_lists(tmp_path / "sizes", [np.ones((2, size)) for size in (1, 2, 3, 4, 5)])
        for name in ("flat", "sizes"):
            self.refused(tmp_path / name, r"is ragged, and its items are not all vectors \(M, D\) of one size D")

    def test_a_ragged_folder_without_its_parts(self, tmp_path: Path) -> None:
        mmap_ninja.RaggedMmap.from_lists(tmp_path / "ragged", [np.ones((2, 3))] * 5)
        shutil.rmtree(tmp_path / "ragged" / "starts")
        self.refused(tmp_path / "ragged", "cannot be opened by mmap_ninja")
