"""Keys of contents: equal content is recognised, and whatever an encoder could tell apart is told apart."""

from __future__ import annotations

import datetime
import enum
import io
from collections import OrderedDict
from dataclasses import dataclass, make_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from simlearn.hashing import content_key

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary())
CONTENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
)


class Level(enum.Enum):
    LOW = 1


@dataclass
class Product:
    title: str
    image: Any


def exactly(value: Any) -> Any:
    """Contents by their types, their order and the bits of their floats, which is what a key must tell apart."""
    if isinstance(value, (list, tuple)):
        return type(value), tuple(exactly(item) for item in value)
    if isinstance(value, dict):
        return dict, tuple((key, exactly(item)) for key, item in value.items())
    return type(value), value.hex() if isinstance(value, float) else value


@given(CONTENTS, CONTENTS)
def test_equal_contents_and_only_they_share_a_key(first: Any, second: Any) -> None:
    assert len(content_key(first)) == 16
    assert (content_key(first) == content_key(second)) == (exactly(first) == exactly(second))


@given(st.lists(st.text(), max_size=5))
def test_a_set_has_no_order(items: list[str]) -> None:
    assert content_key(set(items)) == content_key(frozenset(items[::-1]))


def distinct(*values: Any) -> bool:
    return len({content_key(value) for value in values}) == len(values)


def test_the_type_of_a_number_counts() -> None:
    assert distinct(3, 3.0, "3", b"3", np.int64(3), np.int32(3), np.float64(3), torch.tensor(3), torch.tensor(3.0))
    assert distinct(1, 1.0, True, np.bool_(True))
    assert distinct(0.0, -0.0, 0)


def test_dictionaries_in_another_order_are_other_contents() -> None:
    assert distinct({"title": "a", "text": "b"}, {"text": "b", "title": "a"})
    assert content_key(OrderedDict(title="a")) == content_key({"title": "a"})


def test_containers_differ_by_their_type_and_their_nesting() -> None:
    assert distinct([], (), {}, set(), "", b"", None, [[]], [()], ([],), [None], {"": None}, {"": []})
    assert distinct(["a", "b"], ["ab"], ["a", ["b"]], [["a"], "b"], [["a", "b"]], {"a": "b"}, [("a", "b")])


def test_a_text_is_never_taken_for_something_else() -> None:
    assert content_key("spoon") == content_key(np.str_("spoon"))
    framed = "s" + "\x01" + "\x00" * 7 + "a"
    assert distinct(framed, framed[1:], "a", ["a"], "\ud800")


def test_bytes() -> None:
    assert distinct(b"spoon", bytearray(b"spoon"), "spoon", b"spoon\x00", memoryview(b"spoon").tolist())


def test_values_of_other_types() -> None:
    utc = datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)
    elsewhere = utc.astimezone(datetime.timezone(datetime.timedelta(hours=1)))
    assert distinct(utc, elsewhere, utc.date(), utc.time(), datetime.timedelta(1), Level.LOW, Path("a"), "a")
    assert distinct(Decimal("1.50"), Decimal("1.51"), 1.5, "1.50") and content_key(Decimal("1.50")) == content_key(
        Decimal("1.50")
    )


ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.arange(6).reshape(3, 2),
    np.arange(6).reshape(2, 3).T,
    np.arange(6),
    np.arange(6, dtype=np.float32),
    np.arange(6, dtype=np.int32),
    np.array(["a", "b"]),
    np.array(["a", "b"], dtype=object),
    np.array(["a", "c"], dtype=object),
    np.array(["a", "b"], dtype=np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else np.array(["a"]),
    np.array([(1, 2)], dtype=[("x", "i4"), ("y", "i4")]),
    np.array([(1, 2)], dtype=[("x", "i4"), ("z", "i4")]),
    np.zeros((0, 3)),
    np.zeros((3, 0)),
    np.zeros(1, dtype="datetime64[s]"),
    np.zeros(1, dtype="datetime64[ms]"),
]


def test_arrays_differ_by_values_shape_and_dtype() -> None:
    assert distinct(*ARRAYS)
    assert all(content_key(array) == content_key(array.copy()) for array in ARRAYS)


def test_arrays_do_not_depend_on_their_memory() -> None:
    array = np.arange(24.0).reshape(4, 6)
    assert content_key(array[::2, ::3]) == content_key(array[::2, ::3].copy())
    assert content_key(np.asfortranarray(array)) == content_key(array)


DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_dtype(dtype: torch.dtype) -> None:
    tensor = torch.arange(12).reshape(3, 4).to(dtype)
    assert content_key(tensor) == content_key(tensor.clone())
    assert content_key(tensor[:, ::2]) == content_key(tensor[:, ::2].clone())
    assert content_key(tensor.T) == content_key(tensor.T.contiguous())
    assert distinct(tensor, tensor[:2], tensor.T, tensor[0, 0], tensor[:0], tensor[:, :0])


def test_tensors_differ_by_dtype_and_from_arrays() -> None:
    assert distinct(*[torch.ones(2, dtype=dtype) for dtype in DTYPES], np.ones(2), np.ones(2, dtype=np.float32))


