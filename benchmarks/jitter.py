"""Measure the jitter of a still hand under pixel noise, and the lag of smoothing after a jump."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files

import numpy as np
from rich.console import Console
from rich.table import Table

from sonjit import SonjitError, create_detector
from sonjit.media import open_source

CROP_PX = 400
SETTLE = 30
"""Frames at the start that are excluded because filters settle."""


def noisy(image, sigma, random):
    """Return the image with new Gaussian noise, sigma in grey levels."""
    return np.clip(image + random.normal(0, sigma, image.shape), 0, 255).round().astype(np.uint8)


def keypoints(images, smoothing, model, which):
    """Return keypoints (N, 21, 2) in pixels of the single hand in each image."""
    with create_detector("hands", model=model, max_instances=1, smoothing=smoothing, keypoints=which) as detector:
        found = [detector.detect(image) for image in images]
    if any(len(hands) != 1 for hands in found):
        raise SystemExit("jitter.py: the hand was lost; choose another --frame or a lower --sigma")
    return np.array([hands[0].keypoints[:, :2] for hands in found])


def rms(offsets):
    """Return the root mean square length of 2D offsets."""
    return float(np.sqrt((offsets**2).sum(axis=-1).mean()))


def lag(points, start, before, after, part):
    """Return the frames after a jump until the mean keypoint has covered a share of it, or None."""
    covered = (points[start:, :, 0].mean(axis=1) - before) / (after - before)
    return int(np.argmax(covered >= part)) if (covered >= part).any() else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sigma", type=float, default=8.0, help="pixel noise in grey levels")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--frame", type=int, default=30, help="index of the frame of the bundled clip")
    parser.add_argument("--step", type=int, default=40, help="jump in pixels")
    parser.add_argument("--model", choices=["full", "lite"], default="full")
    parser.add_argument("--keypoints", choices=["refined", "published"], default="refined")
    options = parser.parse_args()
    if options.frames < SETTLE + 50:
        raise SystemExit(f"jitter.py: --frames {options.frames}: minimum {SETTLE + 50}")
    with open_source(str(files("sonjit") / "_util" / "assets" / "demo.mp4")) as source:
        image = next(frame.rgb for frame in source if frame.index == options.frame)
    still, moved = image[-CROP_PX:, options.step : options.step + CROP_PX], image[-CROP_PX:, :CROP_PX]
    random = np.random.default_rng(0)
    at_rest = [noisy(still, options.sigma, random) for _ in range(options.frames)]
    half = options.frames // 2
    jump = at_rest[:half] + [noisy(moved, options.sigma, random) for _ in range(options.frames - half)]

    table = Table("smoothing", box=None, pad_edge=False)
    for heading in ("from mean, px", "frame to frame, px", "50 % lag", "90 % lag"):
        table.add_column(heading, justify="right")
    figures = {}
    raw_jump = keypoints(jump, None, options.model, options.keypoints)
    before, after = (float(part[..., 0].mean()) for part in (raw_jump[SETTLE:half], raw_jump[half + 20 :]))
    for smoothing in (None, "one_euro"):
        points = keypoints(at_rest, smoothing, options.model, options.keypoints)[SETTLE:]
        figures[smoothing] = (rms(points - points.mean(axis=0)), rms(np.diff(points, axis=0)))
        jumped = raw_jump if smoothing is None else keypoints(jump, smoothing, options.model, options.keypoints)
        lags = (lag(jumped, half, before, after, part) for part in (0.5, 0.9))
        table.add_row(
            str(smoothing), *(f"{v:.3f}" for v in figures[smoothing]), *("never" if v is None else str(v) for v in lags)
        )
    table.add_row("ratio", *(f"{b / a:.2f}" for a, b in zip(*figures.values(), strict=True)))
    Console().print(
        f"model {options.model}, {options.keypoints} keypoints, noise sigma {options.sigma}, "
        f"{options.frames} frames at 30 per second\n"
        f"jump of {after - before:.1f} px at frame {half}; lags in frames after the frame of the jump",
        table,
    )


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"jitter.py: {error}")
