"""Compare angles, bones and errors of triangulated bodies with Pose2Sim's result of the same recording.

The recording is Pose2Sim's demo of one person, https://github.com/perfanalytics/pose2sim. Its result is a .trc file of
commit a948c205, which OpenPose and the same calibration determined. It is another estimate, not a known truth.

python benchmarks/bodies_in_space.py CALIBRATION TABLES RESULT.trc
"""

import argparse
import csv
import io
import json
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

from sonjit_studio.commands import export, triangulate_tables
from sonjit_studio.people import load_people

SIDES = ("left", "right")
ANGLES = {
    "elbow": ("Shoulder", "Elbow", "Wrist"),
    "shoulder": ("Elbow", "Shoulder", "Hip"),
    "hip": ("Shoulder", "Hip", "Knee"),
    "knee": ("Hip", "Knee", "Ankle"),
    "ankle": ("Knee", "Ankle", "BigToe"),
}
BONES = {"upper arm": (11, "Shoulder", 13, "Elbow"), "lower arm": (13, "Elbow", 15, "Wrist")} | {
    "thigh": (23, "Hip", 25, "Knee"),
    "shank": (25, "Knee", 27, "Ankle"),
}


def markers(path):
    """Return the points (F, 3) in metres of each marker of a .trc file of Pose2Sim."""
    lines = path.read_text().splitlines()
    names = [name for name in lines[3].split("\t")[2:] if name]
    rows = np.array([line.split("\t")[2 : 2 + 3 * len(names)] for line in lines[5:] if line.strip()], float)
    return dict(zip(names, rows.reshape(len(rows), -1, 3).swapaxes(0, 1), strict=True))


def angle_deg(first, middle, last):
    """Return the angles (F,) in degrees at the middle of three points (F, 3)."""
    one, other = first - middle, last - middle
    cosines = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
    return np.degrees(np.arccos(cosines))


def rows_of(result, people_json, folder):
    """Return the mean absolute differences of angles, the ratios of bones, and the median residual in pixels."""
    export(people_json, out=folder / "angles.csv", figure="angles")
    rows = list(csv.DictReader(io.StringIO((folder / "angles.csv").read_text())))
    frames = np.array([int(row["frame"]) for row in rows])
    frames = frames[frames < len(result["Neck"])]
    points = load_people(people_json).points_m[: len(frames), 0]
    differences, ratios = {}, {}
    for name, joints in ANGLES.items():
        both = []
        for side in SIDES:
            own = np.array([float(row[f"{side}_{name}_angle_rad"] or "nan") for row in rows[: len(frames)]])
            theirs = angle_deg(*(result[f"{side[0].upper()}{joint}"][frames] for joint in joints))
            both.append(np.nanmean(np.abs(np.degrees(own) - theirs)))
        differences[name] = np.mean(both)
    for name, (start, first, end, last) in BONES.items():
        both = []
        for row, side in enumerate(SIDES):
            own = np.nanmedian(np.linalg.norm(points[:, start + row] - points[:, end + row], axis=-1))
            letter = side[0].upper()
            both.append(own / np.median(np.linalg.norm(result[letter + first] - result[letter + last], axis=-1)))
        ratios[name] = np.mean(both)
    return differences, ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("tables", type=Path, help="folder with a table of sonjit body --model heavy per camera")
    parser.add_argument("result", type=Path, help=".trc file of Pose2Sim")
    options = parser.parse_args()
    result = markers(options.result)
    command = "python benchmarks/bodies_in_space.py CALIBRATION TABLES RESULT.trc"
    print(f"{date.today().isoformat()}, {platform.machine()}, CPU, `{command}`.\n")
    print(f"| | {' | '.join(ANGLES)} | {' | '.join(BONES)} | residual |")
    print("|---" + "|---:" * (1 + len(ANGLES) + len(BONES)) + "|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for row, (what, settings) in enumerate(
            {
                "as calibrated": {},
                "as calibrated, with a threshold of 4 %": {"threshold": 29.5},
                "constant bones": {"constant_bones": True},
                "refined cameras": {"refine_cameras": folder / "refined.json"},
                "refined cameras, constant bones": {"refine_cameras": folder / "2.json", "constant_bones": True},
            }.items()
        ):
            people_json = folder / f"people{row}.json"
            triangulate_tables(options.calibration, [str(options.tables)], out=people_json, **settings)
            differences, ratios = rows_of(result, people_json, folder)
            cells = [f"{value:.1f}" for value in differences.values()] + [f"{value:.2f}" for value in ratios.values()]
            print(f"| {what} | {' | '.join(cells)} | {median_residual(people_json):.1f} |")
            sys.stdout.flush()


def median_residual(people_json):
    """Return the median distance in pixels of detections from projections in a file of `triangulate`."""
    bodies = [body for frame in json.loads(people_json.read_text())["frames"] for body in frame["bodies"]]
    values = [value for body in bodies for own in body["residual_px"].values() for value in own if value is not None]
    return float(np.median(values))


if __name__ == "__main__":
    main()
