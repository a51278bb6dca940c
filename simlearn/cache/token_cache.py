"""The tokens of texts for encoders that are trained: tokenised once, kept on disk, memory-mapped.

What a trained encoder says of a text changes with every step, what its tokenizer says never does. A table holds the
tokens of each distinct text under the text's content key, unpadded; its folder is named after all that decides them
(tokenizer, prompt, limits), so it is right for every data set, encoder and run. A batch is then a lookup and a padding.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn.cache.reading import keys_of
from simlearn.cache.tables import shared_folder
from simlearn.components import CannotTellError, Teller
from simlearn.components.code import is_framework
from simlearn.encoders.tokens import Tokenising, Tokens, same_features, tokenising
from simlearn.files import LoadError
from simlearn.models import SimilarityModel
from simlearn.ragged import pad
from simlearn.store import DiskTable
from simlearn.towers.plan import Part

CHECKED = 16
"""Objects of each data set that are tokenised again, to compare."""


class TokenCache:
    """The tokens that the trainable encoders of a model read, of each distinct object of the data.

    It serves the encoders whose collate function works in two steps (`Tokenising`): `TextEncoder`, with or without a
    prompt, and `BagOfTokensEncoder`.

    Args:
        model: the model; it is neither wrapped nor changed.
        save_dir: a folder in which tokens outlive the run. None keeps them in a temporary one for this run.

    Raises:
        LoadError: for a table in `save_dir` that is damaged.
    """

    def __init__(self, model: SimilarityModel, save_dir: str | os.PathLike[str] | None = None) -> None:
        self.model = model
        self._lookups: dict[tuple[str, str | None], TokenLookup] = {}
        found: dict[tuple[str, str | None], Tokenising] = {}
        for role in model.plan.roles:
            collator = model.tower(role).collator()
            for part, collate in zip(collator.parts, collator.collate_fns, strict=True):
                split = tokenising(collate)
                if split is not None and model.plan.encoders[part.encoder].trainable:
                    found[part.encoder, part.prompt] = split
        folder = shared_folder(save_dir) if found else Path()
        tables: dict[str, DiskTable] = {}
        for (encoder, prompt), collate in found.items():
            who = _identity(collate)
            if who not in tables:
                description = {"holds": "tokens", "encoder": encoder, "prompt": prompt, "identity": who}
                tables[who] = DiskTable(folder / f"tokens-{who}", description=description)
            self._lookups[encoder, prompt] = TokenLookup(tables[who], collate, encoder)

    @property
    def tables(self) -> list[DiskTable]:
        """The tables on disk, each once."""
        return list({lookup.table.path: lookup.table for lookup in self._lookups.values()}.values())

    def lookup(self, part: Part) -> TokenLookup | None:
        """From a part's objects to what its encoder takes; None where its tokens are not kept."""
        return self._lookups.get((part.encoder, part.prompt))

    def lookups(self, role: str) -> dict[str, TokenLookup]:
        """The same for each such part of a tower, by name."""
        found = ((part.name, self.lookup(part)) for part in self.model.plan[role])
        return {name: lookup for name, lookup in found if lookup is not None}


@dataclass(frozen=True)
class TokenLookup:
    """From objects to what their encoder takes, without its tokenizer. It is `Tokenising`, as what it stands for.

    An object that the table lacks, as random augmentation makes them, is tokenised, and not kept.

    Args:
        table: the tokens by content key.
        collate: the encoder's collate function.
        encoder: the encoder's name.
    """

    table: DiskTable
    collate: Tokenising
    encoder: str

    can_split: ClassVar[bool] = True

    def __call__(self, objects: list[Any]) -> Any:
        """What the collate function gives for N objects, bit for bit."""
        return self.pad(self.tokenize(objects))

    def tokenize(self, objects: list[Any]) -> Tokens:
        """The tokens of N objects."""
        if not objects:
            return self.collate.tokenize([])
        keys = keys_of(objects, None, self.encoder)
        rows = self.table.find(keys)
        is_new = rows < 0
        if not is_new.any():
            return self.take(rows)
        tokens = self.collate.tokenize([obj for obj, new in zip(objects, is_new.tolist(), strict=True) if new])
        if is_new.all():
            return tokens
        order = torch.cat([is_new.nonzero(), (~is_new).nonzero()])[:, 0].argsort()
        return Tokens.concatenate([tokens, self.take(rows[~is_new])]).take(order)

    def pad(self, tokens: Tokens) -> Any:
        """What the encoder takes, of N objects that were tokenised."""
        return self.collate.pad(tokens)

    def token_settings(self) -> str:
        """Those of the collate function."""
        return self.collate.token_settings()

    def keep(self, keys: NDArray[np.uint8], objects: list[Any]) -> None:
        """Tokenise objects and add them to the table."""
        tokens = self.collate.tokenize(objects)
        starts = tokens.lengths.cumsum(0) - tokens.lengths
        self.table.append(keys, pad(tokens.values, starts, tokens.lengths), {})

    def check(self, objects: list[Any]) -> None:
        """Compare a few objects with what the tokenizer says of them now.

        Raises:
            LoadError: when it is something else.
        """
        fresh, known = self.collate.tokenize(objects), self.tokenize(objects)
        same = torch.equal(fresh.lengths, known.lengths) and torch.equal(fresh.values, known.values)
        features = self.collate(objects)
        if same and isinstance(features, Mapping):
            same = same_features(features, self.pad(known))
        if not same:
            raise LoadError(
                f"{self.table.path} holds other tokens than the tokenizer gives, so the tokenizer has changed without "
                "a change of its settings; remove the folder, and its texts are tokenised again"
            )

    def take(self, rows: Tensor) -> Tokens:
        """The tokens of the objects at rows (n,) of the table."""
        kept = self.table.take_lists(rows)
        return Tokens(kept.values, kept.lengths)


def _identity(collate: Tokenising) -> str:
    """32 hexadecimal digits that change with whatever decides the tokens of an object.

    Raises:
        TypeError: for a collate function that cannot be told from others.
    """
    texts = [collate.token_settings()]
    if not is_framework(type(collate).__module__):
        try:
            texts.append(Teller().tell(collate).hex())
        except CannotTellError as error:
            raise TypeError(
                f"the tokens of a {type(collate).__name__} cannot be kept on disk: {error}; train without "
                "CacheConfig(tokens=True)"
            ) from error
    digest = blake2b(digest_size=16)
    for text in texts:
        digest.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
