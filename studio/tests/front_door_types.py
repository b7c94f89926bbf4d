"""Types that an editor shows for the public interface. pyright checks this module (`make check`), nothing runs it."""

from typing import assert_type

import numpy as np

import sonjit
import sonjit.compat.mediapipe.solutions.hands as mp_hands
from sonjit import Body, Detector, Face, Frame, Hand, Person, Results
from sonjit_lab.meshes import RigMotion, fit_hands
from sonjit_studio import Triangulation, load_cameras, triangulate


def check() -> None:
    """List expressions with the types that an editor shows."""
    assert_type(sonjit.create_detector(), Detector[Hand])
    assert_type(sonjit.create_detector("hands").detect("a.jpg"), Results[Hand])
    assert_type(sonjit.create_detector("face").detect("a.jpg"), Results[Face])
    assert_type(sonjit.create_detector("body", max_instances=3).detect("a.jpg"), Results[Body])
    assert_type(sonjit.create_detector("holistic").detect("a.jpg")[0], Person)
    for frame in sonjit.track("clip.mp4", sonjit.create_detector("hands")):
        assert_type(frame, Frame)
        assert_type(frame.hands, Results[Hand])
        assert_type(sonjit.fingers_up(frame.hands[0]), dict[str, bool])
    assert_type(mp_hands.HAND_CONNECTIONS, frozenset[tuple[int, int]])
    assert_type(fit_hands(sonjit.track("clip.mp4")), list[RigMotion])
    assert_type(triangulate(load_cameras("rig.json"), np.zeros((2, 21, 2))), Triangulation)
