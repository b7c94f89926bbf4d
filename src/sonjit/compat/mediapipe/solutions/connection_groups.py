"""Build connections of landmarks from skeletons."""

import json
from importlib import resources

from sonjit.results.skeletons import Skeleton

Connection = tuple[int, int]


def connections_within(skeleton: Skeleton, *groups: str) -> tuple[Connection, ...]:
    """Return the connections of groups of landmarks, group by group, along their contours."""
    members = [set(skeleton.groups[group]) for group in groups]
    return tuple(pair for own in members for pair in skeleton.connections if own.issuperset(pair))


def mesh_connections() -> tuple[Connection, ...]:
    """Return every side of every triangle of the face mesh in the triangle's direction."""
    text = resources.files("sonjit.results.skeletons").joinpath("face_mediapipe_tesselation.json").read_text("utf-8")
    triangles: list[tuple[int, int, int]] = json.loads(text)["triangles"]
    return tuple(pair for a, b, c in triangles for pair in ((a, b), (b, c), (c, a)))
