"""MANO: meshes of the reference, gradients, and properties of all poses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.lab.hand_models import demo_mano, load_mano
from sonjit.lab.hand_models.mano import LAYOUTS, SIDES, matrix_from_6d, matrix_from_axis_angle
from sonjit.lab.hand_models.mano_files import JOINTS, VERTICES

NEAR_M = 1e-5
LAYERS = {
    "handoccnet": {"flat_hand_mean": False},
    "deformer_ho3d": {"flat_hand_mean": True},
    "deformer_dexycb": {"flat_hand_mean": False, "pca": True},
}
seeds = st.integers(0, 2**31)


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


def draw(seed, count=2, spread=0.5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    pose = torch.randn(count, 48, generator=generator, dtype=dtype) * spread
    return pose, torch.randn(count, 10, generator=generator, dtype=dtype)


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


@pytest.mark.parametrize("tips", LAYERS)
def test_gradients_are_those_of_differences(tips):
    hand = demo_mano().double()
    pose, betas = draw(1, 1, dtype=torch.float64)
    shift = torch.zeros(1, 3, dtype=torch.float64)
    some = torch.linspace(0, VERTICES - 1, 4).long()

    def outputs(*values):
        vertices, joints = hand(*values, tips=tips, **LAYERS[tips])
        return vertices[:, some], joints[:, ::5]

    inputs = tuple(value.requires_grad_() for value in (pose, betas, shift))
    assert torch.autograd.gradcheck(outputs, inputs, fast_mode=True)


def test_gradients_are_finite_at_rest(mano):
    pose = torch.zeros(1, 48, requires_grad=True)
    vertices, joints = mano(pose)
    (vertices.square().sum() + joints.square().sum()).backward()
    assert pose.grad.isfinite().all()
    assert pose.grad.abs().max() > 0


@given(seeds)
@settings(max_examples=10)
def test_a_batch_is_its_hands_one_by_one(seed):
    mano = demo_mano()
    pose, betas = draw(seed, 3)
    together = mano(pose, betas)
    for i in range(3):
        for one, all_ in zip(mano(pose[i : i + 1], betas[i : i + 1]), together, strict=True):
            assert_near(one[0], all_[i], 1e-6)


def test_many_hands_are_as_few(mano):
    pose, betas = draw(3, 130)
    vertices, _ = mano(pose, betas)
    assert_near(vertices[100:], mano(pose[100:], betas[100:])[0], 1e-6)


@given(seeds, st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=15)
def test_turning_the_wrist_turns_the_hand_around_it(seed, tips):
    mano = demo_mano()
    pose, betas = draw(seed, 1)
    still = torch.cat([torch.zeros(1, 3), pose[:, 3:]], 1)
    turn = matrix_from_axis_angle(pose[0, :3])
    (vertices, joints), (rest, rest_joints) = mano(pose, betas, tips=tips), mano(still, betas, tips=tips)
    assert_near(vertices - joints[:, :1], (rest - rest_joints[:, :1]) @ turn.T)
    assert_near(joints[:, 0], rest_joints[:, 0])


@given(seeds)
@settings(max_examples=15)
def test_six_numbers_equal_axis_angles(seed):
    mano = demo_mano()
    pose, betas = draw(seed, 2, 0.4)
    six = matrix_from_axis_angle(pose.unflatten(1, (16, 3)))[..., :2].mT.flatten(1)
    assert_near(
        matrix_from_6d(six.unflatten(1, (16, 6)))[..., 0].flatten(1), six.unflatten(1, (16, 2, 3))[:, :, 0].flatten(1)
    )
    for flat in (True, False):
        assert_near(mano(six, betas, flat_hand_mean=flat)[0], mano(pose, betas, flat_hand_mean=flat)[0])


def test_coefficients_stand_for_axis_angles(mano):
    pose, _ = draw(4)
    assert_near(mano(pose, pca=True)[0], mano(torch.cat([pose[:, :3], mano.axis_angles(pose[:, 3:])], 1))[0])
    few = torch.cat([pose[:, :9], torch.zeros(2, 39)], 1)
    assert_near(mano(pose[:, :9], pca=True)[0], mano(few, pca=True)[0])


def test_a_pose_of_zeros_gives_the_template(mano):
    vertices, joints = mano(torch.zeros(1, 48))
    assert_near(vertices[0], mano.template.view(3, VERTICES).T, 1e-6)
    regressed = mano.joint_regressor @ vertices[0]
    assert_near(joints[0, [0, 5, 9, 17, 13, 1]], regressed[[0, 1, 4, 7, 10, 13]], 1e-6)  # wrist and knuckles
    bent = torch.zeros(1, 48)
    bent[0, 3:] = -mano.mean_pose
    assert_near(mano(bent, flat_hand_mean=False)[0], vertices, 1e-6)


def test_frames_hold_the_joints_and_translation_moves_all(mano):
    pose, betas = draw(5)
    shift = torch.tensor([[0.1, -0.2, 0.5]])
    for tips in LAYOUTS:
        hand, moved = mano.posed(pose, betas, shift.expand(2, 3), tips=tips), mano.posed(pose, betas, tips=tips)
        ways = hand.vertices - moved.vertices
        assert_near(ways, ways[:, :1].expand_as(ways), 1e-6)
        assert_near(hand.transforms[:, 0, :3, 3], hand.joints[:, 0], 1e-6)
        assert hand.transforms.shape == (2, JOINTS, 4, 4)
        if LAYOUTS[tips].centred:
            assert_near(moved.joints[:, 0], torch.zeros(2, 3), 1e-6)
        else:
            assert_near(ways[:, 0], shift.expand(2, 3), 1e-6)


def test_tips_are_vertices_of_their_layout(mano):
    pose, betas = draw(6)
    for tips, layout in LAYOUTS.items():
        vertices, joints = mano(pose, betas, tips=tips)
        assert torch.equal(joints[:, 4::4], vertices[:, getattr(layout, mano.side)])


def test_the_model_is_no_part_of_saved_weights(mano):
    assert not mano.state_dict()
    assert not list(mano.parameters())
    assert mano.double()(torch.zeros(1, 48, dtype=torch.float64))[0].dtype == torch.float64
    mano.float()


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


def test_a_full_turn_is_no_turn(mano):
    pose, betas = draw(7, 1)
    turned = pose.clone()
    turned[0, :3] *= (turned[0, :3].norm() + 2 * math.pi) / turned[0, :3].norm()
    assert_near(mano(turned, betas)[0], mano(pose, betas)[0])
