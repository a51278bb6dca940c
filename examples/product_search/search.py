"""Ask a run's model.

    python examples/product_search/search.py RUN ["query"]

Without a query it goes on asking, until the input ends.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from models import CATEGORY, TITLE
from runs import Run, errors_told
from settings import read

from simlearn import SimilarityModel, read_qdrl


def questions() -> Iterator[str]:
    """What is typed, line by line."""
    while True:
        print("search: ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            print()
            return
        if line.strip():
            yield line.strip()


def main() -> None:
    """Print the best products of each query."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("query", nargs="?", help="without it: asked for")
    parser.add_argument("--top", type=int, default=5, help="how many products are shown")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    model = SimilarityModel.load(run.servable)
    products = list(read_qdrl(read(run.config).data.folder).corpus.items())
    vectors = model.encode_document([product for _, product in products], batch_size=1024, normalize=True)
    for query in questions() if arguments.query is None else [arguments.query]:
        scores = vectors @ model.encode_query(query, normalize=True)[0]
        for row in np.argsort(-scores, kind="stable")[: arguments.top]:
            name, product = products[row]
            print(f"  {scores[row]:.3f}  {name:>7}  {product[TITLE]}  ({product[CATEGORY]})")


if __name__ == "__main__":
    with errors_told():
        main()
