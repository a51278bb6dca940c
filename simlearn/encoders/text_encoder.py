"""Texts through any sentence-transformers model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from simlearn.components.hugging_face import load_sentence_transformer, quiet, settings_of, tokenizer_settings
from simlearn.encoders import version_1
from simlearn.encoders._text_collate import TextCollate
from simlearn.encoders._tokenizers import cutting, of_modules, with_padding
from simlearn.encoders.encoder import CollateFn, Encoder
from simlearn.encoders.prompted import Prompted
from simlearn.files import LoadError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TruncationSide = Literal["left", "right"]

_MODEL_FOLDER = "sentence_transformer"


class TextEncoder(Encoder):
    """Encodes texts as `SentenceTransformer.encode` does: tokenise, transform, pool, and whatever the model adds.

    Args:
        model: name or path of a sentence-transformers model, or of a transformer (pooled by the mean of its tokens); or
            a `SentenceTransformer`, which is shared and not changed, but for its mode and `requires_grad`. Code that
            comes with a model is never run.
        trainable: whether training changes the weights.
        max_length: longest text in tokens, the rest is cut off. None: the model's own limit.
        truncation_side: `"left"` cuts the beginning of a text that is too long, such as what was said first in a
            dialogue, `"right"` its end. None: as the tokenizer does, which is nearly always the end.
        prompt: what is put before every text. None: the model's default prompt, if it has one. For another prompt in
            another place see `with_prompt`.
        local_files_only: whether to fail rather than to download.

    Raises:
        TypeError: for another kind of model, such as a cross-encoder.
        ValueError: for a `max_length` that the model cannot have, and a tokenizer without a token to pad with.
    """

    opened_by_name: ClassVar[tuple[str, ...]] = ("model",)

    def __init__(
        self,
        model: str | os.PathLike[str] | SentenceTransformer,
        *,
        trainable: bool = False,
        max_length: int | None = None,
        truncation_side: TruncationSide | None = None,
        prompt: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        super().__init__()
        from sentence_transformers import SentenceTransformer

        if isinstance(model, (str, os.PathLike)):
            with quiet():
                model = SentenceTransformer(os.fspath(model), device="cpu", local_files_only=local_files_only)
        if not isinstance(model, SentenceTransformer):
            raise TypeError(f"model must be a name, a path or a SentenceTransformer, got {type(model).__name__}")
        if not {"text", "message"} & set(model.modalities):
            raise TypeError(f"the model encodes {model.modalities}, not texts; ImageEncoder encodes images")
        if truncation_side not in (None, *get_args(TruncationSide)):
            raise ValueError(f"truncation_side must be 'left', 'right' or None, got {truncation_side!r}")
        self.truncation_side = truncation_side
        self.model = model = self._read_by(model)
        self._trainable = trainable
        self._max_length = None if max_length is None else self._checked_length(max_length)
        self._prompt = prompt
        self._embedding_size = self._size_of(model)
        for pooler in self._idle_poolers():  # DDP waits forever for a gradient that never comes
            pooler.requires_grad_(False)
        self.freeze_if_required()
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
        """D, after the model's own truncation (`truncate_dim`)."""
        return self._embedding_size

    def with_prompt(self, prompt: str) -> Prompted:
        """This encoder, weights shared, with another prompt for one tower or field: `text.with_prompt("query: ")`."""
        return Prompted(self, prompt)

    def get_collate_fn(self) -> CollateFn:
        """From N texts to a dictionary of tensors, padded to the longest."""
        return TextCollate(self.model[0], self._own_prompt(), self._max_length)

    def get_prompted_collate_fn(self, prompt: str) -> CollateFn:
        """Like `get_collate_fn`, with `prompt` before each text instead of the encoder's own."""
        return TextCollate(self.model[0], prompt, self._max_length)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Encode what `get_collate_fn` gave for N texts as (N, D), in the dtype of the weights."""
        if not batch:
            return next(self.parameters(), torch.empty(0)).new_zeros((0, self.embedding_size))
        features = self.model(dict(batch))  # modules write into what they get; the caller may encode a batch twice
        if "sentence_embedding" not in features:
            raise TypeError("the model gives no sentence_embedding; add a Pooling module to it")
        embeddings: Tensor = features["sentence_embedding"]
        return embeddings[:, : self.embedding_size]

    def fingerprint_settings(self) -> str:
        """Tokenizer, lengths, prompt, and the configuration of every module."""
        settings: list[Any] = [self._max_length, self._own_prompt(), self.embedding_size]
        shared: dict[int, Any] = {}  # every layer of a transformer holds the same configuration
        part: Any
        for part in self.model.modules():
            if hasattr(part, "get_config_dict"):
                settings.append([type(part).__qualname__, settings_of(part.get_config_dict())])
            tokenizer, config = getattr(part, "tokenizer", None), getattr(part, "config", None)
            if tokenizer is not None and id(tokenizer) not in shared:
                shared[id(tokenizer)] = tokenizer_settings(tokenizer)
            if config is not None and hasattr(config, "to_dict") and id(config) not in shared:
                shared[id(config)] = settings_of(config.to_dict())
        return json.dumps([settings, list(shared.values())])

    def fingerprint_weights(self) -> dict[str, Tensor]:
        """All but poolers that nothing reads: where a checkpoint lacks them, they are random in every process."""
        idle = {id(tensor) for pooler in self._idle_poolers() for tensor in pooler.state_dict(keep_vars=True).values()}
        return {name: tensor for name, tensor in self.state_dict(keep_vars=True).items() if id(tensor) not in idle}

    def kept_arguments(self) -> dict[str, Any]:
        """The model itself, which may have been opened by a name."""
        return {"model": self.model, "local_files_only": False}

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """The model lay in `sentence_transformer`, and the settings had its dtype and a fingerprint."""
        told = settings.pop("model")
        fingerprint = settings.pop("fingerprint", None)
        dtype = None if told["dtype"] == "None" else told["dtype"]
        model = load_sentence_transformer(folder / _MODEL_FOLDER, truncate_dim=told["truncate_dim"], dtype=dtype)
        if fingerprint != version_1.fingerprint(cls(model, **settings)):
            # Where a tensor is missing, transformers makes a random one and only logs it.
            raise LoadError(f"{folder} does not hold the weights and settings that were saved; copy it anew, whole")
        return {**settings, "model": model}

    def _read_by(self, model: SentenceTransformer) -> SentenceTransformer:
        """The model, or another one of its modules where its tokenizer needs a padding token."""
        first = self._completed(model[0])
        return model if first is model[0] else of_modules(model, [first, *list(model)[1:]])

    def _completed(self, module: Any) -> Any:
        module = with_padding(module)
        return module if self.truncation_side is None else cutting(module, self.truncation_side)

    def _size_of(self, model: SentenceTransformer) -> int:
        size = model.get_embedding_dimension()
        if size is None:
            raise TypeError("the model does not know the size of its embeddings; end it with a Pooling or Dense module")
        return int(size)

    def _own_prompt(self) -> str | None:
        return self.model.prompts.get(self.model.default_prompt_name or "") if self._prompt is None else self._prompt

    def _checked_length(self, max_length: int) -> int:
        limits = [_positions(part) for part in self.model[0].modules()]
        longest = min((limit for limit in limits if limit is not None), default=None)
        if not any(hasattr(part, "processor") for part in self.model[0].modules()):
            raise ValueError(f"a {type(self.model[0]).__name__} cuts no texts; leave max_length out")
        if max_length < 1 or (longest is not None and max_length > longest):
            raise ValueError(f"max_length must be between 1 and the model's {longest or 'limit'}, got {max_length}")
        return max_length

    def _idle_poolers(self) -> list[nn.Module]:
        """BERT-like models compute a pooled output that sentence embeddings rarely use."""
        idle = []
        for part in self.model.modules():
            outputs = str(getattr(part, "modality_config", "pooler_output"))
            pooler = getattr(getattr(part, "model", None), "pooler", None)
            if isinstance(pooler, nn.Module) and "pooler_output" not in outputs:
                idle.append(pooler)
        return idle


def _positions(part: nn.Module) -> int | None:
    """How many tokens a table of positions holds; RoBERTa's starts behind the padding index."""
    table = getattr(part, "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        return None
    return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
