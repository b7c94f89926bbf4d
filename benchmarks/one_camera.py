"""Measure the joint angles of single cameras against several calibrated cameras that film the same person.

The data are the demo of one person of Pose2Sim, https://github.com/perfanalytics/pose2sim: four videos and
`Calib.qca.txt`. The reference are the angles of triangulated keypoints of the heavy model. Each recording of a single
camera is measured as `sonjit report` does. The table is the only source of errors on its pages:

python benchmarks/one_camera.py --data pose2sim/Pose2Sim/Demo_SinglePerson --cache CACHE --write
"""

import argparse
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import sonjit
from sonjit import Body, open_source
from sonjit.report import errors
from sonjit.report.angles import ANGLES, angles_deg, filtered, track_angles
from sonjit.results.measures.bodies import MIN_VISIBILITY
from sonjit_studio.camera_files import load_cameras
from sonjit_studio.triangulation import triangulate

MODELS = ("lite", "full", "heavy")
PAGE = Path(__file__).parents[1] / "docs" / "measured.md"
BEGIN, END = "<!-- python benchmarks/one_camera.py --write -->", "<!-- end of one camera -->"
EVERY = 2  # of 60 frames per second, as many cameras of phones have 30
RATE_HZ = 30.0
THRESHOLD_PX = 40.0  # 4 % of the person's height, with cameras that are calibrated to 1 degree
MIN_VIEWS = 3
MIN_FRAMES = 30  # of a range of motion
WAYS = ("metres", "image", "report")
TITLES = {"metres": "world keypoints", "image": "image plane", "report": "as the report measures"}


