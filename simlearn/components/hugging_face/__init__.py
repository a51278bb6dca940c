"""What the components over Hugging Face models share: saving, safe and quiet loading, and what decides an embedding."""

from simlearn.components.hugging_face.checks import check_pretrained_folder
from simlearn.components.hugging_face.models import (
    load_errors,
    load_image_model,
    load_sentence_transformer,
    load_tokenizer,
    open_image_model,
    quiet,
    save_image_model,
    save_sentence_transformer,
    save_tokenizer,
)
from simlearn.components.hugging_face.settings import canonical, settings_of, tokenizer_settings

__all__ = [
    "canonical",
    "check_pretrained_folder",
    "load_errors",
    "load_image_model",
    "load_sentence_transformer",
    "load_tokenizer",
    "open_image_model",
    "quiet",
    "save_image_model",
    "save_sentence_transformer",
    "save_tokenizer",
    "settings_of",
    "tokenizer_settings",
]
