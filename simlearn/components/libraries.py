"""Objects of other libraries that stand among the arguments: models of sentence-transformers and transformers.

They are saved by their libraries' own formats, and loaded from these files alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from simlearn.components import hugging_face
from simlearn.components.resolver import is_own
from simlearn.components.telling import Teller
from simlearn.components.weights import check_state
from simlearn.files import LoadError, apply_umask


@dataclass(frozen=True)
class Library:
    """How objects of a class are saved.

    Args:
        module: of the class as files name it.
        name: of the class as files name it.
        folder: the name of their folder.
        save: writes one into a folder.
        load: reads one, given its folder and what `facts` told.
        facts: what has to be known besides, as JSON can hold it.
    """

    module: str
    name: str
    folder: str
    save: Callable[[Any, Path], None]
    load: Callable[[Path, Mapping[str, Any]], Any]
    facts: Callable[[Any], dict[str, Any]] = lambda obj: {}

    def entry(self, obj: Any) -> dict[str, Any]:
        """How a file names an object: with a fingerprint, since a missing tensor is made at random and only logged."""
        return {"module": self.module, "class": self.name, **self.facts(obj), "fingerprint": Teller().tell(obj).hex()}

    def write(self, obj: Any, folder: Path) -> dict[str, Any]:
        """Write an object, readable for whom the umask says, and see whether it comes back.

        Returns:
            Its entry.

        Raises:
            TypeError: when its library's files do not hold all of it.
        """
        self.save(obj, folder)
        apply_umask(folder)
        entry = self.entry(obj)
        try:
            self.read(folder, entry)
        except LoadError as error:
            raise TypeError(
                f"this {type(obj).__name__} would not come back from its own files: what was changed by hand since it "
                "was loaded, such as hooks, layers and methods, is not in them; load it anew and leave it as it is, or "
                f"put the change into an encoder of yours around it ({error})"
            ) from error
        return entry

    def read(self, folder: Path, entry: Mapping[str, Any]) -> Any:
        """Read an object.

        Raises:
            LoadError: when it is damaged, or not what was saved.
        """
        with hugging_face.load_errors(folder):
            obj = self.load(folder, entry)
        if entry.get("fingerprint") != Teller().tell(obj).hex():
            raise LoadError(f"{folder} does not hold the weights and settings that were saved; copy it anew, whole")
        return obj


def of(obj: Any) -> Library | None:
    """The library that saves an object; None for others."""
    names = {(cls.__module__.partition(".")[0], cls.__name__) for cls in type(obj).__mro__}
    return next((library for (top, name), library in _BY_CLASS.items() if (top, name) in names), None)


def check(obj: Any) -> None:
    """Refuse what its library saves as something else.

    Raises:
        TypeError: for quantised models, and models that would be loaded as another class.
        ValueError: for weights that hold NaN.
    """
    library = of(obj)
    if isinstance(obj, nn.Module):
        check_state(type(obj).__name__, obj.state_dict())
    if library is _MODEL:
        hugging_face.check_model(obj)


def named(entry: Mapping[str, Any]) -> Library | None:
    """The library whose object an entry names."""
    return next(
        (one for one in _LIBRARIES if (one.module, one.name) == (entry.get("module"), entry.get("class"))), None
    )


def is_known(entry: Mapping[str, Any]) -> bool:
    """Whether an entry names a class that needs nobody's trust: of simlearn, or of a library."""
    return is_own(entry) or named(entry) is not None


def _sentence_transformer_facts(model: Any) -> dict[str, Any]:
    return {"truncate_dim": model.truncate_dim, "dtype": str(model.dtype).removeprefix("torch.")}


def _load_sentence_transformer(folder: Path, entry: Mapping[str, Any]) -> Any:
    dtype = entry["dtype"]
    return hugging_face.load_sentence_transformer(
        folder, truncate_dim=entry["truncate_dim"], dtype=None if dtype == "None" else dtype
    )


_SENTENCE_TRANSFORMER = Library(
    "sentence_transformers",
    "SentenceTransformer",
    "sentence_transformer",
    hugging_face.save_sentence_transformer,
    _load_sentence_transformer,
    _sentence_transformer_facts,
)
_TOKENIZER = Library(
    "transformers",
    "AutoTokenizer",
    "tokenizer",
    hugging_face.save_tokenizer,
    lambda folder, entry: hugging_face.load_tokenizer(folder),
)
_MODEL = Library(
    "transformers",
    "AutoModel",
    "transformers",
    hugging_face.save_model,
    lambda folder, entry: hugging_face.load_model(folder),
)
_PROCESSOR = Library(
    "transformers",
    "AutoImageProcessor",
    "processor",
    hugging_face.save_processor,
    lambda folder, entry: hugging_face.load_processor(folder),
)
_LIBRARIES = (_SENTENCE_TRANSFORMER, _TOKENIZER, _MODEL, _PROCESSOR)
_BY_CLASS = {
    ("sentence_transformers", "SentenceTransformer"): _SENTENCE_TRANSFORMER,
    ("transformers", "PreTrainedTokenizerBase"): _TOKENIZER,
    ("transformers", "PreTrainedModel"): _MODEL,
    ("transformers", "BaseImageProcessor"): _PROCESSOR,
}
