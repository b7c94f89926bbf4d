"""Measure the joint angles of single cameras against known angles.

Takes:
* balance: the demo of one person of Pose2Sim, https://github.com/perfanalytics/pose2sim, with four videos and
  `Calib.qca.txt`.
* partner: the second person of Pose2Sim's demo of two people, in the same room.
* ten movements of a rigged figure from eight sides, which `benchmarks/figures.py` renders from a GLB file.
  Only the default model is measured.

The truth of the first two are angles of keypoints of the heavy model, triangulated from all cameras. The ways to
measure were chosen on balance and every second movement of the figure. The partner and the other movements are left
out. The table is the only source of errors on the pages of `sonjit report`:

python benchmarks/one_camera.py --data pose2sim/Pose2Sim --figure brunette-t.glb --cache CACHE --write
"""

import argparse
import json
import platform
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import av
import figures
import numpy as np
from pages import write_section

import sonjit
from sonjit import Body, open_source
from sonjit.report import errors
from sonjit.report.angles import ANGLES, angles_deg, filtered, track_angles, uncut_bodies
from sonjit.report.joint_angles import report_detector
from sonjit.results.measures.bodies import MIN_VISIBILITY
from sonjit_studio.camera_files import load_cameras
from sonjit_studio.triangulation import triangulate

MODELS = ("full", "lite", "heavy")
EVERY = 2  # of 60 frames per second, as many cameras of phones have 30
THRESHOLD_PX = 40.0  # 4 % of the person's height, with cameras that are calibrated to 1 degree
MIN_VIEWS = 3
FIRST_FRAMES = 10  # in which a person is at the given place


@dataclass(frozen=True)
class View:
    """One recording of a single camera, and the true angles (N, 12) of `ANGLES` in degrees. NaN is unknown."""

    name: str
    video: Path
    truth: np.ndarray
    place: tuple[float, float] | None = None  # middle of the hips in the first frame, in pixels; None for one person


@dataclass(frozen=True)
class Take:
    """One movement of a person from several sides."""

    name: str
    person: str
    left_out: bool  # not used to choose how the report measures
    rate_hz: float
    views: list[View]
    people: int = 1  # that are tracked
    residual_px: float | None = None  # median of the triangulation
    mirrored: bool = False  # also measured in the mirrored recordings


def cameras_take(name, person, folder, cache, *, left_out, people=1, places=None):
    """Return a take of Pose2Sim's demos, whose truth is triangulated from the heavy model."""
    rig = load_cameras(folder / "calibration" / "Calib.qca.txt")
    videos = [
        every_second(folder / "videos" / f"{camera.name}.mp4", cache / f"{name}-{camera.name}.mp4") for camera in rig
    ]
    starts = places or [None] * len(videos)
    seen = [
        pixels_of(recorded(video, "heavy", cache, people=people, place=place))
        for video, place in zip(videos, starts, strict=True)
    ]
    found = triangulate(rig, np.stack(seen), method="ransac", threshold_px=THRESHOLD_PX)
    ok = found.ok & (found.inlier.sum(0) >= MIN_VIEWS)
    points = np.where(ok[..., None], found.points_m, np.nan)
    rate_hz = 60 / EVERY
    views = []
    for camera, video, place in zip(rig, videos, starts, strict=True):
        angles = angles_deg(points @ camera.R.T)
        truth = np.stack([filtered(values, rate_hz) for values in angles.T], axis=-1)
        views.append(View(camera.name, video, truth, place))
    residual_px = float(np.median(found.residual_px[found.inlier]))
    return Take(name, person, left_out, rate_hz, views, people, residual_px, mirrored=people == 1)


def figure_takes(folder, rate_hz):
    """Return a take for each movement that benchmarks/figures.py rendered. Every second one is left out."""
    names = sorted({video.stem.rpartition("_")[0] for video in folder.glob("*.mp4")})
    takes = []
    for index, name in enumerate(names):
        views = []
        for video in sorted(folder.glob(f"{name}_???.mp4")):
            points = np.load(video.with_suffix(".npz"))["points_m"]
            views.append(View(video.stem.rpartition("_")[2], video, angles_deg(points)))
        takes.append(Take(name.replace("_", " "), "rendered figure", index % 2 == 1, rate_hz, views))
    return takes


def every_second(video, path):
    """Write every second frame of a video, and return the path."""
    if not path.exists():
        copied(video, path, EVERY)
    return path


