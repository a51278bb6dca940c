"""The angle's margin at its ends, sub-centres, and margins by frequency."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from simlearn.hashing import stable_id
from simlearn.losses import ArcFaceLoss

ID = torch.tensor([stable_id(name) for name in ("spoon", "fork", "knife")])


def loss_of_three(**options: Any) -> ArcFaceLoss:
    torch.manual_seed(0)
    return ArcFaceLoss(4, 3, **{"classes": ["spoon", "fork", "knife"], **options})


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_are_finite_on_and_opposite_of_a_centre(sign: float) -> None:
    loss = loss_of_three()
    with torch.no_grad():
        loss.kernel.copy_(torch.eye(4)[:, :3])
    embeddings = (sign * torch.eye(4)[:3]).requires_grad_()
    value = loss(embeddings, ID.sort().values)
    value.backward()
    assert value.isfinite() and embeddings.grad is not None and loss.kernel.grad is not None
    assert embeddings.grad.isfinite().all() and loss.kernel.grad.isfinite().all()
    assert embeddings.grad.abs().max() < 1e3


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.5, 3.0])
def test_larger_angles_are_worse_everywhere_without_a_jump(margin: float) -> None:
    angles = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    loss = loss_of_three(margin=margin).double()
    loss.margins.fill_(margin)
    values = loss.harder(angles.cos(), torch.zeros(len(angles), dtype=torch.long))
    assert (values.diff() < 1e-12).all() and values.diff().abs().max() < 0.01
    before = angles < math.pi - margin
    torch.testing.assert_close(values[before], (angles + margin).cos()[before])


def test_the_nearest_of_several_vectors_counts() -> None:
    one, two = loss_of_three(), loss_of_three(sub_centers=2)
    with torch.no_grad():
        two.kernel[:, 0::2] = one.kernel
        two.kernel[:, 1::2] = one.kernel  # equal vectors change nothing
    embeddings = torch.randn(6, 4)
    torch.testing.assert_close(two(embeddings, ID.repeat(2)), one(embeddings, ID.repeat(2)))
    with torch.no_grad():
        two.kernel[:, 1::2] *= -1
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(one.kernel, dim=0)
    torch.testing.assert_close(two.cosines(embeddings), cosines.abs())


def test_rare_classes_have_larger_margins() -> None:
    loss = loss_of_three(margin=(0.1, 0.9), classes={"spoon": 1, "fork": 16, "knife": 256})
    margins = dict(zip(loss.class_ids.tolist(), loss.margins.tolist(), strict=True))
    # n^(-1/4) is 1, 0.5 and 0.25.
    assert [margins[one] for one in ID.tolist()] == pytest.approx([0.9, 0.1 + 0.8 / 3, 0.1])
    loss.set_classes(torch.tensor([5, 5, 7, 7]))
    assert loss.margins[:2].tolist() == pytest.approx([0.5, 0.5])
    fresh = ArcFaceLoss(4, 3, margin=[0.1, 0.9])
    other = loss_of_three(margin=(0.1, 0.9), classes={"spoon": 1, "fork": 2})
    fresh.load_state_dict(other.state_dict())
    assert torch.equal(fresh.margins, other.margins)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -0.1}, "margin must be a number or a range"),
        ({"margin": (0.5, 0.1)}, "margin must be a number or a range"),
        ({"margin": 4.0}, "margin must be a number or a range"),
        ({"margin": (0.1, 0.2, 0.3)}, "margin must be a number or a range"),
        ({"scale": 0}, "scale must be above 0"),
        ({"sub_centers": 0}, "sub_centers must be at least 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_of_three(**options)
