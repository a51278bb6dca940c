"""Whether the difference of two models on the same queries is more than chance.

Smucker et al., A Comparison of Statistical Significance Tests for Information Retrieval Evaluation (2007), find the
randomisation test and the t-test to agree and advise both; Schuirmann (1987) gives the test of equivalence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

from simlearn.evaluation.statistics.statistic import Numbers

_CELLS = 2**22


def randomisation_test(differences: Numbers, n_permutations: int = 10_000, seed: int = 0) -> float:
    """The chance of a sum so far from 0 when each difference might as well have had the other sign; two-sided.

    Args:
        differences: (U,) what each unit adds.
        n_permutations: how many random choices of signs.
        seed: of the signs.

    Returns:
        (1 + as extreme ones) / (1 + all), at least 1 / (1 + n_permutations); 1 where nothing differs.
    """
    moved = differences[differences != 0]  # the sign of 0 does not matter
    if not len(moved):
        return 1.0
    observed = abs(float(moved.sum())) * (1 - 1e-12)
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS // len(moved))
    extreme = 0
    for start in range(0, n_permutations, at_once):
        rows = min(at_once, n_permutations - start)
        bits = np.unpackbits(generator.integers(256, size=(rows, (len(moved) + 7) // 8), dtype=np.uint8), axis=1)
        signed = 2 * (bits[:, : len(moved)].astype(np.float64) @ moved) - moved.sum()
        extreme += int((np.abs(signed) >= observed).sum())
    return (1 + extreme) / (1 + n_permutations)


def t_test(differences: Numbers, centre: float = 0.0) -> tuple[float, float]:
    """Student's t-test of the mean of paired differences (U,) against `centre`.

    Returns:
        The one-sided chances of a mean so large, and of one so small, were the true mean `centre`. NaN for fewer than
        two differences.
    """
    size = len(differences)
    if size < 2:
        return math.nan, math.nan
    distance = float(differences.mean()) - centre
    error = float(differences.std(ddof=1)) / math.sqrt(size)
    # Constant differences have no spread but that of rounding.
    if error <= 1e-12 * max(1.0, abs(float(differences.mean()))):
        above = 0.5 if abs(distance) <= 1e-12 else float(distance < 0)
        return above, 1 - above
    above = student_tail(distance / error, size - 1)
    return above, 1 - above


def student_tail(t: float, degrees: int) -> float:
    """The chance that a variable of Student's t distribution exceeds t."""
    return float(stdtr(degrees, -t))


def holm(chances: Sequence[float]) -> list[float]:
    """p-values corrected for how many were looked at (Holm 1979); NaN stays NaN and is not counted."""
    known = [number for number, chance in enumerate(chances) if not math.isnan(chance)]
    corrected = [math.nan] * len(chances)
    largest = 0.0
    for place, number in enumerate(sorted(known, key=lambda one: chances[one])):
        largest = max(largest, min(1.0, (len(known) - place) * chances[number]))
        corrected[number] = largest
    return corrected
