"""Models and tokenizers of other libraries as folders that are loaded from these files alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simlearn.components.hugging_face.checks import check_pretrained_folder
from simlearn.components.hugging_face.panics import panic
from simlearn.components.hugging_face.sizes import no_larger_than
from simlearn.components.hugging_face.tokenizers import check_tokenizer, is_tokenizer
from simlearn.components.weights import refuse_nan
from simlearn.files import LoadError, read_json, write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@contextmanager
def quiet(*, reports: bool = True) -> Iterator[None]:
    """Without the progress bars of transformers; without its load reports too where the caller looks at them itself."""
    import transformers

    logging: Any = transformers.utils.logging
    had_bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    if not reports:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


@contextmanager
def load_errors(folder: Path) -> Iterator[None]:
    """Raise LoadError for whatever a library raises about damaged files, which may be anything."""
    try:
        yield
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
    except panic() as error:
        raise LoadError(f"{folder} cannot be loaded, its tokenizer gave up: {error!s:.500}") from error


_offline = threading.RLock()


@contextmanager
def offline() -> Iterator[None]:
    """Let nothing that huggingface_hub does reach the network, whatever a configuration makes a library ask for.

    `local_files_only` is not passed on everywhere: a configuration asks the hub whether a backbone exists. The switch
    is the process's, so a download in another thread is refused for as long as a model is read.
    """
    from huggingface_hub import constants

    with _offline:
        before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Read a folder that was checked: quietly, from its files alone, and no more than they hold."""
    with load_errors(folder), offline(), no_larger_than(folder), quiet():
        yield


def save_sentence_transformer(model: SentenceTransformer, folder: Path) -> None:
    """Write a sentence-transformers model into a folder, which is made, without code, pickles and model card.

    Raises:
        UntrustedError: for a model that cannot be loaded without running code that comes with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save(str(folder), create_model_card=False, safe_serialization=True)
    _templates_as_json(folder)
    check_pretrained_folder(folder)


def load_sentence_transformer(folder: Path, *, truncate_dim: int | None, dtype: str | None) -> SentenceTransformer:
    """Read what `save_sentence_transformer` wrote, from these files alone.

    Args:
        folder: the model's own.
        truncate_dim: how many numbers of each embedding remain. None: all.
        dtype: of the weights, as `"float16"`. None: the one that sentence-transformers picks.

    Raises:
        LoadError: when the folder is missing, or damaged.
        UntrustedError: when it asks for more than its own files.
    """
    from sentence_transformers import SentenceTransformer

    check_pretrained_folder(folder)
    if not (folder / "modules.json").is_file():
        # Without it sentence-transformers guesses: a tokenizer with a template would render it for every text.
        raise LoadError(f"{folder / 'modules.json'} is missing; save the model with sentence-transformers, as a whole")
    with reading(folder):
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            truncate_dim=truncate_dim,
            # Named, since sentence-transformers warns of 16-bit weights that it finds by itself.
            model_kwargs={"dtype": dtype} if dtype is not None else None,
        )
        for part in model.modules():
            _check_converted(folder, getattr(part, "tokenizer", None))
    refuse_nan(model.state_dict(), folder)
    return model


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer of transformers into a folder, which is made.

    Raises:
        UntrustedError: for a tokenizer that cannot be loaded without running code that comes with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        tokenizer.save_pretrained(str(folder))
    _templates_as_json(folder)
    check_pretrained_folder(folder)


def load_tokenizer(folder: Path) -> Any:
    """Read the tokenizer that `save_tokenizer` wrote, from these files alone.

    Raises:
        LoadError: when the folder is missing, or damaged.
        UntrustedError: when it asks for more than its own files.
    """
    from transformers import AutoTokenizer

    check_pretrained_folder(folder)
    with reading(folder):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        _check_converted(folder, tokenizer)
    return tokenizer


def _check_converted(folder: Path, tokenizer: Any) -> None:
    """Check a tokenizer that was made of a sentencepiece vocabulary or the like, not read from a tokenizer.json."""
    rules = getattr(tokenizer, "backend_tokenizer", None)
    if rules is not None and not any(folder.rglob("tokenizer.json")):
        content = json.loads(rules.to_str())
        if is_tokenizer(content):
            check_tokenizer(folder, content)


def _templates_as_json(folder: Path) -> None:
    """Put templates into the tokenizer's settings: a servable holds only data files."""
    for template in list(folder.rglob("chat_template.jinja")):
        settings = template.parent / "tokenizer_config.json"
        write_json(settings, {**read_json(settings), "chat_template": template.read_text(encoding="utf-8")})
        template.unlink()
