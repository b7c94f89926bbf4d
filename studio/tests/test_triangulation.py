import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit_studio.rig import CameraRig, RigCamera
from sonjit_studio.triangulation import triangulate

from .rigs import random_rig

seeds = st.integers(0, 10**6)
MM = 1e-3


def _golden_rig(cameras):
    """Return a rig of the golden: InterHand's positions, or OpenCV's translations."""

    def view(record):
        if "campos" in record:
            (fx, fy), (cx, cy) = record["focal"], record["princpt"]
            R = np.array(record["camrot"])
            camera = CalibratedCamera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), R, -R @ record["campos"] * MM)
        else:
            K, R, t, lens = (np.array(record[name]) for name in ("K", "R", "t", "dist"))
            camera = CalibratedCamera(K, R, t * MM, lens)
        return RigCamera(record["name"], record["width"], record["height"], camera)

    return CameraRig(view(record) for record in cameras)


@pytest.fixture(scope="module")
def golden(data):
    files = sorted((data / "goldens" / "multiview").glob("*.json"))
    if not files:
        pytest.skip(f"no goldens/multiview in {data}")
    found = []
    for file in files:
        for rig in json.loads(file.read_text())["rigs"].values():
            arrays = {name: np.array(rig[name], float) for name in ("detections", "valid", "outlier_truth")}
            expected = {name: np.array(value, float) for name, value in rig["expected"].items()}
            valid, outlier = arrays["valid"] > 0, arrays["outlier_truth"] > 0
            found.append((_golden_rig(rig["cameras"]), arrays["detections"], valid, outlier, expected, rig["stats"]))
    return found


@pytest.mark.golden
def test_true_inliers_give_the_reference_points(golden):
    for rig, points, valid, wrong, expected, _ in golden:
        for refine, name in ((False, "dlt_inliers_pixel_rows_mm"), (True, "nonlinear_reprojection_mm")):
            found = triangulate(rig, points, valid & ~wrong, refine=refine)
            np.testing.assert_array_equal(found.ok, expected["joint_ok"] > 0)
            np.testing.assert_allclose(found.points_m[found.ok] / MM, expected[name][found.ok], atol=1e-4)


@pytest.mark.golden
def test_outliers_are_found_and_do_no_harm(golden):
    for rig, points, valid, wrong, expected, stats in golden:
        truth = expected["ground_truth_mm"]
        found = triangulate(rig, points, valid, method="ransac")
        ok = expected["joint_ok"] > 0
        np.testing.assert_array_equal(found.ok, ok)
        error = np.linalg.norm(found.points_m / MM - truth, axis=-1)[ok]
        assert error.mean() <= 1.3 * stats["mean_error_dlt_normalized"]
        assert error[((valid & ~wrong).sum(0) >= 4)[ok]].max() <= 3
        assert (~found.inlier)[:, ok][(valid & wrong)[:, ok]].mean() >= 0.95
        assert found.inlier[:, ok][(valid & ~wrong)[:, ok]].all()
        plain = np.linalg.norm(triangulate(rig, points, valid, refine=False).points_m / MM - truth, axis=-1)
        assert plain[ok].mean() > 5 * error.mean()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dlt", "ransac"])
@given(seed=seeds)
def test_exact_pixels_give_exact_points(method, seed):
    rng = np.random.default_rng(seed)
    rig, points = random_rig(rng.integers(2, 9), seed), rng.normal(0, 0.08, (3, 7, 3))
    found = triangulate(rig, rig.project(points), method=method)
    assert found.ok.all()
    assert found.inlier.all()
    np.testing.assert_allclose(found.points_m, points, atol=1e-6)
    assert found.residual_px.max() < 1e-5


@pytest.mark.slow
@given(seeds, st.integers(5, 20))
def test_consensus_keeps_every_true_view_with_a_fifth_wrong(seed, cameras):
    rng = np.random.default_rng(seed)
    rig, points = random_rig(cameras, seed), rng.normal(0, 0.08, (20, 3))
    pixels = rig.project(points) + rng.normal(0, 0.7, (cameras, 20, 2))
    wrong = rng.permuted(np.arange(cameras)[:, None] < cameras // 5, axis=0) & np.ones((1, 20), bool)
    away = rng.uniform(0, 2 * np.pi, wrong.sum())
    pixels[wrong] += rng.uniform(40, 200, (wrong.sum(), 1)) * np.stack([np.cos(away), np.sin(away)], 1)
    found = triangulate(rig, pixels, method="ransac")
    assert found.ok.all()
    assert found.inlier[~wrong].all()
    assert np.linalg.norm(found.points_m - points, axis=1).mean() < 2e-3


def test_a_camera_far_away_does_not_outweigh_the_others():
    rng, (near, *others) = np.random.default_rng(5), random_rig(3, 5)
    far = replace(near, camera=replace(near.camera, t=np.add(near.t, (0, 0, 60))))
    rig, points = CameraRig([far, *others]), rng.normal(0, 0.05, (99, 3))
    found = triangulate(rig, rig.project(points) + rng.normal(0, 0.5, (3, 99, 2)))
    assert np.nanmax(found.residual_px) < 5


def test_what_two_views_do_not_fix_is_unknown():
    rig = random_rig(3, 2)
    pixels = rig.project(np.zeros((4, 3)))
    valid = np.ones((3, 4), bool)
    valid[1:, 0] = False  # one view
    valid[:, 1] = False  # none
    pixels[:, 2] = np.nan
    for method in ("dlt", "ransac"):
        found = triangulate(rig, pixels, valid, method=method)
        assert found.ok.tolist() == [False, False, False, True]
        assert np.isnan(found.points_m[:3]).all()
        assert np.isnan(found.covariance_m2[:3]).all()
        assert not found.inlier[:, :3].any()
    same = CameraRig([rig["cam0"], RigCamera("again", 640, 480, rig["cam0"].camera)])  # two names of one place
    assert not triangulate(same, same.project(np.zeros((1, 3)))).ok.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_px": np.zeros((2, 4, 2))}, r"must have shape \(3, \.\.\., 2\)"),
        ({"valid": np.ones((3, 5), bool)}, "valid must have shape"),
        ({"confidence": np.full((3, 4), -1.0)}, "confidence must be 0 or more"),
        ({"threshold_px": 0}, "threshold_px must be above 0"),
    ],
)
def test_arrays_that_do_not_fit_are_named(options, message):
    with pytest.raises(InputError, match=message):
        triangulate(**{"rig": random_rig(3), "points_px": np.zeros((3, 4, 2))} | options)
