"""Whether a model can learn from samples and be served in the end, asked before the first step."""

from __future__ import annotations

from pytorch_lightning.utilities import rank_zero_warn
from torch import nn

from simlearn.data import SimilarityDataLoader
from simlearn.models import SimilarityModel
from simlearn.models.servable import check_savable
from simlearn.scoring import DistanceScorer
from simlearn.towers.chunks import check_chunkable, check_countable


def check_model(
    module: nn.Module,
    towers: SimilarityModel,
    train: SimilarityDataLoader,
    world_size: int,
    chunk_size: int | None,
    chunk_tokens: int | None,
) -> None:
    """Refuse a model that cannot learn from these samples.

    Args:
        module: all that is trained.
        towers: which read the samples.
        train: the samples.
        world_size: the number of processes.
        chunk_size: how many objects are encoded at once.
        chunk_tokens: how many tokens are, instead.

    Raises:
        TypeError: for samples of one kind of objects where the model has two towers.
        ValueError: when nothing is trainable, the towers do not compare, the data does not fill a batch, or several
            processes could not average the gradients.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError(
            "nothing is trainable: all encoders are frozen and neither head nor loss has parameters; configure a head "
            "such as SkipConnectionHead, or pass trainable=True to an encoder"
        )
    _check_chunks(towers, chunk_size, chunk_tokens)
    if world_size > 1:
        _check_sparse(module)
    if not towers.is_symmetric and train.kind.shared:
        raise TypeError(
            f"{type(train).__name__} gives objects of one kind, the model has a tower for queries and one for "
            "documents; give pairs or rankings"
        )
    sizes = {role: towers.tower(role).embedding_size for role in towers.plan.roles}
    if isinstance(towers.scorer, DistanceScorer) and len(set(sizes.values())) > 1:
        raise ValueError(
            f"query and document embeddings have different sizes, {sizes}, and {type(towers.scorer).__name__} compares "
            "equal ones; give both heads the same output size"
        )
    if not train.is_stream and train.bind(list, training=True, world_size=world_size).batch_count == 0:
        raise ValueError(
            f"the training data does not fill one batch: {train!r} on {world_size} process(es), and incomplete batches "
            "are dropped in training; make batch_size smaller, or pass drop_last=False"
        )


def warn_if_unsavable(model: SimilarityModel) -> None:
    """Say before the first step what would raise after the last one."""
    try:
        check_savable(model.plan, dict(model.heads.items()), model.scorer)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        rank_zero_warn(f"this model trains, but it cannot be saved, so save_servable will raise: {error}")


def _check_sparse(module: nn.Module) -> None:
    """DDP asks modules of torch's own whether their gradients are sparse, and fails in the first step on others."""
    for part in module.modules():
        if getattr(part, "sparse", False) is True and not isinstance(part, (nn.Embedding, nn.EmbeddingBag)):
            raise ValueError(
                f"{type(part).__name__} has sparse gradients, which DDP averages for nn.Embedding and nn.EmbeddingBag "
                "alone; pass sparse=False to it, or train on one process"
            )


def _check_chunks(model: SimilarityModel, size: int | None, tokens: int | None) -> None:
    if size is not None and tokens is not None:
        raise ValueError(
            "encode_chunk_size cuts chunks by objects, encode_chunk_tokens by tokens; give only one of them"
        )
    for name, limit in (("encode_chunk_size", size), ("encode_chunk_tokens", tokens)):
        if limit is not None and limit < 1:
            raise ValueError(f"{name} must be at least 1, got {limit}")
    if size is not None or tokens is not None:
        check_chunkable(model.plan, dict(model.heads.items()))
    if tokens is not None:
        check_countable(model.plan)
