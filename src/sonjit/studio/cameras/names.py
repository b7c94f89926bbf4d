"""Recognise the camera and frame of an image by its name: `cam_0_frame_0050`, `frame_0050_cam0`, `c0_0001`."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sonjit._util.errors import InputError
from sonjit.media import VIDEO_ENDINGS
from sonjit.media.sources.open import image_files, is_pattern, natural_key
from sonjit.media.sources.sniff import IMAGE_ENDINGS

_CAMERA_PATTERN = re.compile(
    r"(?<![a-z])(?:(?P<word>camera|webcam|cam|view|port|kinect|gopro|c)[ _-]?0*(?P<own>\d+|[a-z])(?![a-z\d])"
    r"|(?P<side>left|right)(?![a-z]))",
    re.IGNORECASE,
)
"""Camera designation within a file name."""
_CAM_SYNONYMS = ("camera", "webcam", "c")
"""Words that mean the same as `cam`."""
_NUMBER_PATTERN = re.compile(r"\d+")


def frame_number(stem: str) -> int | None:
    """Return the last number of a name that is not its camera's.

    If there is no other number, return the camera's. Return None without any.

    >>> [frame_number(stem) for stem in ("cam_0_frame_0050", "frame_0050_cam0", "image7", "cam3")]
    [50, 50, 7, 3]
    """
    numbers = _NUMBER_PATTERN.findall(_CAMERA_PATTERN.sub(" ", stem)) or _NUMBER_PATTERN.findall(stem)
    return int(numbers[-1]) if numbers else None


def match_camera(name: str, cameras: Iterable[str]) -> str | None:
    """Return the camera that a video, folder or table belongs to by its name, or None if none or several match.

    A name matches a camera that it equals, with or without `cam` in front, or that it contains: `hands_cam0` and
    `Camera 00` belong to `cam_0`.

    >>> [match_camera(name, ["cam_0", "cam_1"]) for name in ("cam_1", "hands_cam1", "GoPro 1")]
    ['cam_1', 'cam_1', None]
    """
    camera_name = list(cameras)
    designation = _camera_in_name(name)
    matches = [camera for camera in camera_name if designation and _camera_in_name(camera) == designation]
    return _exact_match(name, camera_name) or (matches[0] if len(matches) == 1 else None)


def _exact_match(name: str, cameras: Sequence[str]) -> str | None:
    """Return the camera of this name, with or without `cam` in front as in InterHand2.6M, or None."""
    return next(
        (candidate for candidate in (name, name.removeprefix("cam"), f"cam{name}") if candidate in cameras), None
    )


def _camera_in_name(name: str) -> str | None:
    """Return the normalised camera designation of a name: `cam0` of `take2_Camera_00`, or None."""
    if (match := _CAMERA_PATTERN.search(name.lower())) is None:
        return None
    word, number, side = match.group("word", "own", "side")
    return side or f"{'cam' if word in _CAM_SYNONYMS else word}{number}"


def image_patterns_by_camera(folder: Path) -> dict[str, Path]:
    """Return a pattern of the images of each camera in a folder, recognised by the images' names.

    Images without a camera in their name are ignored if other images have one.

    Returns:
        Patterns by camera in the order of the names. Empty for images of one camera or of unnamed ones.

    Raises:
        InputError: Images belong to several cameras, and their names do not show which.
    """
    files = image_files(folder) if folder.is_dir() else []
    patterns: dict[str, set[str]] = {}
    for file in files:
        camera = _CAMERA_PATTERN.search(file.stem)
        if camera and _NUMBER_PATTERN.search(_CAMERA_PATTERN.sub(" ", file.stem)):
            around = file.stem[: camera.start()], file.stem[camera.end() :]
            before, after = (_NUMBER_PATTERN.sub("*", glob.escape(part)) for part in around)
            patterns.setdefault(camera[0], set()).add(f"{before}{camera[0]}{after}.*")
    if len(patterns) < 2:
        _check_one_camera(folder, files)
        return {}
    if several := next((sorted(own_patterns) for own_patterns in patterns.values() if len(own_patterns) > 1), None):
        raise InputError(
            f"{folder} has several recordings of one camera, {' and '.join(several[:2])}: put each recording into a "
            "folder of its own"
        )
    return {name: Path(glob.escape(str(folder)), *patterns[name]) for name in sorted(patterns, key=natural_key)}


def _check_one_camera(folder: Path, files: Iterable[Path]) -> None:
    """Refuse images that share the last of two numbers, such as 0_0050.jpg and 1_0050.jpg."""
    first: dict[int, Path] = {}
    for file in files:
        if len(numbers := _NUMBER_PATTERN.findall(_CAMERA_PATTERN.sub(" ", file.stem))) == 2:
            other = first.setdefault(int(numbers[-1]), file)
            if other.stem != file.stem:
                raise InputError(
                    f"{folder} has images of several cameras, such as {other.name} and {file.name}, and the names do "
                    "not show which number is the camera's: name them like "
                    f"cam0_{numbers[-1]}{file.suffix}, or put the images of each camera into a separate folder"
                )


def views_by_camera(views: Sequence[str]) -> dict[str, Path]:
    """Return each view's path by its camera's name.

    Args:
        views: Videos or folders of images named like their cameras, folders of such, folders of images whose names
            contain the camera (see `image_patterns_by_camera`), or CAMERA=PATH.

    Returns:
        A video, a folder, or a pattern of images for each camera.

    Raises:
        InputError: A path is missing, a camera has two views, or names do not show which camera an image belongs to.
    """
    views_found: dict[str, Path] = {}
    for text in views:
        camera, equals, where = text.partition("=")
        view_path = Path(where if equals else text)
        if not view_path.exists() and not (equals and is_pattern(view_path)):
            raise InputError(f"{view_path}: no such file or folder")
        if equals and (others := image_patterns_by_camera(view_path)):
            raise InputError(f"{text}: the folder has images of {', '.join(others)}: name it without {camera}=")
        for name, path in [(camera, view_path)] if equals else _views_at(view_path):
            if name in views_found:
                raise InputError(f"camera {name!r} has two views, {views_found[name]} and {path}: write CAMERA=PATH")
            views_found[name] = path
    return views_found


def find_views(
    cameras: Sequence[str], named: Sequence[str], is_candidate: Callable[[Path], bool] | None = None
) -> dict[str, Path]:
    """Match images or tables to known cameras.

    Args:
        cameras: Names of the cameras.
        named: `CAMERA=PATH`, a video, folder or table that names its camera (see `match_camera`), a folder of such, or
            a folder of images whose names contain the camera (see `image_patterns_by_camera`).
        is_candidate: Predicate that selects files and folders in a folder. By default videos and folders of images.

    Returns:
        Paths by camera. In a folder, exact names take precedence over names that contain the camera: `cam0.mp4` before
        `cam0_drawn.mp4`.

    Raises:
        InputError: A path is missing, a name matches no camera, or two paths match one camera.
    """
    views: dict[str, Path] = {}
    for text in named:
        camera, equals, path = text.partition("=")
        if equals and camera not in cameras:
            raise InputError(f"camera {camera!r:.60} is not in the rig: it has {', '.join(cameras)}")
        for camera_name, view_path in (
            [(camera, Path(path))] if equals else _known_views_at(Path(text), cameras, is_candidate or _is_view)
        ):
            if camera_name in views:
                raise InputError(
                    f"camera {camera_name} has two views, {views[camera_name]} and {view_path}: name one of them"
                )
            views[camera_name] = view_path
    return views


def _known_views_at(path: Path, cameras: Sequence[str], is_candidate: Callable[[Path], bool]) -> list[tuple[str, Path]]:
    """Return the pairs of camera and path at or directly below a path."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    name = _path_name(path)
    if (camera_found := _exact_match(name, cameras)) is not None:
        return [(camera_found, path)]
    children = sorted(child for child in path.iterdir() if is_candidate(child)) if path.is_dir() else []
    candidates = list(image_patterns_by_camera(path).items()) or [(_path_name(child), child) for child in children]
    pairs: list[tuple[str, Path]] = []
    for matcher in (_exact_match, match_camera):
        pairs = pairs or [
            (camera, child) for name, child in candidates if (camera := matcher(name, cameras)) is not None
        ]
    if not pairs and (camera_found := match_camera(name, cameras)) is not None:
        return [(camera_found, path)]
    if not pairs:
        camera_name = ", ".join(cameras)
        raise InputError(f"{path}: no such camera, and none below it; cameras: {camera_name}; or write CAMERA={path}")
    return pairs


def _views_at(path: Path) -> Iterator[tuple[str, Path]]:
    """Iterate over cameras and paths: images of several cameras in a folder, its children, or the path itself."""
    if patterns := image_patterns_by_camera(path):
        yield from patterns.items()
        return
    children = sorted(child for child in path.iterdir() if _is_view(child)) if path.is_dir() else []
    for child in children or [path]:
        yield from image_patterns_by_camera(child).items() or [(_path_name(child), child)]


def _path_name(path: Path) -> str:
    """Return a folder's name or a file's stem."""
    return path.name if path.is_dir() else path.stem


def _is_view(path: Path) -> bool:
    """Check whether a path is a video or a folder of images."""
    if path.name[0] == "." or not path.is_dir():
        return path.name[0] != "." and path.suffix.lower() in VIDEO_ENDINGS
    return any(child.suffix.lower() in IMAGE_ENDINGS for child in path.iterdir())  # a folder of tables is no view
