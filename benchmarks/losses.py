"""What do exact losses over large batches cost?

Each case runs in a process of its own: the CPU seconds of forward and backward (the least of three, 1 thread; wall
clock on a GPU), and what the peak memory grows by beside the inputs. Ratios are to be read, not seconds.

    python benchmarks/losses.py [--tiny] [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn import CosineScorer, InfoNCELoss, MultipleNegativesRankingLoss, Relation, TripletLoss
from simlearn.embeddings import Embeddings
from simlearn.losses import LossResult, SimilarityLoss

Step = Callable[[Tensor, Tensor], Tensor | None]
DIMENSION = 256


def of_simlearn(loss: SimilarityLoss, relation: Relation) -> Step:
    """A loss of ours, forward and backward."""

    def step(queries: Tensor, documents: Tensor) -> Tensor:
        first = Embeddings(queries)
        second = first if relation.is_shared else Embeddings(documents)
        result = loss.compute(first, second, relation, CosineScorer())
        return result.value if isinstance(result, LossResult) else result

    return step


def full_matrix(queries: Tensor, documents: Tensor) -> Tensor:
    """InfoNCE as it is usually written."""
    scores = 20.0 * F.normalize(queries, dim=1) @ F.normalize(documents, dim=1).T
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def full_matrix_both_ways(queries: Tensor, documents: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP) as it is usually written."""
    scores = 20.0 * F.normalize(queries, dim=1) @ F.normalize(documents, dim=1).T
    places = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, places) + F.cross_entropy(scores.T, places)) / 2


def sentence_transformers_stage(queries: Tensor, documents: Tensor) -> None:
    """The loss stage of CachedMultipleNegativesRankingLoss at its defaults; it runs backward by itself."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    loss = CachedMultipleNegativesRankingLoss(SentenceTransformer(modules=[torch.nn.Identity()]))
    loss.calculate_loss([[queries], [documents]], with_backward=True)


def pytorch_metric_learning_semi_hard(groups: Tensor) -> Step:
    """Its miner and its loss."""
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import TripletMarginMiner

    loss, miner = TripletMarginLoss(margin=0.3), TripletMarginMiner(margin=0.3, type_of_triplets="semihard")

    def step(queries: Tensor, _: Tensor) -> Tensor:
        value: Tensor = loss(queries, groups, miner(queries, groups))
        return value

    return step


def cases(device: str) -> dict[str, Callable[[int], Step]]:
    """Steps by name, for a batch size."""

    def groups(size: int) -> Tensor:
        return torch.arange(size, device=device) % 100

    def in_groups(loss: SimilarityLoss) -> Callable[[int], Step]:
        return lambda size: of_simlearn(loss, Relation.from_groups(groups(size)))

    def in_pairs(loss: SimilarityLoss) -> Callable[[int], Step]:
        return lambda size: of_simlearn(loss, Relation.from_pairs(torch.ones(size, device=device)))

    return {
        "InfoNCE, simlearn": in_pairs(MultipleNegativesRankingLoss()),
        "InfoNCE, full matrix": lambda _: full_matrix,
        "symmetric InfoNCE, simlearn": in_pairs(InfoNCELoss()),
        "symmetric InfoNCE, full matrix": lambda _: full_matrix_both_ways,
        "InfoNCE, sentence-transformers cached stage": lambda _: sentence_transformers_stage,
        "semi-hard triplets, simlearn": in_groups(TripletLoss(mining="semi_hard")),
        "semi-hard triplets, pytorch-metric-learning": lambda size: pytorch_metric_learning_semi_hard(groups(size)),
        "all triplets, simlearn": in_groups(TripletLoss(mining="all")),
        "hard triplets, simlearn": in_groups(TripletLoss(mining="hard")),
    }


def measure(name: str, size: int, device: str) -> dict[str, float]:
    """Seconds and growth of the peak memory in MB, in this process."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(size, DIMENSION, generator=generator)
    documents = (queries + 0.5 * torch.randn(size, DIMENSION, generator=generator)).to(device)
    queries = queries.to(device)
    cuda, seconds = device != "cpu", []
    step = cases(device)[name](size)
    warm = queries[:128].clone().requires_grad_(), documents[:128].clone().requires_grad_()
    run(cases(device)[name](128), *warm)  # imports and the allocator's first steps are nobody's cost
    before = peak(cuda)
    for _ in range(1 if size > 20_000 else 3):  # the largest takes minutes
        first, second = queries.clone().requires_grad_(), documents.clone().requires_grad_()
        start = time.perf_counter() if cuda else time.process_time()
        run(step, first, second)
        if cuda:
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() if cuda else time.process_time()) - start)
    return {"seconds": min(seconds), "megabytes": peak(cuda) - before}


def run(step: Step, queries: Tensor, documents: Tensor) -> None:
    """Forward and backward."""
    value = step(queries, documents)
    if value is not None:
        value.backward()


def peak(cuda: bool) -> float:
    """The peak memory so far, in MB."""
    if cuda:
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="small batches, to see that it runs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        name, size = arguments.case
        print(json.dumps(measure(name, int(size), arguments.device)))
        return
    small, large, huge = (128, 128, 256) if arguments.tiny else (1024, 8192, 65_536)
    plan = [
        ("InfoNCE, full matrix", large),
        ("InfoNCE, simlearn", large),
        ("InfoNCE, sentence-transformers cached stage", large),
        ("symmetric InfoNCE, full matrix", large),
        ("symmetric InfoNCE, simlearn", large),
        ("InfoNCE, simlearn", huge),
        ("semi-hard triplets, pytorch-metric-learning", small),
        ("semi-hard triplets, simlearn", small),
        ("all triplets, simlearn", 2 * small),
        ("hard triplets, simlearn", 2 * small),
    ]
    print(f"torch {torch.__version__}, {arguments.device}, dimension {DIMENSION}")
    print("| case | batch | seconds | extra MB |\n|---|---|---|---|")
    for name, size in plan:
        command = [sys.executable, __file__, "--device", arguments.device, "--case", name, str(size)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(f"| {name} | {size} | {found['seconds']:.3f} | {found['megabytes']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
