"""Images through any vision model of transformers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from simlearn.components.hugging_face import (
    check_model,
    load_model,
    load_processor,
    open_model,
    open_processor,
    settings_of,
)
from simlearn.encoders.encoder import CollateFn, Encoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ImagePooling: TypeAlias = Literal["auto", "cls", "mean"]

_MODEL_FOLDER = "transformers"


class ImageEncoder(Encoder):
    """Encodes PIL images, which are converted to RGB.

    Args:
        model: name or path of a model that `transformers.AutoModel` and `AutoImageProcessor` know (ViT, DINOv2, Swin,
            ConvNeXt, ResNet, CLIP and others); or such a model, which is shared and not changed, but for its mode and
            `requires_grad`; `processor` must then be given. Code that comes with a model is never run.
        processor: the image processor of a model that is given.
        trainable: whether training changes the weights.
        pooling: how one vector comes of many. "auto": the model's own pooled output (of CLIP-like models the projected
            image features) where its checkpoint has one, else the class token, else the mean. "cls": the first token.
            "mean": the mean of all tokens, a class token included, or of all positions of a feature map.
        local_files_only: whether to fail rather than to download.

    Raises:
        TypeError: for a model that `AutoModel` would not build, which could not be loaded again.
        ValueError: for an unknown pooling, a model without tokens where "cls" is asked for, or a checkpoint that lacks
            weights.
        ImportError: without Pillow.
    """

    opened_by_name: ClassVar[tuple[str, ...]] = ("model",)

    def __init__(
        self,
        model: str | os.PathLike[str] | PreTrainedModel,
        *,
        processor: Any = None,
        trainable: bool = False,
        pooling: ImagePooling = "auto",
        local_files_only: bool = False,
    ) -> None:
        super().__init__()
        _require_pillow()
        if pooling not in ("auto", "cls", "mean"):
            raise ValueError(f"pooling must be 'auto', 'cls' or 'mean', got {pooling!r}")
        if isinstance(model, (str, os.PathLike)):
            if processor is not None:
                raise TypeError(
                    "a model's name or path brings its own processor; leave processor out, or give the model"
                )
            path = os.fspath(model)
            model = open_model(path, local_files_only=local_files_only)
            processor = open_processor(path, local_files_only=local_files_only)
        check_model(model)
        _check_processor(processor)
        self.model: Any = model
        self.processor = processor
        self._trainable = trainable
        self._pooling = pooling
        self._freeze_unused()
        self.freeze_if_required()
        self.eval()
        self._embedding_size = self._try_out()
        self.train()

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._trainable

    @property
    def pretrained(self) -> bool:
        """True."""
        return True

    @property
    def embedding_size(self) -> int:
        """D, as one image showed it."""
        return self._embedding_size

    def get_collate_fn(self) -> CollateFn:
        """From N PIL images to a dictionary with `pixel_values` (N, 3, height, width)."""
        return ImageCollate(self.processor)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Encode what `get_collate_fn` gave for N images as (N, D), in the dtype of the weights."""
        pixels = batch["pixel_values"]
        dtype = next(self.model.parameters()).dtype
        inputs = {**batch, "pixel_values": pixels.to(dtype) if pixels.is_floating_point() else pixels}
        is_dual = hasattr(self.model, "get_image_features")  # CLIP and its like, whose forward wants texts too
        output = self.model.get_image_features(**inputs) if is_dual else self.model(**inputs)
        return output if isinstance(output, Tensor) else self._pool(output)

    def _pool(self, output: Any) -> Tensor:
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if self._pooling == "auto" and pooled is not None:
            return pooled.flatten(1)  # ResNet gives (N, D, 1, 1)
        hidden: Tensor = output.last_hidden_state
        if self._pooling == "mean" or (self._pooling == "auto" and not self._has_class_token()):
            return hidden.mean((2, 3)) if hidden.ndim == 4 else hidden.mean(1)
        if hidden.ndim != 3:
            raise ValueError(
                f"{type(self.model).__name__} gives a feature map, which has no first token; use pooling='mean'"
            )
        return hidden[:, 0]

    def _has_class_token(self) -> bool:
        names = (name.rpartition(".")[2] for name, _ in self.model.named_parameters())
        return not {"cls_token", "class_embedding"}.isdisjoint(names)

    def _freeze_unused(self) -> None:
        """Take the gradient from what no embedding depends on: DDP waits forever for one that never comes."""
        for name, parameter in self.model.named_parameters():
            if name.rpartition(".")[2] == "mask_token" or (self._pooling != "auto" and name.startswith("pooler.")):
                parameter.requires_grad_(False)

    def _try_out(self) -> int:
        """The embedding size, which configurations name in a dozen ways; a processor that does not fit fails here."""
        from PIL import Image

        batch = self.get_collate_fn()([Image.new("RGB", (32, 32))])
        device = next(self.model.parameters()).device
        with torch.no_grad():
            return int(self({name: value.to(device) for name, value in batch.items()}).shape[1])

    def fingerprint_settings(self) -> str:
        """Pooling, and the configurations of model and processor."""
        processor = [type(self.processor).__name__, settings_of(self.processor.to_dict())]
        return json.dumps([self._pooling, settings_of(self.model.config.to_dict()), processor])

    def kept_arguments(self) -> dict[str, Any]:
        """Model and processor themselves, which may have been opened by a name."""
        return {"model": self.model, "processor": self.processor, "local_files_only": False}

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """Model and processor lay in one folder."""
        inner = folder / _MODEL_FOLDER
        return {**settings, "model": load_model(inner), "processor": load_processor(inner)}


class ImageCollate:
    """Turns images into pixels. Light: it carries the processor, not the model.

    Args:
        processor: an image processor of transformers.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, images: list[Any]) -> dict[str, Tensor]:
        """Turn N PIL images into a dictionary of tensors.

        Raises:
            TypeError: for an object that is no PIL image.
        """
        from PIL import Image

        for image in images:
            if not isinstance(image, Image.Image):
                raise TypeError(
                    f"ImageEncoder encodes PIL images, got {type(image).__name__}; open files with PIL.Image.open, and "
                    "if the image is a field of the object, pick it with Field(name, encoder) or Fields(name=encoder)"
                )
        return dict(self.processor(images=[image.convert("RGB") for image in images], return_tensors="pt"))


def _check_processor(processor: Any) -> None:
    if not hasattr(processor, "to_dict") or not hasattr(processor, "save_pretrained"):
        raise TypeError(f"a model that is given needs processor=, its image processor; got {type(processor).__name__}")


def _require_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError("ImageEncoder needs Pillow: pip install simlearn[image]") from error