def test_tensors_do_not_depend_on_graph_or_lazy_bits() -> None:
    tensor = torch.randn(3, dtype=torch.complex64)
    assert content_key(tensor.conj()) == content_key(tensor.conj().resolve_conj())
    assert content_key(tensor.conj().imag) == content_key(tensor.conj().imag.clone())
    leaf = torch.ones(2, requires_grad=True)
    assert content_key(leaf) == content_key(leaf * 1) == content_key(leaf.detach())
    assert content_key(torch.nn.Parameter(torch.ones(2))) == content_key(torch.ones(2))


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"]


def picture(mode: str, shade: int = 100) -> Image.Image:
    return (
        Image.new("RGBA", (4, 3), (shade, 20, 30, 255))
        .convert("RGB")
        .convert("RGBA" if mode == "LA" else "RGB")
        .convert(mode)
    )


@pytest.mark.parametrize("mode", MODES)
def test_images_of_every_mode(mode: str) -> None:
    assert content_key(picture(mode)) == content_key(picture(mode).copy())
    brighter = picture(mode, 250)
    assert distinct(picture(mode), brighter, picture(mode).resize((3, 4)), picture(mode).resize((4, 4)))


def test_images_differ_by_mode() -> None:
    assert distinct(*[picture(mode) for mode in MODES])


def test_images_differ_by_palette_and_transparency() -> None:
    first, second, third = (Image.new("P", (2, 2), 0) for _ in range(3))
    first.putpalette([0, 0, 0, 255, 255, 255])
    second.putpalette([255, 0, 0, 255, 255, 255])
    third.putpalette([0, 0, 0, 128, 255, 255, 255, 255], "RGBA")
    seen_through = first.copy()
    seen_through.info["transparency"] = 0
    assert distinct(first, second, third, seen_through)


def test_an_image_is_the_same_before_and_after_it_was_read(tmp_path: Path) -> None:
    picture("P").save(tmp_path / "image.png")
    lazy, read = Image.open(tmp_path / "image.png"), Image.open(tmp_path / "image.png")
    read.load()
    assert content_key(lazy) == content_key(read)
    buffer = io.BytesIO((tmp_path / "image.png").read_bytes())
    assert content_key(Image.open(buffer)) == content_key(read)


def test_dataclasses_count_with_their_names_and_fields() -> None:
    renamed = make_dataclass("Product", [("title", str), ("photo", Any)])
    subtitled = make_dataclass("Item", [("title", str), ("image", Any)])
    one = Product("a", np.ones(2))
    assert content_key(one) == content_key(Product("a", np.ones(2)))
    assert distinct(one, Product("b", np.ones(2)), renamed("a", np.ones(2)), subtitled("a", np.ones(2)))


@pytest.mark.parametrize(
    "value",
    [object(), [object()], {"a": {1: print}}, Product, pd.Series([1]), torch.ones(2).to_sparse(), 1j, iter([])],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"have no content key; give a key function .*key_extractors"):
        content_key(value)


def test_keys_never_change() -> None:
    """Caches on disk hold them."""
    assert content_key("spoon").hex() == "442d28ae159e8a4a04dc8936741ed30c"
    assert content_key({"a": [1, 2.5, None], "b": (b"x", True)}).hex() == "bb4249fb43e9e2a212a0e05d24a3fcb7"


RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def saved(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    """The image as it comes back from a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_images_differ_by_the_orientation_flag(kind: str) -> None:
    image = Image.fromarray(RAMP)
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    plain, upright = saved(image, kind, **options), saved(image, kind, exif=turned(1), **options)
    left, right = (saved(image, kind, exif=turned(flag), **options) for flag in (8, 6))
    assert plain.tobytes() == upright.tobytes() == left.tobytes() == right.tobytes()
    assert content_key(plain) == content_key(upright) == content_key(Image.frombytes("RGB", (4, 4), plain.tobytes()))
    assert distinct(plain, left, right)
    assert content_key(right) == content_key(saved(image, kind, exif=turned(6), **options))


def test_images_differ_by_colour_profile() -> None:
    image = Image.fromarray(RAMP)
    profiles = [saved(image, "PNG", icc_profile=profile) for profile in (b"wide", b"narrow")]
    assert distinct(saved(image, "PNG"), *profiles)


def test_an_unreadable_orientation_is_told_by_its_bytes() -> None:
    image = Image.fromarray(RAMP)
    garbled = [saved(image, "PNG", exif=b"Exif\0\0" + rest) for rest in (b"garbage!", b"rubbish!")]
    assert distinct(image, *garbled)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = ["a"]
    endless.append({"more": (endless,)})
    array = np.empty(1, dtype=object)
    array[0] = array
    product = Product("a", None)
    product.image = product
    for value in (endless, array, product, nested(100_000)):
        with pytest.raises(ValueError, match=r"contains itself, or is nested too deeply; give a key function") as error:
            content_key(value)
        assert type(value).__name__ in str(error.value)
    assert content_key(nested(100)) == content_key(nested(100))
