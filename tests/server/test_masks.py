"""Masks of clients: their size and position in the answer."""

import base64
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sonjit.media.found import Results
from sonjit.results import Body, Person
from sonjit.server.images import Session, mask_to_dict
from sonjit.server.options import SessionOptions
from sonjit.server.service import Service
from sonjit.server.settings import Settings


def mask_from(segmentation):
    png = np.frombuffer(base64.b64decode(segmentation["png"]), np.uint8)
    grey = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    assert grey.shape == (segmentation["height"], segmentation["width"])
    return grey / 255


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.floats(0, 1, width=32)))
def test_a_mask_reads_as_it_was(mask):
    np.testing.assert_allclose(mask_from(mask_to_dict(mask)), mask, atol=0.51 / 255)


@pytest.mark.parametrize("shape", [(900, 1500), (3, 5000), (600, 512)])
def test_a_large_mask_is_made_smaller(shape):
    mask = np.linspace(0, 1, shape[1], dtype=np.float32) * np.ones(shape, np.float32)
    shown = mask_from(mask_to_dict(mask))
    assert max(shown.shape) == 512
    np.testing.assert_allclose(shown[0], np.interp(np.linspace(0, 1, shown.shape[1]), [0, 1], [0, 1]), atol=0.01)


class FakeDetector:
    """Detector with the same results in every image."""

    def __init__(self, found):
        self._found = Results(found)

    def detect(self, rgb, time):
        return self._found

    def set_gestures(self, gestures):
        pass


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", ["body", "holistic"])
def test_a_mask_is_next_to_its_body_in_either_format(kind, strict):
    points = np.zeros((33, 3), np.float32)
    body = Body(0.5, points, points, points[:, 0], points[:, 0], 1)
    body.mask = np.eye(4, dtype=np.float32)
    options = SessionOptions.from_values(kind, {"model": "full"}, still=True)
    session = Session(options, FakeDetector([body if kind == "body" else Person(body)]), Service(Settings(workers=1)))
    answer = session.answer(np.zeros((4, 4, 3), np.uint8), None, strict=strict)
    ((entry,),) = json.loads(f"{{{answer}}}").values()
    shown = entry if kind == "body" else entry["body"]
    assert shown["segmentation"] == mask_to_dict(body.mask)
    assert not strict or list(shown) == [*body.to_dict(), "segmentation"]
