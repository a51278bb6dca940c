"""Who encodes: what tells one encoder's vectors from another's on disk."""

from __future__ import annotations

import torch

from simlearn.components import Teller
from simlearn.encoders.encoder import Encoder
from simlearn.towers.plan import Part, TowerCollator


def identity(part: Part, encoder: Encoder, autocast: torch.dtype | None = None) -> str:
    """32 hexadecimal digits that change with anything that decides what a part's encoder says of an object.

    That is the encoder's fingerprint (see `Component.fingerprint`), the prompt, the precision, and the functions that
    collate objects and extract their meta, with what these hold.

    Args:
        part: a place in a tower.
        encoder: what encodes there.
        autocast: the dtype of autocast while encoding; None without.

    Raises:
        CannotTellError: for an encoder of which something cannot be told.
    """
    collator = TowerCollator.of((part,), {part.encoder: encoder})
    collate = collator.collate_fns[0]
    # Collate functions of simlearn hold only what their encoders tell.
    told = None if type(collate).__module__.startswith("simlearn.") else collate
    parts = {
        "encoder": encoder,
        "collate function": told,
        "meta extractor": collator.meta_extractors[0],
        "prompt": part.prompt,
        "autocast": autocast,
    }
    return Teller().tell(parts).hex()
