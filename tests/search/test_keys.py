"""Keys sort as score and place do."""

from __future__ import annotations

import torch

from simlearn.search.keys import MAX_DOCUMENTS, NOTHING, pack, unpack_places, unpack_scores


def test_keys_sort_by_score_then_place_and_come_back() -> None:
    finite = torch.tensor([-3.4e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3.4e38])
    scores = finite.repeat_interleave(2)
    places = torch.tensor([0, MAX_DOCUMENTS - 1]).repeat(len(finite))
    keys = pack(scores, places)
    expected = sorted(range(len(keys)), key=lambda at: (-scores[at].item(), places[at].item(), at))
    assert keys[expected].diff().le(0).all()
    assert torch.equal(unpack_scores(keys), scores + 0.0)
    assert torch.equal(unpack_places(keys), places)
    assert keys.min() > NOTHING and unpack_scores(torch.tensor(NOTHING)) == -torch.inf
