"""Two reports on the same data beside each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.evaluation.reports.text_table import bounds, chance, number, render
from simlearn.evaluation.statistics.resampling import interval, resample
from simlearn.evaluation.statistics.significance import holm, randomisation_test, t_test
from simlearn.evaluation.statistics.statistic import MeanStatistic, Numbers, Statistic


@dataclass(frozen=True)
class Change:
    """How a figure changed.

    Args:
        before: the figure of the first report.
        after: the figure of the second.
        difference: after − before, over the same queries.
        low: the lower bound of the difference's confidence interval (paired bootstrap).
        high: the upper bound.
        p: two-sided, of the paired randomisation test; of the paired bootstrap where the figure is no mean.
        p_corrected: p, corrected for the number of metrics (Holm).
        p_t_test: two-sided, of the paired t-test; NaN where the figure is no mean.
        p_equivalent: of the test that the figures differ by the margin or more (two one-sided tests, TOST); small
            means that they are equal within the margin.
        verdict: `"better"` or `"worse"` where `p_corrected` is small, else `"equal"` where `p_equivalent` is, else
            `"unclear"`: the data do not say.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float
    p_t_test: float
    p_equivalent: float
    verdict: str


class Comparison:
    """What changed between two reports, and whether it is more than chance; `print` shows it.

    Args:
        before: of the one model.
        after: of the other.
        margin: figures closer than this are taken for equal.
        n_permutations: of the randomisation test.
        seed: of the permutations.

    Raises:
        ValueError: when the reports are on other data, or have no metric in common.
    """

    def __init__(
        self,
        before: EvaluationReport,
        after: EvaluationReport,
        margin: float = 0.01,
        n_permutations: int = 10_000,
        seed: int = 0,
    ) -> None:
        if not margin > 0:
            raise ValueError(f"margin must be above 0, got {margin}: nothing is equal to the last digit")
        if (before.row_name, before.unit_name) != (after.row_name, after.unit_name) or before.ids != after.ids:
            raise ValueError(
                f"the reports are on other {after.row_name} or resample them otherwise ({len(before.ids)} "
                f"{before.row_name} by {before.unit_name}, {len(after.ids)} {after.row_name} by {after.unit_name}), so "
                "they cannot be paired; evaluate both models with one evaluator"
            )
        self.names = [name for name in after if name in before.statistics]
        if not self.names:
            raise ValueError(f"the reports share no metric: {', '.join(before)} and {', '.join(after)}")
        self.before = before
        self.after = after
        self.margin = margin
        self.n_permutations = n_permutations
        self.seed = seed

    @cached_property
    def changes(self) -> dict[str, Change]:
        """By metric."""
        alpha = 1 - self.after.confidence
        columns = [self._paired(name) for name in self.names]
        statistics: list[Statistic] = [one for pair in columns for one in pair]
        drawn = resample(statistics, len(self.after.unit_ids), self.after.n_resamples, self.after.seed)
        found = []
        for place, (first, second) in enumerate(columns):
            moved = drawn[:, 2 * place + 1] - drawn[:, 2 * place]
            difference = second.value - first.value
            tests = self._tests(first, second, moved)
            found.append((first, second, difference, interval(moved, self.after.confidence), tests))
        corrected = holm([tests[0] for *_, tests in found])
        changes = {}
        for name, p_corrected, (first, second, difference, (low, high), (p, p_t, p_equal)) in zip(
            self.names, corrected, found, strict=True
        ):
            verdict = "equal" if p_equal < alpha else "unclear"
            if p_corrected < alpha:
                verdict = "better" if (difference > 0) is second.higher_is_better else "worse"
            changes[name] = Change(
                first.value, second.value, difference, low, high, p, p_corrected, p_t, p_equal, verdict
            )
        return changes

    def _paired(self, name: str) -> tuple[Statistic, Statistic]:
        """Both figures, over what has a value in both reports."""
        first, second = self.before.statistics[name], self.after.statistics[name]
        return first, second

    def _tests(self, first: Statistic, second: Statistic, moved: Numbers) -> tuple[float, float, float]:
        """The p-values of the randomisation test, the t-test and the test of equivalence."""
        if isinstance(first, MeanStatistic) and isinstance(second, MeanStatistic):
            total = second.counts.sum()
            if not total or not np.array_equal(first.counts, second.counts):
                return math.nan, math.nan, math.nan
            added = second.sums - first.sums
            # What a unit adds to the difference, times their number, so that the mean is the difference itself.
            scaled = added[second.counts > 0] * (int((second.counts > 0).sum()) / total)
            above, below = t_test(scaled)
            p_equal = max(t_test(scaled, -self.margin)[0], t_test(scaled, self.margin)[1])
            return randomisation_test(added, self.n_permutations, self.seed), 2 * min(above, below), p_equal
        known = moved[~np.isnan(moved)]
        if not len(known):
            return math.nan, math.nan, math.nan
        p = min(1.0, 2 * min(_share(known <= 0), _share(known >= 0)))
        return p, math.nan, max(_share(known <= -self.margin), _share(known >= self.margin))

    def __str__(self) -> str:
        """The changes as a table for a terminal."""
        percent = f"{self.after.confidence * 100:g} %"
        header = [
            "",
            "before",
            "after",
            "change",
            f"{percent} interval",
            "p",
            "p (Holm)",
            "p (t-test)",
            "p (equal)",
            "",
        ]
        rows = [
            [
                name,
                number(one.before),
                number(one.after),
                number(one.difference, sign=True),
                bounds(one.low, one.high, sign=True),
                chance(one.p),
                chance(one.p_corrected),
                chance(one.p_t_test),
                chance(one.p_equivalent),
                one.verdict,
            ]
            for name, one in self.changes.items()
        ]
        tests = "p: paired randomisation test" if self._has_means else "p: paired bootstrap"
        explained = (
            f"{len(self.after.unit_ids):,} {self.after.unit_name}, paired. {tests}; Holm: corrected for "
            f"{len(self.names)} metric{'s' * (len(self.names) > 1)}; equal: within ±{self.margin:g} (TOST)."
        )
        return "\n".join([self.after.title, "", render(header, rows), "", explained])

    @property
    def _has_means(self) -> bool:
        return any(isinstance(self.after.statistics[name], MeanStatistic) for name in self.names)


def _share(flags: NDArray[np.bool_]) -> float:
    """The share of resamples, never quite 0: they are a sample themselves."""
    return (1 + int(flags.sum())) / (1 + len(flags))
