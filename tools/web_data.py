"""Write the data that `web/` shares with Python: constants, anchors, options and weights.

python tools/web_data.py           # write web/src/data.json
python tools/web_data.py --check   # fail if the file is out of date

To share another constant, add its name to a list below and run the program.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import asdict, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.compat.mediapipe import _selfie as selfie
from sonjit.detectors import bystanders, observations, options, pipeline, schedule, smoothing, tracking
from sonjit.detectors.kinds import KINDS, body, face, face_networks, hand_heads, hands, holistic, options_of
from sonjit.detectors.search import bodies as search_bodies
from sonjit.detectors.search import faces, geometry, light, network, score
from sonjit.detectors.search import hands as search_hands
from sonjit.geometry import rotations, windows
from sonjit.gestures import (
    GestureSmoother,
    MotionRecognizer,
    classifier,
    custom,
    custom_motions,
    motion_finders,
    motions,
)
from sonjit.media.drawing import covers
from sonjit.results.measures import bodies as body_measures
from sonjit.results.measures import faces as face_measures
from sonjit.results.measures import hands as hand_measures
from sonjit.results.measures import measure_names
from sonjit.results.skeletons import faces as face_skeletons
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.runs import hiding
from sonjit.runs.events import machine
from sonjit.server.kinds import kinds_in_pages, networks_in_pages
from sonjit.weights.catalog import find_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from _typeshed import DataclassInstance

    from sonjit.detectors.kinds import KindEntry
    from sonjit.detectors.ssd import AnchorGrid

FILE = Path(__file__).parents[1] / "web" / "src" / "data.json"
CONSTANTS = {
    "body": (
        body,
        "ALIGNMENT_FILTER BOX_SCALE BUNDLE_OVERLAP CORE DETECTOR_RANGE IMAGE_FILTER KERNEL KEYPOINTS "
        "KEYPOINT_OUTPUTS LANDMARKS LEAST_PEAK MASK_OUTPUT MASK_RATIO SAME_HIPS SURE TORSO TORSO_ACROSS TORSO_DOWN "
        "UNCERTAINTY USED VISIBILITY_ALPHA WORLD_FILTER",
    ),
    "bystanders": (
        bystanders,
        "ABOVE AGAIN ASIDE BODY CERTAIN_FACE CLOSE_UP EACH_MESH FACE FEWER_PARTS FILLED GLANCED_FACE HEAD_HEIGHT "
        "HEAD_WIDTH IN_HAND LEAST_HEAD LIKELY_PERSON MESH PARTS PERSON SMALL SURE_FACE TURNED_FACE TURNS UPPER",
    ),
    "face": (
        face,
        "AROUND_KEYPOINTS BOX_SCALE CERTAIN DETECTION_WEIGHT LEAST LEAST_DISTANCE LEFT_CORNER MIN_AGAIN MIN_TURNED "
        "RIGHT_CORNER SHIFT_Y TURNED_SCALE TURNED_SHIFT_Y UNSEEN",
    ),
    "face_bundle": (face_networks, "BASIS CANONICAL_MESH LANDMARK MESH POINTS VERTEX VERTICES WEIGHT"),
    "face_networks": (face_networks, "BUNDLE_OUTPUTS BUNDLE_OVERLAP BUNDLE_SMOOTHING DETECTOR_RANGE MESH MESH_OUTPUTS"),
    "face_refinement": (face, "LEFT_EYE LIPS MESH REFINED RIGHT_EYE RIM"),
    "face_regions": (face_skeletons, "LEFT_EYE LIPS RIGHT_EYE"),
    "hand_heads": (hand_heads, "BEFORE BEHIND TAPS"),
    "hand_refinement": (hand_heads, "WORLD_SCALE"),
    "hands": (
        hands,
        "AROUND_HAND BOX_KEYPOINTS FROM_PALM INDEX_MCP KEYPOINTS MIDDLE_MCP PALM_MIDDLE_MCP PALM_WRIST RING_MCP "
        "WRIST Z_SCALE",
    ),
    "hiding": (hiding, "FORWARD_S INSIDE PART PERIOD_S ROUNDS SAME SHRINK WINDOWS"),
    "holistic": (
        holistic,
        "EYES FACE_AGREEMENT HAND_AGREEMENT HAND_SCALE HAND_SHIFT HEAD HEAD_SCALE INDEX MAX_WRIST_DISTANCE "
        "MIN_BODY_SHIFT MIN_FACE_SCORE MIN_HEAD_PX MIN_VISIBILITY OTHER_SIDE_COST PART_INTERVAL PINKY WRIST",
    ),
    "metric_faces": (rotations, "HALF_HEIGHT NEAR"),
    "observations": (observations, "BOX_MARGIN MAX_SIDE_DIFFERENCE NESTED_OVERLAP SAME_DISTANCE"),
    "options": (options, "STILL_INSTANCES"),
    "pipeline": (pipeline, "MIN_STEP_S NOMINAL_STEP_S"),
    "schedule": (schedule, "COUNT_INTERVAL"),
}
"""Module of each group of constants, and the names that pages share, without a leading underscore."""
SEARCH = {
    "bodies": (
        search_bodies,
        "COVER GREY HAIR HAND_IOU HAND_SCORE HIPS KEPT MARGIN NECK NECK_TOLERANCE OWN_BOX PLACEMENTS RADIUS SURE_BODY "
        "SURE_FACE TOLERANCE UNSEEN",
    ),
    "faces": (
        faces,
        "ABOVE BOX_SCORE BROW_AND_CHIN CHEEKS EYE_CORNERS MIN_SHARE MOST_PARTS NOSE SAME_FACE TURNS UNSEEN UPPER",
    ),
    "geometry": (
        geometry,
        "EYES_TO_MOUTH FACE_CROP HEIGHT MIDDLE NEAR_BOX NEAR_SCALE NEAR_TURN PRESENT SAME_DISTANCE "
        "SAME_INSIDE SAME_IOU SHOULDERS TOLERANCE TORSO",
    ),
    "hands": (
        search_hands,
        "ARM_REACH ARM_WINDOW CLOSER_WINDOW CROP_SCORE ELBOWS FACE_OF_EYES FACE_OF_SHOULDERS FAR_ARM FEET "
        "HAND_WINDOW KNUCKLES MOST_ARM MOST_PALMS NEAR_ARM NEAR_CROP NEAR_SIZE NEAR_WINDOW NETWORK_SHARE SAME_HAND "
        "SMALL_PX UNSEEN VISIBLE_FOOT WRISTS",
    ),
    "light": (light, "DARK GREY LIT NOISE_SIGMA_PX SAMPLES SKIN"),
    "network": (
        network,
        "CENTRE_CODE CHANNELS INPUT_PX INPUT_RANGE MAX_SCALE MIN_ASPECT MIN_SCALE MOST_SIZE PERSON PERSON_AT RATIOS "
        "SAME_PERSON SIDE SIZE_CODE STRIDES VALUES",
    ),
    "score": (score, "LEAST_PROBABILITY"),
    "windows": (windows, "EDGE_PX LONG MIN_WINDOW_PX OVERLAP"),
}
"""The same for the search of images."""
MEASURES = {
    "hand": (hand_measures, "CHAINS DIRECTIONS FULL_CURL_RAD INDEX_MCP JOINTS MAX_TILT_RAD PINCHES PINKY_MCP WRIST"),
    "body": (body_measures, "BONE_ENDS EARS FOREARMS MIN_VISIBILITY PAIRS TORSO_POINTS"),
    "face": (face_measures, "LEFT_EYE MOUTH RIGHT_EYE STABLE_POINTS"),
}
MOTIONS = {
    "track": (motions, "GAP_S JUMP_PER_S LENGTH_S OUT PALM TIPS UP VELOCITY_S"),
    "custom": (
        custom_motions,
        "AS_WELL GAP_S LENGTH_S MOST_STEPS PALM POINTS REST_S SETTLE_S SHAPE_WEIGHT SMOOTH_S STEP STEP_FEATURES TIPS",
    ),
}
COVERS = (covers, "ACROSS ALONG CELLS COVERED FACE_SHARE INSIDE PERSON_MARGIN RISE SAME_SIZE SOFT TORSO_SHARE")
"""Covers of hidden heads and people, which the page of the live app reads without the other data."""
EVENTS = (machine, "LOST_S MAX_GAP_S MAX_STEP_BACK_S MIN_HOLD_S MIN_VISIBLE_S")
GRIDS = {
    "palm": hands.PALM_GRID,
    "face-short": face_networks.SHORT_GRID,
    "face-full": face_networks.FULL_GRID,
    "person": body.PERSON_GRID,
}


def data() -> dict[str, Any]:
    """Return all data."""
    kinds = {name: _kind(KINDS[name]) for name in kinds_in_pages()}
    roles = [roles for kind in kinds.values() for which in ("models", "for_stills") for roles in kind[which].values()]
    weights = {name for names in roles for name in names.values()} | set(selfie.SELFIE_WEIGHTS.values())
    return {
        "constants": {**_groups(CONSTANTS), "search": _groups(SEARCH), "tracking": _settings(tracking.SHIPPED)},
        "gestures": _gestures(),
        "measures": {"names": {kind: measure_names(kind) for kind in ("hand", "body", "face")}, **_groups(MEASURES)},
        "motions": _motions(),
        "covers": _named(*COVERS),
        "events": _named(*EVENTS),
        "one_euro": _defaults(smoothing.OneEuro),
        "blendshapes": BLENDSHAPES,
        "grids": {name: _grid(grid) for name, grid in GRIDS.items()},
        "kinds": kinds,
        "weights": {
            name: {key: getattr(find_record(name), key) for key in ("file", "bytes", "sha256")}
            for name in sorted(weights)
        },
    }


def _groups(groups: dict[str, tuple[ModuleType, str]]) -> dict[str, Any]:
    """Return the named constants of each group."""
    return {group: _named(*shared) for group, shared in groups.items()}


def _settings(settings: DataclassInstance) -> dict[str, Any]:
    """Return the fields of settings, in capitals as the constants."""
    return {name.upper(): value for name, value in asdict(settings).items()}


def _named(module: ModuleType, names: str) -> dict[str, Any]:
    """Return the constants of a module with these names, which spaces separate."""
    plain = _constants(module)
    if gone := set(names.split()) - plain.keys():
        raise KeyError(f"{module.__name__} has no constants {', '.join(sorted(gone))}; see the lists in {__file__}")
    return {name: plain[name] for name in names.split()}


def _constants(module: ModuleType | type) -> dict[str, Any]:
    """Return the numbers, tables of numbers and dataclasses that a module or class defines in capitals, by name."""
    own = inspect.getsource(module)
    named = {name.lstrip("_"): _plain(value) for name, value in vars(module).items() if name.isupper() and name in own}
    return {name: value for name, value in named.items() if _is_plain(value)}


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _gestures() -> dict[str, Any]:
    """Return the constants of gesture recognition. Pages read the weights from the same file as Python."""
    limits = _constants(classifier) | _constants(custom)
    return {
        "keypoints": classifier.KEYPOINTS,
        "palm": classifier.PALM,
        "along": classifier.ALONG,
        "vocabulary": json.loads(classifier.VOCABULARY.to_json()),
        "smoother": _defaults(GestureSmoother),
        **{
            key: limits[name]
            for key, name in (
                ("least_score", "LEAST_SCORE"),
                ("least_in_image", "MIN_SHARE_IN_IMAGE"),
                ("most_examples", "MAX_EXAMPLES"),
                ("least_evidence", "MIN_EVIDENCE"),
                ("sharpness", "SHARPNESS"),
            )
        },
    }


def _motions() -> dict[str, Any]:
    """Return the constants of hand motions and of custom motions."""
    lines = _constants(hand_measures)
    finders = motion_finders.MotionFinder.__subclasses__()
    return {
        "swipes": motion_finders.SWIPES,
        "circles": motion_finders.CIRCLES,
        "chains": lines["CHAINS"],
        "pinch": lines["PINCHES"][0],
        "forget_s": _defaults(MotionRecognizer)["forget_s"],
        **_groups(MOTIONS),
        **{one.__name__: _constants(one) for one in (*finders, motions.HandPair)},
    }


def _grid(grid: AnchorGrid) -> dict[str, Any]:
    """Return the layers as cells per side and anchors per cell. Anchors must be in the centres of their cells."""
    each = len(grid.aspect_ratios) + (grid.interpolated_aspect_ratio > 0)
    layers = [(stride, each * len(list(members))) for stride, members in groupby(grid.strides)]
    cells = [(-(-grid.input_size // stride), anchors) for stride, anchors in layers]
    made = [((x + 0.5) / n, (y + 0.5) / n) for n, k in cells for y in range(n) for x in range(n) for _ in range(k)]
    if abs(grid.anchors()[:, :2] - made).max() > 1e-6:
        raise ValueError(f"{grid}: anchors are not in the centres of their cells")
    return {"size": grid.input_size, "layers": cells}


def _kind(entry: KindEntry) -> dict[str, Any]:
    names = ("type", "default", "choices", "minimum", "maximum", "requires_server")
    known = [one for one in options_of(entry).values() if one.remote]
    described = [
        asdict(one) | {"choices": one.remote_choices or one.choices, "requires_server": one.requires_server or None}
        for one in known
    ]
    networks = {name: networks_in_pages(entry, model) for name, model in entry.models.items()}
    return {
        "list": entry.list_name,
        "instances": entry.instances,
        "stream_smoothing": entry.options.stream_smoothing,
        "models": {name: {**network.needed} for name, network in networks.items()},
        "for_stills": {name: network.for_stills for name, network in networks.items()},
        "further_files": entry.pages.files if entry.pages else (),
        "min_detection_score": {name: model.min_detection_score for name, model in entry.models.items()},
        "options": {
            option["name"]: {name: option[name] for name in names if option[name] not in (None, ())}
            for option in described
        },
    }


def _defaults(function: Callable[..., object]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def text() -> str:
    """The file."""
    return json.dumps(data(), indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write the file, or compare it with --check."""
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text(), encoding="utf-8")
    elif not FILE.is_file() or FILE.read_text("utf-8") != text():
        sys.exit(f"{FILE.name} is out of date. Run: python tools/web_data.py")


if __name__ == "__main__":
    main()
