"""A loss over several processes: each computes it on the batches of all of them."""

from __future__ import annotations

from simlearn.embeddings import Embeddings, gather_embeddings
from simlearn.relations import Relation


def gather_batch(
    queries: Embeddings, documents: Embeddings, relation: Relation
) -> tuple[Embeddings, Embeddings, Relation]:
    """The global batch, so that W processes train like one with W times the batch, whatever the loss.

    Two collectives for labels and ids, one of which tells how uneven the batches are; one for the embeddings, and one
    for their gradients.

    Args:
        queries: N embeddings of this process.
        documents: M embeddings; the same object as `queries` where the relation is shared.
        relation: of these.

    Returns:
        Those of all processes, by rank; the same where there is one process.
    """
    whole = relation.gather()
    if documents is queries:
        (queries,) = gather_embeddings([queries], [share[:1] for share in whole.shares])
        return queries, queries, whole
    queries, documents = gather_embeddings([queries, documents], whole.shares)
    return queries, documents, whole
