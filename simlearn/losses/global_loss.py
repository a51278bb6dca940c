"""A loss over several processes, whose gradient is that of one process with the batches of all."""

from __future__ import annotations

from simlearn.distributed import world_size
from simlearn.embeddings import Embeddings, gather_embeddings
from simlearn.losses.loss_result import LossResult
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.relations import Relation
from simlearn.scoring import Scorer


def global_loss(
    loss: SimilarityLoss, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer
) -> LossResult:
    """The loss of the batches of all processes; see `gather_batch`.

    One that compares nothing across the batch is told by three numbers of each process, and nothing is gathered.
    """
    if loss.compares_across_batch:
        return LossResult.of(loss.compute(*gather_batch(queries, documents, relation), scorer))
    result = LossResult.of(loss.compute(queries, documents, relation, scorer))
    return result.over_processes() if world_size() > 1 else result


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
