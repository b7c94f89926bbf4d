"""The two conventions of a left hand's shapes, with stand-in hands that have MANO_LEFT's property."""

import numpy as np
import pytest
import torch

from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.sample import Instance, ManoParameters, Sample
from sonjit.lab.hand_models import load_mano
from sonjit.lab.hand_models.mano_files import PARENTS, SHAPES

FLIP = np.array([-1.0, 1.0, 1.0])
CAMERA = CalibratedCamera(np.array([[900.0, 0, 200], [0, 900, 150], [0, 0, 1]]), np.eye(3), np.zeros(3))


def hand_fields(side="right", shapes="corrected", *, growth=True, seed=5):
    """Return the fields of a hand of random points, whose first shape is growth, or random as well."""
    rng = np.random.default_rng(seed)
    template = rng.normal(0, 0.04, SHAPES["v_template"]) + np.array([0.09, 0.01, 0.0])
    directions = rng.normal(0, 0.003, SHAPES["shapedirs"])
    if growth:
        directions[..., 3] += 0.06 * template
    mirror = FLIP if side == "left" else np.ones(3)
    rows = {name: rng.uniform(0, 1, SHAPES[name]) ** 8 for name in ("J_regressor", "weights")}
    return {
        "v_template": template * mirror,
        "shapedirs": directions * (mirror[:, None] if shapes == "corrected" else 1.0),
        "posedirs": np.zeros(SHAPES["posedirs"]),
        **{name: values / values.sum(1, keepdims=True) for name, values in rows.items()},
        "hands_components": np.eye(45),
        "hands_mean": np.zeros(45),
        "f": np.zeros(SHAPES["f"], np.int64),
        "kintree_table": np.array([PARENTS, range(16)]),
    }


def vertices(mano, betas):
    return mano(torch.zeros(1, 48, dtype=torch.float64), torch.tensor(betas[None]))[0][0].numpy()


@pytest.fixture
def betas():
    return np.random.default_rng(8).normal(0, 1, 10)


@pytest.mark.parametrize("shapes", ["corrected", "distributed"])
def test_the_convention_of_a_file_is_recognised(shapes, betas, tmp_path):
    np.savez(tmp_path / "mine.npz", **hand_fields("left", shapes))
    hand = load_mano(tmp_path / "mine.npz", "left", torch.float64)
    assert hand.left_shapes == shapes
    assert f"shapes {shapes}" in repr(hand)
    right = load_mano(hand_fields(), "right", torch.float64)
    assert right.left_shapes is None
    assert right.in_convention("distributed") is right
    expected = vertices(right, betas) * FLIP
    np.testing.assert_allclose(vertices(hand.in_convention("corrected"), betas), expected, atol=1e-9)
    apart = np.linalg.norm(vertices(hand.in_convention("distributed"), betas) - expected, axis=1)
    assert apart.max() > 1e-3
    other = {"corrected": "distributed", "distributed": "corrected"}[shapes]
    again = hand.in_convention(other).in_convention(shapes)
    np.testing.assert_array_equal(vertices(again, betas), vertices(hand, betas))


@pytest.mark.parametrize("shapes", ["corrected", "distributed"])
def test_the_right_hand_in_the_same_folder_decides(shapes, tmp_path):
    """Use shapes without growth, which determine nothing themselves."""
    fields = hand_fields("left", shapes, growth=False)
    assert load_mano(fields, "left").left_shapes is None
    assert load_mano(fields, "left", shapes=shapes).left_shapes == shapes
    np.savez(tmp_path / "MANO_RIGHT.npz", **hand_fields(growth=False))
    np.savez(tmp_path / "MANO_LEFT.npz", **fields)
    assert load_mano(tmp_path / "MANO_LEFT.npz", "left").left_shapes == shapes


@pytest.mark.parametrize("file", ["corrected", "distributed"])
@pytest.mark.parametrize("labels", ["corrected", "distributed"])
def test_a_label_has_the_shape_of_its_set_with_any_file(file, labels, betas):
    fit = ManoParameters(np.zeros(48), betas, np.array([0.0, 0.0, 0.7]), "camera", flat_mean=True, left_shapes=labels)
    hand = Instance(kind="hand", side="Left", mesh=fit)
    sample = Sample(
        dataset="made", id="a", image=np.zeros((4, 4, 3), np.uint8), width=4, height=4, instances=(hand,), camera=CAMERA
    )
    own = sample.mesh(load_mano(hand_fields("left", file), "left", torch.float64))
    expected = vertices(load_mano(hand_fields("left", labels), "left", torch.float64), betas) + fit.trans
    np.testing.assert_allclose(own, expected, atol=1e-9)
