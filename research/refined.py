"""Compare refined with published hand keypoints: errors, expected errors and distances, and the cost.

PYTHONPATH=benchmarks python research/refined.py --data REAL --renders HELD_OUT...
"""

import argparse
import time
import tomllib
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from angles import MAX_ERROR, rendered_hands
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sonjit import SonjitError, create_detector
from sonjit._util.data_files import ASSETS
from sonjit.detectors.kinds.hand_heads import HandRefinement
from sonjit.detectors.kinds.hands import HandObservation, HandSizes, box_around_hand, load_hands
from sonjit.detectors.options import HandOptions
from sonjit.geometry.boxes import RotatedBox
from sonjit.media import open_source
from sonjit.results.measures import hand_length_m
from sonjit_lab.datasets import open_dataset
from sonjit_lab.metrics.statistics import mean_interval
from sonjit_lab.training.augment import jittered_box

REAL_HANDS = "evaluation/protocols/mediapipe-card.toml"
CROPS = 24
"""Number of crops per real hand, with boxes that vary as in tracking."""
TURN_RAD = 0.2
LIMITS = (0.02, 0.03, 0.04, 0.05, 0.07)
"""Limits of the expected error in the reliability table, as fractions of the crop."""


def load(model, file=None):
    """Load hands with the shipped refinement, or with that of a file."""
    hands = load_hands(
        HandOptions(
            kind="hands", model=model, static_image=True, search="fast", keypoints="refined", precision="f32", threads=1
        )
    )
    if file is not None:
        arrays = np.load(file)
        starts = (f"{model}.", "both.")
        hands._refinement = HandRefinement(
            {n.partition(".")[2]: arrays[n].astype(np.float32) for n in arrays.files if n.startswith(starts)}
        )
    return hands


def real_hands(root):
    """Yield (name, image, keypoints (21, 2), side or None) of each sample. Keypoints without label are NaN."""
    protocol = tomllib.loads((files("sonjit_lab") / REAL_HANDS).read_text("utf-8"))
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


class RealCrop(NamedTuple):
    """Crop of a real hand: set, sample, number, labelled points (21, 2) with NaN, box, and both observations."""

    name: str
    sample: str
    hand: int
    points: NDArray[np.float64]
    box: RotatedBox
    published: HandObservation
    refined: HandObservation

    @property
    def errors(self):
        """Errors (2, 21) of published and refined keypoints in pixels; NaN without a label."""
        both = (self.published, self.refined)
        return np.array([np.linalg.norm(each.keypoints[:, :2] - self.points, axis=1) for each in both])

    @property
    def extent(self):
        """Diagonal of the box around the labelled points in pixels."""
        return np.hypot(*np.ptp(self.points[np.isfinite(self.points[:, 0])], axis=0))


def real(hands, root):
    """Yield the crops of real hands in which the network detects the hand."""
    for number, (name, rgb, points, _) in enumerate(real_hands(root)):
        rng, known = np.random.default_rng(number), np.isfinite(points[:, 0])
        filled = np.where(known[:, None], points, points[known].mean(0))
        for _ in range(CROPS):
            box = jittered_box(box_around_hand(filled), rng, TURN_RAD)
            seen = hands.observe(rgb, box)
            crop = RealCrop(name.split()[0], name, number, points, box, seen, hands.refine(seen))
            if seen.score > 0.5 and np.nanmean(crop.errors[0]) <= MAX_ERROR * crop.extent:
                yield crop


def real_table(hands, root, title):
    """Return a table of the errors on real hands, by set."""
    by_set, by_hand = {}, {}
    for crop in real(hands, root):
        key = crop.name, crop.sample, crop.hand
        by_hand.setdefault(key, []).append(np.nanmean(crop.errors, axis=1) / crop.extent)
    for (name, sample, _), errors in by_hand.items():
        by_set.setdefault(name, []).append((sample, np.array(errors)))
    table = Table("set", "hands", "crops", "published, %", "refined, %", "difference, %", "95 % interval", title=title)
    means = []
    for name, found in [*by_set.items(), ("all", [pair for pairs in by_set.values() for pair in pairs])]:
        errors = np.concatenate([errors for _, errors in found]) * 100
        clusters = [sample for sample, errors in found for _ in errors]
        change = errors[:, 1] - errors[:, 0]
        low, high = mean_interval(change, clusters=clusters)
        published, refined = errors.mean(0)
        means.append((name, published, refined))
        table.add_row(
            name,
            str(len(found)),
            str(len(errors)),
            f"{published:.2f}",
            f"{refined:.2f}",
            f"{change.mean():+.2f}",
            f"{low:+.2f} to {high:+.2f}",
        )
    return table


