"""Measure errors of joint angles: held-out synthetic hands, a hand in front of two cameras, and labelled bodies.

Angles in space come from the metres of one image, angles in the image plane from pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from pages import write_section

from sonjit import create_detector
from sonjit.media import open_source
from sonjit.results.measures import finger_bends_rad
from sonjit.results.measures.joints import joint_angles_rad
from sonjit_lab.datasets import open_dataset
from sonjit_lab.metrics.statistics import mean_interval
from sonjit_studio.camera_files import load_cameras
from sonjit_studio.triangulation import triangulate

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
KEYPOINTS = ("published", "refined")
MAX_REPROJECTION_PX = 30
MAX_ERROR = 0.3
"""Maximum mean error of published keypoints, as a fraction of the hand's extent, for a match."""
LIMBS = {
    "elbow": ((11, 13, 15), (12, 14, 16)),
    "knee": ((23, 25, 27), (24, 26, 28)),
    "shoulder": ((13, 11, 23), (14, 12, 24)),
    "hip": ((11, 23, 25), (12, 24, 26)),
}
"""Body keypoints of each joint, left and right."""
STRAIGHT_DEG = 10
"""Maximum true bend of a straight joint."""
COCO = {0: 0, 5: 11, 6: 12, 7: 13, 8: 14, 9: 15, 10: 16, 11: 23, 12: 24, 13: 25, 14: 26, 15: 27, 16: 28}
"""Body keypoint of each COCO keypoint with the same meaning."""


def rendered_hands(model, folders):
    """Yield each synthetic hand that is found: its sample, its instance, and the result with refined keypoints."""
    options = {"model": model, "keypoints": "refined", "static_image": True, "search": "fast", "precision": "f32"}
    with create_detector("hands", threads=1, **options) as detector:
        for sample in (sample for folder in folders for sample in open_dataset("folder", folder)):
            found = detector.detect(sample.rgb())
            for instance in sample.instances:
                points = instance.keypoints_px
                if instance.kind != "hand" or points is None or instance.keypoints_m is None or not found:
                    continue
                errors = [np.linalg.norm(hand.keypoints[:, :2] - points, axis=1).mean() for hand in found]
                if min(errors) <= MAX_ERROR * np.hypot(*np.ptp(points, axis=0)):
                    yield sample, instance, found[int(np.argmin(errors))]


def synthetic_bends(model, folders):
    """Return the exact bends (N, 5, 3) in rad of synthetic hands, the estimates by name, and the images."""
    exact, published, refined, images = [], [], [], []
    for sample, instance, hand in rendered_hands(model, folders):
        found = (instance.keypoints_m, exact), (hand.published.keypoints_3d, published), (hand.keypoints_3d, refined)
        for points, bends in found:
            bends.append(finger_bends_rad(points))
        images.append(str(sample.id))
    return np.array(exact), {"published": np.array(published), "refined": np.array(refined)}, images


