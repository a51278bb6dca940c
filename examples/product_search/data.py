"""From files to what trains and judges a model."""

from __future__ import annotations

from typing import Any

from models import CATEGORY, TITLE
from settings import Config, Data, Evaluation

from simlearn import BM25, KeyboardTypos, PairsSimilarityDataLoader, RetrievalEvaluator, ShardedDataset, read_qdrl


def clicks(data: Data, part: str) -> list[dict[str, Any]]:
    """The rows of the shards of `training_dataset/` or `validation_dataset/`."""
    paths = f"{data.folder}/{part}/*.parquet"
    columns = [column for column in (data.query, data.title, data.category, data.product) if column]
    rows = []
    for number, record in enumerate(ShardedDataset(paths, columns)):
        query, title = record[data.query], record[data.title]
        if query is None or title is None:
            raise ValueError(f"{paths}, row {number}: {data.query} or {data.title} is empty; leave such clicks out")
        product = {TITLE: title, CATEGORY: record[data.category] if data.category else None}
        rows.append({"query": query, "product": product, "id": record[data.product] if data.product else None})
    return rows


def loader(config: Config, part: str) -> PairsSimilarityDataLoader:
    """Batches of clicks."""
    data, training = config.data, part == "training_dataset"
    return PairsSimilarityDataLoader(
        clicks(data, part),
        data.batch_size,
        obj_a="query",
        obj_b="product",
        obj_b_id="id" if data.product else None,  # one product is never a negative of itself
        document_log_q="count" if getattr(config.loss, "log_q", False) else None,
        query_transform=KeyboardTypos(data.typos) if training and data.typos else None,
        num_workers=data.workers,
        seed=config.seed,
    )


def search(config: Config) -> RetrievalEvaluator:
    """Judged queries against all products, as they are and with typing errors."""
    settings = config.evaluation
    return RetrievalEvaluator(
        *read_qdrl(config.data.folder),
        metrics=metrics(settings),
        query_transforms={typos_name(p): KeyboardTypos(p) if p else None for p in settings.typos},
        missing="drop",
        batch_size=1024,
    )


def metrics(settings: Evaluation) -> list[str]:
    """What is measured of each kind of queries."""
    return [f"{metric}@{k}" for metric in ("recall", "mrr") for k in settings.k]


def typos_name(probability: float) -> str:
    """What queries with typing errors are called; nothing for those as they are."""
    return f"typos_prob={probability}" if probability else ""


def figures(settings: Evaluation) -> list[str]:
    """What training can go by."""
    ends = [f"/{typos_name(p)}" if p else "" for p in settings.typos] if settings.enabled else []
    return ["validation_loss", *(f"search_{name}{end}" for end in ends for name in metrics(settings))]


def bm25(config: Config) -> BM25:
    """Search by words alone, normalised as the model's."""
    corpus = read_qdrl(config.data.folder).corpus
    normalize = config.vectorizer.build(config.data.dictionary).normalize
    return BM25(corpus, normalize, text=lambda obj: obj if isinstance(obj, str) else obj[TITLE])
