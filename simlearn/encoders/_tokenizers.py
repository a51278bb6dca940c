"""Tokenizers that lack a token which encoding needs, completed in a copy: the user's own stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def of_modules(model: SentenceTransformer, modules: Sequence[Any]) -> SentenceTransformer:
    """A model of these modules, which are shared, with the prompts of another."""
    made = type(model)(
        modules=list(modules),
        device=str(model.device),
        prompts=dict(model.prompts),  # type: ignore[arg-type]
        default_prompt_name=model.default_prompt_name,
        truncate_dim=model.truncate_dim,
    )
    return made.train(model.training)


def with_padding(module: Any) -> Any:
    """An input module whose tokenizer can pad: with its end-of-text token where it has no token of its own for that.

    What is padded stands under a mask, so it does not matter which token it is.

    Raises:
        ValueError: for a tokenizer with neither.
    """
    tokenizer = getattr(module, "tokenizer", None)
    if tokenizer is None or not hasattr(tokenizer, "pad_token") or tokenizer.pad_token is not None:
        return module
    if tokenizer.eos_token is None:
        raise ValueError(
            f"{type(tokenizer).__name__} has neither a padding nor an end-of-text token, so texts of unlike length "
            "cannot be encoded together; give it one, such as tokenizer.pad_token = '<unk>', and pass the model"
        )
    module = with_own_tokenizer(module)
    module.tokenizer.pad_token = tokenizer.eos_token
    return module


def with_end(module: Any) -> Any:
    """An input module whose tokenizer closes each text with its end-of-text token, where it adds no token at all.

    The state of that token is what a causal model makes of the whole text. Cutting a text leaves it.
    """
    tokenizer = getattr(module, "tokenizer", None)
    if tokenizer is None or getattr(tokenizer, "eos_token", None) is None or not getattr(tokenizer, "is_fast", False):
        return module
    if tokenizer("a")["input_ids"] != tokenizer("a", add_special_tokens=False)["input_ids"]:
        return module
    from tokenizers.processors import Sequence as InTurn
    from tokenizers.processors import TemplateProcessing

    module = with_own_tokenizer(module)
    end, inner = str(tokenizer.eos_token), module.tokenizer.backend_tokenizer
    closing = TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    inner.post_processor = closing if inner.post_processor is None else InTurn([inner.post_processor, closing])
    return module


def cutting(module: Any, side: str) -> Any:
    """An input module that cuts texts which are too long on this side; special tokens stay."""
    tokenizer = getattr(module, "tokenizer", None)
    if tokenizer is None or not hasattr(tokenizer, "truncation_side"):
        raise ValueError(f"a {type(module).__name__} cuts no texts; leave truncation_side out")
    if tokenizer.truncation_side == side:
        return module
    module = with_own_tokenizer(module)
    module.tokenizer.truncation_side = side
    return module


def with_own_tokenizer(module: Any) -> Any:
    """The same module, weights shared, with a copy of its tokenizer."""
    own = copy.copy(module)
    own._modules = dict(module._modules)
    own.processor = copy.deepcopy(module.processor)
    return own
