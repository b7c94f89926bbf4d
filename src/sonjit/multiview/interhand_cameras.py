"""InterHand2.6M's camera file: per capture campos, camrot, focal, princpt, each by camera.

Source: Moon et al., ECCV 2020; `campos` is where a camera stands, in millimetres: x_camera = camrot (x_world - campos).
The file holds no picture sizes; ours adds a `size`, which other readers pass over.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sonjit.datasets.hand_labels import MM, camera_matrix
from sonjit.datasets.interhand_index import index_pictures
from sonjit.datasets.reading import field, numbers
from sonjit.errors import InputError
from sonjit.multiview.camera_records import record_camera, refuse_skew, rig_from_records, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from sonjit.multiview.cameras import CameraRig, RigCamera

_FIELDS = ("campos", "camrot", "focal", "princpt")


def cameras_from_captures(
    content: Any,  # noqa: ANN401  # JSON
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    capture: str | None = None,
) -> CameraRig:
    """A rig of one capture.

    Args:
        content: of the file.
        path: of the file; sizes are taken from `..._data.json` beside `..._camera.json` where neither file nor caller
            gives them.
        size: width and height, pixels; turned for cameras whose principal point says that they stand upright.
        capture: which; needed where the file holds several.

    Raises:
        InputError: no such file of cameras, or it leaves something open.
    """
    if isinstance(content, dict) and all(name in content for name in _FIELDS):
        content = {capture or "0": content}  # one capture alone
    captures = [key for key, value in content.items() if _holds_cameras(value)] if isinstance(content, dict) else []
    if not captures:
        raise InputError(f"{path} holds no cameras: neither Sonjit's nor InterHand2.6M's names are in it")
    if capture is None and len(captures) > 1:
        raise InputError(f"{path} holds captures {', '.join(captures)[:80]}: give --capture")
    chosen = captures[0] if capture is None else capture
    record = field(content, chosen, f"{path}: captures")
    positions = field(record, "campos", f"{path}: {chosen}")
    sizes = record.get("size") or ({} if size else _sizes_beside(path, chosen))
    made: list[RigCamera] = []
    for name in positions:
        at = f"{path}: {chosen}.{{}}.{name}"
        where, turned, focal, middle = (
            numbers(field(field(record, kind, str(path)), name, at.format(kind)), shape, at.format(kind))
            for kind, shape in zip(_FIELDS, ((3,), (3, 3), (2,), (2,)), strict=True)
        )
        if name not in sizes and size is None:
            raise InputError(f"{path} holds no picture sizes: give --size, such as --size 512x334")
        own = sizes[name] if name in sizes else _turned(size or (0, 0), (float(middle[0]), float(middle[1])))
        K = camera_matrix(focal, middle)
        made.append(record_camera(str(path), name, own, K, turned, -turned @ where * MM, None))
    return rig_from_records(made, str(path))


def save_interhand(rig: CameraRig, path: Path, capture: str = "0") -> None:
    """Write a rig as the cameras of one capture.

    Raises:
        InputError: a camera has distortion or skew, which the format cannot say.
    """
    refuse_skew(rig, "InterHand2.6M's format")
    for view in rig:
        if view.camera.distortion is not None:
            raise InputError(
                f"camera {view.name!r} has distortion, which InterHand2.6M's format cannot say: undistort the "
                "pictures first, or write another format"
            )
    record = {
        "campos": {view.name: (view.centre_m / MM).tolist() for view in rig},
        "camrot": {view.name: view.R.tolist() for view in rig},
        "focal": {view.name: [float(view.camera.K[0, 0]), float(view.camera.K[1, 1])] for view in rig},
        "princpt": {view.name: [float(view.camera.K[0, 2]), float(view.camera.K[1, 2])] for view in rig},
        "size": {view.name: [view.width, view.height] for view in rig},
    }
    write_text(path, json.dumps({capture: record}) + "\n")


def _holds_cameras(value: object) -> bool:
    return isinstance(value, dict) and all(name in value for name in _FIELDS)


def _turned(size: tuple[int, int], middle: tuple[float, float]) -> tuple[int, int]:
    """The size or its exchange, whichever has its middle nearer to the principal point."""
    ways = (size, (size[1], size[0]))
    return min(ways, key=lambda way: abs(way[0] / 2 - middle[0]) + abs(way[1] / 2 - middle[1]))


def _sizes_beside(path: Path, capture: str) -> dict[str, tuple[int, int]]:
    """Each camera's picture size from the pictures' own file beside the cameras'; empty without."""
    beside = path.with_name(path.name.replace("_camera.json", "_data.json"))
    if beside == path or not beside.is_file():
        return {}
    index = index_pictures(beside)
    sizes: dict[str, tuple[int, int]] = {}
    for place in range(len(index.annotation_ids)):
        try:
            picture = index.picture(place)
        except InputError:  # a wrong picture is not the cameras' matter
            continue
        if picture.capture == capture:
            sizes.setdefault(picture.camera, (picture.width, picture.height))
    return sizes
