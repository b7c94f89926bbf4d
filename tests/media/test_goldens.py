"""Decoded pixels equal those of the reference programs."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from sonjit.media import open_source

ROOT = Path(os.environ.get("SONJIT_TEST_DATA", Path(__file__).parents[2].parent / "shared"))


def cases():
    """Return (source, sha256, size, mode) of every golden that records its first frame."""
    found = set()
    for path in sorted(ROOT.glob("goldens/mediapipe/*.json")):
        data = json.loads(path.read_text("utf-8"))
        if "first_frame_rgb_sha256" in data and "source" in data:
            found.add((data["source"], data["first_frame_rgb_sha256"], *data["size"]))
    return sorted(found)


@pytest.mark.golden
@pytest.mark.parametrize(("named", "sha256", "width", "height"), cases())
def test_first_frame_is_bit_exact(named, sha256, width, height):
    if not (ROOT / named).is_file():
        pytest.skip(f"{named} is not in {ROOT}")
    with open_source(ROOT / named) as source:
        frame = next(iter(source))
    if (source.width, source.height) != (width, height):
        pytest.skip("the golden was made on a crop of this image")
    assert hashlib.sha256(frame.rgb.tobytes()).hexdigest() == sha256
