"""Hard negatives as a data set, mined once or again and again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from simlearn.data.embedding_objects import Encode, embed_objects, model_in
from simlearn.data.share import Share
from simlearn.distributed import all_reduce_sum, gather, rank, world_size
from simlearn.embeddings import Embeddings
from simlearn.encoding import encode_shared
from simlearn.negatives.known import Known
from simlearn.negatives.mining import MiningConfig, MiningCounts, mine
from simlearn.samples import SimilarityPairSample, SimilarityRankingSample
from simlearn.scoring import Scorer
from simlearn.search.backends import Backend


class HardNegatives(Dataset[SimilarityRankingSample]):
    """Queries with their positives and, after them, their negatives: the data set of a `RankingSimilarityDataLoader`.

    Before it is first mined the negatives are random documents, which are no known positives. It is as long as there
    are different queries with a positive, and stays so; a query for which nothing was found has its positives alone.

    Args:
        samples: pairs or rankings, or a loader of either. Equal objects are taken together: what is similar to a query
            in one sample is no negative of it in another.
        corpus: documents beside those of the samples.
        config: which negatives; or give its arguments here.
        **options: the arguments of `MiningConfig`.

    Raises:
        TypeError: for samples of another kind.
        ValueError: where nothing is known to be similar, or there is no document to be a negative.

    >>> pairs = [SimilarityPairSample("a", "A"), SimilarityPairSample("b", "B")]
    >>> HardNegatives(pairs, num_negatives=1)[0].documents
    ['A', 'B']
    """

    def __init__(
        self, samples: Any, corpus: Iterable[Any] | None = None, config: MiningConfig | None = None, **options: Any
    ) -> None:
        if config is not None and options:
            raise ValueError(f"give a config or its arguments {sorted(options)}, not both")
        self.config = MiningConfig(**options) if config is None else config
        self.known = Known.of(samples, corpus)
        self.rounds = 0
        """How often it was mined."""
        self.counts: MiningCounts | None = None
        """What mining found and dropped; None before the first time."""
        self.rows = self._random()
        """(N, n) int64 rows of the negatives; -1 where there is none."""
        self.scores = torch.full(self.rows.shape, torch.nan)
        """(N, n) float32 scores of the negatives; NaN before the first time."""

    def __len__(self) -> int:
        return len(self.known.queries)

    def __getitem__(self, index: int) -> SimilarityRankingSample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} queries, not one with the number {index}")
        index %= len(self)
        first, last = self.known.positives.offsets[index : index + 2].tolist()
        positives: list[int] = self.known.positives.values[first:last].tolist()
        negatives = [row for row in self.rows[index].tolist() if row >= 0]
        documents = [self.known.documents[row] for row in (*positives, *negatives)]
        relevances = [*self.known.relevances[first:last], *[0.0] * len(negatives)]
        return SimilarityRankingSample(self.known.queries[index], documents, relevances)

    def pairs(self) -> list[SimilarityPairSample]:
        """The same as pairs: each query with each positive, and with each negative at score 0."""
        return [
            SimilarityPairSample(sample.query, document, relevance)
            for sample in (self[index] for index in range(len(self)))
            for document, relevance in zip(sample.documents, sample.relevances, strict=True)
        ]

    def mine(self, encode: Encode, scorer: Scorer | None = None, backend: Backend = "torch") -> MiningCounts:
        """Search the negatives anew.

        Where several processes take part, all call it: each encodes its share of the objects and searches for its share
        of the queries, and all have the same result, which is that of one process.

        Args:
            encode: a model, or a function of a list of objects and `"query"` or `"document"`.
            scorer: how embeddings compare; None for the model's own, and cosine for a function.
            backend: what searches; see `top_k`.

        Returns:
            What was found and dropped.

        Raises:
            ValueError: for NaN or infinite embeddings, or a function that returns more or fewer than it was given.
        """
        model = model_in(encode)
        if scorer is None and model is not None:
            scorer = model.scorer
        known, share = self.known, Share(rank(), world_size())
        queries = _embedded(encode, known.queries, "query")
        documents = _embedded(encode, known.documents, "document").to(queries.device)
        own = share.of(range(len(known.queries)))
        part = slice(own.start, own.stop)
        mined = mine(
            queries.take(part),
            documents,
            known.positives.cut(part),
            self.config,
            scorer,
            excluded=known.excluded.cut(part),
            first_query=own.start,
            round_number=self.rounds,
            backend=backend,
        )
        self.rows, self.scores = gather(mined.rows).cpu(), gather(mined.scores).cpu()
        self.rounds += 1
        found = (self.rows >= 0).sum(1)
        skipped, above, below, within = (int(count) for count in all_reduce_sum(mined.dropped))
        self.counts = MiningCounts(
            queries=len(known.queries),
            documents=len(known.documents),
            excluded=len(known.excluded.values),
            skipped=skipped,
            above_max_score=above,
            below_min_score=below,
            within_margin=within,
            found=int(found.sum()),
            short=int((found < self.config.num_negatives).sum()),
            empty=int((found == 0).sum()),
        )
        return self.counts

    def state_dict(self) -> dict[str, Any]:
        """The negatives, for a checkpoint."""
        return {"rows": self.rows, "scores": self.scores, "rounds": self.rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put negatives back.

        Raises:
            ValueError: for those of other data.
        """
        if len(state["rows"]) != len(self) or int(state["rows"].max()) >= len(self.known.documents):
            raise ValueError(f"these are the negatives of {len(state['rows'])} queries, not of these {len(self)}")
        self.rows, self.scores, self.rounds = state["rows"], state["scores"], state["rounds"]

    def _random(self) -> Tensor:
        """Random documents, none of them excluded, so that there is something to begin with."""
        random = np.random.default_rng(self.config.seed)
        size, wanted = len(self.known.documents), self.config.num_negatives
        rows = torch.full((len(self), wanted), -1)
        offsets: list[int] = self.known.excluded.offsets.tolist()
        for query in range(len(self)):
            excluded = set(self.known.excluded.values[offsets[query] : offsets[query + 1]].tolist())
            if size - len(excluded) <= 4 * wanted:  # few are left: list them, where drawing would go on for long
                left = np.setdiff1d(np.arange(size), list(excluded))
                drawn = random.permutation(left)[:wanted].tolist()
            else:
                drawn = []
                while len(drawn) < wanted:
                    one = int(random.integers(size))
                    if one not in excluded:
                        excluded.add(one)
                        drawn.append(one)
            rows[query, : len(drawn)] = torch.tensor(drawn, dtype=torch.long)
        return rows