def copied(video, path, mirrored):
    """Write every second frame of a video, mirrored or not."""
    with open_source(str(video)) as source, av.open(str(path), "w") as container:
        stream = None
        for frame in source:
            if frame.index % EVERY:
                continue
            height, width = (size // 2 * 2 for size in frame.rgb.shape[:2])
            if stream is None:
                stream = container.add_stream("libx264", Fraction(RATE_HZ), options={"crf": "12", "preset": "fast"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            rgb = frame.rgb[:height, :width]
            rgb = np.ascontiguousarray(rgb[:, ::-1] if mirrored else rgb)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode())


def recorded(video, model, cache, *, mirrored):
    """Return the bodies of every second frame of a video, read from the cache if they are there."""
    ending = "-mirrored" if mirrored else ""
    clip, table = cache / f"{video.stem}{ending}.mp4", cache / f"{video.stem}-{model}{ending}.npz"
    if not clip.exists():
        copied(video, clip, mirrored)
    if not table.exists():
        found = [frame.bodies[0] if frame.bodies else None for frame in sonjit.track(clip, "body", model=model)]
        empty = np.full((33, 3), np.nan, np.float32)
        fields = {"keypoints": empty, "keypoints_3d": empty, "visibility": np.zeros(33, np.float32)}
        arrays = {name: np.stack([getattr(b, name) if b else none for b in found]) for name, none in fields.items()}
        np.savez(table, **arrays)
    data = np.load(table)
    rows = zip(data["keypoints"], data["keypoints_3d"], data["visibility"], strict=True)
    return [Body(1.0, xy, world, seen, seen) if np.isfinite(xy).all() else None for xy, world, seen in rows]


def arrays_of(bodies):
    """Return pixels (N, 33, 2) and metres (N, 33, 3), NaN where not visible."""
    pixels, world = np.full((len(bodies), 33, 2), np.nan), np.full((len(bodies), 33, 3), np.nan)
    for index, body in enumerate(bodies):
        if body is not None:
            seen = body.visibility >= MIN_VISIBILITY
            pixels[index, seen], world[index, seen] = body.keypoints[seen, :2], body.keypoints_3d[seen]
    return pixels, world


def reference_points(rig, views):
    """Return points (N, 33, 3) in the world that at least three cameras agree on, and the median residual in pixels."""
    found = triangulate(rig, np.stack(views), method="ransac", threshold_px=THRESHOLD_PX)
    ok = found.ok & (found.inlier.sum(0) >= MIN_VIEWS)
    return np.where(ok[..., None], found.points_m, np.nan), float(np.median(found.residual_px[found.inlier]))


def measured(data, cache):
    """Return angles (N, 12) by way, model, camera and mirrored, the true angles, and the tilts by model and camera."""
    rig = load_cameras(data / "calibration" / "Calib.qca.txt")
    videos = [data / "videos" / f"{camera.name}.mp4" for camera in rig]
    heavy = [arrays_of(recorded(video, "heavy", cache, mirrored=False))[0] for video in videos]
    points, residual_px = reference_points(rig, heavy)
    truths, angles, tilts = {}, {}, {}
    for camera, video in zip(rig, videos, strict=True):
        truth = angles_deg(points @ camera.R.T)
        truths[camera.name] = np.stack([filtered(values, RATE_HZ) for values in truth.T], axis=-1)
        for model in MODELS:
            for mirrored in (False, True):
                bodies = recorded(video, model, cache, mirrored=mirrored)
                pixels, world = arrays_of(bodies)
                found, tilt = track_angles(bodies, RATE_HZ)
                flat = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
                ways = {"metres": angles_deg(world), "image": angles_deg(flat), "report": found}
                for way, values in ways.items():
                    angles[way, model, camera.name, mirrored] = values
                if not mirrored:
                    tilts[model, camera.name] = tilt
    return truths, angles, tilts, residual_px


def columns_of(joint):
    """Return the columns of both sides of a joint."""
    return [k for k, name in enumerate(ANGLES) if errors.joint_of(name) == joint]


def swapped(values):
    """Return angles (N, 12) with exchanged sides."""
    return values[:, [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 10, 11]]


def range_of(values):
    known = values[np.isfinite(values)]
    return float(np.ptp(np.percentile(known, errors.PERCENTILES))) if len(known) >= MIN_FRAMES else np.nan


def mean(values):
    values = np.asarray(values, float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def statistics(way, model, joint, truths, angles, tilts):
    """Return the errors of a joint in degrees, by view and over all views."""
    views = {name: [] for name in errors.VIEWS}
    ranges, mirrored, means = [], [], []
    for camera, truth in truths.items():
        found, other = angles[way, model, camera, False], swapped(angles[way, model, camera, True])
        for k in columns_of(joint):
            error = found[:, k] - truth[:, k]
            which = errors.view_indices(tilts[model, camera][:, k])
            for number, name in enumerate(errors.VIEWS):
                views[name].extend(error[(which == number) & np.isfinite(error)])
            both = np.isfinite(error)
            ranges.append(range_of(found[both, k]) - range_of(truth[both, k]))
            mirrored.append(abs(range_of(found[:, k]) - range_of(other[:, k])))
        means.append(found[:, columns_of(joint)])
    spread = np.nanstd(np.where(np.isfinite(np.array(means)).sum(0) > 1, np.array(means), np.nan), axis=0, ddof=1)
    everything = np.concatenate([np.array(values) for values in views.values()])
    rows = {name: summary(np.array(values)) for name, values in {**views, "all": everything}.items()}
    return {
        "views": rows,
        "range_error": rounded(mean(np.abs(ranges))),
        "mirrored_range": rounded(mean(mirrored)),
        "between_cameras": rounded(mean(spread)),
    }


def summary(error):
    """Return frames, mean error, bias and 95th percentile of errors (N,)."""
    if not len(error):
        return {"frames": 0, "mean": None, "bias": None, "percentile_95": None}
    size = np.abs(error)
    return {
        "frames": len(error),
        "mean": rounded(size.mean()),
        "bias": rounded(error.mean()),
        "percentile_95": rounded(np.percentile(size, 95)),
    }


def rounded(value):
    return None if not np.isfinite(value) else round(float(value), 1)


def table_lines(content):
    """Yield the Markdown table of a file of errors."""
    yield "| model | angle | view | frames | mean error | bias | 95 % below | range | mirrored | between cameras |"
    yield f"|---|---|---|{'---:|' * 7}"
    for model, joints in content["models"].items():
        for joint, found in joints.items():
            for view, row in found["views"].items():
                ends = [
                    found[name] if view == "all" else ""
                    for name in ("range_error", "mirrored_range", "between_cameras")
                ]
                cells = [model, joint, view, *row.values(), *ends]
                yield f"| {' | '.join('–' if cell is None else str(cell) for cell in cells)} |"


def way_lines(results):
    """Yield a Markdown table that compares the ways to measure an angle."""
    joints = errors.JOINTS
    yield f"| mean error | {' | '.join(joints)} |"
    yield f"|---|{'---:|' * len(joints)}"
    for model in MODELS:
        for way in WAYS:
            cells = [str(results[way][model][joint]["views"]["all"]["mean"]) for joint in joints]
            yield f"| `{model}`, {TITLES[way]} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with videos/ and calibration/Calib.qca.txt")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips and keypoints")
    parser.add_argument("--write", action="store_true", help="into the package")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    truths, angles, tilts, residual_px = measured(options.data, options.cache)
    results = {
        way: {
            model: {joint: statistics(way, model, joint, truths, angles, tilts) for joint in errors.JOINTS}
            for model in MODELS
        }
        for way in WAYS
    }
    first = next(iter(truths.values()))
    content = {
        "command": "python benchmarks/one_camera.py --data Demo_SinglePerson --cache CACHE --write",
        "source": "https://github.com/perfanalytics/pose2sim, Demo_SinglePerson",
        "people": 1,
        "recordings": 1,
        "views": len(truths),
        "frames": len(first),
        "residual_px": rounded(residual_px),
        "models": results["report"],
    }
    print("\n".join([*table_lines(content), "", *way_lines(results), "", f"median residual {residual_px:.1f} px"]))
    if options.write:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        lines = "\n".join([*way_lines(results), "", *table_lines(content)])
        PAGE.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{rest.partition(END)[2]}", "utf-8")
        errors.FILE.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
