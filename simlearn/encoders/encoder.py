"""The base of all encoders: from objects to embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

from torch import Tensor, nn
from torch.utils.data import default_collate

from simlearn.components import Component
from simlearn.embeddings import Embeddings

CollateFn: TypeAlias = Callable[[list[Any]], Any]
MetaExtractor: TypeAlias = Callable[[list[Any]], list[dict[str, Any]]]


class Encoder(nn.Module, Component):
    """Turns objects into embeddings.

    A subclass implements `embedding_size` and `forward`, and usually `get_collate_fn`, which turns a list of objects
    into what `forward` takes. It is part of the servable, so training code stays out of it. It is saved by its
    constructor's arguments and its weights, as every `Component`; where that cannot be, override `save` and `load`, and
    write only safetensors, JSON, npy or text files.
    """

    required: ClassVar[tuple[str, ...]] = ("embedding_size", "forward")

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights.

        A frozen encoder stays in eval mode, without gradients, out of the optimiser and out of the checkpoint. Default:
        True, for encoders that start from nothing.
        """
        return True

    @property
    def pretrained(self) -> bool:
        """Whether the weights come from elsewhere; if trainable they get the smaller `encoder_learning_rate`."""
        return False

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that come from elsewhere: where they train, they do so at `encoder_learning_rate`.

        Those that do not train are left out of checkpoints, since whoever builds the encoder anew has them again.
        Default: all of an encoder that is `pretrained`. Override it where some start from nothing, such as adapters.
        """
        return self.parameters() if self.pretrained else iter(())

    @property
    def embedding_size(self) -> int:
        """D, the length of the embeddings."""
        raise NotImplementedError(f"{type(self).__name__} must define embedding_size")

    @property
    def many_vectors(self) -> bool:
        """Whether `forward` gives `Embeddings` of many vectors an object; asked where there is no object to encode.

        Default: False.
        """
        return False

    def get_collate_fn(self) -> CollateFn:
        """A picklable function from a list of N objects to what `forward` takes. It runs in the loader's workers.

        A token budget (`encode_chunk_tokens`) asks its method `lengths(objects)` for the tokens (N,) of each object.

        Default: torch's `default_collate`.
        """
        return default_collate

    def get_prompted_collate_fn(self, prompt: str) -> CollateFn:
        """Like `get_collate_fn`, with a prompt before each object.

        Raises:
            TypeError: by encoders that know no prompts.
        """
        raise TypeError(f"{type(self).__name__} has no prompts; TextEncoder has")

    def extract_meta(self, objects: list[Any]) -> list[dict[str, Any]]:
        """Facts about each of N objects for the head: numbers and strings by name, the same names for every object.

        Default: none.
        """
        return [{} for _ in objects]

    def get_meta_extractor(self) -> MetaExtractor | None:
        """`extract_meta` as a picklable function for the loader's workers; None where there is nothing to extract.

        Override it beside `extract_meta` when the bound method would carry weights along.
        """
        return None if type(self).extract_meta is Encoder.extract_meta else self.extract_meta

    def forward(self, batch: Any) -> Tensor | Embeddings:
        """Encode a collated batch of N objects as (N, D), or as `Embeddings` for many vectors an object."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def train(self, mode: bool = True) -> Encoder:
        """Set train mode; a frozen encoder stays in eval mode, so that its dropout and batch statistics rest."""
        super().train(mode and self.trainable)
        return self

    def freeze_if_required(self) -> None:
        """Put a frozen encoder into eval mode without gradients; of a trainable one only the frozen encoders inside."""
        if not self.trainable:
            self.requires_grad_(False)
            self.eval()
            return
        for part in self.modules():
            if isinstance(part, Encoder) and part is not self:
                part.freeze_if_required()
