"""Vision models of transformers and their image processors, as folders that are loaded from these files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from simlearn.components.hugging_face.checks import check_pretrained_folder
from simlearn.components.hugging_face.models import quiet, reading
from simlearn.components.weights import refuse_nan
from simlearn.files import LoadError


def check_model(model: Any) -> None:
    """Refuse a model that `AutoModel` would not build, which could not be loaded again.

    Raises:
        TypeError: naming the class.
    """
    import transformers

    classes: Any = transformers.MODEL_MAPPING
    config = type(getattr(model, "config", None))
    if not isinstance(model, nn.Module) or config not in classes:
        raise TypeError(f"model must be a name, a path or a model that AutoModel builds, got {type(model).__name__}")
    built = classes[config]
    if type(model) not in (built if isinstance(built, (list, tuple)) else (built,)):
        raise TypeError(
            f"a {type(model).__name__} could not be loaded again, AutoModel builds {built}; pass the backbone inside it"
        )


def save_model(model: Any, folder: Path) -> None:
    """Write a model of transformers into a folder, which is made.

    Raises:
        UntrustedError: for a model that cannot be loaded without running code that comes with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder, safe_serialization=True)
    check_pretrained_folder(folder)


def save_processor(processor: Any, folder: Path) -> None:
    """Write an image processor of transformers into a folder, which is made.

    Raises:
        UntrustedError: for one that cannot be loaded without running code that comes with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        processor.save_pretrained(folder)
    check_pretrained_folder(folder)


def load_model(folder: Path) -> Any:
    """Read what `save_model` wrote, from these files alone.

    Raises:
        LoadError: when the folder is missing, or damaged, or lacks weights.
        UntrustedError: when it asks for more than its own files.
    """
    check_pretrained_folder(folder)
    with reading(folder):
        model = open_model(str(folder), local_files_only=True)
    refuse_nan(model.state_dict(), folder)
    return model


def load_processor(folder: Path) -> Any:
    """Read what `save_processor` wrote, from these files alone.

    Raises:
        LoadError: when the folder is missing, or damaged.
        UntrustedError: when it asks for more than its own files.
    """
    check_pretrained_folder(folder)
    with reading(folder):
        return open_processor(str(folder), local_files_only=True)


def open_model(path: str, *, local_files_only: bool) -> Any:
    """A model by name or path.

    Raises:
        LoadError: for a checkpoint that lacks weights, which would be random.
    """
    import transformers

    auto: Any = transformers.AutoModel
    with quiet(reports=False):
        model, info = auto.from_pretrained(
            path, dtype="auto", local_files_only=local_files_only, trust_remote_code=False, output_loading_info=True
        )
    # A checkpoint trained for another task may lack the pooler, which would then be random, in each process anew.
    missing = {name for name in info["missing_keys"] if not name.startswith("pooler.")}
    if missing:
        raise LoadError(f"{path} lacks weights of {type(model).__name__}: {sorted(missing)[:5]}; they would be random")
    if info["missing_keys"]:
        model.pooler = None
    return model


def open_processor(path: str, *, local_files_only: bool) -> Any:
    """An image processor by name or path: the one of PIL, so that every machine sees the same pixels."""
    import transformers

    auto: Any = transformers.AutoImageProcessor
    with quiet(reports=False):
        return auto.from_pretrained(path, backend="pil", local_files_only=local_files_only, trust_remote_code=False)
