"""What the components over Hugging Face models share: saving, safe and quiet loading, and what decides an embedding."""

from simlearn.components.hugging_face.checks import check_pretrained_folder
from simlearn.components.hugging_face.images import (
    check_model,
    load_model,
    load_processor,
    open_model,
    open_processor,
    save_model,
    save_processor,
)
from simlearn.components.hugging_face.models import (
    load_errors,
    load_sentence_transformer,
    load_tokenizer,
    quiet,
    save_sentence_transformer,
    save_tokenizer,
)
from simlearn.components.hugging_face.settings import (
    canonical,
    module_text,
    settings_of,
    settings_text,
    tells_all,
    tokenizer_settings,
)

__all__ = [
    "canonical",
    "check_model",
    "check_pretrained_folder",
    "load_errors",
    "load_model",
    "load_processor",
    "load_sentence_transformer",
    "load_tokenizer",
    "module_text",
    "open_model",
    "open_processor",
    "quiet",
    "save_model",
    "save_processor",
    "save_sentence_transformer",
    "save_tokenizer",
    "settings_of",
    "settings_text",
    "tells_all",
    "tokenizer_settings",
]