def mirrored_copy(video, cache):
    """Write the mirrored frames of a video, and return the path."""
    path = cache / f"{video.stem}-mirrored.mp4"
    if not path.exists():
        copied(video, path, 1, mirrored=True)
    return path


def copied(video, path, every, *, mirrored=False):
    """Write frames of a video, mirrored or not."""
    draft = path.with_suffix(".draft.mp4")
    with open_source(str(video)) as source, av.open(str(draft), "w") as container:
        stream = None
        for frame in source:
            if frame.index % every:
                continue
            height, width = (size // 2 * 2 for size in frame.rgb.shape[:2])
            if stream is None:
                rate = Fraction(source.fps or 30).limit_denominator(1000) / every
                stream = container.add_stream("libx264", rate, options={"crf": "12", "preset": "fast"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            rgb = frame.rgb[:height, :width]
            rgb = np.ascontiguousarray(rgb[:, ::-1] if mirrored else rgb)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode())
    draft.rename(path)


def recorded(video, model, cache, *, people=1, place=None, first=0, averaged=False):
    """Return the person in each frame of a video, or None, read from the cache if it is there.

    With `averaged` the keypoints are those of the report, otherwise those of the networks as published.
    """
    table = cache / f"{video.stem}-{model}{'-averaged' if averaged else ''}.npz"
    if not table.exists():
        rows = []
        with report_detector("body", model, people, averaged=averaged) as detector:
            for index, frame in enumerate(sonjit.track(video, detector)):
                rows += [(index, body) for body in frame.bodies]
            frames = index + 1
        np.savez(
            table,
            frames=frames,
            index=[index for index, _ in rows],
            id=[body.id for _, body in rows],
            keypoints=np.array([body.keypoints for _, body in rows]).reshape(-1, 33, 3),
            keypoints_3d=np.array([body.keypoints_3d for _, body in rows]).reshape(-1, 33, 3),
            visibility=np.array([body.visibility for _, body in rows]).reshape(-1, 33),
        )
    data = np.load(table)
    chosen = person_at(data, place, first)
    bodies = [None] * int(data["frames"])
    for row in np.flatnonzero(data["id"] == chosen):
        seen = data["visibility"][row]
        bodies[data["index"][row]] = Body(1.0, data["keypoints"][row], data["keypoints_3d"][row], seen, seen)
    return bodies


def person_at(data, place, first=0):
    """Return the number of the person whose hips are nearest to a place from a frame on, or who is seen longest."""
    if not len(data["id"]):
        return -1
    if place is None:
        numbers, counts = np.unique(data["id"], return_counts=True)
        return numbers[counts.argmax()]
    early = (data["index"] >= first) & (data["index"] < first + FIRST_FRAMES)
    hips = data["keypoints"][early][:, [23, 24], :2].mean(1)
    return data["id"][early][np.linalg.norm(hips - place, axis=-1).argmin()]


def pixels_of(bodies):
    """Return keypoints (N, 33, 2) in pixels, NaN where not visible."""
    return arrays_of(bodies)[0]


def arrays_of(bodies):
    """Return pixels (N, 33, 2) and metres (N, 33, 3), NaN where not visible."""
    pixels, world = np.full((len(bodies), 33, 2), np.nan), np.full((len(bodies), 33, 3), np.nan)
    for index, body in enumerate(bodies):
        if body is not None:
            seen = body.visibility >= MIN_VISIBILITY
            pixels[index, seen], world[index, seen] = body.keypoints[seen, :2], body.keypoints_3d[seen]
    return pixels, world


PLACES = [(800.0, 1300.0), (196.0, 1040.0), (270.0, 755.0), (785.0, 650.0)]  # of the partner in the first frames
MIN_FRAMES = 15  # of a range of motion
COMPARED = "full"  # model of the comparison of ways
WAYS = ("metres", "image", "report")
TITLES = {"metres": "world keypoints", "image": "image plane", "report": "as the report measures"}
GROUPS = {
    "balance": "balance",
    "figure": "figure, every second movement",
    "partner": "partner, left out",
    "figure left out": "figure, left out",
}
PEOPLE = (("balance",), ("partner",), ("figure", "figure left out"))  # groups of each person
ENDS = (
    "range_error",
    "range_percentile_95",
    "difference_percentile_95",
    "mirrored_range",
    "mirrored_largest",
    "between_cameras",
)
"""Errors of an angle in all views."""
OTHER_SIDE = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 10, 11]  # of each angle


def group_of(take):
    """Return the name in `GROUPS` of a take."""
    if take.residual_px is None:
        return "figure left out" if take.left_out else "figure"
    return "partner" if take.left_out else "balance"


def measured(take, view, model, cache):
    """Return angles (N, 12) by way, those of the mirrored recording or None, and the tilts (N, 12), in degrees."""
    options = {"people": take.people, "place": view.place}
    found, tilts = as_reported(take, view.video, model, cache, **options)
    ways = {"report": found}
    if model == COMPARED:
        pixels, world = arrays_of(recorded(view.video, model, cache, **options))
        flat = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
        ways |= {"metres": angles_deg(world), "image": angles_deg(flat)}
    if not take.mirrored:
        return ways, None, tilts
    copy, _ = as_reported(take, mirrored_copy(view.video, cache), model, cache, **options)
    return ways, copy[:, OTHER_SIDE], tilts


def as_reported(take, video, model, cache, **options):
    """Return the angles (N, 12) of a recording as the report measures them, and the tilts (N, 12), in degrees."""
    with av.open(str(video)) as container:
        size = container.streams.video[0].width, container.streams.video[0].height
    bodies = recorded(video, model, cache, averaged=True, **options)
    return track_angles(uncut_bodies(bodies, size, take.rate_hz), take.rate_hz)


def columns_of(joint):
    """Return the columns of both sides of a joint."""
    return [k for k, name in enumerate(ANGLES) if errors.joint_of(name) == joint]


def range_of(values):
    known = values[np.isfinite(values)]
    return float(np.ptp(np.percentile(known, errors.PERCENTILES))) if len(known) >= MIN_FRAMES else np.nan


def mean(values):
    values = np.asarray(values, float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def statistics(way, joint, results):
    """Return the errors of a joint in degrees, by view and over all views, of results by take and view."""
    views = {name: [] for name in errors.VIEWS}
    ranges, mirrored, spreads, differences = [], [], [], []
    for found_of_take in results:
        means, errors_of_take = [], []
        for view, angles, other, tilts in found_of_take:
            found = angles[way]
            for k in columns_of(joint):
                error = found[:, k] - view.truth[:, k]
                which = errors.view_indices(tilts[:, k])
                for number, name in enumerate(errors.VIEWS):
                    views[name].extend(error[(which == number) & np.isfinite(error)])
                both = np.isfinite(error)
                errors_of_take.append(range_of(found[both, k]) - range_of(view.truth[both, k]))
                if other is not None:
                    mirrored.append(abs(range_of(found[:, k]) - range_of(other[:, k])))
            means.append(found[:, columns_of(joint)])
        ranges += errors_of_take
        differences.append(differences_of(np.reshape(errors_of_take, (len(means), -1))))
        known = np.isfinite(means).sum(0) > 1
        spreads.append(mean(np.nanstd(np.array(means)[:, known], axis=0, ddof=1)))
    everything = np.concatenate([np.array(values) for values in views.values()])
    rows = {name: summary(np.array(values)) for name, values in {**views, "all": everything}.items()}
    return {
        "views": rows,
        "range_error": rounded(mean(np.abs(ranges))),
        "range_percentile_95": rounded(percentile_95(ranges)),
        "difference_percentile_95": rounded(
            np.fmax.reduce([percentile_95(np.concatenate(kind)) for kind in zip(*differences, strict=True)])
        ),
        "mirrored_range": rounded(mean(mirrored)),
        "mirrored_largest": rounded(np.nanmax(mirrored) if np.isfinite(mirrored).any() else np.nan),
        "between_cameras": rounded(mean(spreads)),
    }


def differences_of(range_errors):
    """Return the differences between range errors (V, S) of views and sides, between views (N,) and sides (V,)."""
    views = [first - second for first, second in combinations(range_errors, 2)]
    return np.ravel(views), np.ravel(np.diff(range_errors, axis=1))


def percentile_95(values):
    """Return the 95th percentile of the sizes of known values (N,), or NaN."""
    known = np.abs(values)[np.isfinite(values)]
    return float(np.percentile(known, 95)) if len(known) else np.nan


def combined(parts):
    """Return the means of the errors of several people, each of whom counts equally.

    Of the errors of differences, the largest is returned, so that 95 % of the differences of each person are smaller.
    """
    views = {}
    for view in (*errors.VIEWS, "all"):
        rows = [part["views"][view] for part in parts]
        views[view] = {
            name: rounded(mean_known(row[name] for row in rows)) for name in ("mean", "bias", "percentile_95")
        }
        views[view] = {"frames": sum(row["frames"] for row in rows), **views[view]}
    ends = {name: rounded(mean_known(part[name] for part in parts)) for name in ENDS}
    ends["difference_percentile_95"] = max(part["difference_percentile_95"] or 0 for part in parts) or None
    return {"views": views} | ends


def mean_known(values):
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else np.nan


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


def table_lines(models):
    """Yield the Markdown table of the errors by model and joint."""
    heading = "| model | angle | view | frames | mean error | bias | 95 % below | range | 95 % of ranges |"
    yield f"{heading} 95 % of differences | mirrored | largest | between cameras |"
    yield f"|---|---|---|{'---:|' * 10}"
    for model, joints in models.items():
        for joint, found in joints.items():
            for view, row in found["views"].items():
                ends = [found[name] if view == "all" else "" for name in ENDS]
                cells = [model, joint, view, *row.values(), *ends]
                yield f"| {' | '.join('–' if cell is None else str(cell) for cell in cells)} |"


def way_lines(results):
    """Yield a Markdown table that compares the ways to measure an angle, for each group of takes."""
    joints = errors.JOINTS
    yield f"| takes | mean error | view | {' | '.join(joints)} |"
    yield f"|---|---|---|{'---:|' * len(joints)}"
    for group, title in GROUPS.items():
        for model in (each for each in results if results[each][group]):
            for way in WAYS if model == COMPARED else ("report",):
                found = [statistics(way, joint, results[model][group])["views"] for joint in joints]
                for view in (*errors.VIEWS, "all") if model == COMPARED else ("all",):
                    means = [views[view]["mean"] for views in found]
                    cells = ["–" if value is None else str(value) for value in means]
                    yield f"| {title} | `{model}`, {TITLES[way]} | {view} | {' | '.join(cells)} |"


def takes_of(options):
    """Return all takes."""
    folder, cache = options.data, options.cache
    balance = cameras_take("balance", "man", folder / "Demo_SinglePerson", cache, left_out=False)
    partner = cameras_take(
        "partner", "woman", folder / "Demo_MultiPerson", cache, left_out=True, people=2, places=PLACES
    )
    rendered = cache / "figures"
    figures.render(options.figure, rendered)
    return [balance, partner, *figure_takes(rendered, figures.RATE_HZ)]


def is_measured(take, model):
    """Return whether a model is measured on a take: figures are measured with the default model only."""
    return model == COMPARED or take.residual_px is not None


def origin_of(chosen):
    people = {take.person: take.residual_px is not None for take in chosen}
    return {
        "people": sum(people.values()),
        "figures": len(people) - sum(people.values()),
        "movements": len(chosen),
        "recordings": sum(len(take.views) for take in chosen),
        "frames": sum(len(view.truth) for take in chosen for view in take.views),
    }


def content_of(everything, results):
    """Return the content of the file of errors. Models without results keep theirs."""
    before = json.loads(errors.FILE.read_text("utf-8"))
    measured_takes = {model: [take for take in everything if is_measured(take, model)] for model in results}
    models = {}
    for model, groups in results.items():
        people = [[found for group in names for found in groups[group]] for names in PEOPLE]
        models[model] = {
            joint: combined([statistics("report", joint, found) for found in people if found])
            for joint in errors.JOINTS
        }
    return {
        "command": "python benchmarks/one_camera.py --data Pose2Sim --figure FIGURE --cache CACHE --write",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, CPU",
        "origins": before["origins"] | {model: origin_of(chosen) for model, chosen in measured_takes.items()},
        "models": before["models"] | models,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with Demo_SinglePerson and Demo_MultiPerson")
    parser.add_argument("--figure", type=Path, required=True, help="GLB file of a figure, see benchmarks/figures.py")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips and keypoints")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="the others keep their results")
    parser.add_argument("--write", action="store_true", help="into the package")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    everything = takes_of(options)
    results = {model: {group: [] for group in GROUPS} for model in options.models}
    for take in everything:
        for model in (each for each in options.models if is_measured(take, each)):
            found = [(view, *measured(take, view, model, options.cache)) for view in take.views]
            results[model][group_of(take)].append(found)
    content = content_of(everything, results)
    lines = [
        f"{content['date']}, {content['machine']}, `{content['command']}`.",
        "",
        *way_lines(results),
        "",
        *table_lines(content["models"]),
    ]
    print("\n".join(lines))
    if options.write:
        write_section("measured.md", "python benchmarks/one_camera.py --write", "\n".join(lines))
        errors.FILE.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
