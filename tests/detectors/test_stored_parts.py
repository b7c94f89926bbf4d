"""What kinds load and read is stored: the files, how their networks run, observations of boxes, results and next boxes.

The networks are fakes with random outputs, so that every number counts and no weights are needed.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.detectors import options, ssd
from sonjit.detectors.kinds import body, face, face_boxes, face_networks, hand_heads, hands, holistic, options_for
from sonjit.detectors.kinds.body import (
    PERSON_GRID,
    Bodies,
    BodyObservation,
    BodySmoother,
    MaskSmoother,
    body_smoothers,
    load_bodies,
)
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation
from sonjit.detectors.kinds.face_boxes import FaceBoxes
from sonjit.detectors.kinds.face_networks import FULL_GRID, SHORT_GRID, face_smoothers, load_faces
from sonjit.detectors.kinds.hand_heads import TAPS, load_hand_heads, load_hand_refinement
from sonjit.detectors.kinds.hands import (
    PALM_GRID,
    Hands,
    HandSizes,
    HandSmoother,
    hand_smoothers,
    load_hands,
    palm_squares,
)
from sonjit.detectors.kinds.holistic import load_holistic
from sonjit.detectors.options import GraphThresholds
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


OUTPUTS = {
    "palm": (192, [2016 * 18, 2016]),
    "hand": (224, [63, 1, 1, 63]),
    "hand-recrop": (256, [4]),
    "pose-detector": (224, [2254 * 12, 2254]),
    "body": (256, [195, 1, 256 * 256, 64 * 64 * 39, 117]),
    "face-short": (128, [896 * 16, 896]),
    "face-full": (192, [2304 * 16, 2304]),
    "face-mesh": (192, [1404, 1]),
    "face-attention": (192, [1404, 160, 142, 142, 10, 10, 1]),
    # of bundles
    "hand_detector": (192, [2016 * 18, 2016]),
    "hand_landmarks_detector": (224, [63, 1, 1, 63]),
    "hand_roi_refinement": (256, [4]),
    "face_detector": (128, [896 * 16, 896]),
    "face_landmarks_detector": (256, [478 * 3, 1, 1]),
    "pose_detector": (224, [2254 * 12, 2254]),
    "pose_landmarks_detector": (256, [195, 1, 256 * 256, 64 * 64 * 39, 117]),
    # of the user: an input and outputs that fit, and some that do not
    "more-points": (224, [63 + 30, 1, 1, 63 + 30]),
    "no-hand": (224, [64, 1, 1, 64]),
    "no-palm": (128, [2016 * 18, 2016]),
    "no-face": (192, [1404, 2]),
    "no-body": (224, [195, 1, 256 * 256, 64 * 64 * 39, 117]),
}


class Loaded:
    """Engine with the sizes of a file."""

    def __init__(self, path, chosen, taps):
        names = [name for name in OUTPUTS if path.stem.startswith(name)]
        side, sizes = OUTPUTS[max(names, key=len)]
        self.name, self.input = path.name, np.zeros((1, side, side, 3), np.uint8)
        self.output_sizes = [*([sizes[index] for index in chosen] if chosen else sizes), *range(1, 1 + 2 * len(taps))]


class Bundle:
    """Task bundle with any file."""

    def __init__(self, path):
        self.name, self.task = path.name, path.stem

    def file(self, member):
        return Path(member)

    def read(self, member):
        return b""


def described(value):
    """Return a part of a kind in types of JSON."""
    if isinstance(value, Loaded | Path):
        return value.name
    if isinstance(value, ssd.AnchorGrid):
        return [value.input_size, *value.strides, len(value.anchors())]
    if isinstance(value, list | tuple):
        return [described(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__name__", type(value).__name__)


@pytest.fixture
def loaded(monkeypatch):
    """Replace the loading of networks, and return what is loaded and made."""
    found = []

    def load(path, running, *, value_range=(0.0, 1.0), outputs=None, taps=()):
        how = [running.precision, running.threads, running.device, running.engine]
        found.append([path.name, *how, value_range, outputs, taps])
        return Loaded(path, outputs, taps)

    def record(owner, name):
        make = getattr(owner, name)

        def made(*parts, **more):
            found.append([name, described(parts), {key: described(value) for key, value in more.items()}])
            return make(*parts, **more)

        monkeypatch.setattr(owner, name, made)

    for module in (hands, body, face_networks, holistic):
        monkeypatch.setattr(module, "load_engine", load)
    monkeypatch.setattr(
        hands, "available_precision", lambda precision, path: "f32" if precision == "int8" else precision
    )
    monkeypatch.setattr(hands, "loaded_ahead", lambda load: load)  # without a thread
    monkeypatch.setattr(options, "find_weight", lambda name, folder: Path(f"{name}.tflite"))
    monkeypatch.setattr(options, "has_bundle", lambda name, folder: False)
    monkeypatch.setattr(options, "load_bundle", lambda path, folder: Bundle(path))
    monkeypatch.setattr(
        face_networks, "load_blendshapes", lambda bundle, running: face_networks.BlendshapeNetwork(None)
    )
    monkeypatch.setattr(face_networks, "load_canonical_face", lambda bundle: face_networks._average_face())
    for owner, name in (
        (hands, "Hands"), (hands, "HandSizes"), (body, "Bodies"), (face, "FaceMeshes"), (face_boxes, "FaceBoxes"),
        (holistic, "Holistic"), (ssd, "SingleShotDetector"), (hand_heads, "load_hand_heads"),
        (hand_heads, "load_hand_refinement"),
    ):  # fmt: skip
        record(owner, name)
    monkeypatch.delenv("SONJIT_THREADS", raising=False)
    return found


GRAPH = GraphThresholds(
    overlap=0.45, blended=0.4, face_detection=0.35, face_overlap=0.25, face_presence=0.6, hand_presence=0.7,
    searches_parts=True,
)  # fmt: skip
COMMON = (
    {}, {"precision": "f32"}, {"precision": "bf16"}, {"precision": "int8"}, {"threads": 3},
    {"engine": "onnxruntime", "device": "cuda", "precision": "bf16"}, {"mirrored": True}, {"thresholds": GRAPH},
    {"search": "fast"}, {"search": "thorough"}, {"static_image": True}, {"detector_model": Path("palm-own.tflite")},
    {"landmark_model": Path("own.task"), "search": "fast"}, {"landmark_model": Path("own.task")},
    {"detector_model": Path("no-palm.tflite")},
)  # fmt: skip
CASES = {
    "hands": (
        *COMMON, {"model": "lite"}, {"visibility": True}, {"keypoints": "refined"}, {"distance": True},
        {"distance": True, "hand_length": 0.2, "camera": "500,510,200,150"},
        {"camera": "1,1,1,1"}, {"hand_length": 0.2},
        {"landmark_model": Path("hand-own.tflite")}, {"landmark_model": Path("hand-own.tflite"), "search": "thorough"},
        {"landmark_model": Path("more-points.tflite")}, {"landmark_model": Path("no-hand.tflite")},
        {"landmark_model": Path("hand-own.tflite"), "visibility": True},
        {"landmark_model": Path("hand-own.tflite"), "keypoints": "refined"},
        {"landmark_model": Path("hand-own.tflite"), "distance": True},
        {"landmark_model": Path("hand-own.tflite"), "distance": True, "visibility": True},
    ),
    "face": (
        *COMMON, *({"model": model, **more} for model in ("mesh", "box", "box-full")
                   for more in ({}, {"precision": "int8"}, {"blendshapes": True}, {"transform": True},
                                {"precision": "bf16", "mirrored": True}, {"thresholds": GRAPH},
                                {"landmark_model": Path("no-face.tflite")}, {"landmark_model": Path("own.task")})),
        {"blendshapes": True}, {"transform": True}, {"detector_model": Path("face-short-own.tflite")},
        {"landmark_model": Path("own.task"), "blendshapes": True, "transform": True, "mirrored": True},
        {"landmark_model": Path("own.task"), "thresholds": GRAPH, "detector_model": Path("face-short-own.tflite")},
    ),
    "body": (
        *COMMON, {"model": "lite"}, {"model": "heavy", "segmentation": True}, {"averages_mirrored": True},
        {"detector_model": Path("pose-detector-own.tflite")}, {"landmark_model": Path("no-body.tflite")},
        {"landmark_model": Path("own.task"), "search": "fast", "thresholds": GRAPH},
    ),
    "holistic": (
        *COMMON, {"model": "lite"}, {"model": "heavy"}, {"hand_model": "lite"}, {"face_model": "mesh"},
        {"keypoints": "refined"}, {"blendshapes": True}, {"segmentation": True}, {"min_presence_score": 0.3},
        {"search_interval": 1}, {"search_interval": 9}, {"landmark_model": Path("body-own.tflite")},
        *({"landmark_model": Path("holistic_landmarker.task"), **more}
          for more in ({}, {"search": "fast"}, {"hand_model": "lite"}, {"face_model": "mesh"}, {"keypoints": "refined"},
                       {"blendshapes": True, "mirrored": True}, {"thresholds": GRAPH})),
    ),
}  # fmt: skip


LOAD = {"hands": load_hands, "face": load_faces, "body": load_bodies, "holistic": load_holistic}
SMOOTHERS = {"hands": hand_smoothers, "face": face_smoothers, "body": body_smoothers, "holistic": body_smoothers}


def chosen(kind, given):
    """Return options of a kind, also those that `create_detector` does not have."""
    inner = {name: value for name, value in given.items() if name in ("thresholds", "averages_mirrored")}
    return replace(options_for(kind, **{name: given[name] for name in given if name not in inner}), **inner)


@pytest.mark.parametrize("kind", CASES)
def test_kinds_load_what_is_stored(loaded, kind):
    rows = {}
    for given in CASES[kind]:
        loaded.clear()
        try:
            made = LOAD[kind](chosen(kind, given))
        except sonjit.InputError as error:
            loaded.append(str(error))
        else:
            made.at_close.close()
        rows[str({name: described(value) for name, value in given.items()}) + f" {len(rows)}"] = sorted(loaded, key=str)
    assert_as_stored(f"loads.{kind}", rows)


def frames_of(kind):
    """Return three observations of one instance that moves."""
    rng = np.random.default_rng(3)
    start, found = rng.uniform(50, 250, (33, 3)), []
    for shift in (0, 3, 20):
        points = (start + shift + rng.normal(0, 0.5, (33, 3))).astype(np.float32)
        if kind in ("hands", "face"):
            found.append(FaceObservation(0.9, points))
            continue
        seen, mask = rng.uniform(0, 1, 33).astype(np.float32), rng.uniform(0, 1, (2, 3)).astype(np.float32)
        found.append(BodyObservation(0.9, points, points / 100, seen, seen, points[:2, :2], mask))
    return found


@pytest.mark.parametrize("kind", CASES)
def test_tracks_are_smoothed_as_stored(loaded, kind):
    rows, bundle = {}, {"landmark_model": Path("own.task"), "search": "fast"}
    choices = (
        {}, {"static_image": True}, {"max_instances": 1}, {"search": "fast"}, bundle, {**bundle, "max_instances": 1},
        {**bundle, "max_instances": 2}, {"segmentation": True}, {"segmentation": True, "smooth_segmentation": False},
    )  # fmt: skip
    names = ("keypoints", "keypoints_3d", "alignment", "visibility", "mask")
    for smoothing in ("auto", "none", "published", "one_euro", None, OneEuro(1.0, 2.0, 3.0, 4.0)):
        for more in choices:
            if kind in ("hands", "face") and "segmentation" in more:
                continue
            smoother = SMOOTHERS[kind](options_for(kind, smoothing=smoothing, **more))()
            seen = [smoother and smoother(one, index / 30) for index, one in enumerate(frames_of(kind))]
            key = f"{described(smoothing)} { {name: described(value) for name, value in more.items()} }"
            values = [getattr(seen[2], name, None) for name in names]
            rows[key] = [None if value is None else value[:2] for value in values]
    assert_as_stored(f"smoothers.{kind}", rows)


def test_heads_and_refinements_are_loaded_once():
    hand_heads.load_hand_heads.cache_clear()
    hand_heads.load_hand_refinement.cache_clear()
    for model in ("full", "lite"):
        assert hand_heads.load_hand_heads(model) is hand_heads.load_hand_heads(model)
        assert hand_heads.load_hand_refinement(model) is hand_heads.load_hand_refinement(model)


def test_an_average_face_has_the_distance_of_the_eyes_of_an_adult():
    average = face_networks._average_face()
    assert average.points.shape == (468, 3)
    used = np.flatnonzero(average.weights)
    assert set(average.weights[used]) == {1.0}
    assert np.linalg.norm(average.points[33] - average.points[263]) == pytest.approx(8.9, abs=0.2)
    assert_as_stored("average-face", [used, average.points[used]])


@pytest.mark.parametrize("threads", [None, 3])
def test_small_networks_have_one_thread_unless_a_number_is_given(loaded, monkeypatch, threads):
    face_networks.load_face_detector(options_for("face", threads=threads), "face-short")
    monkeypatch.setenv("SONJIT_THREADS", "2")
    face_networks.load_face_detector(options_for("face", threads=threads), "face-short")
    engines = [row for row in loaded if row[0] == "face-short.tflite"]
    assert [row[2] for row in engines] == [threads or 1, threads]
