"""Known tokens, or categories, and their numbers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from simlearn.components import Component
from simlearn.encoders.ngrams import NGrams
from simlearn.files import LoadError, replace_file

DICTIONARY_FILE = "dictionary.json"


class Vocabulary(Component):
    """V distinct tokens, numbered from 1 to V in their order. Number 0 belongs to none: it is padding.

    Args:
        tokens: the tokens.

    Raises:
        TypeError: for tokens that are no texts.
        ValueError: for a token that repeats.

    >>> vocabulary = Vocabulary(["ala", "ma"])
    >>> vocabulary.get("ma"), vocabulary.get("kota"), len(vocabulary), "ala" in vocabulary
    (2, None, 2, True)
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = [tokens] if isinstance(tokens, str) else list(tokens)
        self.ids = {token: number for number, token in enumerate(self.tokens, 1)}
        if len(self.ids) < len(self.tokens):
            repeated = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(f"the token {repeated!r:.80} is there more than once; give each token once")
        for token in self.tokens:
            if not isinstance(token, str):
                raise TypeError(f"tokens must be texts, got {token!r:.80}, a {type(token).__name__}")

    def get(self, token: str) -> int | None:
        """The number of a token, from 1; None for one that is not known."""
        return self.ids.get(token)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens: {', '.join(map(repr, self.tokens[:5]))}{', ...' * (len(self) > 5)})"

    @classmethod
    def build(
        cls,
        texts: Iterable[str],
        size: int | None = None,
        min_count: int = 1,
        tokens: Callable[[str], Iterable[str]] | None = None,
    ) -> Vocabulary:
        """Count the tokens of texts and keep the most frequent ones, by frequency, then alphabet.

        Args:
            texts: read once.
            size: how many to keep; None keeps all.
            min_count: how often a token must occur.
            tokens: from a text to its tokens; None takes the words and trigrams of `NGrams()`. It must be what the
                vectorizer does: `NGramVectorizer.build` sees to that.

        Raises:
            TypeError: for something else than texts.
            ValueError: for numbers below 1, and where no token is left.
        """
        if (size is not None and size < 1) or min_count < 1:
            raise ValueError(f"size and min_count must be at least 1, got {size} and {min_count}")
        if isinstance(texts, str):
            raise TypeError("texts must be many texts, got one str; put it into a list")
        cut = NGrams() if tokens is None else tokens
        counts: Counter[str] = Counter()
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(
                    f"a vocabulary is built of texts, got {text!r:.80}, a {type(text).__name__}; leave such rows out, "
                    "or turn them into texts"
                )
            counts.update(cut(text))
        frequent = sorted((token for token in counts if counts[token] >= min_count), key=lambda t: (-counts[t], t))
        if not frequent:
            raise ValueError(f"no token occurs {min_count} times or more in these texts")
        return cls(frequent[:size])

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Vocabulary:
        """Read a folder with a `dictionary.json`, as qdrl has them.

        Each line is `{"token": "dog", "token_id": 17}`, or `{"value": "1234", "value_id": 5}` for categories. The
        numbers go from 1 to V, each once, in any order.

        Raises:
            LoadError: for a file that is missing or is none of these, naming the line.
        """
        path = Path(folder) / DICTIONARY_FILE
        by_id: dict[int, str] = {}
        seen: set[str] = set()
        try:
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    if not line.strip():
                        continue
                    token, token_id = _entry(path, number, line)
                    if token_id in by_id or token in seen:
                        what = f"the number {token_id}" if token_id in by_id else f"the token {token!r:.80}"
                        raise LoadError(f"{path}, line {number}: {what} is there twice")
                    by_id[token_id] = token
                    seen.add(token)
        except FileNotFoundError:
            raise LoadError(f"{path} is missing; name the folder that holds it") from None
        except (OSError, UnicodeDecodeError) as error:
            raise LoadError(f"{path} cannot be read: {error}") from None
        if 0 in by_id:
            raise LoadError(f"{path} gives {by_id[0]!r:.80} the number 0, which is padding; number from 1")
        missing = next((number for number in range(1, len(by_id) + 1) if number not in by_id), None)
        if missing is not None:
            raise LoadError(
                f"{path} has {len(by_id)} entries, none of them number {missing}; number them without a gap"
            )
        return cls(by_id[number] for number in range(1, len(by_id) + 1))

    @classmethod
    def of(cls, dictionary: Vocabulary | str | os.PathLike[str]) -> Vocabulary:
        """A vocabulary itself, or the one in a folder; see `read`."""
        return dictionary if isinstance(dictionary, Vocabulary) else cls.read(dictionary)

    def write(self, folder: str | os.PathLike[str], kind: Literal["token", "value"] = "token") -> None:
        """Write what `read` reads; `kind="value"` as qdrl names categories."""
        if kind not in ("token", "value"):
            raise ValueError(f"kind must be 'token' or 'value', got {kind!r}")
        Path(folder).mkdir(parents=True, exist_ok=True)
        entries = ({kind: token, f"{kind}_id": number} for number, token in enumerate(self.tokens, 1))
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        replace_file(Path(folder) / DICTIONARY_FILE, text.encode("ascii"))

    def kept_arguments(self) -> dict[str, Any]:
        """The tokens, where the constructor was given an iterator, which is spent."""
        return {"tokens": self.tokens}

    def fingerprint_settings(self) -> str:
        """The tokens and their numbers."""
        return self.digest

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits of the tokens in their order."""
        digest = blake2b(digest_size=16)
        for token in self.tokens:
            encoded = token.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(4, "little") + encoded)
        return digest.hexdigest()


def _entry(path: Path, number: int, line: str) -> tuple[str, int]:
    try:
        entry: Any = json.loads(line)
        kind = "token" if "token" in entry else "value"
        token, token_id = entry[kind], entry[f"{kind}_id"]
        if not isinstance(token, str) or type(token_id) is not int or token_id < 0:
            raise TypeError
    except (KeyError, TypeError, ValueError, RecursionError):
        raise LoadError(
            f'{path}, line {number} is no entry such as {{"token": "dog", "token_id": 17}}: {line.strip()!r:.80}'
        ) from None
    return token, token_id
