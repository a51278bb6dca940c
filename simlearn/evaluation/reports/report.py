"""What an evaluation found: figures with their intervals, and every query, pair or object by itself."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from simlearn.evaluation.rankings.registry import Figure
from simlearn.evaluation.reports.text_table import bounds, number, render
from simlearn.evaluation.statistics.resampling import interval, resample
from simlearn.evaluation.statistics.statistic import Numbers, Statistic

if TYPE_CHECKING:
    from simlearn.evaluation.reports.comparison import Comparison


@dataclass(frozen=True)
class Estimate(Figure):
    """A figure and how sure it is.

    Args:
        value: the figure; NaN where it is not defined.
        n: how many queries, pairs or objects count.
        undefined: how many have no value of their own.
        low: the lower bound of the confidence interval; NaN where there is none.
        high: the upper bound.
        higher_is_better: the direction.
    """

    low: float
    high: float
    higher_is_better: bool = True


class EvaluationReport(Mapping[str, float]):
    """The result of `simlearn.evaluate`: a mapping from the names of the metrics to their values, and more.

    Intervals are computed when they are first asked for, so that an evaluation in training pays nothing for them.

    Args:
        title: what was evaluated, in a line.
        statistics: the figures by name, over the same U units.
        rows: what a row is: `"queries"`, `"pairs"` or `"objects"`.
        ids: N ids of the rows.
        table: columns of N entries beside the values: what was asked, what was found.
        values: for each metric that has them the values (N,) of the rows, NaN for none.
        units: what is resampled: the rows, or their `"groups"`.
        unit_ids: U ids of the units; None for the rows' own.
        notes: what should be known of the data, a line each; nothing is dropped in silence.
        confidence: of the intervals.
        n_resamples: bootstrap resamples.
        seed: of the resamples.
        errors: (N,) by which rows are ordered where no metric has values of rows: the largest is the worst.
    """

    def __init__(
        self,
        title: str,
        statistics: Mapping[str, Statistic],
        *,
        rows: str,
        ids: Sequence[Hashable],
        table: Mapping[str, Sequence[Any]] | None = None,
        values: Mapping[str, Numbers] | None = None,
        units: str | None = None,
        unit_ids: Sequence[Hashable] | None = None,
        notes: Sequence[str] = (),
        confidence: float = 0.95,
        n_resamples: int = 1000,
        seed: int = 0,
        errors: Numbers | None = None,
    ) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, such as 0.95, got {confidence}")
        if n_resamples < 1:
            raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
        self.title = title
        self.statistics = dict(statistics)
        self.row_name = rows
        self.ids = list(ids)
        self.table = dict(table or {})
        self.values_of_rows = dict(values or {})
        self.unit_name = units or rows
        self.unit_ids = self.ids if unit_ids is None else list(unit_ids)
        self.notes = list(notes)
        self.confidence = confidence
        self.n_resamples = n_resamples
        self.seed = seed
        self.errors = errors

    def with_figures(
        self, statistics: Mapping[str, Statistic], values: Mapping[str, Numbers], notes: Sequence[str]
    ) -> EvaluationReport:
        """The same rows with other figures of them."""
        return EvaluationReport(
            self.title,
            statistics,
            rows=self.row_name,
            ids=self.ids,
            table=self.table,
            values=values,
            units=self.unit_name,
            unit_ids=self.unit_ids,
            notes=notes,
            confidence=self.confidence,
            n_resamples=self.n_resamples,
            seed=self.seed,
            errors=self.errors,
        )

    def __getitem__(self, name: str) -> float:
        if name not in self.statistics:
            raise KeyError(f"no metric {name!r} in this report, only {', '.join(self.statistics)}")
        return self.statistics[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.statistics)

    def __len__(self) -> int:
        return len(self.statistics)

    @cached_property
    def resamples(self) -> Numbers:
        """(B, K) the figures in the resamples, in the order of the metrics."""
        return resample(list(self.statistics.values()), len(self.unit_ids), self.n_resamples, self.seed)

    @cached_property
    def figures(self) -> dict[str, Estimate]:
        """Each figure with its interval."""
        estimates = {}
        for column, (name, one) in enumerate(self.statistics.items()):
            low, high = (math.nan, math.nan)
            if not math.isnan(one.value) and len(self.unit_ids) > 1:
                low, high = interval(self.resamples[:, column], self.confidence)
            estimates[name] = Estimate(one.value, one.n, one.undefined, low, high, one.higher_is_better)
        return estimates

    def compare(self, before: EvaluationReport, margin: float = 0.01, **options: Any) -> Comparison:
        """What changed since `before`, and whether it is more than chance.

        Args:
            before: the report of another model, or of an earlier checkpoint, on the same data.
            margin: figures closer than this are taken for equal; the test of equivalence asks whether they are.
            **options: `n_permutations` and `seed` of the randomisation test.

        Raises:
            ValueError: for a report on other data.
        """
        from simlearn.evaluation.reports.comparison import Comparison

        return Comparison(before, self, margin, **options)

    def rows(self, by: str | None = None) -> list[dict[str, Any]]:
        """Every query, pair or object with its values: a list of dictionaries, the worst first.

        Args:
            by: the metric to order by; None takes the first that has values of rows. Rows without a value come last.

        Raises:
            ValueError: for a metric without values of rows.
        """
        columns = {"id": self.ids, **self.table, **{name: one.tolist() for name, one in self.values_of_rows.items()}}
        names = list(columns)
        return [dict(zip(names, (columns[name][row] for name in names), strict=True)) for row in self._worst_first(by)]

    def worst(self, n: int = 10, by: str | None = None) -> list[dict[str, Any]]:
        """The n worst rows; see `rows`."""
        return self.rows(by)[:n]

    def to_pandas(self, by: str | None = None) -> Any:
        """The rows as a pandas frame, the worst first.

        Raises:
            ImportError: without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas; rows() gives the same without it") from error
        return pandas.DataFrame(self.rows(by))

    def to_dict(self) -> dict[str, Any]:
        """The figures and what is known of them, as JSON can hold it (NaN as None)."""
        return {
            "title": self.title,
            "confidence": self.confidence,
            "resampled": self.unit_name,
            "notes": list(self.notes),
            "figures": {
                name: {key: _plain(value) for key, value in vars(one).items()} for name, one in self.figures.items()
            },
        }

    def _worst_first(self, by: str | None) -> list[int]:
        if by is None and not self.values_of_rows:
            order: list[int] = np.argsort(-self.errors, kind="stable").tolist() if self.errors is not None else []
            return order or list(range(len(self.ids)))
        name = by if by is not None else next(iter(self.values_of_rows))
        if name not in self.values_of_rows:
            raise ValueError(
                f"{name!r} has no value for each of the {self.row_name}; such values have "
                f"{', '.join(self.values_of_rows) or 'none of the metrics'}"
            )
        values = self.values_of_rows[name]
        better = self.statistics[name].higher_is_better if name in self.statistics else True
        order = np.argsort(values if better else -values, kind="stable").tolist()  # NaN last either way
        return order

    def __str__(self) -> str:
        """The figures as a table for a terminal."""
        header = ["", "value", f"{self.confidence * 100:g} % interval", self.row_name, "undefined"]
        rows = [
            [name, number(one.value), bounds(one.low, one.high), f"{one.n:,}", f"{one.undefined:,}"]
            for name, one in self.figures.items()
        ]
        resampled = f"Intervals: {self.n_resamples:,} bootstrap resamples of the {self.unit_name}."
        return "\n".join([self.title, "", render(header, rows), "", *self.notes, resampled])

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {number(value)}" for name, value in self.items())
        return f"EvaluationReport({figures})"

    # Two reports are never equal by their figures alone, and a mapping would say so.
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
