"""Write the data that `web/` shares with Python: constants, anchors, options and weights.

python tools/web_data.py           # write web/src/data.json
python tools/web_data.py --check   # fail if the file is out of date

The file names the constants of each group. To share another one, add its name to the group and run the program.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
from dataclasses import asdict, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit.compat.mediapipe import _selfie as selfie
from sonjit.detectors import bystanders, observations, options, pipeline, smoothing, tracking
from sonjit.detectors.kinds import KINDS, body, face, face_networks, hand_heads, hands, holistic, options_of
from sonjit.detectors.search import bodies as search_bodies
from sonjit.detectors.search import faces, geometry, light, network, score, stream_finders, streams
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
from sonjit.results.measures import MEASURE_NAMES
from sonjit.results.measures import bodies as body_measures
from sonjit.results.measures import faces as face_measures
from sonjit.results.measures import hands as hand_measures
from sonjit.results.skeletons import faces as face_skeletons
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.runs import annotations, hiding
from sonjit.server.kinds import IN_PAGES, networks_in_pages
from sonjit.weights.catalog import find_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from sonjit.detectors.kinds import KindEntry
    from sonjit.detectors.ssd import AnchorGrid

FILE = Path(__file__).parents[1] / "web" / "src" / "data.json"
GROUPS = {
    "body": body,
    "bystanders": bystanders,
    "face": face,
    "face_bundle": face_networks,
    "face_networks": face_networks,
    "face_refinement": face,
    "face_regions": face_skeletons,
    "hand_heads": hand_heads,
    "hand_refinement": hand_heads,
    "hands": hands,
    "hiding": hiding,
    "holistic": holistic,
    "metric_faces": rotations,
    "observations": observations,
    "options": options,
    "pipeline": pipeline,
    "tracking": tracking,
}
"""Module with the constants of each group of the file."""
SEARCH = {
    "bodies": search_bodies,
    "faces": faces,
    "geometry": geometry,
    "hands": search_hands,
    "light": light,
    "network": network,
    "score": score,
    "stream_finders": stream_finders,
    "streams": streams,
    "windows": windows,
}
FINDERS = (stream_finders.HandFinder, stream_finders.FaceFinder, stream_finders.BodyFinder)
PACE = ("refresh_frames", "min_presence", "inferences")
GRIDS = {
    "palm": hands.PALM_GRID,
    "face-short": face_networks.SHORT_GRID,
    "face-full": face_networks.FULL_GRID,
    "person": body.PERSON_GRID,
}


def data() -> dict[str, Any]:
    """Return all data."""
    kinds = {name: _kind(KINDS[name]) for name in IN_PAGES}
    roles = [roles for kind in kinds.values() for which in ("models", "for_stills") for roles in kind[which].values()]
    weights = {name for names in roles for name in names.values()} | set(selfie.SELFIE_WEIGHTS.values())
    known = json.loads(FILE.read_text("utf-8"))
    return {
        "constants": {
            **{group: _constants(module, known["constants"][group]) for group, module in GROUPS.items()},
            "search": {
                group: _constants(module, known["constants"]["search"][group]) for group, module in SEARCH.items()
            },
        },
        "finders": {
            one.__name__: {name: None if (value := getattr(one, name)) == math.inf else value for name in PACE}
            for one in FINDERS
        },
        "gestures": _gestures(),
        "measures": {
            "names": MEASURE_NAMES,
            "hand": _constants(hand_measures, known["measures"]["hand"]),
            "body": _constants(body_measures, known["measures"]["body"]),
            "face": _constants(face_measures, known["measures"]["face"]),
        },
        "motions": _motions(known["motions"]),
        "events": _constants(annotations, known["events"]),
        "one_euro": _defaults(smoothing.OneEuro),
        "blendshapes": BLENDSHAPES,
        "grids": {name: _grid(grid) for name, grid in GRIDS.items()},
        "kinds": kinds,
        "weights": {
            name: {key: getattr(find_record(name), key) for key in ("file", "bytes", "sha256")}
            for name in sorted(weights)
        },
    }


def _constants(module: ModuleType | type, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the numbers, tables of numbers and dataclasses that a module or class defines in capitals, by name."""
    own = inspect.getsource(module)
    named = {
        name.lstrip("_"): asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in vars(module).items()
        if name.isupper() and name in own
    }
    plain = {name: value for name, value in named.items() if _is_plain(value)}
    if names is not None and (gone := set(names) - plain.keys()):
        raise KeyError(f"{module.__name__} has no constants {', '.join(sorted(gone))}; see GROUPS in {__file__}")
    return plain if names is None else {name: plain[name] for name in names}


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


def _motions(known: dict[str, Any]) -> dict[str, Any]:
    """Return the constants of hand motions and of custom motions."""
    lines = _constants(hand_measures)
    finders = "Swipes", "Waves", "Circles", "Holds", "Rotations", "Pushes"
    watches = [getattr(motion_finders, name) for name in finders]
    return {
        "swipes": motion_finders.SWIPES,
        "circles": motion_finders.CIRCLES,
        "chains": lines["CHAINS"],
        "pinch": lines["PINCHES"][0],
        "forget_s": _defaults(MotionRecognizer)["forget_s"],
        "track": _constants(motions, known["track"]),
        "custom": _constants(custom_motions, known["custom"]),
        **{one.__name__: _constants(one) for one in (*watches, motions.HandPair)},
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
    names = ("type", "default", "choices", "minimum", "maximum")
    known = [one for one in options_of(entry).values() if one.remote]
    described = [asdict(one) | {"choices": one.remote_choices or one.choices} for one in known]
    networks = {name: networks_in_pages(entry, model) for name, model in entry.models.items()}
    return {
        "list": entry.list_name,
        "instances": entry.instances,
        "stream_smoothing": entry.options.stream_smoothing,
        "models": {name: {**network.needed} for name, network in networks.items()},
        "for_stills": {name: network.for_stills for name, network in networks.items()},
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
