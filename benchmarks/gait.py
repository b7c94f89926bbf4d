"""Measure the gait of `sonjit report` against steps that were labelled by eye, and against a rendered walk.

The recording is `Sports2D/Demo/demo.mp4` of https://github.com/davidpagnon/Sports2D: a woman walks across the image, 30
frames per second. The labels are frames, each accurate to one frame. Nothing was chosen on them.

The speed is that of the rigged figure of `benchmarks/figures.py`, which walks at a known speed.

python benchmarks/gait.py --video demo.mp4 --figure brunette-t.glb --cache CACHE --write
"""

import argparse
import json
from datetime import date
from fractions import Fraction
from pathlib import Path

import av
import figures
import numpy as np
from one_camera import recorded
from pages import write_section

from sonjit.report import gait
from sonjit.report.angles import uncut_bodies

RATE_HZ = 30.0
SIZE = (1768, 994)  # of the video in pixels
PLACE = (1560.0, 800.0)  # of the woman in the first frames with her, in pixels
FIRST = 50  # frame in which she has come from behind the tree
STRIKES = {"left": [79, 116, 153, 189], "right": [60, 98, 135, 171]}
LIFTS = {"left": [66, 104, 141, 178], "right": [85, 122, 159]}
COMMAND = "python benchmarks/gait.py --video demo.mp4 --figure FIGURE --cache CACHE --write"
ORIGIN = (
    "steps labelled by eye (one woman, one recording, 7 steps, labels accurate to one frame of 33 ms), and from the "
    "known speed of a rendered figure (three walks)"
)
WALKS = ((90, 17.0, 1.25, 0.8), (270, 23.0, 1.1, 1.2), (75, 27.0, 1.0, 1.5))
"""View in degrees, amplitude of the hips in degrees, duration of a stride in seconds, and speed in m/s of each walk."""
WALK_S, WALK_RATE_HZ = 3.0, 15
FURTHER_M = 3.6  # distance of the camera, more than in the other clips of the figure
KNEE_DEG = [(0.0, 5), (0.15, 15), (0.4, 5), (0.6, 35), (0.72, 60), (0.85, 30), (1.0, 5)]
"""Angles of a knee by the share of a stride that begins with the strike of the heel."""


def walk_pose(figure, hips_deg, phase):
    """Return the vertices (V, 3) and joints (33, 3) in metres of a walking figure at a share of its stride."""
    phases = np.array([phase, phase + 0.5]) % 1
    swing = np.cos(2 * np.pi * phases)
    knees = np.interp(phases, *zip(*KNEE_DEG, strict=True))
    angles = {"hip": 5 + hips_deg * swing, "knee": knees, "lift": -0.8 * hips_deg * swing}
    return figures.placed(figure, figures.posed(figure, angles))


