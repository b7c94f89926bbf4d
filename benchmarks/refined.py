"""Compare refined with published hand keypoints: real labelled hands, a hand in front of two cameras, and the cost."""

from __future__ import annotations

import argparse
import json
import time
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from hand_heads import real_hands
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sonjit import create_detector
from sonjit.detectors.kinds.hand_heads import TAPS
from sonjit.detectors.kinds.hand_refinement import HandRefinement, RefinementInputs, load_hand_refinement
from sonjit.detectors.kinds.hand_size import HandSizes
from sonjit.detectors.kinds.hands import HandObservation, box_around_hand, load_hands
from sonjit.detectors.options import HandOptions
from sonjit.geometry.boxes import RotatedBox
from sonjit.lab.datasets import open_dataset
from sonjit.lab.metrics.statistics import mean_interval
from sonjit.lab.training.augment import jittered_box
from sonjit.lab.training.refinement import CHANNELS, MapFiles, RefinableHands, map_files
from sonjit.media import open_source
from sonjit.results.measures import hand_length_m
from sonjit.studio.triangulation.bones import bone_lengths

CROPS = 24
"""Number of crops per real hand, with boxes that vary as in tracking."""
TURN_RAD = 0.2
MAX_ERROR = 0.3
"""Maximum mean error of published keypoints, as a fraction of the hand's extent, for a match."""
MAX_REPROJECTION_PX = 30
LIMITS = (0.02, 0.03, 0.04, 0.05, 0.07)
"""Limits of the expected error in the reliability table, as fractions of the crop."""
BONES = [(k, k + 1) for k in range(20) if k % 4] + [(0, 1), (0, 5), (0, 9), (0, 13), (0, 17)]


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


def reliability_of_run(model, run):
    """Return the same for the held-out synthetic images of a run of the recipe `refine`."""
    settings, result = (json.loads((run / f"{name}.json").read_text("utf-8")) for name in ("settings", "result"))
    expected, found, refinement = [], [], load_hand_refinement(model)
    for name in settings["held_out"]:
        folder = run / "maps" / f"{name}-{model}"
        rows = RefinableHands.load(folder / "rows.npz").defined_by(np.array(result["results"]["definition"]))
        maps = MapFiles([map_files(folder)], CHANNELS[model])
        for row in range(len(rows)):
            values = [each[0].numpy().T.astype(np.float32) for each in maps.rows(np.array([row]))]
            shaped = [each.reshape(1, -1, side, side) for each, side in zip(values, TAPS, strict=True)]
            refined = refinement(RefinementInputs(rows.keypoints[row], rows.world[row], shaped))
            expected.append(refined.error)
            found.append(np.linalg.norm((refined.keypoints - rows.exact[row])[:, :2], axis=1))
    return np.array(expected), np.array(found), np.ones(np.shape(found), bool)


def reliability_table(model, parts):
    """Return a table of expected and actual errors by part."""
    columns = ("images", "expected, % of the crop", "keypoints", "mean expected, %", "mean actual, %")
    table = Table(*columns, title=f"{model}, expected errors")
    for name, values in parts.items():
        for limits, count, expected, found in reliability_rows(*values):
            table.add_row(name, limits, str(count), f"{100 * expected:.2f}", f"{100 * found:.2f}")
    return table


def cost(model, frames):
    """Return the median processor time of a tracked frame with both kinds of keypoints, measured alternately."""
    with open_source(str(files("sonjit") / "_util" / "assets" / "demo.mp4")) as source:
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


