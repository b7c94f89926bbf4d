"""Seconds and memory for triangulating a long recording of a large rig, and how near the truth it comes.

    .venv/bin/python benchmarks/multiview.py --cameras 80 --frames 1000 --outliers 0.1
"""

import argparse
import json
import resource
import time

import numpy as np

from sonjit.datasets.sample import SampleCamera
from sonjit.multiview.cameras import CameraRig, RigCamera
from sonjit.multiview.triangulation import triangulate


def dome(cameras, rng, lens=None):
    """A rig of cameras on a sphere of 1 m that look at its middle."""
    out = rng.normal(size=(cameras, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    made = []
    for i, centre in enumerate(out):
        ahead = -centre
        right = np.cross(rng.normal(size=3), ahead)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(ahead, right), ahead])
        K = np.array([[1270, 0, 256], [0, 1270, 167], [0, 0, 1.0]])
        made.append(RigCamera(f"cam{i}", 512, 334, SampleCamera(K, R, -R @ centre, lens)))
    return CameraRig(made)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("cameras", 80), ("frames", 1000), ("joints", 42)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("outliers", 0.1), ("noise", 1.0), ("hidden", 0.2)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--lens", action="store_true", help="cameras with distortion")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rig = dome(options.cameras, rng, np.array([-0.2, 0.05, 5e-4, -5e-4, 0.0]) if options.lens else None)
    truth = rng.normal(0, 0.05, (options.frames, options.joints, 3))
    points = rig.project(truth)
    points += rng.normal(0, options.noise, points.shape)
    shape = points.shape[:-1]
    wrong = rng.random(shape) < options.outliers
    points[wrong] = rng.uniform(0, 400, (int(wrong.sum()), 2))
    valid = rng.random(shape) >= options.hidden
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for method in ("dlt", "ransac"):
        start = time.perf_counter()
        found = triangulate(rig, points, valid, method=method)
        seconds = time.perf_counter() - start
        error = np.linalg.norm(found.points_m - truth, axis=-1) * 1000
        print(
            json.dumps(
                {
                    "method": method,
                    "seconds": round(seconds, 2),
                    "mean_error_mm": round(float(np.nanmean(error)), 4),
                    "max_error_mm": round(float(np.nanmax(error)), 4),
                    "ok": float(found.ok.mean()),
                    "true_inliers_kept": float(found.inlier[valid & ~wrong].mean()),
                    "outliers_left": float(found.inlier[valid & wrong].mean()) if options.outliers else 0,
                    "peak_added_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
                }
            )
        )


if __name__ == "__main__":
    main()
