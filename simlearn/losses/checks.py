"""What labels several losses refuse."""

from __future__ import annotations

import torch

from simlearn.relations import Relation, RelationKind


def refuse_graded_pairs(relation: Relation, name: str) -> None:
    """Raise for pairs that are neither similar nor different.

    Args:
        relation: of any kind; only the scores of pairs are looked at.
        name: of the loss, for the message.

    Raises:
        ValueError: for a score strictly between 0 and 1, and for one that is not finite.
    """
    if relation.kind is not RelationKind.PAIRS:
        return
    scores = relation.paired_scores()
    graded = (scores > 0) & (scores < 1)
    if bool(graded.any()):
        raise ValueError(
            f"{name} got the score {scores[graded][0].item():g}: a pair is either a positive (1) "
            "or an explicit negative (0 or less). CoSENTLoss or ContrastiveLoss learns from graded scores; round them "
            "otherwise"
        )
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(f"{name} takes finite scores; drop or mend the pairs with NaN or infinity")
