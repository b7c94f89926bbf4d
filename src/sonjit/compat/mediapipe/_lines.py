"""Make the names and the pairs of landmarks that MediaPipe's modules list."""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from sonjit._util.data_files import read_json
from sonjit.compat.mediapipe._containers import Connection
from sonjit.results.skeletons import Skeleton

Pair = tuple[int, int]


def constant_name(name: str) -> str:
    """Return a name in camel case as the name of a constant: `leftEye` is `LEFT_EYE`."""
    return re.sub("([A-Z])", r"_\1", name).upper()


def within(skeleton: Skeleton, *groups: str) -> tuple[Pair, ...]:
    """Return the connections of groups of landmarks, group by group, along their contours."""
    members = [set(skeleton.groups[group]) for group in groups]
    return tuple(pair for group_members in members for pair in skeleton.connections if group_members.issuperset(pair))


def mesh_connections() -> tuple[Pair, ...]:
    """Return every side of every triangle of the face mesh in the triangle's direction."""
    table = read_json(resources.files("sonjit.results.skeletons") / "face_mediapipe_tesselation.json")
    triangles: list[tuple[int, int, int]] = table["triangles"]
    return tuple(pair for a, b, c in triangles for pair in ((a, b), (b, c), (c, a)))


def class_of(name: str, module: str, lines: Mapping[str, Iterable[Pair]]) -> Any:  # noqa: ANN401  # named by lines
    """Return a class of a module with lists of connections, in the order in which MediaPipe's tasks draw polygons."""
    lists = {key: [Connection(*pair) for pair in pairs] for key, pairs in lines.items()}
    return type(name, (), {"Connection": Connection, "__module__": module, **lists})