def step_cost(model, repeats=500):
    """Return the minimum processor time in ms of the refinement of one hand, over batches of calls."""
    refinement, depths = load_hand_refinement(model), {"full": (40, 112, 192), "lite": (24, 64, 112)}[model]
    rng = np.random.default_rng(0)
    maps = [rng.random((1, depth, side, side), np.float32) for depth, side in zip(depths, (28, 14, 7), strict=True)]
    inputs = RefinementInputs(rng.random((21, 3), np.float32), rng.random((21, 3), np.float32), maps)
    times = []
    for _ in range(repeats // 10):
        start = time.process_time()
        for _ in range(10):
            refinement(inputs)
        times.append((time.process_time() - start) / 10)
    return min(times) * 1000


def two_cameras(model, folder, clips, frames):
    """Return a table for a real hand in front of two cameras: variation of bone lengths, and reprojection error."""
    rig = dat_rig(folder)
    table = Table("keypoints", "frames", "bone length variation, %", "reprojection, px", title=f"{model}, two cameras")
    for name in ("published", "refined"):
        options = {"model": model, "max_instances": 1, "static_image": True, "search": "fast", "keypoints": name}
        seen = []
        for clip in clips:
            with create_detector("hands", **options) as detector, open_source(str(clip)) as source:
                seen.append([detector.detect(frame.rgb) for frame in source if frame.index in frames])
        lengths, errors = [], []
        for pair in zip(*seen, strict=False):
            if all(len(hands) == 1 for hands in pair):
                points = [hands[0].keypoints[:, :2].astype(np.float64) for hands in pair]
                world, error = triangulated(rig, points)
                if error.mean() < MAX_REPROJECTION_PX:
                    lengths.append([np.linalg.norm(world[a] - world[b]) for a, b in BONES])
                    errors.append(error.mean())
        lengths = np.array(lengths)
        spread = np.median(np.abs(lengths - np.median(lengths, axis=0)), axis=0) / np.median(lengths, axis=0)
        table.add_row(name, str(len(lengths)), f"{100 * 1.4826 * spread.mean():.2f}", f"{np.mean(errors):.2f}")
    return table


def rendered_distances(model, folders):
    """Yield relative distance errors of synthetic hands (known length, usual length) and the expected error of each."""
    options = {"model": model, "keypoints": "refined", "static_image": True, "search": "fast", "precision": "f32"}
    with create_detector("hands", threads=1, **options) as detector:
        for sample in (sample for folder in folders for sample in open_dataset("folder", folder)):
            found, camera = detector.detect(sample.rgb()), sample.camera.intrinsics
            for instance in sample.instances:
                points = instance.keypoints_px
                if instance.kind != "hand" or points is None or instance.keypoints_m is None or not found:
                    continue
                errors = [np.linalg.norm(hand.keypoints[:, :2] - points, axis=1).mean() for hand in found]
                hand, exact = found[int(np.argmin(errors))], instance.keypoints_m
                if min(errors) > MAX_ERROR * np.hypot(*np.ptp(points, axis=0)):
                    continue
                length = hand_length_m(exact)
                sized = [
                    HandSizes(known, camera).measure(
                        hand.keypoints_3d, hand.keypoints[:, :2], (sample.width, sample.height), None
                    )
                    for known in (length, None)
                ]
                true = np.linalg.norm(exact.mean(0))
                yield [hand.distance_m / true - 1 for hand in sized], [hand.error_m / hand.distance_m for hand in sized]


def camera_distances(model, folder, clips, frames):
    """Yield relative distance errors (N,) and bone lengths (N, 20) in metres of a tracked hand for each of two cameras.

    The unit of the calibration board is unknown, so the triangulated hand length is the reference.
    """
    rig, seen = dat_rig(folder), []
    for (matrix, *_), clip in zip(rig, clips, strict=True):
        camera = ",".join(str(float(matrix[index])) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
        options = {"model": model, "max_instances": 1, "search": "fast", "distance": True, "hand_length": 0.1}
        with create_detector("hands", camera=camera, **options) as detector, open_source(str(clip)) as source:
            found = [detector.detect(frame.rgb, time=frame.time) for frame in source if frame.index in frames]
        seen.append(found)
    worlds, pairs = [], []
    for pair in zip(*seen, strict=False):
        if all(len(hands) == 1 for hands in pair):
            points = [hands[0].published.keypoints[:, :2].astype(np.float64) for hands in pair]
            world, error = triangulated(rig, points)
            if error.mean() < MAX_REPROJECTION_PX:
                worlds.append(world)
                pairs.append([hands[0] for hands in pair])
    length = hand_length_m(np.array(worlds))
    for number, (_, _, rotation, shift) in enumerate(rig):
        true = [np.linalg.norm(rotation @ world.mean(0) + shift) for world in worlds]
        hands = [pair[number] for pair in pairs]
        distances = np.array([hand.distance_m for hand in hands]) * np.median(length) / 0.1
        yield distances / true - 1, bone_lengths(np.array([hand.keypoints_3d for hand in hands], np.float64))


def distance_table(model, data, folders):
    """Return a table of the distance errors."""
    table = Table("hands", "number", "mean absolute error, %", "bias, %", "within the expected error, %", "bones, %",
                  title=f"{model}, distances")  # fmt: skip

    def add(name, errors, expected, spread=""):
        inside = "" if expected is None else f"{100 * np.mean(np.abs(errors) < expected):.0f}"
        values = f"{100 * np.abs(errors).mean():.1f}", f"{100 * np.median(errors):+.1f}"
        table.add_row(name, str(len(errors)), *values, inside, spread)

    if folders:
        errors, expected = (np.array(column) for column in zip(*rendered_distances(model, folders), strict=True))
        for number, name in enumerate(("known length", "usual length")):
            add(f"synthetic, {name}", errors[:, number], expected[:, number])
    if data:
        clips = [data / "wild_video" / f"handpose3d_cam{number}.mp4" for number in (0, 1)]
        found = camera_distances(model, data / "multiview" / "handpose3d", clips, range(400))
        for number, (errors, lengths) in enumerate(found):
            settled = lengths[30:]  # after the first second
            spread = (settled.std(0) / settled.mean(0)).mean()
            add(f"camera {number}, known length", errors, None, f"{100 * spread:.2f}")
    return table


def dat_rig(folder):
    """Return (K, distortion, R, t) of each camera from handpose3d's files."""

    def numbers(name):
        words = [line.split() for line in (folder / name).read_text().partition("#")[0].splitlines()]
        return [np.array(row, np.float64) for row in words if row and not row[0].endswith(":")]

    rig = []
    for number in (0, 1):
        inner, pose = numbers(f"c{number}.dat"), numbers(f"rot_trans_c{number}.dat")
        rig.append((np.array(inner[:3]), inner[3], np.array(pose[:3]), np.concatenate(pose[3:6])))
    return rig


def triangulated(rig, points):
    """Triangulate pixels (21, 2) of two cameras. Return points (21, 3) and reprojection errors (2, 21) in pixels."""
    rays = [
        cv2.undistortPoints(each[:, None], camera[0], camera[1])[:, 0] for each, camera in zip(points, rig, strict=True)
    ]
    poses = [np.column_stack([camera[2], camera[3]]) for camera in rig]
    found = cv2.triangulatePoints(*poses, *(each.T for each in rays))
    world = (found[:3] / found[3]).T
    back = [
        cv2.projectPoints(world, cv2.Rodrigues(camera[2])[0], camera[3], camera[0], camera[1])[0][:, 0]
        for camera in rig
    ]
    return world, np.array([np.linalg.norm(a - b, axis=1) for a, b in zip(back, points, strict=True)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with datasets/, wild_video/ and multiview/handpose3d/")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--run", type=Path, help="run of the recipe refine, for its held-out synthetic images")
    parser.add_argument("--renders", type=Path, nargs="*", default=(), help="held-out synthetic images, for distances")
    parser.add_argument("--weights", type=Path, help="hand_refinement.npz that replaces the shipped one")
    options = parser.parse_args()
    console = Console(width=120)
    for model in ("full", "lite"):
        parts = {} if options.run is None else {"held-out synthetic": reliability_of_run(model, options.run)}
        if options.data:
            console.print(real_table(load(model, options.weights), options.data / "datasets", model))
            parts["real"] = reliability_of_real_hands(load(model, options.weights), options.data / "datasets")
            clips = [options.data / "wild_video" / f"handpose3d_cam{number}.mp4" for number in (0, 1)]
            console.print(two_cameras(model, options.data / "multiview" / "handpose3d", clips, range(0, 400, 4)))
        if parts:
            console.print(reliability_table(model, parts))
        if options.data or options.renders:
            console.print(distance_table(model, options.data, options.renders))
        published, refined, hands = cost(model, options.frames)
        console.print(
            f"{model}: {published:.2f} ms of processor time per frame with {hands:.1f} hands, {refined:.2f} refined"
        )
        console.print(f"    refinement of one hand: {step_cost(model):.3f} ms")


if __name__ == "__main__":
    main()