def camera_bends(model, folder, clips, frames):
    """Return triangulated bends of a real hand, those estimated from each of two cameras, and frame groups."""
    rig, found = load_cameras(folder, unit="m", size=(720, 720)), {}  # angles do not depend on the unit
    for keypoints in KEYPOINTS:
        options = {"model": model, "max_instances": 1, "static_image": True, "search": "fast", "keypoints": keypoints}
        for number, clip in enumerate(clips):
            with create_detector("hands", **options) as detector, open_source(str(clip)) as source:
                seen = {frame.index: detector.detect(frame.rgb) for frame in source if frame.index in frames}
            found[keypoints, number] = {index: hands[0] for index, hands in seen.items() if len(hands) == 1}
    truth, estimates, images = [], {name: [] for name in KEYPOINTS}, []
    for index in sorted(set.intersection(*(set(each) for each in found.values()))):
        points = triangulate(rig, [found["published", number][index].keypoints[:, :2] for number in (0, 1)])
        if points.residual_px.mean() < MAX_REPROJECTION_PX:
            for number in (0, 1):
                truth.append(finger_bends_rad(points.points_m))
                images.append(str(index // 30))  # neighbouring frames show one pose
                for name in KEYPOINTS:
                    estimates[name].append(finger_bends_rad(found[name, number][index].keypoints_3d))
    return np.array(truth), {name: np.array(values) for name, values in estimates.items()}, images


def labelled_bodies(model, root):
    """Yield joint, sample, labelled angle in the image plane, and the angles of pixels and metres, in rad."""
    with create_detector("body", model=model, static_image=True, max_instances=20) as detector:
        for sample in open_dataset("coco", root / "datasets" / "coco"):
            found = detector.detect(sample.rgb())
            for instance in sample.instances:
                points = instance.keypoints_px
                if instance.kind != "body" or points is None or len(points) != 17 or not found:
                    continue
                labelled = np.full((33, 2), np.nan)
                for coco, own in COCO.items():
                    if instance.valid_px[coco]:
                        labelled[own] = points[coco]
                known = np.isfinite(labelled[:, 0])
                if known.sum() < 8:
                    continue
                size = np.hypot(*np.ptp(labelled[known], axis=0))
                distances = [np.linalg.norm((body.keypoints[:, :2] - labelled)[known], axis=1).mean() for body in found]
                body = found[int(np.argmin(distances))]
                if min(distances) > 0.1 * size:
                    continue
                for joint, triples in LIMBS.items():
                    true, flat, metric = (
                        joint_angles_rad(each, triples) for each in (labelled, body.keypoints[:, :2], body.keypoints_3d)
                    )
                    seen = [body.visibility[list(triple)].min() >= 0.5 for triple in triples]
                    for side in np.flatnonzero(np.isfinite(true) & seen):
                        yield joint, str(sample.id), true[side], flat[side], metric[side]


def hand_rows(measured):
    """Yield rows with the mean absolute error of each finger in degrees, and that of all with its 95 % interval.

    `measured` has exact bends, estimated bends by keypoints, and images, by title of the source.
    """
    columns = [(title, name) for title in measured for name in KEYPOINTS]
    yield f"| finger | {' | '.join(f'{title}, {name}' for title, name in columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for finger, name in enumerate(FINGERS):
        cells = []
        for title, keypoints in columns:
            truth, estimates, _ = measured[title]
            error = np.abs(estimates[keypoints] - truth)[:, finger]
            cells.append(f"{np.degrees(error).mean():.1f}")
        yield f"| {name} | {' | '.join(cells)} |"
    cells = []
    for title, keypoints in columns:
        truth, estimates, images = measured[title]
        error = np.degrees(np.abs(estimates[keypoints] - truth))
        low, high = mean_interval(error.ravel(), clusters=np.repeat(np.array(images), error[0].size).tolist())
        cells.append(f"{error.mean():.1f} ({low:.1f} to {high:.1f})")
    yield f"| all | {' | '.join(cells)} |"
    cells = []
    for title, name in columns:
        truth, estimates, _ = measured[title]
        straight = np.degrees(truth[..., 1:]) < STRAIGHT_DEG  # the first joint fans the fingers out
        cells.append(f"{np.degrees(estimates[name][..., 1:])[straight].mean():.1f} ({straight.sum()})")
    yield f"| straight joints: mean bend (joints) | {' | '.join(cells)} |"


def body_rows(measured):
    """Yield Markdown rows with mean absolute errors in degrees by joint and model, in the image plane and in space."""
    yield f"| joint | angles | {' | '.join(f'`{model}`, image plane | `{model}`, in space' for model in measured)} |"
    yield f"|---|---:|{'---:|---:|' * len(measured)}"
    for joint in LIMBS:
        chosen = [np.array([row[2:] for row in rows if row[0] == joint]) for rows in measured.values()]
        cells = [f"{np.degrees(np.abs(each[:, k] - each[:, 0])).mean():.1f}" for each in chosen for k in (1, 2)]
        yield f"| {joint} | {', '.join(str(len(each)) for each in chosen)} | {' | '.join(cells)} |"


def tables(data, renders):
    """Yield Markdown lines with all tables."""
    clips = [data / "wild_video" / f"handpose3d_cam{number}.mp4" for number in (0, 1)]
    measured = {
        "synthetic": synthetic_bends("full", renders),
        "two cameras": camera_bends("full", data / "multiview" / "handpose3d", clips, range(0, 400, 4)),
    }
    counts = ", ".join(f"{title} {len(rows[0])} crops" for title, rows in measured.items())
    yield from (f"Bends of fingers, `full` ({counts}):", "", *hand_rows(measured), "")
    bodies = {model: list(labelled_bodies(model, data)) for model in ("lite", "full", "heavy")}
    yield from ("Bodies in two photographs, angles for each model:", "", *body_rows(bodies))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    folders = "folder with datasets/coco, wild_video/ and multiview/handpose3d/"
    parser.add_argument("--data", type=Path, required=True, help=folders)
    parser.add_argument("--renders", type=Path, nargs="+", required=True, help="folders of held-out synthetic images")
    parser.add_argument("--write", action="store_true", help="into docs/measured.md")
    options = parser.parse_args()
    text = "\n".join(tables(options.data, options.renders))
    if not options.write:
        print(text)
        return
    write_section("measured.md", "python benchmarks/angles.py --write", text)


if __name__ == "__main__":
    main()
