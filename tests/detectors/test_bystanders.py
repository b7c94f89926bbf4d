"""Everybody whom a drawing hides: faces of all windows and turns, heads of bodies, and people."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit import InputError
from sonjit.detectors import bystanders
from sonjit.detectors.bystanders import BystanderSearch
from sonjit.detectors.search.network import PersonBox
from sonjit.detectors.ssd import Detection

IMAGE = np.full((600, 600, 3), (200, 120, 90), np.uint8)


class Faces:
    """Face detector that finds a face at the upper left corner of the turned part, if it has that turn."""

    def __init__(self, score=0.9, box=(10, 20, 30, 50), turn=0.0):
        self.face, self.turn, self.calls = Detection(score, np.array(box, float), np.zeros((6, 2))), turn, []

    def find_in(self, part, area, min_score):
        self.calls.append((part.shape[:2], area, min_score))
        return [self.face] if self.face.score >= min_score and area.rotation == self.turn else []


@pytest.fixture
def search(monkeypatch):
    """Return a function that makes a search of fake networks: faces, meshes (score, box), and people."""

    def new(faces, meshes=(), people=()):
        def found(rgb, *_, **__):
            return SimpleNamespace(
                search=lambda: [SimpleNamespace(score=score, last=SimpleNamespace(box=box)) for score, box in meshes]
            )

        monkeypatch.setattr(bystanders, "FaceSearch", found)
        bodies = SimpleNamespace(search=list, people=[PersonBox(*person) for person in people])
        monkeypatch.setattr(bystanders, "BodySearch", lambda *_: bodies)
        made = object.__new__(BystanderSearch)
        made._faces, made._meshes, made._bodies, made._network = faces, [None, None], None, None
        return made

    return new


@pytest.mark.parametrize(
    ("parts", "corners"), [(1, [(0, 0)]), (2, [(0, 0), (279, 0), (0, 279), (279, 279)]), (6, None)]
)
def test_faces_of_windows_are_in_pixels_of_the_image(search, parts, corners):
    faces = Faces()
    found = search(faces).glance(IMAGE, parts)
    if corners is None:  # windows of less than 120 px are too small for these detectors
        assert found == faces.calls == []
        return
    assert found == [(10 + x, 20 + y, 30 + x, 50 + y) for x, y in corners]
    assert {(side[0], area.width, area.rotation, least) for side, area, least in faces.calls} == {
        (side, side, 0.0, 0.6) for side in ([600] if parts == 1 else [321])
    }


def test_windows_take_turns_by_their_number(search):
    found = [search(Faces()).glance(IMAGE, 2, number=number)[0][:2] for number in range(5)]
    assert found == [(10, 20), (289, 20), (10, 299), (289, 299), (10, 20)]


@pytest.mark.parametrize(
    ("score", "turn", "thorough", "hides"),
    [
        (0.51, 0.0, False, True),
        (0.49, 0.0, True, False),
        (0.66, math.pi, True, True),
        (0.66, math.pi / 2, True, True),
        (0.66, -math.pi / 2, True, True),
        (0.64, math.pi, True, False),
        (0.9, math.pi, False, False),
    ],
)
def test_turned_faces_count_from_a_higher_score_in_thorough_searches(search, score, turn, thorough, hides):
    faces = Faces(score, turn=turn)
    found = search(faces).find(IMAGE, thorough=thorough)
    assert bool(found.faces) == hides
    turns = [area.rotation for _, area, _ in faces.calls]
    assert turns.count(0.0) == (1 + 4 + 9 + 16 if thorough else 1 + 4 + 9)
    assert len(turns) == turns.count(0.0) + (3 * (1 + 4) if thorough else 0)
    assert found.people == []


@pytest.mark.parametrize(
    ("person", "head"),
    [
        ((0.9, (100, 100, 200, 400)), (120, 100, 180, 160)),  # 0.6 of the width
        ((0.9, (100, 100, 300, 310)), (163.25, 100, 236.75, 173.5)),  # 0.35 of the height
        ((0.9, (100, 100, 320, 310)), (100, 100, 320, 310)),  # wider than high
        ((0.21, (100, 100, 200, 400)), (120, 100, 180, 160)),
        ((0.2, (100, 100, 200, 400)), None),
    ],
)
def test_people_without_a_face_have_a_head_at_the_top_of_their_box(search, person, head):
    found = search(Faces(0.1), people=[person]).find(IMAGE)
    assert found.people == ([] if head is None else [person[1]])
    np.testing.assert_allclose(found.faces, [] if head is None else [head])


@pytest.mark.parametrize(
    ("x", "y", "is_own"),
    [(101, 110, True), (99, 110, False), (199, 110, True), (201, 110, False), (150, 249, True), (150, 251, False),
     (150, 71, True), (150, 69, False)],
)  # fmt: skip
def test_a_face_in_the_upper_half_of_a_person_is_its_head(search, x, y, is_own):
    face = (x - 20, y - 20, x + 20, y + 20)
    found = search(Faces(0.1), meshes=[(0.9, face)], people=[(0.9, (100, 100, 200, 400))]).find(IMAGE)
    assert found.faces == [face, *([] if is_own else [(120, 100, 180, 160)])]


@pytest.mark.parametrize(("score", "count"), [(0.21, 1), (0.2, 0)])
def test_meshes_count_from_a_low_score_also_in_an_image_whose_people_are_hidden(search, score, count):
    hidden = search(Faces(0.1), meshes=[(score, (1, 2, 3, 4))])
    assert hidden.find(IMAGE).faces == [(1, 2, 3, 4)] * count
    assert hidden.find_again(IMAGE) == [(1, 2, 3, 4)] * 2 * count  # of both networks of meshes
    assert len(search(Faces(0.61)).find_again(IMAGE)) == 14
    assert search(Faces(0.59)).find_again(IMAGE) == []


@pytest.mark.parametrize(("score", "thorough", "hidden"), [(0.25, True, 1), (0.25, False, 0), (0.31, False, 1)])
def test_people_of_a_frame_of_a_video_count_from_a_higher_score_than_those_of_stills(search, score, thorough, hidden):
    found = search(Faces(0.1), people=[(score, (100, 100, 200, 400))]).find(IMAGE, thorough=thorough)
    assert (len(found.people), len(found.faces)) == (hidden, hidden)


@pytest.mark.parametrize("thorough", [False, True])
def test_bodies_faces_and_people_of_all_searches_are_hidden(search, monkeypatch, thorough):
    hidden, calls = search(Faces(0.1), meshes=[(0.9, (1, 2, 3, 4))]), []
    faces, points = bystanders.FaceSearch, np.random.default_rng(3).uniform(100, 300, (33, 3)).astype(np.float32)
    scores = (0.9, 0.21, 0.2)
    bodies = [SimpleNamespace(score=score, last=SimpleNamespace(keypoints=points + 9 * score)) for score in scores]

    def face_search(rgb, detector, meshes, extent, *, network, hides):
        calls.append((extent.thorough, hides))
        return faces(rgb)

    def body_search(rgb, network, detector, kind, extent):
        calls.append((extent.thorough, "bodies"))
        return SimpleNamespace(search=lambda: bodies, people=[PersonBox(0.9, (400, 100, 500, 400))])

    monkeypatch.setattr(bystanders, "FaceSearch", face_search)
    monkeypatch.setattr(bystanders, "BodySearch", body_search)
    monkeypatch.setattr(bystanders, "clipped", lambda body, rgb: tuple(body.keypoints[0].tolist()))
    found = hidden.find(IMAGE, thorough=thorough)
    assert calls == [(thorough, True), (thorough, "bodies")]
    assert len(found.people) == 3
    assert len(found.faces) == 4  # the mesh, the heads of two bodies, and that of the person
    hidden.find_again(IMAGE)
    assert calls[2:] == [(True, True)] * 2


def test_the_search_needs_all_its_networks(tmp_path):
    with pytest.raises(InputError, match=r"face-short.*\(hiding people needs it: sonjit models pull face body\)"):
        BystanderSearch(tmp_path)
