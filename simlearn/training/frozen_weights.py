"""Frozen encoders stay out of checkpoints.

Their weights are deleted when a checkpoint is saved and filled in from the live model when it is loaded, so that
loading stays strict. A fingerprint in the checkpoint refuses a model whose frozen encoder is another one. An encoder
that cannot be told from others stays in whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from simlearn.components import CannotTellError
from simlearn.encoders import Encoder, version_1
from simlearn.files import LoadError
from simlearn.models import SimilarityModel

CHECKPOINT_KEY = "simlearn_frozen_encoders"


def _frozen(model: SimilarityModel) -> Iterator[tuple[str, str, Encoder]]:
    for name, encoder in model.plan.encoders.items():
        if not encoder.trainable:
            yield name, f"model.encoders.{name}.", encoder


def remove_frozen(model: SimilarityModel, checkpoint: dict[str, Any]) -> None:
    """Take the weights of frozen encoders out of a checkpoint and leave their fingerprints."""
    state, fingerprints = checkpoint["state_dict"], {}
    for name, prefix, encoder in _frozen(model):
        with suppress(CannotTellError):  # else nobody could say whose weights are missing, so they stay
            fingerprints[name] = encoder.fingerprint()
        if name not in fingerprints:
            continue
        for key in [key for key in state if key.startswith(prefix)]:
            del state[key]
    checkpoint[CHECKPOINT_KEY] = fingerprints


def restore_frozen(model: SimilarityModel, checkpoint: dict[str, Any]) -> None:
    """Put the live weights of frozen encoders into a checkpoint.

    Raises:
        LoadError: when the checkpoint was saved beside another frozen encoder.
    """
    fingerprints = checkpoint.get(CHECKPOINT_KEY, {})
    for name, prefix, encoder in _frozen(model):
        known = fingerprints.get(name)
        if known is not None and known not in (encoder.fingerprint(), version_1.fingerprint(encoder)):
            raise LoadError(
                f"the checkpoint was trained on another frozen encoder {name!r} (fingerprint {known}, this model's is "
                f"{encoder.fingerprint()}); build the model with the same encoder, or start training anew"
            )
        for key, value in encoder.state_dict().items():
            checkpoint["state_dict"].setdefault(prefix + key, value)
