"""Compare blendshapes and head poses from the mesh with those of MediaPipe's face_landmarker.task.

Sources are the beginnings of file names, up to the first underscore. Sources of --chosen-on are evaluated separately.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sonjit import create_detector

STILLS = {"static_image": True, "max_instances": 8, "search": "fast"}
ENDINGS = (".jpg", ".jpeg", ".png")
MIN_WIDTH_PX = 60


def photographs(folders):
    """Return the paths of all photographs in folders."""
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def source(path):
    """Return the source of a photograph, the beginning of its name."""
    return path.stem.partition("_")[0]


def nearest(face, others):
    """Return the face among others with the nearest centre, or None if it is another person."""
    centre = face.keypoints[:, :2].mean(axis=0)
    away = [np.linalg.norm(other.keypoints[:, :2].mean(axis=0) - centre) for other in others]
    width = face.box[2] - face.box[0]
    return others[int(np.argmin(away))] if away and width >= MIN_WIDTH_PX and min(away) < 0.15 * width else None


def turn_deg(a, b):
    """Return the angle between the rotations of two transforms (4, 4)."""
    first, second = (m[:3, :3] / np.cbrt(np.linalg.det(m[:3, :3])) for m in (a, b))
    return float(np.degrees(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1, 1))))


def compared(paths, bundle):
    """Return own and published blendshapes by name, angles between poses in degrees, and ratios of distances."""
    shapes, turns, distances = {}, [], []
    extra = {"blendshapes": True, "transform": True}
    with (
        create_detector("face", **STILLS, **extra, landmark_model=bundle) as published,
        create_detector("face", **STILLS, **extra) as own,
    ):
        for path in paths:
            faces = own.detect(path)
            for truth in published.detect(path):
                face = nearest(truth, faces)
                if face is None:
                    continue
                for name, value in face.blendshapes.items():
                    shapes.setdefault(name, []).append((value, truth.blendshapes[name]))
                turns.append(turn_deg(face.transform, truth.transform))
                distances.append(face.transform[2, 3] / truth.transform[2, 3])
    return {name: np.array(pairs) for name, pairs in shapes.items()}, turns, distances


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="face_landmarker.task")
    parser.add_argument("folders", type=Path, nargs="+", help="photographs of held-out sources")
    parser.add_argument("--chosen-on", type=Path, nargs="*", default=[], help="photographs that chose the formulas")
    options = parser.parse_args()
    chosen = photographs(options.chosen_on)
    known = {source(path) for path in chosen}
    left_out = [path for path in photographs(options.folders) if source(path) not in known]
    results = [compared(paths, options.bundle) for paths in (left_out, chosen)]
    print(
        "| blendshape | correlation, left out | mean error, left out | correlation, chosen on |\n|---|---:|---:|---:|"
    )
    for name, pairs in sorted(results[0][0].items()):
        errors = np.abs(pairs[:, 0] - pairs[:, 1]).mean()
        tuned = results[1][0].get(name)
        cell = "" if tuned is None else f"{np.corrcoef(tuned.T)[0, 1]:.2f}"
        print(f"| `{name}` | {np.corrcoef(pairs.T)[0, 1]:.2f} | {errors:.2f} | {cell} |")
    for title, (_, turns, distances) in zip(("left out", "chosen on"), results, strict=True):
        if turns:
            pose = f"head pose difference {np.median(turns):.1f}° (90 %: {np.quantile(turns, 0.9):.1f}°)"
            print(
                f"\n{title}: {len(turns)} faces; {pose}, distance {np.median(distances):.2f} times that of the bundle"
            )


if __name__ == "__main__":
    main()
