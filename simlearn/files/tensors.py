"""Tensors in safetensors files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simlearn.files.errors import unwritable
from simlearn.files.modes import created_mode, set_mode

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors in one step, readable for whom the umask says; an older file is replaced.

    A reader, and whoever comes after a kill, finds the old file or the new one, whole.

    Args:
        path: the file; its folder is there.
        tensors: by name; contiguous, and none in the memory of another one.
        metadata: texts by name, kept in the file's header.

    Raises:
        OSError: when it cannot be written, naming the file.
        ValueError: for tensors that are not contiguous.
        RuntimeError: for tensors that share memory.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    target = Path(path)
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}.draft")
    try:
        mode = created_mode(draft)
        save_file(dict(tensors), draft, None if metadata is None else dict(metadata))
        set_mode(draft, mode)  # safetensors replaces the file by one of mode 600
        os.replace(draft, target)
    except SafetensorError as error:
        raise OSError(f"{target} cannot be written: {error}; make room, or choose another place") from error
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        with suppress(OSError):  # where it could not be made, and that is told already
            draft.unlink()


def add_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:
    """Add names, dtypes, shapes and contents of tensors to a digest of hashlib, whatever order they come in."""
    import torch

    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
