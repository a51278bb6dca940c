"""Groups: do an object's neighbours belong to its group?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simlearn.distances import normalize
from simlearn.embeddings import Embeddings
from simlearn.evaluation.base_evaluator import BaseEvaluator
from simlearn.evaluation.encode import Encode, ObjectSet, first_of_each, samples_of
from simlearn.evaluation.groups.agreement import cluster_agreement, k_means, knn_accuracy
from simlearn.evaluation.rankings.ranking import Ranking
from simlearn.evaluation.rankings.registry import retrieval_metrics
from simlearn.evaluation.rankings.values import RankedValues
from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.evaluation.statistics.statistic import ClusteringStatistic, MeanStatistic, Numbers, Statistic
from simlearn.hashing import stable_id
from simlearn.samples import SimilarityGroupSample
from simlearn.scoring import DistanceScorer, Scorer
from simlearn.search import top_k

_CELLS = 2**23
_ENOUGH_GROUPS = 20
"""From so many groups on they are resampled as wholes; of fewer, resamples of groups say little."""


class GroupEvaluator(BaseEvaluator):
    """How well an object's nearest neighbours tell its group, among the objects or in a gallery such as training data.

    An object that comes twice counts once. An object whose group has no other one has no value in metrics of rankings,
    and is counted as undefined.

    Args:
        samples: `SimilarityGroupSample` objects, or their loader.
        gallery: samples to search in instead of each other; None searches the other objects.
        metrics: `"knn_accuracy@k"`, names of rankings (`"map@r"`, `"r_precision"`, `"cmc@1"`, ...; see
            `retrieval_metric`), and `"nmi"` and `"ami"`, which cluster the objects by k-means with scikit-learn.
        **options: see `BaseEvaluator`.

    Raises:
        ValueError: for no samples or unknown metrics.
    """

    def __init__(
        self,
        samples: Any,
        gallery: Any = None,
        metrics: Iterable[str] = ("r_precision", "map@r", "hit_rate@1", "knn_accuracy@5"),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        names = [name.strip().lower() for name in metrics]
        self.clustering = [name for name in names if name in ("nmi", "ami")]
        self.votes = {name: _votes(name) for name in names if name.startswith("knn_accuracy")}
        self.metrics = retrieval_metrics(name for name in names if name not in {*self.clustering, *self.votes})
        self.conflicts = 0
        own = samples_of(samples, SimilarityGroupSample)
        self.samples, self.queries, self.groups = self._distinct(own, "object")
        self.repeated = len(own) - len(self.samples)
        self.gallery: ObjectSet | None = None
        self.gallery_groups = self.groups
        if gallery is not None:
            _, self.gallery, self.gallery_groups = self._distinct(samples_of(gallery, SimilarityGroupSample), "gallery")

    def _distinct(self, samples: list[Any], name: str) -> tuple[list[Any], ObjectSet, Tensor]:
        """The samples, each object once, in its first group."""
        everything = ObjectSet(range(len(samples)), [sample.obj for sample in samples], name)
        groups = torch.tensor([stable_id(sample.group) for sample in samples], dtype=torch.long)
        first, which = first_of_each(everything.content)
        self.conflicts += int((groups != groups[first][which]).sum())
        kept = [samples[row] for row in first.tolist()]
        return kept, ObjectSet(first.tolist(), [sample.obj for sample in kept], name), groups[first]

    def objects(self) -> list[tuple[str, list[Any]]]:
        """The objects, and the gallery where there is one."""
        own: list[tuple[str, list[Any]]] = [("query", self.queries.distinct)]
        return own if self.gallery is None else [*own, ("document", self.gallery.distinct)]

    def measure(self, encode: Encode, scorer: Scorer) -> EvaluationReport:
        """Search for every object's neighbours."""
        queries = self.queries.embed(encode, "query")
        documents = queries if self.gallery is None else self.gallery.embed(encode, "document")
        values = self._neighbour_values(queries, documents, scorer)
        _, which = torch.unique(self.groups, return_inverse=True)
        n_groups = int(which.max()) + 1
        # Objects of one group fare alike, so that resampling them one by one would make the figures look surer.
        whole = n_groups >= _ENOUGH_GROUPS and not self.clustering
        units = (which.numpy(), n_groups) if whole else (None, None)
        statistics: dict[str, Statistic] = {name: MeanStatistic(one, *units) for name, one in values.items()}
        statistics.update(self._clusters(queries, scorer))
        where = "among themselves" if self.gallery is None else f"in a gallery of {len(self.gallery):,}"
        return EvaluationReport(
            f"Groups: {len(self.samples):,} objects of {n_groups:,} groups, searched {where}",
            statistics,
            rows="objects",
            ids=self.queries.ids,
            table={
                "object": [sample.obj for sample in self.samples],
                "group": [sample.group for sample in self.samples],
            },
            values=values,
            units="groups" if whole else "objects",
            unit_ids=range(n_groups) if whole else None,
            notes=self._notes(),
            **self.resampling,
        )

    def _neighbour_values(self, queries: Embeddings, documents: Embeddings, scorer: Scorer) -> dict[str, Numbers]:
        n_relevant = self._n_relevant()
        most, size = int(n_relevant.max()), len(documents)
        depth = max([1, *(one.depth(most, size) for one in self.metrics), *self.votes.values()])
        ranked, votes = RankedValues(self.metrics), {name: [torch.empty(0)] for name in self.votes}
        rows = torch.arange(len(queries))
        for part in torch.split(rows, max(1, _CELLS // max(depth, most))):
            exclude = None if self.gallery is not None else (part.to(queries.device), rows.to(queries.device))
            place = part.to(queries.device)
            found = top_k(queries.take(place), documents, depth, scorer, exclude_ids=exclude).indices.cpu()
            relevant = (self.gallery_groups[found.clamp(min=0)] == self.groups[part, None]) & (found >= 0)
            ranked.add_ranking(Ranking.of_hits(relevant, n_relevant[part]), found)
            for name, k in self.votes.items():
                votes[name].append(knn_accuracy(found[:, :k], self.groups[part], self.gallery_groups))
        values = ranked.spread(rows, len(rows))
        return {**values, **{name: torch.cat(one).double().numpy() for name, one in votes.items()}}

    def _n_relevant(self) -> Tensor:
        """(N,) how many objects of its group each object can find."""
        groups, counts = torch.unique(self.gallery_groups, return_counts=True)
        place = torch.searchsorted(groups, self.groups).clamp(max=len(groups) - 1)
        sizes = torch.where(groups[place] == self.groups, counts[place], 0)
        return sizes - 1 if self.gallery is None else sizes

    def _clusters(self, queries: Embeddings, scorer: Scorer) -> dict[str, Statistic]:
        if not self.clustering:
            return {}
        if queries.is_multi_vector:
            raise ValueError("clusters need one vector an object; leave out nmi and ami")
        cosine = isinstance(scorer, DistanceScorer) and scorer.distance.value == "cosine"
        vectors = normalize(queries.values) if cosine else queries.values
        clusters = k_means(vectors, len(torch.unique(self.groups)), int(self.resampling["seed"])).cpu().numpy()

        def measured(name: str) -> ClusteringStatistic:
            def measure(groups: Any, found: Any) -> float:
                agreement = cluster_agreement(torch.from_numpy(groups), torch.from_numpy(found))
                return float(getattr(agreement, name))

            return ClusteringStatistic(measure, self.groups.numpy(), np.asarray(clusters, dtype=np.int64))

        return {name: measured(name) for name in self.clustering}

    def _notes(self) -> list[str]:
        notes = []
        if self.repeated:
            notes.append(f"{self.repeated:,} samples repeat an object and were counted once.")
        if self.conflicts:
            notes.append(f"{self.conflicts:,} samples give an object another group than before; the first one holds.")
        if self.gallery is not None:
            leaked = int(torch.isin(self.queries.content, self.gallery.content).sum())
            strangers = int((~torch.isin(self.groups, self.gallery_groups)).sum())
            if leaked:
                notes.append(f"{leaked:,} objects are in the gallery themselves, where they find their own copy.")
            if strangers:
                notes.append(f"{strangers:,} objects are of a group that the gallery does not have.")
        return notes


def _votes(name: str) -> int:
    match = re.fullmatch(r"knn_accuracy(?:@([1-9][0-9]*))?", name)
    if match is None:
        raise ValueError(f"unknown metric {name!r}; write knn_accuracy@5, for instance")
    return int(match.group(1) or 1)
