"""Recordings with known joint angles: several calibrated cameras, and rendered figures."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import sonjit
from sonjit import Body, open_source
from sonjit.report.angles import angles_deg, filtered
from sonjit.report.detector import report_detector
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
