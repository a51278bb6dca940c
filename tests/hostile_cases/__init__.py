"""More than a hundred servables that are hostile or damaged, each made of a sound one of format version 1.

Weights, structure and pickles are in `models/test_hostile_*.py`; here is what exhausts time, memory, or asks the world.
"""

from __future__ import annotations

from hostile_cases.changes import Change
from hostile_cases.components import COMPONENTS
from hostile_cases.files import FILES
from hostile_cases.outward import OUTWARD
from hostile_cases.sizes import SIZES
from hostile_cases.texts import TEXTS

CASES: dict[str, tuple[str, Change]] = {
    **{f"text: {name}": ("text", change) for group in (OUTWARD, TEXTS, SIZES, FILES) for name, change in group.items()},
    **{f"{base}: {name}": (base, change) for base, group in COMPONENTS.items() for name, change in group.items()},
}
"""By name: the servable of the fixture that it is made of, and what is done to it."""

HARMLESS = {
    "image: infinity": "its embeddings are infinite or NaN, and nothing else happens",
    "text: templates that are not used": "no modality renders them",
    "text: templates of an old model that does not use them": "it knew no messages",
    "text: a processor by name": "pads to another length, which the model does not take",
    "text: pairs of modalities": "a text is a text, whatever it looks like",
    "text: a split by the empty pattern": "splits nothing",
    "text: a token twice": "as the template says",
    "text: no unknown token": "a word that needs it is an error",
    "text: the encoder's prompt": "is an error when a text is tokenised",
    "text: chunk_size_feed_forward 1000000000": "as if the layers were not split",
    "text: long texts": "are cut where the model ends",
    "text: GPT-2 of many positions": "random weights, which no fingerprint fits",
    "text: other names": "random weights, which no fingerprint fits",
    "text: no weights": "random weights, which no fingerprint fits",
    "text: 20 GB of README.md": "nobody reads it",
    "fasttext: n-grams without end": "no word is as long",
    "bag: n-grams of 10**9": "no word is as long",
    "bag: n-grams of many lengths": "no word is as long",
}
"""What may load, or say when it encodes that it cannot, and why that harms nobody."""
