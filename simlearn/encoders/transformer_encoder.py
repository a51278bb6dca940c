"""The tokens of texts through a transformer: many vectors a text, and no pooling."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from simlearn.components.hugging_face.hidden_states import hidden_states
from simlearn.embeddings import Embeddings
from simlearn.encoders._tokenizers import of_modules, with_end
from simlearn.encoders.text_encoder import TextEncoder, TruncationSide

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TransformerEncoder(TextEncoder):
    """Encodes each token of a text, with what the transformer makes of it in its text.

    A pooling is a head: `CLSPooling`, `MeanPooling`, `LearntCodes` and others make one vector of them, or some;
    `TokenProjection` and `MaxSim` compare all. Special tokens and those of the prompt are tokens too. A tokenizer that
    adds no token of its own, such as GPT-2's, is told in a copy to close each text with its end-of-text token.

    Args:
        model: name or path of a transformer or of a sentence-transformers model, of which what comes behind the
            transformer is left out; or a `SentenceTransformer`, whose transformer is shared and not changed, but for
            its mode and `requires_grad`.
        trainable: whether training changes the weights.
        max_length: longest text in tokens, the rest is cut off. None: the model's own limit.
        truncation_side: see `TextEncoder`.
        layers: whose states are taken, side by side: −1 is the last, 0 what goes into the first.
        prompt: see `TextEncoder`.
        local_files_only: whether to fail rather than to download.

    Raises:
        TypeError: for a model without tokens, such as one of static embeddings.
        ValueError: for layers that it does not have, and as `TextEncoder`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | SentenceTransformer,
        *,
        trainable: bool = False,
        max_length: int | None = None,
        truncation_side: TruncationSide | None = None,
        layers: Sequence[int] = (-1,),
        prompt: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.layers = tuple(layers)
        super().__init__(
            model,
            trainable=trainable,
            max_length=max_length,
            truncation_side=truncation_side,
            prompt=prompt,
            local_files_only=local_files_only,
        )
        count = getattr(self.model[0].config, "num_hidden_layers", None)
        if not self.layers or any(not isinstance(layer, int) for layer in self.layers):
            raise ValueError(f"layers must be at least one number, got {list(self.layers)}")
        if count is not None and any(not -count - 1 <= layer <= count for layer in self.layers):
            raise ValueError(
                f"the model has {count} layers, so layers must be from {-count - 1} to {count}, got {list(self.layers)}"
            )

    @property
    def many_vectors(self) -> bool:
        """True."""
        return True

    @property
    def ends_with_special(self) -> bool:
        """Whether the tokenizer closes a text with a token of its own, and does not open it with one.

        So it is with causal models, of which only the last token has seen the text: `LastTokenPooling` takes that.
        Others have theirs at the beginning, for `CLSPooling`.
        """
        tokenizer: Any = self.model.tokenizer
        whole, bare = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
        return bool(whole[: len(bare)] == bare and len(whole) > len(bare))

    @property
    def embedding_size(self) -> int:
        """D: the transformer's, for each layer."""
        return len(self.layers) * self._embedding_size

    def forward(self, batch: dict[str, Any]) -> Embeddings:  # type: ignore[override]
        """Encode what `get_collate_fn` gave for N texts: (N, M, D), and which tokens there are."""
        if not batch:
            nothing = next(self.parameters()).new_zeros((0, 0, self.embedding_size))
            return Embeddings(nothing, torch.zeros(0, 0, dtype=torch.bool, device=nothing.device))
        mask = batch.get("attention_mask")
        values = self._last_states(batch) if self.layers == (-1,) else self._states(batch)
        if mask is None or values.ndim != 3 or mask.shape != values.shape[:2]:
            raise TypeError(
                "the transformer gives no padded tokens beside a mask; load it without unpad_inputs and flash attention"
            )
        return Embeddings(values, mask.bool())

    def fingerprint_settings(self) -> str:
        """Those of `TextEncoder`, and the layers."""
        return json.dumps([super().fingerprint_settings(), list(self.layers)])

    def _last_states(self, batch: dict[str, Any]) -> Tensor:
        transformer: Any = self.model[0]
        states: Tensor = transformer(dict(batch))["token_embeddings"]  # modules write into what they get
        return states

    def _states(self, batch: dict[str, Any]) -> Tensor:
        transformer: Any = self.model[0]
        takes = transformer.model_forward_params
        given = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        if takes is not None:
            given = {name: value for name, value in given.items() if name in takes}
        states = hidden_states(transformer.model, given)
        return torch.cat([states[layer] for layer in self.layers], 2)

    def _read_by(self, model: SentenceTransformer) -> SentenceTransformer:
        """The transformer alone, with a tokenizer that pads, and closes a text."""
        first = model[0]
        if getattr(first, "module_output_name", None) != "token_embeddings":
            raise TypeError(
                f"a {type(first).__name__} gives no embeddings of tokens in their text, as TransformerEncoder does; "
                "TextEncoder reads such a model, whose texts are bags of tokens"
            )
        first = with_end(self._completed(first))
        return model if len(model) == 1 and first is model[0] else of_modules(model, [first])

    def _size_of(self, model: SentenceTransformer) -> int:
        transformer: Any = model[0]
        return int(transformer.get_embedding_dimension())
