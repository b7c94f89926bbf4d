"""Find everybody whom drawings have to hide: faces, heads and people of all searches, also doubtful ones.

A detector reports instances that are probably right. To hide people, a missed face is worse than a blurred wall, so
that the limits here are lower, and the number of faces has no limit.
"""

import math
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import Image, InputError
from sonjit.detectors import kinds
from sonjit.detectors.kinds import face_networks
from sonjit.detectors.kinds.body import load_bodies
from sonjit.detectors.kinds.face import FaceMeshes
from sonjit.detectors.options import BodyOptions, FaceOptions
from sonjit.detectors.search import light, load
from sonjit.detectors.search.bodies import BodySearch, clipped
from sonjit.detectors.search.faces import FaceSearch
from sonjit.detectors.search.network import PersonBox
from sonjit.detectors.search.score import LIMITS
from sonjit.detectors.search.stills import Extent
from sonjit.geometry.boxes import Box, letterbox_box
from sonjit.geometry.windows import windows
from sonjit.media.drawing.instances import head_of_keypoints

_WEIGHTS: Final = ("face-short", "face-full", "face-mesh", "face-attention", "body-full", "person-detector")
_MODELS: Final = ("attention", "mesh")  # models of faces, of which each takes other covered areas for faces
_TURNS: Final = 0.0, math.pi / 2, math.pi, -math.pi / 2
# Minimum scores: of a face that the detector alone finds upright, turned, or in a frame that is not searched as a
# still; of a face with a mesh; of a body; and of a person in a still.
_FACE, _TURNED_FACE, _GLANCED_FACE, _MESH, _BODY, _PERSON = 0.5, 0.65, 0.6, 0.2, 0.2, 0.2
_PARTS, _FEWER_PARTS, _TURNED_PARTS = (1, 2, 3, 4, 6, 8), (1, 2, 3), (1, 2)
"""Numbers of windows along the longer side of stills and of frames of videos, and of windows searched in all turns."""
_MIN_SIDE_PX: Final = 120  # minimum side of windows that the searches do not have
_HEAD_WIDTH, _HEAD_HEIGHT = 0.6, 0.35
"""Maximum side of an unseen head at the top of a person's box, relative to its width and its height."""
_MESH_AGAIN: Final = 0.2  # the same of a mesh in an image whose people are hidden


class Bystanders(NamedTuple):
    """Boxes x_min, y_min, x_max, y_max in pixels of an image; they may leave it."""

    faces: list[Box]  # faces, and heads of bodies and people
    people: list[Box]  # bodies and people


class BystanderSearch:
    """Search images for everybody whom a drawing hides.

    Raises:
        InputError: The weights of the searches are missing.
    """

    def __init__(self, models_dir: str | Path | None = None) -> None:
        own = {"static_image": True, "models_dir": None if models_dir is None else str(models_dir)}
        body, face = (kinds.make_options(kinds.find_kind(kind), own) for kind in ("body", "face"))
        assert isinstance(body, BodyOptions)
        assert isinstance(face, FaceOptions)
        try:
            for name in _WEIGHTS:
                body.file(name)
        except InputError as error:
            raise InputError(f"{error} (hiding people needs it: sonjit models pull face body)") from error
        self._faces = face_networks.load_face_detector(face, "face-full")
        self._meshes = [face_networks.load_meshes(face, model) for model in _MODELS]
        self._bodies, self._network = load_bodies(body, finds=False), cache(lambda: load.load_network(body))

    def find(self, rgb: Image, *, thorough: bool = True) -> Bystanders:
        """Return all that the searches of stills find in an image (H, W, 3), by `search="thorough"` or "auto"."""
        rgb, extent = light.in_good_light(rgb), Extent(thorough=thorough)
        faces = [box for parts in (_PARTS if thorough else _FEWER_PARTS) for box in self.glance(rgb, parts, _FACE)]
        for parts in _TURNED_PARTS if thorough else ():
            faces += (box for turn in _TURNS[1:] for box in self.glance(rgb, parts, _TURNED_FACE, turn=turn))
        faces += self._meshes_in(rgb, self._meshes[0], extent, _MESH)
        search = BodySearch(rgb, self._network, self._faces, self._bodies, extent)
        bodies = [found.last for found in search.search() if found.score > _BODY]
        heads = [head_of_keypoints(body.keypoints) for body in bodies]
        least = _PERSON if thorough else LIMITS["sure_person"]
        sure = [person for person in search.people if person.score > least]
        heads += [_head_of(person) for person in sure if not any(_has_head(person, box) for box in (*faces, *heads))]
        return Bystanders(faces + heads, [*(clipped(body, rgb) for body in bodies), *(each.box for each in sure)])

    def find_again(self, rgb: Image) -> list[Box]:
        """Return the faces that a thorough search reports in an image (H, W, 3) whose people are hidden."""
        faces, lit = [box for parts in _FEWER_PARTS for box in self.glance(rgb, parts)], light.in_good_light(rgb)
        for meshes in self._meshes:
            faces += self._meshes_in(lit, meshes, Extent(thorough=True), _MESH_AGAIN)
        return faces

    def _meshes_in(self, rgb: Image, meshes: FaceMeshes, extent: Extent, min_score: float) -> list[Box]:
        """Return the faces with a mesh in an image (H, W, 3), from a score of 0 to 1."""
        search = FaceSearch(rgb, self._faces, meshes, extent, network=self._network, hides=True)
        return [found.last.box for found in search.search() if found.score > min_score]

    def glance(
        self, rgb: Image, parts: int, min_score: float = _GLANCED_FACE, *, turn: float = 0.0, number: int | None = None
    ) -> list[Box]:
        """Return the faces that the detector finds in windows of an image (H, W, 3).

        Args:
            rgb: Image.
            parts: Number of windows along the longer side of the image. 1 is the image.
            min_score: Minimum score of a face.
            turn: Rotation of the faces in radians.
            number: Search only one of the windows, which takes turns by this number.
        """
        searched = windows(rgb.shape[1], rgb.shape[0], parts)
        if number is not None and searched:
            searched = [searched[number % len(searched)]]
        found: list[Box] = []
        for window in searched:
            if parts > max(_FEWER_PARTS) and min(window.right - window.left, window.bottom - window.top) < _MIN_SIDE_PX:
                continue
            part, corner = window.cut(rgb), np.tile((window.left, window.top), 2)
            area = letterbox_box(part.shape[1], part.shape[0], 1, 1)._replace(rotation=turn)
            for face in self._faces.find_in(part, area, min_score):
                x_min, y_min, x_max, y_max = (face.box + corner).tolist()
                found.append((x_min, y_min, x_max, y_max))
        return found


def _head_of(person: PersonBox) -> Box:
    """Return a square at the top of a person's box, which has the head also where the box shows only the upper body.

    A box that is wider than high shows a head and shoulders, such as at the border, and all of it may be the head.
    """
    x_min, y_min, x_max, y_max = person.box
    if x_max - x_min > y_max - y_min:
        return person.box
    side = min(_HEAD_WIDTH * (x_max - x_min), _HEAD_HEIGHT * (y_max - y_min))
    middle = (x_min + x_max) / 2
    return middle - side / 2, y_min, middle + side / 2, y_min + side


def _has_head(person: PersonBox, head: Box) -> bool:
    """Check whether a head is in the upper half of a person's box."""
    x_min, y_min, x_max, y_max = person.box
    x, y = (head[0] + head[2]) / 2, (head[1] + head[3]) / 2
    return x_min < x < x_max and y_min - 0.1 * (y_max - y_min) < y < (y_min + y_max) / 2
