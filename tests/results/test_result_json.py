"""The fast serialisation of results equals `to_dict(full=True)`."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sonjit._util.json_text import json_from
from sonjit.results import Body, Face, Hand, Person
from sonjit.results.schema import results_to_json

FLOATS = st.floats(width=32)


def points(count):
    return scores(3 * count).map(lambda values: values.reshape(count, 3))


def scores(count):
    """Return repeated numbers, because drawing hundreds of numbers would test no more."""
    return npst.arrays(np.float32, 7, elements=FLOATS).map(lambda values: np.resize(values, count))


IDS = st.none() | st.integers(1, 99)
SCORES = st.floats(0, 1)
EXTRA = npst.arrays(np.float32, (3, 2), elements=FLOATS, fill=FLOATS)
HANDS = st.builds(
    *(Hand, st.sampled_from(["Left", "Right"]), SCORES, points(21), points(21), IDS),
    *(st.none() | SCORES, st.none() | EXTRA, st.none() | scores(21)),
    error_px=st.none() | scores(21),
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
    assert json.loads(results_to_json(found, full=True)) == expected
