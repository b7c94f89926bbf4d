"""Which camera an image is of, and which frame, by its name: `cam_0_frame_0050`, `frame_0050_cam0`, `c0_0001`."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sonjit.errors import InputError
from sonjit.media import VIDEO_ENDINGS
from sonjit.media.sources.image_files import IMAGE_ENDINGS
from sonjit.media.sources.open import image_files, is_pattern, natural_key

_CAMERA = re.compile(
    r"(?<![a-z])(?:(?:camera|webcam|cam|view|port|kinect|gopro|c)[ _-]?(?:\d+|[a-z])(?![a-z\d])"
    r"|(?:left|right)(?![a-z]))",
    re.IGNORECASE,
)
"""What names a camera within a name."""
_NUMBER = re.compile(r"\d+")


def frame_number(stem: str) -> int | None:
    """The last number in a name that is not its camera's; its camera's where it has no other, None without any.

    >>> [frame_number(stem) for stem in ("cam_0_frame_0050", "frame_0050_cam0", "image7", "cam3")]
    [50, 50, 7, 3]
    """
    numbers = _NUMBER.findall(_CAMERA.sub(" ", stem)) or _NUMBER.findall(stem)
    return int(numbers[-1]) if numbers else None


def cameras_in(folder: Path) -> dict[str, Path]:
    """The cameras that the names of a folder's images tell apart: of each the pattern of its images.

    Images whose names have no camera, beside others that have, are left out.

    Returns:
        By camera, in the order of their names; empty for the images of one camera, or of none.

    Raises:
        InputError: images are of several cameras, and their names do not say of which.
    """
    files = image_files(folder) if folder.is_dir() else []
    patterns: dict[str, set[str]] = {}
    for file in files:
        camera = _CAMERA.search(file.stem)
        if camera and _NUMBER.search(_CAMERA.sub(" ", file.stem)):
            around = file.stem[: camera.start()], file.stem[camera.end() :]
            before, after = (_NUMBER.sub("*", glob.escape(part)) for part in around)
            patterns.setdefault(camera[0], set()).add(f"{before}{camera[0]}{after}.*")
    if len(patterns) < 2:
        _are_of_one_camera(folder, files)
        return {}
    if several := next((sorted(own) for own in patterns.values() if len(own) > 1), None):
        raise InputError(
            f"{folder} has several recordings of one camera, {' and '.join(several[:2])}: put each recording into a "
            "folder of its own"
        )
    return {name: Path(glob.escape(str(folder)), *patterns[name]) for name in sorted(patterns, key=natural_key)}


def _are_of_one_camera(folder: Path, files: Iterable[Path]) -> None:
    """Refuse images of which two have the same last of two numbers, such as 0_0050.jpg and 1_0050.jpg."""
    first: dict[int, Path] = {}
    for file in files:
        if len(numbers := _NUMBER.findall(_CAMERA.sub(" ", file.stem))) == 2:
            other = first.setdefault(int(numbers[-1]), file)
            if other.stem != file.stem:
                raise InputError(
                    f"{folder} has images of several cameras, such as {other.name} and {file.name}, and the names do "
                    f"not say which number is the camera's: name them like cam0_{numbers[-1]}{file.suffix}, or put "
                    "those of each camera into a folder of its own"
                )


def named_views(views: Sequence[str]) -> dict[str, Path]:
    """Each view's path by its camera's name.

    Args:
        views: videos or folders of images, named like their cameras; folders of such; folders of images whose names
            say the camera, see `cameras_in`; or CAMERA=PATH.

    Returns:
        A video, a folder, or a pattern of images for each camera.

    Raises:
        InputError: nothing is there, a camera has two views, or names do not say which camera an image is of.
    """
    found: dict[str, Path] = {}
    for text in views:
        camera, equals, where = text.partition("=")
        named = Path(where if equals else text)
        if not named.exists() and not (equals and is_pattern(named)):
            raise InputError(f"{named}: no such file or folder")
        if equals and (others := cameras_in(named)):
            raise InputError(f"{text}: the folder has images of {', '.join(others)}: name it without {camera}=")
        for name, path in [(camera, named)] if equals else _views_at(named):
            if name in found:
                raise InputError(f"camera {name!r} has two views, {found[name]} and {path}: write CAMERA=PATH")
            found[name] = path
    return found


def _views_at(path: Path) -> Iterator[tuple[str, Path]]:
    """By camera, images of several in one folder; else what lies below it; else itself."""
    if own := cameras_in(path):
        yield from own.items()
        return
    below = sorted(child for child in path.iterdir() if _is_view(child)) if path.is_dir() else []
    for one in below or [path]:
        yield from cameras_in(one).items() or [(one.name if one.is_dir() else one.stem, one)]


def _is_view(path: Path) -> bool:
    if path.name[0] == "." or not path.is_dir():
        return path.name[0] != "." and path.suffix.lower() in VIDEO_ENDINGS
    return any(child.suffix.lower() in IMAGE_ENDINGS for child in path.iterdir())  # a folder of tables is no view
