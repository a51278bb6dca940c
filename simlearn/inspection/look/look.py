"""A report put together section by section, and written as one HTML file or as Markdown with pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from simlearn.evaluation.health import Health
from simlearn.evaluation.rankings.metrics import recall
from simlearn.evaluation.rankings.ranking import Ranking
from simlearn.evaluation.rankings.registry import Figure
from simlearn.inspection.look import page, svg
from simlearn.inspection.look.page import Section
from simlearn.inspection.look.plane import Method, project

_MEANING = {
    "mean_cosine": "of all pairs; near 1, all objects are one point",
    "mean_distance": "root mean square, of all pairs",
    "effective_rank": "directions taken up; 1 for one point",
    "uniformity": "0 for one point, about −3.9 spread evenly",
    "hubness": "skewness; above 1.5 some objects are near to everything",
    "norm_spread": "deviation of lengths over their mean",
    "dead_dimensions": "dimensions that hardly change",
    "alignment": "squared distance of similar objects; 0 is perfect",
}


@dataclass(frozen=True)
class NeighbourList:
    """An object and what was found nearest to it.

    Args:
        query: the object.
        found: the documents, best first.
        scores: their scores.
        relevant: whether each is known to be similar; None where nothing is known.
        note: a few words beside the object.
    """

    query: Any
    found: Sequence[Any]
    scores: Sequence[float]
    relevant: Sequence[bool] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.found) != len(self.scores) or (self.relevant is not None and len(self.relevant) != len(self.found)):
            raise ValueError(f"{len(self.found)} documents were found and have {len(self.scores)} scores")


class Look:
    """A report on a space of embeddings.

    Sections stand in the order in which they are added. Objects are shown as text, images as small pictures; whatever
    they hold is shown and never run. `look_at` puts a whole report together.

    ```python
    look = Look("Questions and answers")
    look.figures({"recall@10": (0.71, 0.68, 0.74, 1000)})
    look.map(embeddings, labels=topics)
    look.save("report.html")
    ```

    Args:
        title: its title.
        note: a sentence below.
        show: turns an object into what is shown of it; None shows texts as they are, and the rest by `repr`.
    """

    def __init__(self, title: str = "Embeddings", note: str = "", show: Callable[[Any], Any] | None = None) -> None:
        self.title = title
        self.note = note
        self.sections: list[Section] = []
        self._show = show

    def figures(self, figures: Mapping[str, Any], title: str = "Figures", note: str = "") -> Look:
        """A table of figures with their intervals.

        Args:
            figures: by name a value, a `Figure`, or `(value, low, high, n)`, of which the last three may be None: the
                interval and how many queries, pairs or groups it rests on. Or an `EvaluationReport`.
            title: of the section.
            note: a sentence below the title.
        """
        rows = []
        for name, given in getattr(
            figures, "figures", figures
        ).items():  # an evaluation's report has its intervals there
            if isinstance(given, Figure):
                given = given.value, getattr(given, "low", None), getattr(given, "high", None), given.n
            parts = tuple(given) if isinstance(given, (tuple, list)) else (given,)
            value, low, high, count = (*parts, None, None, None)[:4]
            rows.append(page.FigureRow(str(name), float(value), _number(low), _number(high), count))
        self.sections.append(Section(title, note, figures=tuple(rows)))
        return self

    def scores(self, title: str = "Scores", label: str = "score", note: str = "", **series: Tensor) -> Look:
        """Histograms of scores: of similar pairs, of others.

        Args:
            title: of the section.
            label: what the values are.
            note: a sentence below the title.
            **series: values (n,) by name; underscores become spaces.

        Raises:
            ValueError: for NaN.
        """
        named = [(name.replace("_", " "), values.detach().cpu()) for name, values in series.items()]
        for name, values in named:
            if bool(values.isnan().any()):
                raise ValueError(f"the scores of {name!r} hold NaN")
        means = [f"{name} {values.double().mean():.3f}" for name, values in named if values.numel()]
        described = ", ".join(means).replace("-", "−")
        picture = svg.histogram(named, f"Histogram of scores; means: {described}", label)
        self.sections.append(Section(title, note or f"Mean: {described}.", picture=picture))
        return self

    def recall_curve(self, ranking: Ranking, title: str = "Recall", note: str = "") -> Look:
        """Recall over the number of documents looked at, mean of the queries that have a relevant one.

        Args:
            ranking: what was found, judged.
            title: of the section.
            note: a sentence below the title.
        """
        width = ranking.grades.shape[1]
        steps = sorted({factor * 10**power for power in range(5) for factor in (1, 2, 3, 5)} | {width})
        points = [(float(k), float(recall(ranking, k).nanmean())) for k in steps if k <= width]
        points = [(k, value) for k, value in points if value == value]
        told = ", ".join(f"{value:.3f} at {k:g}" for k, value in points if k in (1, 10, 100, width))
        picture = svg.curve(points, f"Recall over k: {told}", "k, documents looked at")
        self.sections.append(Section(title, note or f"{told}." if told else note, picture=picture))
        return self

    def map(
        self,
        embeddings: Tensor,
        labels: Sequence[Any] | None = None,
        objects: Sequence[Any] | None = None,
        method: Method = "pca",
        title: str = "Map",
        note: str = "",
        seed: int = 0,
    ) -> Look:
        """The embeddings on a plane.

        Args:
            embeddings: (N, D); some thousands at most are legible.
            labels: of each object: the ten most frequent have a colour.
            objects: what is shown where the pointer is.
            method: see `project`.
            title: of the section.
            note: a sentence below the title.
            seed: for other methods than `"pca"`.

        Raises:
            ValueError: for labels or objects of another number, and as `project` does.
        """
        for name, given in (("labels", labels), ("objects", objects)):
            if given is not None and len(given) != len(embeddings):
                raise ValueError(f"{len(embeddings)} embeddings need as many {name}, got {len(given)}")
        points, told = project(embeddings, method, seed)
        counts: dict[str, int] = {}
        for label in labels if labels is not None else [""] * len(points):
            counts[str(label)] = counts.get(str(label), 0) + 1
        names = sorted(counts, key=lambda one: (-counts[one], one))
        names[: svg.SERIES] = sorted(names[: svg.SERIES])  # the frequent ones in an order that a reader expects
        place = {name: number for number, name in enumerate(names)}
        series = [place[str(label)] for label in labels] if labels is not None else [0] * len(points)
        hints = None if objects is None else [page.shortened(self._text(one), 120) for one in objects]
        picture = svg.scatter(points, series, names, hints, f"Map of {len(points)} embeddings: {told}")
        self.sections.append(Section(title, note or f"{len(points):,} objects: {told}.", picture=picture))
        return self

    def neighbours(self, lists: Sequence[NeighbourList], title: str = "Nearest", note: str = "") -> Look:
        """What was found nearest to some objects.

        Args:
            lists: one an object.
            title: of the section.
            note: a sentence below the title.
        """
        shown = []
        for one in lists:
            relevant = [None] * len(one.found) if one.relevant is None else list(one.relevant)
            found = [
                page.Found(self._shown(document), float(score), known)
                for document, score, known in zip(one.found, one.scores, relevant, strict=True)
            ]
            shown.append(page.Found(self._shown(one.query), None, None, one.note, tuple(found)))
        self.sections.append(Section(title, note, neighbours=tuple(shown)))
        return self

    def health(self, health: Health, title: str = "Health of the space", note: str = "") -> Look:
        """The health figures, with a word on what each means."""
        rows = [
            page.FigureRow(name.replace("_", " "), value, None, None, None, _MEANING.get(name, ""))
            for name, value in health.figures().items()
        ]
        told = note or f"Of {health.count:,} embeddings of size {health.size}."
        self.sections.append(Section(title, told, figures=tuple(rows)))
        return self

    def save(self, path: str | Path) -> Path:
        """Write the report.

        Args:
            path: ends in `.html`, for one file that holds everything, or in `.md`: its pictures are written into a
                folder beside it, `<name>_pictures`.

        Returns:
            The path.

        Raises:
            ValueError: for another ending.
        """
        target = Path(path)
        if target.suffix == ".html":
            target.write_text(page.html(self.title, self.note, self.sections), encoding="utf-8")
        elif target.suffix == ".md":
            folder = target.with_name(f"{target.stem}_pictures")
            text, pictures = page.markdown(self.title, self.note, self.sections, folder.name)
            if pictures:
                folder.mkdir(parents=True, exist_ok=True)
            for name, picture in pictures.items():
                (folder / name).write_text(picture, encoding="utf-8")
            target.write_text(text, encoding="utf-8")
        else:
            raise ValueError(f"a report is written as .html or .md, not as {target.name!r}")
        return target

    def _shown(self, obj: Any) -> Any:
        return obj if self._show is None else self._show(obj)

    def _text(self, obj: Any) -> str:
        return page.as_text(self._shown(obj))


def _number(value: Any) -> float | None:
    """A bound of an interval; NaN says that there is none."""
    number = math.nan if value is None else float(value)
    return None if math.isnan(number) else number
