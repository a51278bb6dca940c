"""Records of words through word vectors, fastText's with a vector for every word."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from simlearn.encoders._workers import light_method
from simlearn.encoders.encoder import CollateFn, Encoder
from simlearn.encoders.word_vectors import WordVectors
from simlearn.ragged import entries

_REDUCTIONS: Final = {"min": "amin", "max": "amax", "avg": "mean"}


class FasttextEncoder(Encoder):
    """Encodes a record by the minimum, maximum or average of its words' vectors. Always frozen.

    A subclass says which words a record has::

        class Titles(FasttextEncoder):
            @staticmethod
            def get_tokens(record):
                return record["title"].lower().split()

        Titles.from_gensim("cc.en.300.bin", aggregations=["avg", "max"])

    It is stored as arrays and JSON: serving needs neither gensim nor pickles.

    Args:
        vectors: the word vectors, or the folder where `WordVectors.save` wrote them.
        aggregations: "min", "max" and "avg" in the order in which they are concatenated.
        on_disk: whether to map the vectors of a folder, here and when a servable is loaded, instead of reading them.

    Raises:
        TypeError: when there is no `get_tokens`, or it is an instance method.
        ValueError: for other aggregations, or a file that only `from_gensim` may open.
    """

    opened_by_name: ClassVar[tuple[str, ...]] = ("vectors",)

    def __init__(
        self,
        vectors: WordVectors | str | os.PathLike[str],
        aggregations: Sequence[str] = ("avg",),
        on_disk: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(aggregations, str) or not aggregations or not set(aggregations) <= _REDUCTIONS.keys():
            raise ValueError(f"aggregations must be a list of {sorted(_REDUCTIONS)}, got {aggregations!r}")
        if isinstance(vectors, (str, os.PathLike)):
            if not Path(vectors).is_dir():
                raise ValueError(
                    f"{os.fspath(vectors)} is no folder of word vectors; a model of gensim or fastText is opened with "
                    f"{type(self).__name__}.from_gensim(path), which may unpickle it, so only when you trust the file"
                )
            vectors = WordVectors.load(Path(vectors), on_disk=on_disk)
        if not isinstance(vectors, WordVectors):
            raise TypeError(
                f"vectors must be WordVectors or their folder, got {type(vectors).__name__}; see from_gensim"
            )
        self.vectors = replace(vectors, on_disk=True) if on_disk and not vectors.on_disk else vectors
        self._aggregations = tuple(aggregations)
        self._on_disk = on_disk
        light_method(self, FasttextEncoder, "get_tokens")
        self.freeze_if_required()

    @classmethod
    def from_gensim(cls, model: Any, aggregations: Sequence[str] = ("avg",), on_disk: bool = False) -> FasttextEncoder:
        """Build it from a gensim model, or a file of gensim or fastText; see `WordVectors.from_gensim` for its risk."""
        return cls(WordVectors.from_gensim(model, on_disk=on_disk), aggregations, on_disk)

    @staticmethod
    def get_tokens(record: Any) -> list[str]:
        """The words of a record. Define it in a subclass, as a static or class method."""
        raise NotImplementedError("define get_tokens(record) as a @staticmethod")

    @property
    def trainable(self) -> bool:
        """False."""
        return False

    @property
    def pretrained(self) -> bool:
        """True."""
        return True

    @property
    def embedding_size(self) -> int:
        """D, the vectors' length for each aggregation."""
        return self.vectors.size * len(self._aggregations)

    def get_collate_fn(self) -> CollateFn:
        """From N records to their distinct `words`, `tokens` (T,) that number them, and `lengths` (N,)."""
        return WordsCollate(light_method(self, FasttextEncoder, "get_tokens"))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Encode what `get_collate_fn` gave for N records as (N, D) float32; zeros for a record without known words."""
        tokens, lengths = batch["tokens"], batch["lengths"]
        found, is_known = self.vectors.look_up(batch["words"])
        records = entries(lengths, len(tokens)).owners
        has_vector = torch.from_numpy(is_known).to(tokens.device)[tokens]
        records = records[has_vector][:, None].expand(-1, self.vectors.size)
        values = torch.from_numpy(found).to(tokens.device).index_select(0, tokens[has_vector])
        empty = values.new_zeros((len(lengths), self.vectors.size))
        reduced = [
            empty.scatter_reduce(0, records, values, _REDUCTIONS[name], include_self=False)
            for name in self._aggregations
        ]
        return torch.cat(reduced, dim=1)

    def fingerprint_settings(self) -> str:
        """The aggregations and all word vectors."""
        return json.dumps([self._aggregations, self.vectors.digest])

    def kept_arguments(self) -> dict[str, Any]:
        """The vectors themselves, which may have been opened by their folder."""
        return {"vectors": self.vectors}

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """The vectors lay beside the settings."""
        return {**settings, "vectors": WordVectors.load(folder, on_disk=settings["on_disk"])}


class WordsCollate:
    """Splits records into words and numbers those. Light: it carries no vectors.

    Args:
        get_tokens: the words of a record.
    """

    def __init__(self, get_tokens: Callable[[Any], list[str]]) -> None:
        self.get_tokens = get_tokens

    def __call__(self, records: list[Any]) -> dict[str, Any]:
        """Collate N records.

        Raises:
            TypeError: when a record's words are no list of str.
        """
        numbers: dict[str, int] = {}
        tokens, lengths = [], []
        for record in records:
            words = self.get_tokens(record)
            if isinstance(words, str) or not all(isinstance(word, str) for word in words):
                raise TypeError(f"get_tokens must return a list of str, got {words!r:.80} for {record!r:.80}")
            tokens.extend([numbers.setdefault(word, len(numbers)) for word in words])
            lengths.append(len(words))
        return {
            "words": list(numbers),
            "tokens": torch.tensor(tokens, dtype=torch.long),
            "lengths": torch.tensor(lengths, dtype=torch.long),
        }
