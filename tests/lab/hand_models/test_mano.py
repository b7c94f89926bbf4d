"""MANO: meshes of the reference, gradients, and properties of all poses."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.lab.hand_models import demo_mano, load_mano
from sonjit.lab.hand_models.mano import (
    SIDES,
    axis_angle_from_matrix,
    matrix_from_6d,
    matrix_from_axis_angle,
)
from sonjit.lab.hand_models.mano_files import JOINTS

NEAR_M = 1e-5
LAYERS = {
    "handoccnet": {"flat_hand_mean": False},
    "deformer_ho3d": {"flat_hand_mean": True},
    "deformer_dexycb": {"flat_hand_mean": False, "pca": True},
}


@pytest.fixture(scope="module", params=SIDES)
def mano(request):
    return demo_mano(request.param)


@pytest.fixture(scope="module")
def golden(data):
    path = data / "goldens/networks/mano.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def assert_near(given, expected, tolerance=NEAR_M):
    torch.testing.assert_close(given, expected, rtol=0, atol=tolerance)


@pytest.mark.golden
@pytest.mark.parametrize("tips", LAYERS)
def test_meshes_are_the_references(mano, golden, tips):
    unit = 1000 if tips == "handoccnet" else 1  # that layer's reference is in millimetres
    start = f"{tips}_{mano.side}."
    hand = mano.posed(golden["pose"], golden["betas"], tips=tips, **LAYERS[tips])
    assert_near(hand.joints, golden[start + "joints"] / unit)
    assert_near(hand.vertices[:, ::7], golden[start + "verts_s7"] / unit)
    assert_near(hand.vertices.flatten(1).mean(1), golden[start + "verts.mean"] / unit)
    assert_near(hand.vertices.flatten(1).std(1, correction=0), golden[start + "verts.std"] / unit)
    if start + "transforms" in golden:
        assert_near(hand.transforms, golden[start + "transforms"])
    if start + "joints_with_trans" in golden:
        _, moved = mano(golden["pose"], golden["betas"], golden["trans"], tips=tips, **LAYERS[tips])
        assert_near(moved, golden[start + "joints_with_trans"] / unit)
        _, mean = mano(golden["pose"], tips=tips, **LAYERS[tips])
        assert_near(mean, golden[start + "joints_zero_betas"] / unit)


@pytest.mark.golden
def test_axis_angles_turn_as_the_references(golden):
    given_ = matrix_from_axis_angle(golden["pose"].unflatten(1, (JOINTS, 3))).flatten(2)
    assert_near(given_, golden["rodrigues"], 1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("side", SIDES)
def test_the_demo_model_is_the_one_of_the_reference(data, side):
    path = data / f"goldens/networks/mano_synthetic{'' if side == 'right' else '_left'}.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    expected = dict(load_mano(path, side=side).named_buffers())
    for name, value in demo_mano(side).named_buffers():
        assert_near(value, expected[name], 1e-6)


def test_gradients_are_finite_at_rest(mano):
    pose = torch.zeros(1, 48, requires_grad=True)
    vertices, joints = mano(pose)
    (vertices.square().sum() + joints.square().sum()).backward()
    assert pose.grad.isfinite().all()
    assert pose.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pose": torch.zeros(2, 47)}, r"pose has shape \(2, 47\); expected \(N, 48\) or \(N, 96\)"),
        ({"pose": torch.zeros(48)}, r"pose has shape \(48,\)"),
        ({"pose": torch.zeros(2, 96), "pca": True}, r"expected \(N, 4\) to \(N, 48\) with pca"),
        ({"pose": torch.zeros(2, 48), "betas": torch.zeros(1, 10)}, r"betas has shape \(1, 10\) instead of \(2, 10\)"),
        ({"pose": torch.zeros(2, 48), "translation": torch.zeros(3)}, r"translation has shape \(3,\)"),
        ({"pose": torch.zeros(2, 48), "tips": "smplx"}, "Unknown tips 'smplx'. Choose from handoccnet"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        demo_mano()(**arguments)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def rotation_golden(data):
    path = data / "goldens/networks/protocols_mesh.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if key.startswith("rot.")}


@pytest.mark.golden
def test_rotations_are_the_references(rotation_golden):
    matrices = matrix_from_6d(rotation_golden["rot.in6d"])
    torch.testing.assert_close(matrices, rotation_golden["rot.mat"], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        axis_angle_from_matrix(rotation_golden["rot.mat"]), rotation_golden["rot.aa"], rtol=0, atol=1e-4
    )
    torch.testing.assert_close(
        matrix_from_axis_angle(rotation_golden["rot.aa_in"]), rotation_golden["rot.rodrigues"], rtol=0, atol=1e-6
    )
    # at exactly pi either sign of the axis is right: compare what the vectors do
    back = matrix_from_axis_angle(axis_angle_from_matrix(rotation_golden["rot.rodrigues"]))
    expected = matrix_from_axis_angle(rotation_golden["rot.aa_roundtrip"])
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-4)


def test_no_rotation_has_a_gradient():
    still = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    matrix_from_axis_angle(still).square().sum().backward()
    assert still.grad.isfinite().all()
    unit = torch.eye(3, dtype=torch.float64, requires_grad=True)
    axis_angle_from_matrix(unit).sum().backward()
    assert unit.grad.isfinite().all()
    assert torch.equal(axis_angle_from_matrix(torch.eye(3)), torch.zeros(3))
