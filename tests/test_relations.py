"""Masks against plain loops, whole and tile by tile, on one process and on two."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import pytest
import torch
from facts import Facts, joined, random_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_on_two
from torch import Tensor

from simlearn.relations import Relation, RelationKind, Remembered

each_kind = pytest.mark.parametrize("kind", list(RelationKind), ids=str)

FACTS = st.builds(
    random_facts,
    st.sampled_from(list(RelationKind)),
    st.integers(0, 10**6),
    st.integers(0, 7),
    ids=st.booleans(),
    subgroups=st.booleans(),
    graded=st.booleans(),
)


def masks(relation: Relation) -> tuple[Tensor, Tensor, Tensor]:
    return relation.positives(), relation.negatives(), relation.negatives(in_batch=False)


def expected_masks(facts: Facts) -> tuple[Tensor, Tensor, Tensor]:
    shape = (facts.n_queries, facts.n_documents)
    cells = [(i, j) for i in range(shape[0]) for j in range(shape[1])]
    rows = (
        [facts.positive(i, j) for i, j in cells],
        [facts.negative(i, j) for i, j in cells],
        [facts.negative(i, j, in_batch=False) for i, j in cells],
    )
    positives, negatives, known = (torch.tensor(row, dtype=torch.bool).view(shape) for row in rows)
    return positives, negatives, known


def assert_same(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.dtype is torch.bool and torch.equal(one, other)


@given(FACTS)
@settings(max_examples=300, deadline=None)
def test_masks_equal_plain_loops(facts: Facts) -> None:
    relation = facts.relation()
    assert (relation.n_queries, relation.n_documents) == (facts.n_queries, facts.n_documents)
    assert_same(masks(relation), expected_masks(facts))


@given(FACTS)
@settings(deadline=None)
def test_nothing_is_both_positive_and_negative(facts: Facts) -> None:
    positives, negatives, known = masks(facts.relation())
    assert not (positives & negatives).any()
    assert not (known & ~negatives).any()


def slices(size: int) -> st.SearchStrategy[slice]:
    ends = st.none() | st.integers(-size - 1, size + 1)
    return st.builds(slice, ends, ends)


@given(FACTS, st.data())
@settings(deadline=None)
def test_every_tile_is_a_slice_of_the_whole(facts: Facts, data: st.DataObject) -> None:
    relation = facts.relation()
    rows, columns = data.draw(slices(facts.n_queries)), data.draw(slices(facts.n_documents))
    assert torch.equal(relation.positives(rows, columns), relation.positives()[rows, columns])
    for in_batch in (True, False):
        tile = relation.negatives(rows, columns, in_batch=in_batch)
        assert torch.equal(tile, relation.negatives(in_batch=in_batch)[rows, columns])


@given(FACTS)
@settings(deadline=None)
def test_transposed_has_the_masks_of_the_other_direction(facts: Facts) -> None:
    relation = facts.relation()
    back = relation.transposed()
    assert (back.n_queries, back.n_documents) == (facts.n_documents, facts.n_queries)
    assert torch.equal(back.judged_queries, back.judged_queries.sort().values)
    assert_same(masks(back), tuple(mask.T for mask in expected_masks(facts)))
    assert_same(masks(back.transposed()), expected_masks(facts))


def test_judgements_hold_for_equal_objects() -> None:
    """Query 0 and 2 are one object, so are documents 1 and 2: neither becomes a negative of what it was paired with."""
    relation = Relation.from_pairs(torch.ones(3), ids=(torch.tensor([5, 6, 5]), torch.tensor([1, 2, 2])))
    assert relation.positives().tolist() == [[True, True, True], [False, True, True], [True, True, True]]
    assert relation.negatives().tolist() == [[False, False, False], [True, False, False], [False, False, False]]


def test_the_highest_of_several_judgements_holds_but_each_row_keeps_its_own_score() -> None:
    ids = (torch.tensor([5, 5]), torch.tensor([1, 1]))
    relation = Relation.from_pairs(torch.tensor([0.0, 1.0]), ids=ids)
    assert relation.positives().all() and not relation.negatives().any()
    assert relation.paired_scores().tolist() == [0.0, 1.0]
    assert relation.transposed().paired_scores().tolist() == [0.0, 1.0]


def test_a_judged_pair_of_one_object_is_taken_at_its_word() -> None:
    same = (torch.tensor([5, 6]), torch.tensor([5, 6]))
    relation = Relation.from_pairs(torch.tensor([0.0, 1.0]), ids=same)
    assert relation.negatives().tolist() == [[True, True], [True, False]]


def test_subgroups_that_say_nothing_are_not_kept() -> None:
    zeros = torch.zeros(2, dtype=torch.long)
    assert Relation.from_pairs(torch.ones(2), zeros).query_subgroups is None
    relation = Relation.from_pairs(torch.ones(2), torch.tensor([0, 4]))
    assert relation.query_subgroups is not None and relation.document_subgroups is not None


@each_kind
def test_shared_kinds_have_no_score_for_each_row(kind: RelationKind) -> None:
    relation = random_facts(kind, 0, 4).relation()
    assert relation.is_shared == (kind in (RelationKind.GROUPS, RelationKind.LABELS))
    if kind is not RelationKind.PAIRS:
        with pytest.raises(ValueError, match=f"{kind} has no score for each row"):
            relation.paired_scores()


@each_kind
def test_moving_and_pickling_keep_everything(kind: RelationKind) -> None:
    facts = random_facts(kind, 1, 5)
    relation = facts.relation()
    for copy in (relation.to("cpu"), pickle.loads(pickle.dumps(relation))):
        assert_same(masks(copy), expected_masks(facts))
    moved = relation.to("meta")
    for f in fields(Relation):
        before, after = getattr(relation, f.name), getattr(moved, f.name)
        assert after.device.type == "meta" if isinstance(before, Tensor) else after == before, f.name
    assert moved.device.type == "meta"


@each_kind
def test_one_process_gathers_itself(kind: RelationKind) -> None:
    relation = random_facts(kind, 1, 5).relation()
    assert relation.gather() is relation


def gathered(relation: Relation) -> Relation:
    return relation.gather()


@each_kind
@pytest.mark.parametrize("sizes", [(4, 4), (5, 2), (0, 3), (3, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("ids", [True, False], ids=["ids", "no_ids"])
def test_two_processes_gather_the_relation_of_the_joined_batch(
    kind: RelationKind, sizes: tuple[int, int], ids: bool
) -> None:
    for seed in range(3):
        # The first process has no subgroups at all in one of the cases.
        parts = [
            random_facts(kind, 10 * seed + number, size, ids=ids, subgroups=seed + number > 0)
            for number, size in enumerate(sizes)
        ]
        whole = joined(parts)
        for relation in run_on_two(gathered, *[(part.relation(),) for part in parts]):
            assert_same(masks(relation), expected_masks(whole))
            expected = whole.relation()
            assert relation.copies == 2
            assert relation.shares == tuple((part.n_queries, part.n_documents) for part in parts)
            for f in fields(Relation):
                if f.name == "shares":
                    continue
                one, other = getattr(relation, f.name), getattr(expected, f.name)
                same = torch.equal(one, other) if isinstance(other, Tensor) else one == other
                assert same, f.name


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Relation.from_pairs(torch.ones(2), torch.ones(3).long()), r"query_subgroups .*\(2,\), got \(3,\)"),
        (lambda: Relation.from_pairs(torch.ones(2), ids=(torch.arange(2), torch.arange(3))), "document_ids"),
        (lambda: Relation.from_groups(torch.arange(2), torch.arange(3)), "query_ids must have the shape"),
        (lambda: Relation.from_groups(torch.zeros(2, 2)), "groups must have the shape"),
        (lambda: Relation.from_labels(torch.tensor([0, 2]), torch.arange(3)), "offsets must end at .* 3, and end at 2"),
        (lambda: Relation.from_ranking(torch.tensor([0, 2]), torch.ones(3)), "3 relevances, and offsets for 2"),
    ],
    ids=["subgroups", "pair ids", "group ids", "group shape", "labels", "ranking"],
)
def test_columns_that_do_not_fit_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_masks_are_made_for_a_tile_only() -> None:
    """A hundred thousand objects, whose whole mask would take ten gigabytes."""
    size, tile = 100_000, (slice(50_000, 50_010), slice(99_990, None))
    rows = torch.arange(size)
    pairs = Relation.from_pairs(torch.ones(size), rows % 7, (rows // 2, size + rows))
    labels = Relation.from_labels(torch.arange(size + 1), rows % 1000)
    for relation in (pairs, labels, Relation.from_groups(rows // 3)):
        assert relation.positives(*tile).shape == relation.negatives(*tile).shape == (10, 10)
    assert labels.positives(slice(0, 2), slice(1000, 1002)).tolist() == [[True, False], [False, True]]
    assert pairs.positives(slice(0, 2), slice(0, 3)).tolist() == [[True, True, False]] * 2


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", [torch.strided, torch.sparse_coo, torch.sparse_csr], ids=str)
def test_matrices_of_every_layout(layout: torch.layout) -> None:
    nan = float("nan")
    scores = torch.tensor([[1.0, nan, 0.5], [nan, -1.0, nan]])
    if layout is not torch.strided:  # what is not stored is not judged
        known = ~scores.isnan()
        sparse = torch.sparse_coo_tensor(known.nonzero().T, scores[known], scores.shape)
        given = sparse if layout is torch.sparse_coo else sparse.to_sparse_csr()
    else:
        given = scores
    relation = Relation.from_matrix(given.double())
    assert relation.kind is RelationKind.MATRIX
    assert relation.positives().tolist() == [[True, False, True], [False, False, False]]
    assert relation.negatives().tolist() == [[False, True, False], [True, True, True]]
    assert relation.negatives(in_batch=False).tolist() == [[False, False, False], [False, True, False]]
    alike = Relation.from_matrix(given.nan_to_num(0) > 0 if layout is torch.strided else (scores > 0).to_sparse())
    assert alike.positives().tolist() == relation.positives().tolist()
    assert alike.negatives().tolist() == (~relation.positives()).tolist()


def test_a_matrix_of_objects_among_themselves() -> None:
    ids = torch.arange(3)
    alike = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    relation = Relation.from_matrix(alike, (ids, ids))
    assert relation.positives().tolist() == alike.tolist()
    assert relation.negatives().tolist() == (~alike & ~torch.eye(3, dtype=torch.bool)).tolist()


def test_other_matrices_are_refused() -> None:
    with pytest.raises(TypeError, match=r"bools .* or of floats .*, got torch.int64; write matrix.bool"):
        Relation.from_matrix(torch.ones(2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"matrix \(N, M\) of queries and documents, got \(2,\)"):
        Relation.from_matrix(torch.ones(2))


REMEMBERING = [kind for kind in RelationKind if kind is not RelationKind.MATRIX]


@given(
    st.sampled_from(REMEMBERING), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.booleans(), st.integers(0, 99)
)
@settings(max_examples=200, deadline=None)
def test_remembered_documents_stand_behind_those_of_a_batch(
    kind: RelationKind, sizes: list[int], ids: bool, seed: int
) -> None:
    """A batch and what is remembered of those before: the relation of all of them, of which the first queries ask."""
    parts = [
        random_facts(kind, seed + number, size, ids=ids, subgroups=number % 2 == 0) for number, size in enumerate(sizes)
    ]
    memory = Remembered()
    for part in parts[1:]:
        memory = memory.then(Remembered.of(part.relation()))
    whole = replace(joined(parts), asked=parts[0].n_queries)
    assert len(memory) == whole.n_documents - parts[0].n_documents
    relation = Remembered(**memory.to("cpu").columns()).behind(parts[0].relation())
    assert (relation.n_queries, relation.n_documents) == (whole.n_queries, whole.n_documents)
    assert_same(masks(relation), expected_masks(whole))
    for size in (0, 1, 3, 100):
        last = memory.last(size)
        kept = min(size, len(memory))
        assert len(last) == kept
        tail = relation.positives()[:, whole.n_documents - kept :]
        if kind in (RelationKind.GROUPS, RelationKind.LABELS):
            assert torch.equal(last.behind(parts[0].relation()).positives()[:, parts[0].n_documents :], tail)


def test_what_cannot_be_remembered() -> None:
    with pytest.raises(TypeError, match="documents of a matrix relation cannot be remembered"):
        Remembered.of(Relation.from_matrix(torch.ones(2, 2)))
    with_ids = Remembered.of(Relation.from_groups(torch.arange(2), torch.arange(2)))
    with pytest.raises(ValueError, match=r"before \['groups', 'ids'\] are known, of these \['groups'\]"):
        with_ids.then(Remembered.of(Relation.from_groups(torch.arange(2))))
    with pytest.raises(ValueError, match="1 of 2 objects ask, which has no transpose"):
        Remembered(groups=torch.arange(1)).behind(Relation.from_groups(torch.arange(1))).transposed()
