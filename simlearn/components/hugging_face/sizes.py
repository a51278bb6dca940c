"""Sizes that a configuration names, against those that the weights beside it have.

A constructor believes its configuration: it lists ten names for ten layers, allocates, and only then are the weights
looked at. So integers are bounded before any configuration is built, and what is built is counted while it is.
"""

from __future__ import annotations

import math
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simlearn.components.inspection import mappings
from simlearn.components.limits import limited
from simlearn.files import LoadError, UntrustedError

_MANY = 131_072  # more labels, words or channels than the weights have in a row; no model needs them without weights
_FAR = 2**24  # positions, which rotary ones need no weights for; the most that a model claims is 10 million
_LAYERS_AT_LEAST = 512  # experts and groups lie in one tensor
_LAYERS = re.compile(r".*(layers?|depths?|blocks|stages|groups|experts)|n_layer|num_hidden_.*")
_POSITIONS = re.compile(r".*(position|window|length|_ctx|sampl|distance).*")
_NO_SIZES = re.compile(r".*(theta|_id|_ids|_index|pixels|_edge)|transformers_version")
_SLACK = 2**23  # numbers beside those of the weights: positions, masks and poolers that were never saved
_SLACK_PARTS = 256
_LONGEST_EDGE = 3_200  # of a square image, with its copies under 500 MB
_MOST_PIXELS = 2**23
_EDGES = frozenset("height width shortest_edge size crop_size size_divisor size_divisibility pad_size".split())


@dataclass(frozen=True)
class WeightSizes:
    """The sizes that the headers of safetensors files name.

    Args:
        tensors: how many there are.
        numbers: in all of them.
        largest: the longest dimension of any.
    """

    tensors: int = 0
    numbers: int = 0
    largest: int = 0

    @classmethod
    def of(cls, *files: Path) -> WeightSizes:
        """Read the headers, nothing else.

        Raises:
            LoadError: for a file that is missing, or damaged.
        """
        from safetensors import SafetensorError, safe_open

        shapes: list[list[int]] = []
        for file in files:
            try:
                with safe_open(str(file), framework="pt") as weights:
                    names = weights.keys()
                    shapes += [weights.get_slice(name).get_shape() for name in names]
            except (SafetensorError, OSError) as error:
                raise LoadError(f"{file} is no safetensors file, or a damaged one: {error}") from None
        largest = max((size for shape in shapes for size in shape), default=0)
        return cls(len(shapes), sum(map(math.prod, shapes)), largest)


def weight_sizes(folder: Path) -> WeightSizes:
    """What all safetensors files of a folder hold, those of folders within too."""
    return WeightSizes.of(*sorted(folder.rglob("*.safetensors")))


def check_sizes(file: Path, config: Any) -> None:
    """Compare the integers of a `config.json` with the headers of the weights beside it.

    Raises:
        LoadError: naming the key whose size no weights have.
    """
    sizes = WeightSizes.of(*sorted(file.parent.glob("*.safetensors")))
    for mapping in mappings(config):
        for key, value in mapping.items():
            if _NO_SIZES.fullmatch(str(key)):
                continue
            for size in value if isinstance(value, list) else [value]:
                if isinstance(size, int) and size > _limit(str(key), sizes):
                    raise LoadError(
                        f"{file} is damaged: it has {key!r:.80} {size}, but the weights beside it have "
                        f"{sizes.tensors:,} tensors of at most {sizes.largest:,} rows or columns; copy the model anew, "
                        "whole"
                    )


def _limit(key: str, sizes: WeightSizes) -> int:
    if _LAYERS.fullmatch(key):
        return max(sizes.tensors, _LAYERS_AT_LEAST)
    return _FAR if _POSITIONS.fullmatch(key) else max(sizes.largest, _MANY)


def check_image_sizes(file: Path, config: Any) -> None:
    """Bound the images that a processor makes of any image.

    Raises:
        UntrustedError: naming the setting.
    """
    for mapping in mappings(config):
        for key in mapping.keys() & _EDGES:
            for edge in mapping[key] if isinstance(mapping[key], list) else [mapping[key]]:
                if isinstance(edge, (int, float)) and edge > _LONGEST_EDGE:
                    raise UntrustedError(
                        f"{file} has {key!r} {edge}: images of more than {_LONGEST_EDGE} pixels a side"
                    )
        least = mapping.get("min_pixels")
        if isinstance(least, (int, float)) and least > _MOST_PIXELS:
            raise UntrustedError(f"{file} has 'min_pixels' {least}: images of more than {_MOST_PIXELS:,} pixels")
        part = mapping.get("crop_pct")
        if isinstance(part, (int, float)) and part < 0.1:
            raise UntrustedError(f"{file} has 'crop_pct' {part}: an image would be made that many times larger first")


def no_larger_than(folder: Path) -> AbstractContextManager[None]:
    """Let no model be built in this thread that is larger than the weights in a folder.

    Tensors may be a few more than the files have; numbers twice as many, since a tied weight is stored once.

    Raises:
        LoadError: at the first tensor or module too many.
    """
    sizes = weight_sizes(folder)
    parts = 8 * sizes.tensors + _SLACK_PARTS
    return limited(folder, tensors=parts, modules=parts, numbers=2 * sizes.numbers + _SLACK)