def mine_hard_negatives(
    samples: Any,
    corpus: Iterable[Any] | None = None,
    *,
    encode: Encode,
    scorer: Scorer | None = None,
    backend: Backend = "torch",
    **options: Any,
) -> HardNegatives:
    """Find for each query documents that are near it, and yet no known positives.

    ```python
    negatives = simlearn.mine_hard_negatives(pairs, corpus, encode=model, num_negatives=4, relative_margin=0.05)
    print(negatives.counts)
    simlearn.fit(model, RankingSimilarityDataLoader(negatives, batch_size=64))
    ```

    Args:
        samples: pairs or rankings with the known positives, or a loader of them.
        corpus: documents beside those of the samples.
        encode: a model, or a function of a list of objects and `"query"` or `"document"`.
        scorer: how embeddings compare; None for the model's own, and cosine for a function.
        backend: what searches; see `top_k`.
        **options: the arguments of `MiningConfig`.

    Returns:
        A data set of `SimilarityRankingSample`; its `pairs()` are the same as pairs.

    Raises:
        TypeError: for samples of another kind.
        ValueError: for options that leave nothing to find, no positives, or NaN embeddings.
    """
    negatives = HardNegatives(samples, corpus, **options)
    negatives.mine(encode, scorer, backend)
    return negatives


def _embedded(encode: Encode, objects: list[Any], role: str) -> Embeddings:
    return encode_shared(len(objects), lambda part: embed_objects(encode, objects[part], role))
