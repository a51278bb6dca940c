"""The beginning of a file as an array, or an error that names it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from users import as_another_user, reachable_folder

from simlearn.files import LoadError
from simlearn.files.mapping import map_array, tensor_over

INT32 = np.dtype(np.int32)


def test_the_beginning_of_a_file(tmp_path: Path) -> None:
    content = np.arange(10, dtype=np.int32)
    content.tofile(tmp_path / "file")
    for at_random in (False, True):
        mapped = map_array(tmp_path / "file", INT32, (2, 3), cure="", at_random=at_random)
        assert mapped.tolist() == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(ValueError, match="read-only"):
            mapped[0, 0] = 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(tensor_over(mapped), torch.arange(6, dtype=torch.int32).view(2, 3))
    assert map_array(tmp_path / "missing", INT32, (0, 3), cure="").shape == (0, 3)


def test_what_is_not_whole_is_named_with_its_cure(tmp_path: Path) -> None:
    np.arange(10, dtype=np.int32).tofile(tmp_path / "file")
    with pytest.raises(LoadError, match=r"file has 40 bytes, 44 were committed; mend it"):
        map_array(tmp_path / "file", INT32, (11,), cure="mend it")
    with pytest.raises(LoadError, match="missing is missing; mend it"):
        map_array(tmp_path / "missing", INT32, (1,), cure="mend it")
    with reachable_folder() as folder:
        np.arange(10, dtype=np.int32).tofile(folder / "file")
        (folder / "file").chmod(0o600)

        def read() -> None:
            with pytest.raises(LoadError, match=f"{folder}/file cannot be read: Permission denied; let its owner"):
                map_array(folder / "file", INT32, (1,), cure="mend it")

        as_another_user(read)
