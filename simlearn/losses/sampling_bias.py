"""What corrects in-batch negatives: popular documents come up more often than a softmax over all documents has them.

Let q be the probability with which a document is drawn, and n how many are drawn beside the positive. A softmax over
all documents has Σⱼ exp(sⱼ) in its denominator. Of those that were drawn, Σⱼ exp(sⱼ − log(n qⱼ)) has that value on
average, where the positive, which is no draw, keeps its logit (sampled softmax: Bengio & Senécal 2008; Jean et al.
2015). Yi et al. 2019 correct the positive as well, and leave out n, which is the same for all. The negatives that a
ranking brings along for its query are corrected like those that come with other queries: how often they are drawn
should be counted with them in it, which `"count"` does.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from simlearn.relations import Relation

LogQ: TypeAlias = 'bool | Literal["negatives", "all"]'
"""Whether sampling bias is corrected: True and `"negatives"` as sampled softmax does, `"all"` as Yi et al."""


def check_log_q(log_q: Any) -> LogQ:
    """The option as it was given.

    Raises:
        ValueError: for another one.
    """
    if log_q not in (False, True, "negatives", "all"):
        raise ValueError(f"log_q must be True, False, 'negatives' or 'all', got {log_q!r}")
    given: LogQ = log_q
    return given


def correction(log_q: LogQ, relation: Relation, dtype: torch.dtype) -> dict[str, Any]:
    """The arguments of `contrast` that correct the documents of a batch, in at least fp32 and the dtype of these.

    Raises:
        ValueError: where nobody told how often documents are drawn.
    """
    if not log_q:
        return {}
    of_documents: Tensor | None = relation.document_log_q
    if of_documents is None:
        raise ValueError(
            "log_q corrects for how often documents are drawn, which this batch does not tell; give the loader "
            "document_log_q='count', or the probabilities by document id"
        )
    of_documents = of_documents.to(torch.promote_types(dtype, of_documents.dtype))
    if log_q == "all":
        return {"per_column": -of_documents}
    drawn = max(1, relation.n_documents - 1)
    return {"per_column": -(of_documents + math.log(drawn)), "spares_positives": True}
