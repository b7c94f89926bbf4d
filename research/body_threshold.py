"""Compare thresholds of reprojection errors of bodies, relative to the size of the person.

The recordings are Pose2Sim's demos of one and of two people, https://github.com/perfanalytics/pose2sim. Wrong rigs are
these rigs with one camera turned about its vertical axis. Bones have constant lengths, so the standard deviation of
their lengths over time, relative to the mean, measures the errors in space. Synthetic people are seen by four cameras,
with errors of 2.7 % of their size along each axis, and of 30 % for one keypoint of ten. Labelled people are those of
COCO's samples with 10 visible keypoints or more.

python research/body_threshold.py CALIBRATION ONE_PERSON TWO_PEOPLE --coco COCO
"""

import argparse
import json
import platform
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

import sonjit
from sonjit_studio import camera_files, consistency, people
from sonjit_studio.rig import CameraRig
from sonjit_studio.triangulation import triangulate

COMMAND = "python research/body_threshold.py CALIBRATION ONE_PERSON TWO_PEOPLE --coco COCO"
SHARES = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.12)
COLUMNS = (
    *(f"{name}: {what}" for name in ("one", "two") for what in ("refused", "turn", "views", "bones")),
    "synthetic: mm",
    "synthetic: keypoints",
    "labels",
)
TURNS_DEG = (3, 5, 10, 20)
BONES = ((11, 13), (13, 15), (12, 14), (14, 16), (23, 25), (25, 27), (24, 26), (26, 28))
NOISE, OUTLIER, OUTLIERS = 0.027, 0.3, 0.1  # errors relative to the size, and the share of gross ones
MAX_LABEL_ERROR = 0.15  # larger medians are another person
COCO_KEYPOINTS = (0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)  # of COCO's 0, 5, 6, ... 16


def sizes_px(points_px):
    """Return the larger side (M,) of the box around each complete set of keypoints (..., K, 2) in pixels."""
    known = points_px[np.isfinite(points_px).all((-1, -2))]
    return np.ptp(known, axis=-2).max(-1)


def refused(rig, detections, threshold_px):
    """Return the number of cameras that do not fit the others."""
    pixels = detections.points_px
    try:
        _, faults = consistency.check_views(rig, pixels.reshape(*pixels.shape[:2], -1, 2), threshold_px=threshold_px)
    except sonjit.SonjitError:  # no two cameras agree
        return len(rig)
    return len(faults)


def turned(rig, degrees):
    """Return the rig with its second camera turned about its vertical axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    cameras = list(rig)
    camera = cameras[1].camera
    cameras[1] = replace(cameras[1], camera=replace(camera, R=turn @ camera.R, t=turn @ camera.t))
    return CameraRig(cameras)


def recorded(rig, folder):
    """Return the size of the people in pixels, and a row of cells by threshold, of a recording."""
    detections = people.load_detections(rig, {name: folder / f"{name}.json" for name in rig.names})
    pixels, size_px = detections.points_px, float(np.median(sizes_px(detections.points_px)))
    seen = np.isfinite(pixels).all(-1) & (detections.confidence > 0)
    rows = {}
    for share in SHARES:
        found = triangulate(
            rig, pixels, confidence=detections.confidence, method="ransac", threshold_px=share * size_px
        )
        lengths = np.stack([np.linalg.norm(np.diff(found.points_m[..., pair, :], axis=-2), axis=-1) for pair in BONES])
        lengths = lengths[..., 0]  # (bone, frame, person)
        spread = np.nanmean(np.nanstd(lengths, 1) / np.nanmean(lengths, 1))
        used = (seen & (found.residual_px <= share * size_px)).sum() / seen.sum()
        wrong = [turn for turn in TURNS_DEG if refused(turned(rig, turn), detections, share * size_px)]
        rows[share] = [
            f"{refused(rig, detections, share * size_px)}",
            f"{min(wrong)}°" if wrong else "none",
            f"{100 * used:.0f} %",
            f"{100 * spread:.1f} %",
        ]
    return size_px, rows


def synthetic(rig, shape_m):
    """Return the 90th percentile of errors in mm and the share of triangulated keypoints by threshold.

    The people have the shape (33, 3) in metres and stand at 40 places.
    """
    rng = np.random.default_rng(0)
    truth = shape_m + rng.normal(0, 0.3, (40, 1, 3))
    exact = rig.project(truth)
    size = np.ptp(exact, axis=-2).max(-1)[..., None, None]
    gross = rng.random(exact.shape[:-1]) < OUTLIERS
    pixels = exact + size * rng.normal(0, 1, exact.shape) * np.where(gross, OUTLIER, NOISE)[..., None]
    rows = {}
    for share in SHARES:
        threshold = share * float(np.median(size))
        found = triangulate(rig, pixels, method="ransac", threshold_px=threshold)
        errors = np.linalg.norm(found.points_m - truth, axis=-1)
        rows[share] = [f"{1000 * np.nanpercentile(errors, 90):.0f}", f"{100 * np.isfinite(errors).mean():.0f} %"]
    return rows


def label_errors(coco):
    """Return the errors (N,) of detected keypoints of labelled people relative to their size, and their number."""
    labels = json.loads((coco / "annotations" / "person_keypoints_val2017.json").read_text())
    files = {file.name: file for file in coco.rglob("*.jpg")}
    names = {image["id"]: image["file_name"] for image in labels["images"]}
    errors = []
    with sonjit.create_detector("body", max_instances=8, static_image=True) as detector:
        for label in labels["annotations"]:
            file = files.get(names[label["image_id"]])
            if file is None or label["iscrowd"] or label["num_keypoints"] < 10:
                continue
            points = np.array(label["keypoints"], float).reshape(17, 3)[[0, *range(5, 17)]]
            own = []
            for body in detector.detect(file):
                gaps = np.linalg.norm(body.keypoints[COCO_KEYPOINTS, :2] - points[:, :2], axis=-1)
                gaps = gaps[(points[:, 2] == 2) & (body.visibility[list(COCO_KEYPOINTS)] > 0.5)]
                own.append(gaps / float(sizes_px(body.keypoints[:, :2])[0]))
            best = min((gaps for gaps in own if len(gaps)), key=np.median, default=None)
            if best is not None and np.median(best) < MAX_LABEL_ERROR:
                errors.append(best)
    return np.concatenate(errors), len(errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("one", type=Path, help="folder with a table of sonjit body --model heavy per camera")
    parser.add_argument("two", type=Path, help="the same of two people, of the full model")
    parser.add_argument("--coco", type=Path, required=True, help="folder of COCO's annotations and photographs")
    options = parser.parse_args()
    rig = camera_files.load_cameras(options.calibration)
    one_px, one = recorded(rig, options.one)
    two_px, two = recorded(rig, options.two)
    detections = people.load_detections(rig, {name: options.one / f"{name}.json" for name in rig.names})
    points = triangulate(rig, detections.points_px, method="dlt").points_m[:, 0]
    made = synthetic(rig, np.nanmedian(points, 0))
    errors, count = label_errors(options.coco)
    print(f"{date.today().isoformat()}, {platform.machine()}, CPU, `{COMMAND}`.")
    print(f"People of {one_px:.0f} and {two_px:.0f} px, {len(errors)} keypoints of {count} labelled people.\n")
    print(f"| threshold | {' | '.join(COLUMNS)} |")
    print("|---" * (1 + len(COLUMNS)) + "|")
    for share in SHARES:
        cells = [*one[share], *two[share], *made[share], f"{100 * (errors <= share).mean():.0f} %"]
        print(f"| {100 * share:.0f} % | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
