"""What kinds read from outputs of networks is stored: hands, bodies and faces in boxes, their results and next boxes.

The networks are fakes with random outputs, so that every number counts and no weights are needed.
"""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit.detectors.kinds.body import PERSON_GRID, Bodies, BodySmoother, MaskSmoother
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation
from sonjit.detectors.kinds.face_boxes import FaceBoxes
from sonjit.detectors.kinds.face_networks import FULL_GRID, SHORT_GRID
from sonjit.detectors.kinds.hand_heads import TAPS, load_hand_heads, load_hand_refinement
from sonjit.detectors.kinds.hands import PALM_GRID, Hands, HandSizes, HandSmoother, palm_squares
from sonjit.detectors.smoothing import KeypointSmoother, OneEuro
from sonjit.detectors.ssd import SingleShotDetector
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox
from sonjit.geometry.cameras import Intrinsics
from sonjit.geometry.rotations import CanonicalFace

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

BOXES = (RotatedBox(150, 120, 130, 130, 0.3), RotatedBox(300, 60, 90, 90, -2.2), RotatedBox(20, 260, 160, 120, 1.4))


class Network:
    """Network of random outputs that change from call to call. It keeps the colours of its inputs."""

    precision = "f32"

    def __init__(self, side, outputs, seed=0):
        rng = np.random.default_rng(seed)
        self.input, self.seen = np.zeros((1, side, side, 3), np.uint8), []
        self.base = [(mean + spread * rng.normal(size=shape)).astype(np.float32) for shape, mean, spread in outputs]
        self.output_sizes = [array.size for array in self.base]

    def run(self):
        parts = self.input[0].reshape(2, self.input.shape[1] // 2, 2, -1, 3).mean(axis=(1, 3))
        self.seen.append(parts.mean(axis=2))
        return [np.float32(1 + 0.1 * np.sin(len(self.seen))) * array for array in self.base]


def detector(grid, keypoints, seed, overlap=0.3):
    """Return a detector of some objects with several boxes each."""
    count, rng = len(grid.anchors()), np.random.default_rng(seed)
    network = Network(grid.input_size, [((1, count, 4 + 2 * keypoints), 0, 25), ((1, count, 1), -9, 0.5)], seed)
    raw, logits = network.base
    raw[..., 2:4] = rng.uniform(20, 90, (1, count, 2))
    chosen = rng.choice(count - 3, 5, replace=False)
    for shift in (0, 1, 2):
        logits[0, chosen + shift, 0] = rng.uniform(-0.5, 3.5, 5)
        raw[0, chosen + shift] = raw[0, chosen] + rng.normal(0, 4, (5, 4 + 2 * keypoints))
    return SingleShotDetector(network, grid, overlap=overlap), network


@pytest.fixture
def rgb():
    """Return an image (300, 400, 3) of smooth colours."""
    noise = np.random.default_rng(5).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(noise, (400, 300), interpolation=cv2.INTER_CUBIC)


def track_of(observation, **changes):
    """Return a track with id 7 and an observation, smoothed by half a pixel."""
    smoothed = replace(observation, keypoints=observation.keypoints + np.float32(0.5))
    track = Track(7, observation, smoothed, None, 1.0)
    for name, value in changes.items():
        setattr(track, name, value)
    return track


def short(value):
    """Return a summary of an array: its shape, mean and some values."""
    if value is None:
        return None
    return [list(value.shape), float(np.abs(value).mean()), value.ravel()[:: max(value.size // 40, 1)]]


def observed(one, names):
    return {name: short(value) if isinstance(value := getattr(one, name), np.ndarray) else value for name in names}


HAND = ("score", "keypoints", "keypoints_3d", "left", "extra", "visibility", "maps", "error_px")
# Options, models of heads and refinement, hand length and camera, and number of further keypoints
HAND_OPTIONS = {
    "plain": ({"mirrored": False}, None, None, None, 0),
    "selfie": ({"mirrored": True, "turn_rad": 0.4}, None, None, None, 3),
    "seen": ({"mirrored": False}, "full", "full", (None, None), 0),
    "refined": ({"mirrored": True, "visibility": False}, None, "lite", (0.2, Intrinsics(500, 510, 190, 160)), 0),
    "heads": ({"mirrored": False, "visibility": False}, "lite", None, (0.15, None), 0),
}


@pytest.mark.parametrize("name", HAND_OPTIONS)
def test_hands_are_read_as_stored(rgb, name):
    options, heads, refinement, sizes, more = HAND_OPTIONS[name]
    model = heads or refinement
    channels, means = {"full": ((40, 112, 192), 1152), "lite": ((24, 64, 112), 672), None: ((), 0)}[model]
    taps = [((1, count, side, side), 0, 1) for count, side in zip(channels, TAPS, strict=False)]
    outputs = [((1, 63 + 3 * more), 110, 50), ((1, 1), 0.7, 0.02), ((1, 1), 0.3, 0.02), ((1, 63 + 3 * more), 0, 0.05)]
    network = Network(224, [*outputs, *taps, *([((1, means), 0, 1)] if model else [])], seed=3)
    palms, palm_network = detector(PALM_GRID, 7, seed=4)
    hands = Hands(
        palms,
        network,
        heads=heads and load_hand_heads(heads),
        refinement=refinement and load_hand_refinement(refinement),
        sizes=sizes and HandSizes(*sizes),
        **options,
    )
    found = {
        "palms": hands.find(rgb, 0.55),
        "squares": palm_squares(np.random.default_rng(1).uniform(0, 99, (3, 7, 2))),
    }
    smooth = HandSmoother(OneEuro())
    for index, box in enumerate(BOXES):
        seen = hands.observe(rgb, box)
        mirrored = hands.observe_mirrored(rgb, box)
        moved = hands.propagate(seen, np.float32([3, -5]), 0.25)
        refined = [hands.refine(one) for one in (seen, mirrored, moved)]
        smoothed = smooth(refined[0], index / 30)
        track = track_of(seen, left=0.35)
        results = [hands.result(rgb, one, other) for one in refined for other in (None, track)]
        results += [hands.result(rgb, refined[2], track_of(seen, occluded_s=0.1))]
        fields = ("handedness", "handedness_score", "score", "id", "keypoints", "keypoints_3d", "extra_keypoints",
                  "visibility", "appearance", "error_px", "distance_m", "distance_error_m")  # fmt: skip
        found[f"{box.cx}"] = {
            "observed": [observed(one, HAND) for one in (seen, mirrored, moved, *refined, smoothed)],
            "published": [one.published and observed(one.published, HAND) for one in (*refined, smoothed)],
            "crops": [one.refinable and [one.refinable.box, one.refinable.mirrored] for one in (seen, mirrored, moved)],
            "next": [hands.box_after(seen), hands.follow(track)],
            "results": [observed(result, fields) for result in results],
        }
    found["inputs"] = [network.seen, palm_network.seen]
    assert_as_stored(f"parts.hands.{name}", found, relative=1e-3, absolute=2e-3)


BODY = ("score", "keypoints", "keypoints_3d", "visibility", "presence", "alignment", "mask", "colours", "heatmap_peak")
BODY_OPTIONS = {
    "plain": {},
    "selfie": {"mirrored": True, "heatmap_kernel": 7},
    "averaged": {"averages_mirrored": True},
}


@pytest.mark.parametrize("name", BODY_OPTIONS)
def test_bodies_are_read_as_stored(rgb, name):
    outputs = [
        ((1, 195), 120, 50),
        ((1, 1), 0.7, 0),
        ((1, 64, 64, 39), -2, 1.5),
        ((1, 117), 0, 0.4),
        ((1, 64, 64, 1), 0, 2),
    ]
    network = Network(256, outputs if name != "selfie" else outputs[:4], seed=6)
    scores = network.base[0].reshape(39, 5)[:, 3:]
    scores[:] = np.random.default_rng(8).normal(1, 2, scores.shape)
    people, person_network = detector(PERSON_GRID, 4, seed=9)
    bodies = Bodies(people, network, **BODY_OPTIONS[name])
    smoothers = [BodySmoother(), BodySmoother(None), BodySmoother(OneEuro(), mask=False), BodySmoother(alignment=False)]
    found = {"people": bodies.find(rgb, 0.5)}
    for index, box in enumerate(BOXES):
        seen = bodies.observe(rgb, box)
        moved = bodies.propagate(seen, np.float32([3, -5]), 0.25)
        close = replace(seen, alignment=seen.alignment[[0, 0]])
        smoothed = [
            smooth(one, index / 30) for smooth in smoothers for one in (seen, moved, close)[: 1 + 2 * (index == 2)]
        ]
        track = track_of(seen)
        results = [bodies.result(rgb, one, other) for one in (seen, moved) for other in (None, track)]
        found[f"{box.cx}"] = {
            "observed": [observed(one, BODY) for one in (seen, moved, *smoothed)],
            "next": [bodies.box_after(seen), bodies.follow(track)],
            "results": [
                observed(result, ("id", "score", "keypoints", "visibility", "presence", "mask")) for result in results
            ],
        }
    found["same"] = [[bodies.is_same_instance(a, b) for a in found["people"]] for b in found["people"]]
    found["inputs"] = [network.seen, person_network.seen]
    assert_as_stored(f"parts.bodies.{name}", found, relative=1e-3, absolute=2e-3)


def test_masks_are_smoothed_as_stored():
    smooth, rng = MaskSmoother(), np.random.default_rng(2)
    masks = [rng.choice([0, 1e-4, 0.002, 0.2, 0.5, 0.8, 0.998, 1], (6, 8)).astype(np.float32) for _ in range(4)]
    assert_as_stored("parts.masks", [smooth(mask) for mask in [*masks, masks[0][:3], masks[1][:3]]], absolute=1e-5)


MESH = [((1, 1, 1, 468 * 3), 95, 40), ((1, 1), 0.8, 0)]
ATTENTION = [MESH[0], *(((1, 1, 1, 2 * count), 95, 40) for count in (80, 71, 71, 5, 5)), ((1, 1), 0.8, 0)]
CANONICAL = CanonicalFace(
    np.random.default_rng(1).normal(0, 5, (468, 3)), np.where(np.arange(468) % 9, 0.0, 0.5 + np.arange(468) / 900)
)
FACE_OPTIONS = {
    "mesh": (MESH, {"turns": True}),
    "attention": (ATTENTION, {"turns": True, "mirrored": True, "canonical": CANONICAL}),
    "bundle": (MESH, {"stretches_depth": True, "squares": False, "squares_after": False, "shift_y": 0.0}),
    "blendshapes": (ATTENTION, {"blendshapes": lambda points: {"x": points[13, 0].item()}, "mirrored": True}),
}


@pytest.mark.parametrize("name", FACE_OPTIONS)
def test_faces_are_read_as_stored(rgb, name):
    outputs, options = FACE_OPTIONS[name]
    network = Network(192, outputs, seed=11)
    search, face_network = detector(SHORT_GRID, 6, seed=12)
    meshes = FaceMeshes(search, network, **options)
    found = {"count": meshes.keypoint_count, "found": meshes.find(rgb, 0.3)}
    found["heads"] = [
        meshes.find_in(rgb, box._replace(height=box.width), least) for box in BOXES for least in (0.5, 0.99)
    ]
    for box in BOXES:
        seen = meshes.observe(rgb, box)
        results = [meshes.result(rgb, seen, track) for track in (None, track_of(FaceObservation(0.9, seen.keypoints)))]
        found[f"{box.cx}"] = [
            observed(seen, ("score", "keypoints", "box")),
            meshes.box_after(seen),
            observed(meshes.propagate(seen, np.float32([3, -5]), 0.25), ("score", "keypoints")),
            [observed(result, ("id", "score", "keypoints", "box", "blendshapes", "transform")) for result in results],
        ]
    found["inputs"] = [network.seen, face_network.seen]
    assert_as_stored(f"parts.faces.{name}", found, relative=1e-3, absolute=2e-3)


@pytest.mark.parametrize(("name", "grid"), [("short", SHORT_GRID), ("full", FULL_GRID)])
def test_boxes_of_faces_are_read_as_stored(rgb, name, grid):
    found = []
    for mirrored, blended in ((False, None), (True, None), (False, 0.4), (True, 0.8)):
        faces = FaceBoxes(detector(grid, 6, seed=13, overlap=0.2)[0], blended, mirrored=mirrored)
        for least in (0.5, 0.3):
            seen = faces.search(rgb, least)
            results = [faces.result(rgb, one, track) for one in seen[:4] for track in (None, SimpleNamespace(id=3))]
            fields = ("id", "score", "box", "keypoints")
            found.append([len(seen), *map(faces.box_after, seen), *(observed(one, fields) for one in results)])
    assert_as_stored(f"parts.boxes.{name}", found, relative=1e-3, absolute=2e-3)


def test_sizes_of_instances_smooth_them_as_stored():
    smooth, other = KeypointSmoother(OneEuro()), KeypointSmoother(OneEuro(0.5, 20, 2, 0.1), size=lambda points: 30.0)
    rng, found = np.random.default_rng(4), []
    points = np.cumsum(rng.normal(0, 3, (12, 21, 3)), 0).astype(np.float32) + 100
    points[6, 3] = np.nan
    for index, one in enumerate(points):
        seen = FaceObservation(0.9, one)
        found.append([smoother(seen, (index + index // 5) / 30).keypoints[:5] for smoother in (smooth, other)])
    assert_as_stored("parts.smoothed", found, absolute=1e-3)
