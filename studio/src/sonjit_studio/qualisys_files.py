"""Read Qualisys' calibrations of cameras."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np

from sonjit._util import InputError
from sonjit_studio.camera_numbers import METRES, camera_of, from_opencv, lens_of, read_text
from sonjit_studio.rig import RigCamera

_QUALISYS_PARTS: Final = 64  # parts of a pixel in values of the lens

_COEFFICIENTS: Final = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
_THIRD: Final = "radialDistortion3"  # of newer versions


def read_qualisys(path: Path) -> Iterator[RigCamera]:
    """Read the calibration that Qualisys Track Manager exports, of cameras that record video.

    Lengths are millimetres, and values of the lens are in 64ths of a pixel. A camera looks along its negative z axis.
    """
    try:
        root = ElementTree.fromstring(read_text(path))  # expat refuses expanding entities
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    for index, node in enumerate(root.iterfind("cameras/camera")):
        at = f"{path}: camera {node.get('serial', index)}"
        pose, lens, view = (
            partial(_number_of, node, element, at=at) for element in ("transform", "intrinsic", "fov_video")
        )
        size = [view(end) - view(begin) + 1 for begin, end in (("left", "right"), ("top", "bottom"))]
        K = np.eye(3)
        K[0] = lens("focalLengthU"), 0.0, lens("centerPointU")
        K[1, 1:] = lens("focalLengthV"), lens("centerPointV")
        K[:2] /= _QUALISYS_PARTS
        K[:2, 2] -= view("left"), view("top")
        coefficients = np.array([lens(name) for name in _COEFFICIENTS]) / _QUALISYS_PARTS
        intrinsic = node.find("intrinsic")
        if intrinsic is not None and intrinsic.get(_THIRD) is not None:
            coefficients = np.append(coefficients, lens(_THIRD) / _QUALISYS_PARTS)
        R = np.diag([1.0, -1.0, -1.0]) @ np.array([[pose(f"r{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)])
        t_m = -R @ np.array([pose(axis) for axis in "xyz"]) * METRES["mm"]
        bent = lens_of(coefficients, f"{at}: intrinsic", "pinhole")
        yield camera_of(str(path), node.get("serial", index), size, K=from_opencv(K), R=R, t_m=t_m, lens=bent)


def _number_of(node: ElementTree.Element, element: str, name: str, at: str) -> float:
    """Return a number of an element inside a node."""
    child = node.find(element)
    text = None if child is None else child.get(name)
    try:
        return float(text or "")
    except ValueError:
        raise InputError(f"{at}: {element} has no number {name}") from None