def reliability_rows(expected, found, known):
    """Yield limits of the expected error, number of keypoints, and mean expected and actual error in % of the crop."""
    limits = (0, *LIMITS, 1)
    for low, high in pairwise(limits):
        inside = known & (expected >= low) & (expected < high)
        if inside.any():
            yield f"{100 * low:.0f} to {100 * high:.0f}", inside.sum(), expected[inside].mean(), found[inside].mean()
    yield "all", known.sum(), expected[known].mean(), found[known].mean()


def reliability_of_real_hands(hands, root):
    """Return expected and actual errors (N, 21) on real hands as fractions of the crop, and which are labelled."""
    crops = list(real(hands, root))
    expected = np.array([crop.refined.error_px / crop.box.width for crop in crops])
    found = np.array([crop.errors[1] / crop.box.width for crop in crops])
    return expected, found, np.isfinite(found)


def reliability_table(model, values):
    """Return a table of expected and actual errors."""
    columns = ("expected, % of the crop", "keypoints", "mean expected, %", "mean actual, %")
    table = Table(*columns, title=f"{model}, expected errors")
    for limits, count, expected, found in reliability_rows(*values):
        table.add_row(limits, str(count), f"{100 * expected:.2f}", f"{100 * found:.2f}")
    return table


def cost(model, frames):
    """Return the median processor time of a tracked frame with both kinds of keypoints, measured alternately."""
    with open_source(ASSETS / "demo.mp4") as source:
        images = [frame.rgb for frame in source][:frames]
    detectors = [create_detector("hands", model=model, threads=1, keypoints=name) for name in ("published", "refined")]
    spent, hands = np.zeros((2, len(images))), 0
    for number, rgb in enumerate(images):
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.process_time()  # excludes other processes
            found = detectors[which].detect(rgb)
            spent[which, number] = time.process_time() - start
            hands += len(found)
    for detector in detectors:
        detector.close()
    published, refined = np.median(spent[:, 10:], axis=1) * 1000
    return published, refined, hands / (2 * len(images))


def rendered_distances(model, folders):
    """Yield relative distance errors of synthetic hands (known length, usual length) and the expected error of each."""
    for sample, instance, hand in rendered_hands(model, folders):
        camera, size = sample.camera.intrinsics, (sample.width, sample.height)
        sized = [
            HandSizes(known, camera).measure(hand.keypoints_3d, hand.keypoints[:, :2], size, None)
            for known in (hand_length_m(instance.keypoints_m), None)
        ]
        true = np.linalg.norm(instance.keypoints_m.mean(0))
        yield [hand.distance_m / true - 1 for hand in sized], [hand.error_m / hand.distance_m for hand in sized]


def distance_table(model, folders):
    """Return a table of the distance errors on synthetic images."""
    columns = ("hands", "number", "mean absolute error, %", "bias, %", "within the expected error, %")
    table = Table(*columns, title=f"{model}, distances")
    errors, expected = (np.array(column) for column in zip(*rendered_distances(model, folders), strict=True))
    for number, name in enumerate(("known length", "usual length")):
        error = errors[:, number]
        inside = f"{100 * np.mean(np.abs(error) < expected[:, number]):.0f}"
        figures = f"{100 * np.abs(error).mean():.1f}", f"{100 * np.median(error):+.1f}", inside
        table.add_row(f"synthetic, {name}", str(len(error)), *figures)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with datasets/")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--renders", type=Path, nargs="*", default=(), help="held-out synthetic images, for distances")
    parser.add_argument("--weights", type=Path, help="hand_refinement.npz that replaces the shipped one")
    options = parser.parse_args()
    console = Console(width=120)
    for model in ("full", "lite"):
        if options.data:
            console.print(real_table(load(model, options.weights), options.data / "datasets", model))
            reliability = reliability_of_real_hands(load(model, options.weights), options.data / "datasets")
            console.print(reliability_table(model, reliability))
        if options.renders:
            console.print(distance_table(model, options.renders))
        published, refined, hands = cost(model, options.frames)
        console.print(
            f"{model}: {published:.2f} ms of processor time per frame with {hands:.1f} hands, {refined:.2f} refined"
        )


if __name__ == "__main__":
    main()
