"""Word vectors as plain arrays: a table of words and, for words it lacks, the n-grams of fastText.

A word's vector is its row in `vectors`. A word without a row has the mean of the vectors of its character n-grams: the
word is put between `<` and `>`, each n-gram of its UTF-8 characters is hashed (32-bit FNV-1a, with signed bytes, as
fastText does), and the hash modulo the number of rows picks a row of `ngrams`. (Bojanowski et al., Enriching Word
Vectors with Subword Information, 2017, https://arxiv.org/abs/1607.04606.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simlearn.components import Component
from simlearn.files import LoadError, read_json, write_json

_CONFIG_FILE, _WORDS_FILE = "words_config.json", "words.json"
_VECTORS_FILE, _NGRAMS_FILE = "vectors.npy", "ngrams.npy"


@dataclass(frozen=True, eq=False)
class WordVectors(Component):
    """Vectors of words.

    Args:
        words: V distinct words.
        vectors: (V, D) floats, one row a word; may be memory-mapped.
        ngrams: (B, D) floats, one row a hash bucket; None when words without a row have no vector.
        min_n: characters of the shortest n-gram.
        max_n: characters of the longest n-gram.
        on_disk: whether the arrays are mapped instead of read when they are loaded again.

    Raises:
        ValueError: when the shapes do not fit.
    """

    words: Sequence[str]
    vectors: NDArray[Any]
    ngrams: NDArray[Any] | None = None
    min_n: int = 3
    max_n: int = 6
    on_disk: bool = False
    _rows: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tables = [self.vectors] if self.ngrams is None else [self.vectors, self.ngrams]
        if any(table.ndim != 2 or table.dtype.kind != "f" for table in tables):
            raise ValueError(f"vectors must be matrices of floats, got {[(t.dtype, t.shape) for t in tables]}")
        if len(self.words) != len(self.vectors) or len({table.shape[1] for table in tables}) > 1:
            raise ValueError(f"{len(self.words)} words do not fit tables of shapes {[table.shape for table in tables]}")
        if self.ngrams is not None and (len(self.ngrams) < 1 or not 1 <= self.min_n <= self.max_n):
            raise ValueError(
                f"n-grams need buckets and 1 <= min_n <= max_n, got min_n={self.min_n}, max_n={self.max_n}"
            )
        object.__setattr__(self, "_rows", {word: row for row, word in enumerate(self.words)})

    @property
    def size(self) -> int:
        """D, the length of a vector."""
        return int(self.vectors.shape[1])

    @staticmethod
    def from_gensim(model: Any, *, on_disk: bool = False) -> WordVectors:
        """Take the vectors of a gensim model, or of a file.

        Opening a file that gensim saved unpickles it, which can run code: do so only with files you made or trust. The
        `.bin` files of fastText are no pickles.

        Args:
            model: a `FastText`, `Word2Vec` or `KeyedVectors`, a path where gensim saved one, or a `.bin` of fastText.
            on_disk: whether to map the arrays beside a file that gensim saved instead of reading them.

        Raises:
            ImportError: for a path, without gensim.
            TypeError: for something else.
        """
        if isinstance(model, (str, os.PathLike)):
            model = _open_with_gensim(os.fspath(model), on_disk)
        model = getattr(model, "wv", model)
        if not hasattr(model, "index_to_key") or not hasattr(model, "vectors"):
            raise TypeError(f"expected word vectors of gensim or a path, got {type(model).__name__}")
        if not getattr(model, "bucket", 0):  # no fastText, or one without n-grams
            return WordVectors(tuple(model.index_to_key), model.vectors)
        return WordVectors(tuple(model.index_to_key), model.vectors, model.vectors_ngrams, model.min_n, model.max_n)

    def look_up(self, words: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The vectors (U, D) of U words, and which of them have one (U,). The others are zero.

        With n-grams every word has a vector; it is zero for a word too short to have an n-gram.
        """
        rows = np.array([self._rows.get(word, -1) for word in words], dtype=np.int64)
        known = rows >= 0
        found = np.zeros((len(words), self.size), dtype=np.float32)
        found[known] = self.vectors[rows[known]]
        if self.ngrams is None or known.all():
            return found, known
        unknown = np.flatnonzero(~known)
        owners, buckets = ngram_buckets(
            [words[row] for row in unknown.tolist()], self.min_n, self.max_n, len(self.ngrams)
        )
        order = owners.argsort(kind="stable")
        owners = owners[order]
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        sums = np.add.reduceat(self.ngrams[buckets[order]], starts, axis=0, dtype=np.float32)
        found[unknown[owners[starts]]] = sums / np.diff(starts, append=len(owners))[:, None]
        return found, np.ones(len(words), dtype=np.bool_)

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits of all that decides a vector."""
        digest = blake2b(repr((self.min_n, self.max_n, len(self.words))).encode(), digest_size=16)
        digest.update("\n".join(self.words).encode("utf-8", "surrogatepass"))
        for table in (self.vectors, self.ngrams):
            if table is None:
                continue
            digest.update(f"{table.dtype} {table.shape}".encode())
            for start in range(0, len(table), 65_536):  # a mapped table is read in parts
                digest.update(np.ascontiguousarray(table[start : start + 65_536]).data)
        return digest.hexdigest()

    def fingerprint_settings(self) -> str:
        """All that decides a vector."""
        return self.digest

    def save(self, output_path: str | Path) -> None:
        """Write arrays (`.npy`) and JSON into a folder."""
        folder = Path(output_path)
        folder.mkdir(parents=True, exist_ok=True)
        _write_array(folder / _VECTORS_FILE, self.vectors)
        if self.ngrams is not None:
            _write_array(folder / _NGRAMS_FILE, self.ngrams)
        write_json(folder / _WORDS_FILE, list(self.words))
        bucket = 0 if self.ngrams is None else len(self.ngrams)
        sizes = {"bucket": bucket, "min_n": self.min_n, "max_n": self.max_n}
        write_json(folder / _CONFIG_FILE, {**sizes, "on_disk": self.on_disk})

    @classmethod
    def load(cls, input_path: str | Path, *, on_disk: bool | None = None) -> WordVectors:
        """Read what `save` wrote; `on_disk` maps the arrays instead of reading them, None as when they were saved."""
        folder = Path(input_path)
        config, words = read_json(folder / _CONFIG_FILE), read_json(folder / _WORDS_FILE)
        try:
            if not all(isinstance(word, str) for word in words):
                raise TypeError("words must be strings")
            mapped = bool(config.get("on_disk", False) if on_disk is None else on_disk)
            vectors = _read_array(folder / _VECTORS_FILE, mapped)
            ngrams = _read_array(folder / _NGRAMS_FILE, mapped) if config["bucket"] else None
            if ngrams is not None and len(ngrams) != config["bucket"]:
                raise ValueError(f"{len(ngrams)} buckets, not {config['bucket']}")
            return cls(tuple(words), vectors, ngrams, config["min_n"], config["max_n"], mapped)
        except (KeyError, TypeError, ValueError, AttributeError, OSError, EOFError) as error:
            raise LoadError(f"{folder} holds no word vectors: {error}") from error


def _read_array(path: Path, on_disk: bool) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r" if on_disk else None, allow_pickle=False)
    return array


def _write_array(path: Path, array: NDArray[Any]) -> None:
    if isinstance(array, np.memmap) and path.exists() and path.samefile(str(array.filename)):
        return  # opening the file for writing would empty it under the map, and reading the map would kill the process
    np.save(path, np.asarray(array), allow_pickle=False)


def _open_with_gensim(path: str, on_disk: bool) -> Any:
    try:
        from gensim.models import KeyedVectors
        from gensim.models.fasttext import load_facebook_vectors
    except ImportError as error:
        raise ImportError(
            "reading word vectors of gensim or fastText needs gensim: pip install simlearn[fasttext]"
        ) from error
    if path.endswith(".bin"):
        return load_facebook_vectors(path)
    return KeyedVectors.load(path, mmap="r" if on_disk else None)


def ngram_buckets(
    words: Sequence[str], min_n: int, max_n: int, buckets: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hash the character n-grams of words as fastText does, all words at once.

    Every n-gram starts at a character; all starts grow together, byte by byte, and those that complete a character
    yield an n-gram.

    Args:
        words: U words.
        min_n: characters of the shortest n-gram.
        max_n: characters of the longest n-gram.
        buckets: the number of buckets.

    Returns:
        For each n-gram the number of its word in [0, U), and its bucket in [0, `buckets`).
    """
    encoded = [f"<{word}>".encode("utf-8", "surrogatepass") for word in words]
    lengths = np.array([len(word) for word in encoded], dtype=np.int64)
    ends = np.cumsum(lengths)
    text = np.frombuffer(
        b"".join(encoded) + b"<", dtype=np.uint8
    )  # the last byte starts a character: all words end at one
    starts_character = (text & 0xC0) != 0x80
    # fastText hashes signed bytes: those above 127 fill the upper bits of the 32 with ones.
    signed = text.astype(np.int8).astype(np.int32).view(np.uint32)

    at = np.flatnonzero(starts_character[:-1])
    word = np.repeat(np.arange(len(words)), lengths)[at]
    is_first = at == (ends - lengths)[word]
    hashes = np.full(len(at), 2166136261, dtype=np.uint32)
    characters = np.zeros(len(at), dtype=np.int64)
    found_words, found_buckets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    while len(at):
        hashes = (hashes ^ signed[at]) * np.uint32(16777619)
        at = at + 1
        complete = starts_character[at]
        characters = characters + complete
        is_last = at == ends[word]
        is_marker = (characters == 1) & (is_first | is_last)  # "<" and ">" alone are no n-grams
        yields = complete & (characters >= min_n) & ~is_marker
        found_words.append(word[yields])
        found_buckets.append((hashes[yields] % np.uint32(buckets)).astype(np.int64))
        goes_on = ~is_last & ((characters < max_n) | ~complete)
        at, word, hashes, characters = at[goes_on], word[goes_on], hashes[goes_on], characters[goes_on]
        is_first = is_first[goes_on]
    return np.concatenate(found_words), np.concatenate(found_buckets)
