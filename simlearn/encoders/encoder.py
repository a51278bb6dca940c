"""The base of all encoders: from objects to embeddings."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from simlearn.components import ClassResolver, load_module, save_module
from simlearn.embeddings import Embeddings

CollateFn: TypeAlias = Callable[[list[Any]], Any]
MetaExtractor: TypeAlias = Callable[[list[Any]], list[dict[str, Any]]]


class Encoder(nn.Module):
    """Turns objects into embeddings.

    A subclass implements `embedding_size` and `forward`, and usually `get_collate_fn`, which turns a list of objects
    into what `forward` takes. It is part of the servable, so training code stays out of it. `save` and `load` work for
    every encoder whose constructor arguments `get_config_dict` returns; override both otherwise, and write only
    safetensors, JSON, npy or text files.
    """

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

    @property
    def embedding_size(self) -> int:
        """D, the length of the embeddings."""
        raise NotImplementedError(f"{type(self).__name__} must define embedding_size")

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

    def get_config_dict(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config_dict, or save and load")

    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with the class, its settings and any of its weights.

        Two encoders with one fingerprint encode alike: a cache keyed by it never serves another encoder's vectors.
        Override `fingerprint_settings` when something besides weights and `get_config_dict` decides the embeddings, and
        `fingerprint_weights` when some weights do not.
        """
        digest = blake2b(type(self).__qualname__.encode(), digest_size=16)
        digest.update(self.fingerprint_settings().encode())
        for name, tensor in sorted(self.fingerprint_weights().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def fingerprint_settings(self) -> str:
        """What besides the weights decides the embeddings, as text. Default: `get_config_dict`, where it is defined."""
        if type(self).get_config_dict is Encoder.get_config_dict:
            return ""
        return repr(sorted(self.get_config_dict().items()))

    def fingerprint_weights(self) -> dict[str, Tensor]:
        """The weights that decide the embeddings, by name. Default: all. Leave out those that no embedding needs."""
        return self.state_dict()

    def save(self, output_path: str) -> None:
        """Write the encoder into a folder."""
        save_module(self, output_path, self.get_config_dict())

    @classmethod
    def load(cls, input_path: str) -> Encoder:
        """Read what `save` wrote."""
        return load_module(cls, input_path)

    @classmethod
    def load_with(cls, input_path: str, resolver: ClassResolver) -> Encoder:
        """Read what `save` wrote, finding the classes of nested encoders with `resolver`. Default: `load`."""
        return cls.load(input_path)
