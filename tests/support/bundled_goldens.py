"""Outputs of MediaPipe for the bundled clip and photograph, see `tests/goldens/record_mediapipe.py`."""

import gzip
import json
from pathlib import Path

from sonjit.media import rgb_from

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "tests" / "goldens"


def read_golden(name):
    """Return the golden of a name such as `photo.body.full.stills`."""
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def frames_of(golden, demo_clip):
    """Return the frames (H, W, 3) of a golden."""
    if "windows" not in golden:
        return demo_clip[1]
    rgb = rgb_from(PROJECT / golden["source"])
    width, height = golden["size"]
    return [rgb[top : top + height, left : left + width] for left, top in golden["windows"]]
