"""Pairs of pose landmark indices to draw as lines."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.solutions.hands_connections import Connection
from sonjit.skeletons import load_skeleton

POSE_CONNECTIONS: frozenset[Connection] = frozenset(load_skeleton("body_blazepose33").connections)

name_what_is_covered(globals())
