"""What no training changes stays out of checkpoints: frozen encoders, and frozen pretrained parameters of others.

Their weights are deleted when a checkpoint is saved and filled in from the live model when it is loaded, so that
loading stays strict. A fingerprint in the checkpoint refuses a model in which they are others. An encoder that cannot
be told from others stays in whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from torch import Tensor

from simlearn.components import CannotTellError
from simlearn.encoders import Encoder, version_1
from simlearn.files import LoadError
from simlearn.hashing import content_key
from simlearn.models import SimilarityModel

CHECKPOINT_KEY = "simlearn_frozen_encoders"


class _Frozen(NamedTuple):
    """Weights that no training changes.

    Args:
        name: of the encoder that has them, unique in the model.
        prefix: what stands before their names in the model's state.
        encoder: which has them.
        weights: by their names in its state; all of it, where it is frozen as a whole.
    """

    name: str
    prefix: str
    encoder: Encoder
    weights: Mapping[str, Tensor]

    def fingerprint(self) -> str:
        """What tells these weights from others."""
        if self.encoder.trainable:
            return content_key({name: weight.detach().cpu() for name, weight in self.weights.items()}).hex()
        return self.encoder.fingerprint()

    def is_known_as(self, fingerprint: str) -> bool:
        """Whether a checkpoint means these weights, also one of version 0.1."""
        if fingerprint == self.fingerprint():
            return True
        return not self.encoder.trainable and fingerprint == version_1.fingerprint(self.encoder)


def _frozen(model: SimilarityModel) -> Iterator[_Frozen]:
    for name, encoder in model.plan.encoders.items():
        yield from _frozen_of(name, f"model.encoders.{name}.", encoder)


def _frozen_of(name: str, prefix: str, encoder: Encoder) -> Iterator[_Frozen]:
    if not encoder.trainable:
        yield _Frozen(name, prefix, encoder, encoder.state_dict())
        return
    inside = [
        (path, part)
        for path, part in encoder.named_modules(remove_duplicate=False)
        if isinstance(part, Encoder) and path and not part.trainable
    ]
    for path, part in inside:
        if not any(path.startswith(f"{outer}.") for outer, _ in inside):
            yield _Frozen(f"{name}.{path}", f"{prefix}{path}.", part, part.state_dict())
    rests = {id(weight) for weight in encoder.pretrained_parameters() if not weight.requires_grad}
    weights = {
        path: weight
        for path, weight in encoder.named_parameters(remove_duplicate=False)
        if id(weight) in rests and not any(path.startswith(f"{outer}.") for outer, _ in inside)
    }
    if weights:
        yield _Frozen(f"{name} (in part)", prefix, encoder, weights)


def remove_frozen(model: SimilarityModel, checkpoint: dict[str, Any]) -> None:
    """Take frozen weights out of a checkpoint and leave their fingerprints."""
    state, fingerprints = checkpoint["state_dict"], {}
    for frozen in _frozen(model):
        with suppress(CannotTellError):  # else nobody could say whose weights are missing, so they stay
            fingerprints[frozen.name] = frozen.fingerprint()
            for name in frozen.weights:
                state.pop(frozen.prefix + name, None)
    checkpoint[CHECKPOINT_KEY] = fingerprints


def restore_frozen(model: SimilarityModel, checkpoint: dict[str, Any]) -> None:
    """Put the live frozen weights into a checkpoint.

    Raises:
        LoadError: when the checkpoint was saved beside others.
    """
    fingerprints = checkpoint.get(CHECKPOINT_KEY, {})
    for frozen in _frozen(model):
        known = fingerprints.get(frozen.name)
        if known is not None and not frozen.is_known_as(known):
            raise LoadError(
                f"the checkpoint was trained on another frozen encoder {frozen.name!r} (fingerprint {known}, this "
                f"model's is {frozen.fingerprint()}); build the model with the same encoder, or start training anew"
            )
        for name, weight in frozen.weights.items():
            checkpoint["state_dict"].setdefault(frozen.prefix + name, weight)
