"""The fast text reads as what `to_dict(full=True)` holds."""

import base64
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sonjit.json_text import json_from
from sonjit.results import Body, Face, Hand, Person
from sonjit.server.sessions import json_of_all, segmentation_dict, strict_dict

FLOATS = st.floats(width=32)


def points(count):
    return scores(3 * count).map(lambda values: values.reshape(count, 3))


def scores(count):
    """A few numbers over and over: hundreds drawn one by one would show no more."""
    return npst.arrays(np.float32, 7, elements=FLOATS).map(lambda values: np.resize(values, count))


IDS = st.none() | st.integers(1, 99)
SCORES = st.floats(0, 1)
EXTRA = npst.arrays(np.float32, (3, 2), elements=FLOATS, fill=FLOATS)
HANDS = st.builds(
    *(Hand, st.sampled_from(["Left", "Right"]), SCORES, points(21), points(21), IDS),
    *(st.none() | SCORES, st.none() | EXTRA, st.none() | scores(21)),
)
BLENDSHAPES = st.none() | st.fixed_dictionaries({"eyeBlinkLeft": SCORES, "jawOpen": SCORES})
POSES = st.none() | npst.arrays(np.float32, (4, 4), elements=FLOATS, fill=FLOATS)
BOXES = st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 4)
FACES = st.sampled_from([6, 468, 478]).flatmap(
    lambda count: st.builds(Face, SCORES, points(count), BOXES, IDS, BLENDSHAPES, POSES)
)
BODIES = st.builds(Body, SCORES, points(33), points(33), scores(33), scores(33), IDS)
PEOPLE = st.builds(Person, BODIES, st.none() | HANDS, st.none() | HANDS, st.none() | FACES)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # of boxes around infinite keypoints
@pytest.mark.parametrize("kind", [HANDS, FACES, BODIES, PEOPLE], ids=["hands", "faces", "bodies", "people"])
@settings(max_examples=20)
@given(data=st.data())
@pytest.mark.slow
def test_the_text_reads_as_the_dicts(kind, data):
    found = data.draw(st.lists(kind, max_size=2))
    expected = json.loads(json_from([one.to_dict(full=True) for one in found]))
    for one, shown in zip(found, expected, strict=True):
        for key, part in {one.members[name][0]: getattr(one, name) for name in one.members}.items():
            if part is not None:
                shown[key]["skeleton"] = part.skeleton.name
        if not one.members:
            shown["skeleton"] = one.skeleton.name
    assert json.loads(json_of_all(found, None)) == expected


@pytest.mark.slow
@given(PEOPLE)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_what_is_said_stands_with_its_instance(person):
    said = [{"measures": {"number": number}} for number in range(len(person.parts))]
    (one,) = json.loads(json_of_all([person], said))
    parts = [one[name] for name in ("body", "leftHand", "rightHand", "face") if one[name]]
    assert [part["measures"]["number"] for part in parts] == list(range(len(parts)))


def mask_from(segmentation):
    png = np.frombuffer(base64.b64decode(segmentation["png"]), np.uint8)
    grey = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    assert grey.shape == (segmentation["height"], segmentation["width"])
    return grey / 255


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.floats(0, 1, width=32)))
def test_a_mask_reads_as_it_was(mask):
    np.testing.assert_allclose(mask_from(segmentation_dict(mask)), mask, atol=0.51 / 255)


@pytest.mark.parametrize("shape", [(900, 1500), (3, 5000), (600, 512)])
def test_a_large_mask_is_made_smaller(shape):
    mask = np.linspace(0, 1, shape[1], dtype=np.float32) * np.ones(shape, np.float32)
    shown = mask_from(segmentation_dict(mask))
    assert max(shown.shape) == 512
    np.testing.assert_allclose(shown[0], np.interp(np.linspace(0, 1, shown.shape[1]), [0, 1], [0, 1]), atol=0.01)


@given(BODIES)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.slow
def test_a_mask_stands_with_its_body_in_either_shape(body):
    body.mask = np.eye(4, dtype=np.float32)
    segmentation = segmentation_dict(body.mask)
    (full,) = json.loads(json_of_all([body], None))
    (person,) = json.loads(json_of_all([Person(body)], None))
    assert full["segmentation"] == person["body"]["segmentation"] == segmentation
    assert strict_dict(body).keys() == strict_dict(Person(body))["body"].keys() == {*body.to_dict(), "segmentation"}
