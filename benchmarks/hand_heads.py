"""Measure the cost of visibility and calibrated handedness per frame, and their quality on real hands."""

from __future__ import annotations

import argparse
import time
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sonjit import SonjitError, create_detector
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.lab.datasets import open_dataset
from sonjit.lab.training.hand_heads import KEYPOINTS, LabelledHand, LabelledImage, auroc, auroc_interval, pasted_over
from sonjit.media import open_source

PROTOCOL = "lab/evaluation/protocols/mediapipe-card.toml"


def cost(model, frames):
    """Return the median processor time per tracked frame in ms without and with visibility, measured alternately."""
    with open_source(str(files("sonjit") / "_util" / "assets" / "demo.mp4")) as source:
        images = [frame.rgb for frame in source][:frames]
    detectors = [create_detector("hands", model=model, threads=1, visibility=seen) for seen in (False, True)]
    spent = np.zeros((2, len(images)))
    for number, rgb in enumerate(images):
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.process_time()  # processor time excludes other processes
            detectors[which].detect(rgb)
            spent[which, number] = time.process_time() - start
    for detector in detectors:
        detector.close()
    return np.median(spent[:, 10:], axis=1) * 1000


def real_hands(root):
    """Yield (name, image, keypoints (21, 2), side or None) of each sample. Keypoints without label are NaN."""
    protocol = tomllib.loads((files("sonjit") / PROTOCOL).read_text("utf-8"))
    for data in protocol["data"]:
        for split in data["splits"]:
            try:
                samples = open_dataset(data["set"], root / data["folder"], split)
            except SonjitError:
                continue  # the samples lack this split
            for sample in samples:
                for hand in sample.instances:
                    if hand.kind == "hand" and hand.keypoints_px is not None:
                        points = np.where(hand.valid_px[:, None], hand.keypoints_px, np.nan)
                        yield f"{data['set']} {Path(sample.id).name}", sample.rgb(), points, hand.side


def detect_at(detector, rgb, points):
    """Return the hand in the box around its labelled keypoints. Missing ones are replaced by the mean of the others."""
    filled = np.where(np.isnan(points), np.nanmean(points, axis=0), points)
    found = detector.detect(rgb, boxes=[box_around_hand(filled)])
    return found[0] if found else None


def real(model, root):
    """Yield a table row for each real hand."""
    options = {"model": model, "static_image": True, "threads": 1}
    plain, seen = (create_detector("hands", **options, visibility=value) for value in (False, True))
    for name, rgb, points, side in real_hands(root):
        before, after = detect_at(plain, rgb, points), detect_at(seen, rgb, points)
        if after is None:
            yield name, side, "not found", "", "", ""
            continue
        hidden = np.flatnonzero(after.visibility < 0.5)
        sides = [f"{hand.handedness} {hand.handedness_score:.2f}" for hand in (before, after)]
        unknown = np.flatnonzero(np.isnan(points[:, 0]))
        yield name, side, *sides, " ".join(map(str, hidden)), " ".join(map(str, unknown))


def covered_keypoints(model, root, turns=20):
    """Measure how well visibility separates keypoints of real hands under a pasted object from the others.

    Only keypoints that are visible before count. Self-occluded keypoints cannot be covered.
    """
    rng = np.random.default_rng(0)
    detector = create_detector("hands", model=model, static_image=True, threads=1, visibility=True)
    scores, seen, hands, other = [], [], [], None
    for number, (_, rgb, points, _) in enumerate(real_hands(root)):
        before = None if np.isnan(points).any() else detect_at(detector, rgb, points)
        for _ in range(turns if before else 0):
            plain = LabelledHand(points.astype(np.float32), np.zeros(KEYPOINTS, np.int8), right=True)
            covered = pasted_over(LabelledImage(rgb, (plain,)), rgb if other is None else other, rng)
            if after := detect_at(detector, covered.rgb, points):
                some = before.visibility >= 0.5
                scores.append(after.visibility[some])
                seen.append(covered.hands[0].causes[some] == 0)
                hands.append(np.full(some.sum(), number))
        other = rgb
    scores, seen, hands = (np.concatenate(parts) for parts in (scores, seen, hands))
    low, high = auroc_interval(scores, seen, hands)
    return (
        f"pasted over {len(set(hands))} hands: AUROC {auroc(scores, seen):.3f} ({low:.3f} to {high:.3f}); "
        f"{100 * (scores[~seen] < 0.5).mean():.0f} % of {(~seen).sum()} covered keypoints predicted as hidden, "
        f"{100 * (scores[seen] >= 0.5).mean():.0f} % of {seen.sum()} others predicted as visible"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--real", type=Path, help="folder with data-set samples, as for sonjit eval")
    options = parser.parse_args()
    console = Console()
    for model in ("full", "lite"):
        without, with_ = cost(model, options.frames)
        console.print(f"{model}: {without:.2f} ms of processor time per frame, {with_:.2f} with visibility")
        console.print(f"    {100 * (with_ / without - 1):+.1f} %")
        if options.real is None:
            continue
        table = Table("sample", "side", "published", "hand head", "hidden", "not annotated", title=model)
        for row in real(model, options.real):
            table.add_row(*map(str, row))
        console.print(table)
        console.print(covered_keypoints(model, options.real))


if __name__ == "__main__":
    main()
