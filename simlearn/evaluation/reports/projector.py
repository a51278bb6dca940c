"""Embeddings for TensorBoard's projector, which needs files and not TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_RUN = 4096
_CONFIG = "projector_config.pbtxt"


def export_projector(
    path: str | Path,
    embeddings: Tensor,
    metadata: Mapping[str, Sequence[Any]] | Sequence[Any],
    name: str = "embeddings",
) -> Path:
    """Write `tensors.tsv`, `metadata.tsv` and `projector_config.pbtxt` into a folder.

    Open it with `tensorboard --logdir <folder>`, or load the two tables at https://projector.tensorflow.org. Tabs and
    line breaks within values become spaces, which the format has no other way to hold.

    Args:
        path: the folder; made if it is not there, files of these names are replaced.
        embeddings: (N, D).
        metadata: what is known of each of the N objects: a column a name, or one column.
        name: what the projector calls the embeddings.

    Returns:
        The folder.

    Raises:
        ValueError: for another shape, or columns of another length.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"the projector takes one vector an object, (N, D); got the shape {tuple(embeddings.shape)}")
    columns = dict(metadata) if isinstance(metadata, Mapping) else {"object": metadata}
    for header, column in columns.items():
        if len(column) != len(embeddings):
            raise ValueError(f"the column {header!r} has {len(column)} values for {len(embeddings)} embeddings")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tensors.tsv").open("w", encoding="utf-8", newline="\n") as file:
        for start in range(0, len(embeddings), _RUN):
            values = embeddings[start : start + _RUN].detach().to("cpu", torch.float32)
            file.writelines("\t".join(f"{one:.7g}" for one in row) + "\n" for row in values.tolist())
    with (folder / "metadata.tsv").open("w", encoding="utf-8", newline="\n") as file:
        if len(columns) > 1:  # a single column has no header, by the projector's own rule
            file.write("\t".join(_cell(header) for header in columns) + "\n")
        for row in zip(*columns.values(), strict=True):
            file.write("\t".join(_cell(value) for value in row) + "\n")
    title = f"{name} {len(embeddings)} {embeddings.shape[1]}"
    config = [
        "embeddings {",
        f"  tensor_name: {json.dumps(title, ensure_ascii=False)}",
        '  tensor_path: "tensors.tsv"',
        '  metadata_path: "metadata.tsv"',
        "}",
    ]
    (folder / _CONFIG).write_text("\n".join(config) + "\n", encoding="utf-8")
    return folder


def list_projections(path: str | Path, folders: Sequence[Path]) -> None:
    """Write a `projector_config.pbtxt` that names what is in several folders, in their order.

    Args:
        path: the folder to open with TensorBoard.
        folders: folders below it that `export_projector` wrote.
    """
    told = []
    for folder in folders:
        below = json.dumps(folder.relative_to(path).as_posix(), ensure_ascii=False)[1:-1]
        config = (folder / _CONFIG).read_text(encoding="utf-8")
        told += [config.replace('_path: "', f'_path: "{below}/')]  # within a title, the quotation mark is escaped
    (Path(path) / _CONFIG).write_text("".join(told), encoding="utf-8")


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value) if not isinstance(value, (int, float)) else str(value)
    return " ".join(text.split()) or " "
