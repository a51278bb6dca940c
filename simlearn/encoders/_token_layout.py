"""How a tokenizer lays out the tokens of several texts, learnt from what it does with a few of them.

Models differ in the side that they pad, the numbers they pad with, the columns they ask for and the constants beside
them. To learn that from what comes out is shorter than to ask each kind of tokenizer for it, and it cannot be wrong in
silence: a layout that does not give those texts back bit for bit is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simlearn.encoders.tokens import Tokens, same_features

_PROBE = ["", "a", "one of three: this text is longer than the two others, and has numbers (1, 2) and stops."]
_ALONE = ["a", "a a", "a a a"]
"""Texts that are laid out alone, to see whether lengths are rounded up."""
_IDS, _MASK, _OFFSETS = "input_ids", "attention_mask", "offsets"


@dataclass(frozen=True)
class TokenLayout:
    """From features to tokens and back.

    Args:
        names: of the features that are tensors, in their order.
        kept: those of them that hold a number a token, `input_ids` first.
        padding: what each of them has where there is no token.
        zeros: those that are zero wherever there is a token, which are not kept.
        pads_left: whether the padding stands before the tokens.
        constants: the features that are the same for all texts.
        is_flat: whether tokens lie end to end with `offsets`, never padded.
    """

    names: tuple[str, ...]
    kept: tuple[str, ...]
    padding: dict[str, int]
    zeros: tuple[str, ...]
    pads_left: bool
    constants: dict[str, Any]
    is_flat: bool

    @staticmethod
    def learn(preprocess: Callable[[list[str]], Mapping[str, Any]]) -> TokenLayout | None:
        """The layout of what `preprocess` gives; None where it pads in a way of its own, or gives more than tokens."""
        features = dict(preprocess(list(_PROBE)))
        tensors = {name: value for name, value in features.items() if isinstance(value, Tensor)}
        constants = {name: value for name, value in features.items() if name not in tensors}
        if not all(isinstance(value, (str, int, float, type(None))) for value in constants.values()):
            return None
        if any(tensor.dtype is not torch.int64 for tensor in tensors.values()) or _IDS not in tensors:
            return None
        names = tuple(tensors)
        if set(names) == {_IDS, _OFFSETS} and tensors[_IDS].ndim == 1:
            layout = TokenLayout(names, (_IDS,), {}, (), False, constants, is_flat=True)
        elif _MASK in tensors and {tensor.shape for tensor in tensors.values()} == {
            (len(_PROBE), tensors[_IDS].shape[-1])
        }:
            layout = _padded(tensors, constants)
        else:
            return None
        seen = [features, *(dict(preprocess([text])) for text in _ALONE)]
        return layout if all(same_features(layout.pad(layout.split(one)), one) for one in seen) else None

    def split(self, features: Mapping[str, Any]) -> Tokens:
        """The tokens of what a tokenizer gave.

        Raises:
            ValueError: when a column holds what none of the learnt texts had.
        """
        if self.is_flat:
            ids, offsets = features[_IDS], features[_OFFSETS]
            return Tokens(ids.int()[:, None], torch.cat([offsets, offsets.new_tensor([len(ids)])]).diff())
        mask = features[_MASK].bool()
        for name in self.zeros:
            if bool(features[name][mask].any()):
                raise ValueError(
                    f"the tokenizer's {name} are not 0 for every text, as they were for others; train without the "
                    "token cache and with encode_chunk_size"
                )
        values = torch.stack([features[name][mask] for name in self.kept], dim=1)
        return Tokens(values.int(), mask.sum(dim=1))

    def pad(self, tokens: Tokens) -> dict[str, Any]:
        """What the tokenizer would have given."""
        values, lengths = tokens.values, tokens.lengths
        columns: dict[str, Tensor] = {}
        if self.is_flat:
            columns = {_IDS: values[:, 0].long(), _OFFSETS: lengths.cumsum(0) - lengths}
        else:
            longest = int(lengths.max()) if len(lengths) else 0
            place = torch.arange(longest)
            mask = place >= longest - lengths[:, None] if self.pads_left else place < lengths[:, None]
            columns[_MASK] = mask.long()
            for name in self.zeros:
                columns[name] = torch.full(mask.shape, self.padding[name]).masked_fill_(mask, 0)
            for number, name in enumerate(self.kept):
                filled = torch.full(mask.shape, self.padding[name])
                columns[name] = filled.masked_scatter_(mask, values[:, number].long())
        return {**{name: columns[name] for name in self.names}, **self.constants}


def _padded(tensors: dict[str, Tensor], constants: dict[str, Any]) -> TokenLayout:
    mask = tensors[_MASK].bool()
    columns = [_IDS, *(name for name in tensors if name not in (_IDS, _MASK))]
    kept = tuple(name for name in columns if name == _IDS or bool(tensors[name][mask].any()))
    # Where no text of the probe is padded they are cut to one length, and so is every other.
    padding = {name: int(tensors[name][~mask][0]) if not bool(mask.all()) else 0 for name in columns}
    zeros = tuple(name for name in columns if name not in kept)
    pads_left = bool((~mask[:, 0]).any()) if mask.shape[1] else False
    return TokenLayout(tuple(tensors), kept, padding, zeros, pads_left, constants, is_flat=False)
