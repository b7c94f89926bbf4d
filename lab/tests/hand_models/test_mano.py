"""MANO: meshes of the reference, gradients, and the two conventions of a left hand's shapes."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit_lab.datasets.sample import Instance, ManoParameters, Sample
from sonjit_lab.hand_models import demo_mano, load_mano, mano_files
from sonjit_lab.hand_models.mano import SIDES, axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle

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
    given_ = matrix_from_axis_angle(golden["pose"].unflatten(1, (mano_files.JOINTS, 3))).flatten(2)
    assert_near(given_, golden["rodrigues"], 1e-6)


@pytest.mark.golden
@pytest.mark.files("goldens/networks/mano_synthetic*.npz")
def test_the_demo_model_is_the_one_of_the_reference(file):
    side = "left" if file.stem.endswith("left") else "right"
    expected = dict(load_mano(file, side=side).named_buffers())
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


@pytest.mark.golden
@pytest.mark.files("goldens/networks/protocols_mesh.npz")
def test_rotations_are_the_references(file):
    with np.load(file) as read:
        rotation_golden = {key: torch.from_numpy(read[key]) for key in read.files if key.startswith("rot.")}
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


FLIP = np.array([-1.0, 1.0, 1.0])
CAMERA = CalibratedCamera(np.array([[900.0, 0, 200], [0, 900, 150], [0, 0, 1]]), np.eye(3), np.zeros(3))


def hand_fields(side="right", shapes="corrected", *, growth=True, seed=5):
    """Return the fields of a hand of random points, whose first shape is growth, or random as well."""
    rng = np.random.default_rng(seed)
    template = rng.normal(0, 0.04, mano_files.SHAPES["v_template"]) + np.array([0.09, 0.01, 0.0])
    directions = rng.normal(0, 0.003, mano_files.SHAPES["shapedirs"])
    if growth:
        directions[..., 3] += 0.06 * template
    mirror = FLIP if side == "left" else np.ones(3)
    rows = {name: rng.uniform(0, 1, mano_files.SHAPES[name]) ** 8 for name in ("J_regressor", "weights")}
    return {
        "v_template": template * mirror,
        "shapedirs": directions * (mirror[:, None] if shapes == "corrected" else 1.0),
        "posedirs": np.zeros(mano_files.SHAPES["posedirs"]),
        **{name: values / values.sum(1, keepdims=True) for name, values in rows.items()},
        "hands_components": np.eye(45),
        "hands_mean": np.zeros(45),
        "f": np.zeros(mano_files.SHAPES["f"], np.int64),
        "kintree_table": np.array([mano_files.PARENTS, range(16)]),
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