def walked(figure, walk, path):
    """Write the clip of a walk past the camera."""
    view_deg, hips_deg, stride_s, speed_m_s = walk
    away = figures.turn(1, view_deg) @ np.array([0, 0, FURTHER_M])
    draft = path.with_suffix(".draft.mp4")
    with av.open(str(draft), "w") as container:
        stream = container.add_stream("libx264", Fraction(WALK_RATE_HZ), options={"crf": "16", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = figures.SIZE, figures.SIZE, "yuv420p"
        for index in range(int(WALK_S * WALK_RATE_HZ)):
            time_s = index / WALK_RATE_HZ
            vertices, _ = walk_pose(figure, hips_deg, time_s / stride_s)
            ahead = np.array([0, 0, speed_m_s * (time_s - WALK_S / 2)])
            image = figures.drawn(figure, vertices + ahead - away, view_deg)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    draft.rename(path)


def floor_m_per_px(view_deg):
    """Return the size of a pixel in metres between two marks on the floor of a walk, each 1 m from its middle."""
    away = figures.turn(1, view_deg) @ np.array([0, 0, FURTHER_M])
    seen = figures.camera_axes(np.array([[0, 0, -1.0], [0, 0, 1.0]]) - away, view_deg)
    first, second = seen[:, 0] / seen[:, 2] * figures.FOCAL
    return 2.0 / abs(second - first)


def speeds(path, cache):
    """Return the speeds in m/s by height and by floor that are found in each walk of the figure of a GLB file."""
    figure = figures.loaded(path)
    height_m = float(np.ptp(figure.vertices[:, 1]))
    found = []
    for number, walk in enumerate(WALKS):
        video = cache / f"walk-{number}.mp4"
        if not video.exists():
            walked(figure, walk, video)
        bodies = recorded(video, "full", cache, averaged=True)
        times = (np.arange(len(bodies)) / WALK_RATE_HZ).tolist()
        lengths = {"height_m": height_m}, {"floor_m_per_px": floor_m_per_px(walk[0])}
        found.append([gait.find_gait(bodies, times, WALK_RATE_HZ, **length).speed_m_s for length in lengths])
    return found


def seconds(labels):
    return {foot: np.array(frames) / RATE_HZ for foot, frames in labels.items()}


def difference(found, true):
    """Return the mean distance in seconds of true events to the nearest found one, and the number of missed events."""
    distances = np.array([np.abs(found - time).min() if len(found) else np.inf for time in true])
    near = distances < 0.2
    return float(distances[near].mean()), int((~near).sum())


def measured(bodies):
    """Return the gait found, the labelled one, and rows of event, mean difference and missed events."""
    times = (np.arange(len(bodies)) / RATE_HZ).tolist()
    found = gait.find_gait(bodies, times, RATE_HZ)
    true = gait.Gait(seconds(STRIKES), seconds(LIFTS), float("nan"))
    rows = []
    for name, ours, theirs in (("heel strike", found.strikes, true.strikes), ("toes off", found.lifts, true.lifts)):
        rows += [
            (f"{name} {foot}", *difference(ours[foot], theirs[foot]), len(ours[foot]), len(theirs[foot]))
            for foot in gait.FEET
        ]
    return found, true, rows


def values_of(each):
    return {
        "steps": len(each.steps),
        "cadence": each.cadence,
        "step time left": each.step_time_s("left"),
        "step time right": each.step_time_s("right"),
        "difference of step times": each.asymmetry,
        "stance left": each.stance("left"),
        "stance right": each.stance("right"),
    }


def errors_of(found, true):
    """Return the error of each value: the difference from the labels, at least the effect of one frame."""
    frame_s, step_s = 1 / RATE_HZ, 60 / true.cadence
    least = {
        "cadence": true.cadence * frame_s / (step_s * len(true.steps)),
        "step time left": frame_s,
        "step time right": frame_s,
        "difference of step times": 100 * frame_s / step_s,
        "stance left": 100 * frame_s / (2 * step_s),
        "stance right": 100 * frame_s / (2 * step_s),
    }
    ours, theirs = values_of(found), values_of(true)
    steps = abs(len(found.steps) - len(true.steps))
    return {"steps": steps} | {name: round(max(abs(ours[name] - theirs[name]), low), 3) for name, low in least.items()}


def lines_of(found, true, rows, walks):
    """Yield Markdown tables of the values and the events."""
    yield "| value | found | labelled | error |"
    yield "|---|---:|---:|---:|"
    ours, theirs = values_of(found), values_of(true)
    for name, error in errors_of(found, true).items():
        yield f"| {name} | {ours[name]:.2f} | {theirs[name]:.2f} | {error:.2f} |"
    yield ""
    yield "| walk of the figure | speed by height, m/s | by the floor, m/s | true, m/s |"
    yield "|---|---:|---:|---:|"
    for (view_deg, hips_deg, stride_s, true_m_s), (by_height, by_floor) in zip(WALKS, walks, strict=True):
        name = f"view {view_deg}°, hips ± {hips_deg:.0f}°, stride {stride_s} s"
        yield f"| {name} | {by_height:.2f} | {by_floor:.2f} | {true_m_s:.2f} |"
    yield ""
    yield "| event | mean difference, s | missed | found | labelled |"
    yield "|---|---:|---:|---:|---:|"
    for name, seconds_off, missed, count, labelled in rows:
        yield f"| {name} | {seconds_off:.3f} | {missed} | {count} | {labelled} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, required=True, help="Sports2D/Demo/demo.mp4")
    parser.add_argument("--figure", type=Path, required=True, help="GLB file of a figure, see benchmarks/figures.py")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips and keypoints")
    parser.add_argument("--write", action="store_true", help="into the package")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    bodies = recorded(options.video, "full", options.cache, people=2, place=PLACE, first=FIRST, averaged=True)
    bodies = uncut_bodies(bodies, SIZE, RATE_HZ)
    found, true, rows = measured(bodies)
    walks = speeds(options.figure, options.cache)
    lines = [f"{date.today().isoformat()}, `{COMMAND}`.", "", *lines_of(found, true, rows, walks)]
    print("\n".join(lines))
    if options.write:
        off = [abs(found_m_s - walk[-1]) for both, walk in zip(walks, WALKS, strict=True) for found_m_s in both]
        speed = {"speed": round(max(off), 3)}
        content = {"command": COMMAND, "origin": ORIGIN, "errors": errors_of(found, true) | speed}
        gait.ERRORS_FILE.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        write_section("measured.md", "python benchmarks/gait.py --write", "\n".join(lines))


if __name__ == "__main__":
    main()
