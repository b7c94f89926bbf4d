"""The numbers that the released evaluations of HO-3D, HandOccNet, InterHand2.6M, STB and Deformer print."""

import numpy as np
import pytest
import torch

from sonjit.geometry.cameras import Intrinsics
from sonjit.lab import metrics
from sonjit.lab.metrics import joint_errors, mean_error
from sonjit.lab.networks.internet import LAYOUTS, TwoHands, joints_in_camera, two_hands_from_outputs

pytestmark = pytest.mark.golden
MIDDLE_KNUCKLE = 4  # in HO-3D's order


@pytest.mark.files("goldens/networks/protocols_mesh*.npz")
def test_ho3d(file):
    with np.load(file) as given:
        pred, gt = given["m.pred"], given["m.gt"]
        found = {
            "raw": (pred, gt),
            "root": metrics.root_relative(pred, gt),
            "sc_tr": metrics.bone_aligned(pred, gt, end=MIDDLE_KNUCKLE),
            "pa": metrics.similarity_aligned(pred, gt, mirror=True),
        }
        for name, aligned in found.items():
            errors = joint_errors(*aligned)
            assert mean_error(errors) == pytest.approx(float(given[f"m.out.{name}_mean"]), rel=1e-6)
            area = metrics.pck_auc(errors, 0, 0.05)
            assert area == pytest.approx(float(given[f"m.out.{name}_auc"]), rel=1e-6, abs=1e-9)
        # float32 is what the references stand in
        np.testing.assert_allclose(found["sc_tr"].predicted, given["m.sc_tr"], rtol=1e-6, atol=3e-8)
        np.testing.assert_allclose(found["pa"].predicted, given["m.procrustes"], rtol=1e-6, atol=3e-8)
        rigid = metrics.similarity_aligned(pred, gt).predicted
        np.testing.assert_allclose(rigid, given["m.rigid_align_pred_to_gt"], rtol=1e-6, atol=3e-8)
        assert metrics.max_mse(pred, gt)[0] == pytest.approx(float(given["loss.maxmse"]), rel=1e-6)


@pytest.mark.files("goldens/networks/protocols_mesh*.npz")
def test_f_scores_of_meshes(file):
    with np.load(file) as given:
        pred, gt = given["m.pred_verts"], given["m.gt_verts"]
        aligned = metrics.similarity_aligned(pred, gt, mirror=True).predicted
        for name, meshes in (("f", pred), ("f_al", aligned)):
            found = np.array([metrics.f_scores(*pair, (0.005, 0.015)) for pair in zip(meshes, gt, strict=True)])
            for column, millimetres in enumerate((5, 15)):
                expected = given[f"m.out.{name}_{millimetres}"][:, [0, 2, 1]]  # it calls precision recall
                np.testing.assert_allclose(found[:, column], expected, rtol=1e-6)


@pytest.mark.files("goldens/networks/protocols_internet*.npz")
def test_interhand(file):
    with np.load(file) as given:
        seen, camera = seen_hands(given)
        two, gt, valid = given["ih.hand_type_idx"] == 2, given["ih.gt_cam"], given["ih.valid"]
        own = given["ih.abs_depth"].astype(np.float64)
        errors = metrics.two_hand_errors(joints(seen, own, "interhand", camera), gt, valid)
        exact = given["ih.exact.mpjpe_all_single_inter"]
        assert metrics.two_hand_mpjpe(errors, two) == pytest.approx(exact, rel=1e-6)
        printed = given["ih.out.per_joint_all_single_inter"]
        for hands, row in zip((errors, errors[~two], errors[two]), printed, strict=True):
            np.testing.assert_allclose(metrics.joint_means(hands), row, atol=5.1e-3)  # two decimals
        from_right = np.stack([own[:, 0], own[:, 0] + seen.rel_root_mm], 1)
        offset = metrics.mrrpe(joints(seen, from_right, "interhand", camera), gt, valid, interacting=two)
        assert offset == pytest.approx(float(given["ih.out.mrrpe"]), rel=1e-6)
        present = np.array([[1, 0], [0, 1], [1, 1]])[given["ih.hand_type_idx"]]
        hits = metrics.handedness_accuracy(given["ih.pred.hand_type"], present, given["ih.hand_type_valid"])
        assert hits == pytest.approx(float(given["ih.out.handedness"]), rel=1e-6)


@pytest.mark.files("goldens/networks/protocols_internet*.npz")
def test_stb(file):
    with np.load(file) as given:
        seen, camera = seen_hands(given)
        samples = len(given["stb.gt_cam_raw21"])
        seen = TwoHands(*(array[:samples] for array in seen))
        depth = given["stb.abs_depth"].astype(np.float64)
        layout, left = LAYOUTS["stb"], np.arange(samples) % 2 == 0
        both = joints(seen, np.stack([depth, depth], 1), "stb", camera)
        hands = [both[row, layout.joints("Left" if left[row] else "Right")] for row in range(samples)]
        error = metrics.mpjpe(hands, given["stb.gt_cam_raw21"], root=0)
        assert error == pytest.approx(float(given["stb.out.epe"]), abs=5.1e-3)  # two decimals
        hits = metrics.handedness_accuracy(given["ih.pred.hand_type"][:samples], np.stack([~left, left], 1))
        assert hits == pytest.approx(float(given["stb.out.handedness"]), rel=1e-6)


def seen_hands(given):
    names = ("joint_coord", "rel_root_depth", "hand_type")
    outputs = {name: torch.from_numpy(given[f"ih.pred.{name}"]) for name in names}
    camera = Intrinsics(*given["ih.focal"].tolist(), *given["ih.princpt"].tolist())
    return two_hands_from_outputs(outputs, given["ih.pred.inv_trans"]), camera


def joints(seen, roots_mm, layout, camera):
    return joints_in_camera(seen, roots_mm, LAYOUTS[layout], camera)
