from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from simlearn.evaluation.reports.projector import export_projector, list_projections


def test_the_files_are_what_the_projector_reads(tmp_path: Path) -> None:
    vectors = torch.tensor([[1.5, -2.0], [0.25, 1e-7]])
    columns = {"label": [1, 2], "text": ["tab\there\r\nand\u2028more", ""]}
    folder = export_projector(tmp_path / "a" / "b", vectors, columns, name='my "space"')
    assert (folder / "tensors.tsv").read_text() == "1.5\t-2\n0.25\t1e-07\n"
    assert (folder / "metadata.tsv").read_text() == "label\ttext\n1\ttab here and more\n2\t \n"
    config = (folder / "projector_config.pbtxt").read_text()
    assert 'tensor_path: "tensors.tsv"' in config and 'metadata_path: "metadata.tsv"' in config
    assert r"my \"space\" 2 2" in config


def test_one_column_has_no_header(tmp_path: Path) -> None:
    export_projector(tmp_path, torch.ones(2, 3), ["a", {"b": 1}])
    assert (tmp_path / "metadata.tsv").read_text() == "a\n{'b': 1}\n"


def test_several_are_named_in_one_file(tmp_path: Path) -> None:
    title = 'a tensor_path: "b"'
    folders = [export_projector(tmp_path / "all" / name, torch.ones(2, 3), ["a", "b"], title) for name in ("x", "y")]
    list_projections(tmp_path, folders[::-1])
    lines = (tmp_path / "projector_config.pbtxt").read_text().splitlines()
    assert [line.strip() for line in lines if "tensor_path:" in line and "name" not in line] == [
        'tensor_path: "all/y/tensors.tsv"',
        'tensor_path: "all/x/tensors.tsv"',
    ]
    assert sum(json.dumps(title)[1:-1] in line for line in lines) == 2, "titles stay as they are"


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 values for 2 embeddings"):
        export_projector(tmp_path, torch.ones(2, 3), ["a"])
    with pytest.raises(ValueError, match="one vector an object"):
        export_projector(tmp_path, torch.ones(2, 3, 4), ["a", "b"])
