"""Boxes of people that a page hides in its images."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from sonjit._util.errors import JobError
from sonjit.server import hiding
from sonjit.server.errors import RefusedError
from sonjit.server.hiding import ClientHiding

RGB = np.zeros((4, 6, 3), np.uint8)


@dataclass
class Covered:
    faces: list = field(default_factory=lambda: [(1.04, 2.06, 3.25, 4.0)])
    people: list = field(default_factory=lambda: [(0.0, 10.96, 5.0, 6.0)])
    again: list = field(default_factory=list)


@pytest.fixture
def frames(monkeypatch):
    """Replace the search, and return a list that gets its frames and resets."""
    frames = []

    class Search:
        def __init__(self, how):
            if how == "missing":
                raise JobError("the face detector is missing")

        def boxes(self, frame):
            frames.append(frame)
            return Covered()

        def reset(self):
            frames.append("reset")

    monkeypatch.setattr(hiding, "Anonymiser", Search)
    return frames


@pytest.mark.parametrize(("how", "people"), [("blur", ""), ("persons", ',"people":[[0.0,11.0,5.0,6.0]]')])
def test_boxes_have_tenths_of_pixels_and_people_only_where_they_are_searched(frames, how, people):
    answer = ClientHiding(how).answer(RGB, 0.5, is_still=False)
    assert answer == f'"covered":{{"faces":[[1.0,2.1,3.2,4.0]]{people},"again":[]}}'
    assert frames[0].rgb is RGB


@pytest.mark.parametrize(
    ("time_s", "is_still", "time"),
    [(0.5, False, 0.5), (0.5, True, None), (math.nan, False, None), (math.inf, False, None), (math.nan, True, None)],
)
def test_a_still_and_an_image_without_a_time_are_searched_by_themselves(frames, time_s, is_still, time):
    search = ClientHiding("blur")
    search.answer(RGB, time_s, is_still=is_still)
    search.reset()
    assert (frames[0].time, frames[0].index, frames[1]) == (time, 0, "reset")


def test_a_missing_network_is_named(frames):
    with pytest.raises(RefusedError, match="the face detector is missing") as refused:
        ClientHiding("missing")
    assert refused.value.code == "missing_weights"
