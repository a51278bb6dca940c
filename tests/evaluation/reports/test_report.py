"""Reports and what changed between two of them."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from simlearn.evaluation import EvaluationReport
from simlearn.evaluation.statistics.statistic import FixedStatistic, MeanStatistic


def report(values: dict[str, np.ndarray], **options: object) -> EvaluationReport:
    size = len(next(iter(values.values())))
    settings = {"rows": "queries", "ids": [f"q{row}" for row in range(size)], "values": values, **options}
    return EvaluationReport("Title", {name: MeanStatistic(one) for name, one in values.items()}, **settings)


VALUES = {"mrr": np.array([0.5, 1.0, np.nan, 0.0]), "recall@1": np.array([0.0, 1.0, np.nan, 0.0])}


def test_it_is_a_mapping_of_values() -> None:
    one = report(VALUES)
    assert dict(one) == {"mrr": 0.5, "recall@1": pytest.approx(1 / 3)}
    figure = one.figures["mrr"]
    assert (figure.value, figure.n, figure.undefined) == (0.5, 3, 1)
    assert 0 <= figure.low <= 0.5 <= figure.high <= 1
    with pytest.raises(KeyError, match="no metric 'map' in this report, only mrr, recall@1"):
        one["map"]
    assert one == one and one != report(VALUES)


def test_it_prints_each_figure_with_interval_and_counts() -> None:
    text = str(report(VALUES, notes=["3 things were left out."], n_resamples=200))
    lines = text.splitlines()
    assert lines[0] == "Title"
    assert lines[2].split() == ["value", "95", "%", "interval", "queries", "undefined"]
    assert lines[3].split()[:2] == ["mrr", "0.500"] and lines[3].split()[-2:] == ["3", "1"]
    assert "3 things were left out." in lines
    assert lines[-1] == "Intervals: 200 bootstrap resamples of the queries."
    assert repr(report(VALUES)) == "EvaluationReport(mrr 0.500, recall@1 0.333)"


def test_worst_rows_first_and_undefined_ones_last() -> None:
    one = report(VALUES, table={"text": list("abcd")})
    assert [row["id"] for row in one.rows()] == ["q3", "q0", "q1", "q2"]
    assert one.worst(1) == [{"id": "q3", "text": "d", "mrr": 0.0, "recall@1": 0.0}]
    assert [row["id"] for row in one.rows(by="recall@1")] == ["q0", "q3", "q1", "q2"]
    with pytest.raises(ValueError, match="'map' has no value for each of the queries"):
        one.rows(by="map")


def test_pandas() -> None:
    pytest.importorskip("pandas")
    frame = report(VALUES).to_pandas()
    assert list(frame.columns) == ["id", "mrr", "recall@1"] and frame["id"].tolist() == ["q3", "q0", "q1", "q2"]


def test_pandas_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        report(VALUES).to_pandas()


def test_json() -> None:
    content = json.loads(json.dumps(report({"mrr": np.array([np.nan])}).to_dict(), allow_nan=False))
    assert content["figures"]["mrr"]["value"] is None and content["figures"]["mrr"]["undefined"] == 1


def test_a_fixed_figure_has_no_interval() -> None:
    one = EvaluationReport("Title", {"own": FixedStatistic(0.5, 2)}, rows="objects", ids=[0, 1])
    assert math.isnan(one.figures["own"].low) and "-" in str(one)


@pytest.mark.parametrize(("option", "value"), [("confidence", 1.0), ("n_resamples", 0)])
def test_bad_numbers_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        report(VALUES, **{option: value})


def random_values(size: int, seed: int, gain: float = 0.0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).random(size) + gain, 0, 1)


def test_a_real_gain_is_better_and_noise_is_not() -> None:
    base, noise = random_values(400, 0), np.random.default_rng(1).normal(0, 0.05, size=(2, 400))
    before = report({"gain": base, "noise": base, "same": base})
    after = report({"gain": base + 0.05 + noise[0], "noise": base + noise[1] - noise[1].mean(), "same": base})
    changes = after.compare(before, margin=0.02).changes
    assert {name: one.verdict for name, one in changes.items()} == {"gain": "better", "noise": "equal", "same": "equal"}
    gain = changes["gain"]
    assert gain.low < 0.05 < gain.high and gain.low > 0 and gain.p < 0.001 and gain.p_t_test < 0.001
    assert changes["noise"].p > 0.5 and changes["same"].p == 1.0
    assert before.compare(after).changes["gain"].verdict == "worse"


def test_few_queries_stay_unclear() -> None:
    change = report({"mrr": random_values(8, 0)}).compare(report({"mrr": random_values(8, 1)})).changes["mrr"]
    assert change.verdict == "unclear" and change.p_equivalent > 0.05


def test_a_lower_error_is_better() -> None:
    before, after = report({"error": random_values(200, 0)}), report({"error": random_values(200, 0) - 0.1})
    for one in (before, after):
        one.statistics["error"].higher_is_better = False
    assert after.compare(before).changes["error"].verdict == "better"


def test_pairing_makes_small_differences_visible() -> None:
    base = random_values(200, 0)
    before, after = report({"mrr": base}), report({"mrr": base + 0.02})
    assert after.figures["mrr"].low < before["mrr"], "alone the intervals overlap"
    assert after.compare(before).changes["mrr"].verdict == "better"


def test_comparison_prints_all_of_it() -> None:
    text = str(report({"mrr": random_values(50, 0)}).compare(report({"mrr": random_values(50, 1)})))
    assert "before" in text and "p (Holm)" in text and "corrected for 1 metric;" in text and "±0.01 (TOST)" in text


def test_reports_on_other_data_are_refused() -> None:
    one = report(VALUES)
    with pytest.raises(ValueError, match="cannot be paired; evaluate both models with one evaluator"):
        one.compare(report({"mrr": np.zeros(3)}))
    with pytest.raises(ValueError, match="share no metric"):
        one.compare(report({"map": np.zeros(4)}))
    with pytest.raises(ValueError, match="margin"):
        one.compare(one, margin=0.0)
