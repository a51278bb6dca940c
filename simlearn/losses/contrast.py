"""The contrastive core, behind every loss that tells the positives of an anchor from its negatives by a softmax.

Such a loss needs two things of the matrix of scores: the scores of the positives, which are few, and for each anchor
the log-sum-exp of its negatives, which is what stands against the positives. A `Formula` makes the loss of them.

Where rows fit into a tile whole, one walk is enough (`tiled_loss`). Where columns are cut too, or where documents ask
for queries as well, there are two (`two_walks`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses.formula import Formula, over_masks
from simlearn.losses.loss_result import LossResult
from simlearn.losses.tiling import TILE_BYTES, tiled_loss, tiles_of
from simlearn.losses.two_walks import Logits, two_walks
from simlearn.relations import Relation
from simlearn.scoring import Scorer


def contrast(
    queries: Embeddings,
    documents: Embeddings,
    relation: Relation,
    scorer: Scorer,
    formula: Formula,
    scale: Tensor | float = 1.0,
    *,
    margin: float = 0.0,
    symmetric: bool = False,
    per_row: Tensor | None = None,
    per_column: Tensor | None = None,
    spares_positives: bool = False,
    tile_bytes: int = TILE_BYTES,
) -> LossResult:
    """The contrastive loss of queries and documents, without the matrix of their scores.

    Args:
        queries: N embeddings.
        documents: M embeddings.
        relation: of these.
        scorer: scores the tiles; it need not be symmetric.
        formula: makes the loss.
        scale: what scores are multiplied with, 1 / temperature; a scalar tensor gets a gradient.
        margin: taken from the scores of positives.
        symmetric: the mean of this and of the documents that ask for queries. A shared relation is its own transpose.
        per_row: (N,) one more logit against each query, such as that of documents that are not in the batch.
        per_column: (M,) added to the logits of each document, such as the negated logarithm of how often it is drawn.
        spares_positives: whether that is not added where the document is the positive, nor where it asks for queries.
        tile_bytes: the budget of a tile; smaller tiles give the same result within rounding. Where there are two walks,
            the positives are kept besides, some 20 bytes each.

    Returns:
        The loss, and the counts of queries without a positive or a negative; under DDP as of `tiled_loss`.
    """
    queries, documents = scorer.prepare_queries(queries), scorer.prepare_documents(documents)
    columns = [] if per_column is None else [per_column]
    rows = [] if per_row is None else [per_row]
    given = [*columns, scale] if isinstance(scale, Tensor) else columns
    logits_of = Logits(scale, margin, has_columns=bool(columns), spares_positives=spares_positives and bool(columns))
    symmetric = symmetric and not relation.is_shared
    if symmetric or tiles_of(queries, documents, scorer, tile_bytes).columns < len(documents):
        with torch.autocast(queries.device.type, enabled=False):
            return two_walks(
                queries, documents, relation, scorer, formula, logits_of, given, rows, symmetric, tile_bytes
            )

    def policy(scores: Tensor, positives: Tensor, negatives: Tensor, *given: Tensor) -> LossResult:
        logits, margin = logits_of(scores, given[: len(given) - len(rows)])
        return over_masks(formula, logits, positives, negatives, margin, given[-1] if rows else None)

    return tiled_loss(
        queries, documents, relation, scorer, policy, *given, per_row=rows, tile_bytes=tile_bytes, prepared=True
    )
