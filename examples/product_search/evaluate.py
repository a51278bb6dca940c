"""Judge a run beside BM25, or beside another run.

    python examples/product_search/evaluate.py RUN [--against RUN]

Recall and MRR of both with their intervals, of queries as they are and with typing errors, and whether the difference
is more than chance.
"""

from __future__ import annotations

import argparse
import json

from data import bm25, search
from runs import Run, errors_told
from settings import read

import simlearn
from simlearn import EvaluationReport, SimilarityModel

VERDICTS = {"better": "better", "worse": "worse", "equal": "equal within 0.01", "unclear": "may be chance"}


def table(report: EvaluationReport, other: EvaluationReport, names: tuple[str, str]) -> str:
    """Both with their intervals, and whether they differ by more than chance."""
    rows = [["", *names, "difference", ""]]
    for name, change in report.compare(other).changes.items():
        both = (other.figures[name], report.figures[name])
        values = [f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in both]
        moved = f"{change.difference:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
        rows.append([name, *values, moved, VERDICTS[change.verdict]])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def main() -> None:
    """Print the table, and leave the report in the run's folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("--against", metavar="RUN", help="another run, in place of BM25")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    config = read(run.config)
    evaluator = search(config)
    report = simlearn.evaluate(evaluator, model=SimilarityModel.load(run.servable))
    if arguments.against is None:
        other = simlearn.evaluate(evaluator, search=bm25(config).search)
    else:
        other = simlearn.evaluate(evaluator, model=SimilarityModel.load(Run(arguments.against).servable))
    print(f"{len(evaluator.queries.ids):,} queries, {len(evaluator.corpus.ids):,} products, 95 % intervals:\n")
    print(table(report, other, (arguments.against or "BM25", arguments.run)))
    (run.folder / "evaluation.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n")


if __name__ == "__main__":
    with errors_told():
        main()
