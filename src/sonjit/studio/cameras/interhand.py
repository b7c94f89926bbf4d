"""Read and write InterHand2.6M's camera file: campos, camrot, focal and princpt by capture and camera.

Source: Moon et al., ECCV 2020. `campos` is a camera's position in millimetres: x_camera = camrot (x_world - campos).
The file has no image sizes. Sonjit writes them as `size`, which other readers ignore.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonjit._util.data_files import write_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.hands.interhand_index import index_images
from sonjit.lab.datasets.joint_orders import MM, camera_matrix
from sonjit.lab.datasets.reading import field, numbers
from sonjit.studio.cameras.records import camera_from_record, check_no_skew, rig_from_cameras
from sonjit.studio.cameras.rig import CameraRig, RigCamera

_FIELDS = ("campos", "camrot", "focal", "princpt")


def rig_from_captures(
    content: Any,  # noqa: ANN401  # JSON
    path: Path,
    *,
    size: tuple[int, int] | None,
    capture: str | None,
) -> CameraRig:
    """Build the rig of one capture.

    Args:
        content: Parsed JSON of the file.
        path: Path of the file. Image sizes are read from the `..._data.json` of the same folder if neither the file nor
            the caller gives them.
        size: Width and height in pixels, exchanged for cameras whose principal point shows that they are upright.
        capture: Name of the capture. Required if the file has several.

    Raises:
        InputError: The file is not such a camera file, or a value that the caller must give is missing.
    """
    if _is_capture(content):
        content = {capture or "0": content}  # a file of one capture
    captures = [key for key, value in content.items() if _is_capture(value)] if isinstance(content, dict) else []
    if not captures:
        raise InputError(f"{path} contains no cameras of Sonjit's or InterHand2.6M's format")
    if capture is None and len(captures) > 1:
        raise InputError(f"{path} contains captures {', '.join(captures)[:80]}: give --capture")
    chosen = captures[0] if capture is None else capture
    record = field(content, chosen, f"{path}: captures")
    positions = field(record, "campos", f"{path}: {chosen}")
    sizes = record.get("size") or ({} if size else _sizes_from_data_file(path, chosen))
    cameras: list[RigCamera] = []
    for name in positions:
        location = f"{path}: {chosen}.{{}}.{name}"
        position, rotation, focal, principal_point = (
            numbers(field(field(record, kind, str(path)), name, location.format(kind)), shape, location.format(kind))
            for kind, shape in zip(_FIELDS, ((3,), (3, 3), (2,), (2,)), strict=True)
        )
        if name not in sizes and size is None:
            raise InputError(f"{path} contains no image sizes: give --size, such as --size 512x334")
        own_size = (
            sizes[name]
            if name in sizes
            else _orient_size(size or (0, 0), (float(principal_point[0]), float(principal_point[1])))
        )
        K = camera_matrix(focal, principal_point)
        cameras.append(
            camera_from_record(str(path), name, own_size, K=K, R=rotation, t_m=-rotation @ position * MM, lens=None)
        )
    return rig_from_cameras(cameras, str(path))


def save_interhand(rig: CameraRig, path: Path) -> None:
    """Write a rig as the cameras of one capture.

    Raises:
        InputError: A camera has distortion or skew, which the format cannot represent.
    """
    check_no_skew(rig, "InterHand2.6M's format")
    for camera in rig:
        if camera.camera.distortion is not None:
            raise InputError(
                f"camera {camera.name!r} has distortion, which InterHand2.6M's format cannot represent: undistort the "
                "images first, or write another format"
            )
    record = {
        "campos": {camera.name: (camera.centre_m / MM).tolist() for camera in rig},
        "camrot": {camera.name: camera.R.tolist() for camera in rig},
        "focal": {camera.name: [float(camera.camera.K[0, 0]), float(camera.camera.K[1, 1])] for camera in rig},
        "princpt": {camera.name: [float(camera.camera.K[0, 2]), float(camera.camera.K[1, 2])] for camera in rig},
        "size": {camera.name: [camera.width, camera.height] for camera in rig},
    }
    write_json(path, {"0": record})


def _is_capture(value: object) -> bool:
    """Check whether a value has the fields of a capture."""
    return isinstance(value, dict) and all(name in value for name in _FIELDS)


def _orient_size(size: tuple[int, int], principal_point: tuple[float, float]) -> tuple[int, int]:
    """Return the size or its exchange, whichever has its centre nearer to the principal point."""
    sizes = (size, (size[1], size[0]))
    return min(
        sizes,
        key=lambda candidate: abs(candidate[0] / 2 - principal_point[0]) + abs(candidate[1] / 2 - principal_point[1]),
    )


def _sizes_from_data_file(path: Path, capture: str) -> dict[str, tuple[int, int]]:
    """Read each camera's image size from the data file of the same folder. Return an empty dict if there is none."""
    data_file = path.with_name(path.name.replace("_camera.json", "_data.json"))
    if data_file == path or not data_file.is_file():
        return {}
    index = index_images(data_file)
    sizes: dict[str, tuple[int, int]] = {}
    for row in range(len(index.annotation_ids)):
        try:
            image = index.image(row)
        except InputError:  # a damaged image record does not concern the cameras
            continue
        if image.capture == capture:
            sizes.setdefault(image.camera, (image.width, image.height))
    return sizes
