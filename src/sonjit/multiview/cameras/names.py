"""Which camera an image is of, and which frame, by its name: `cam_0_frame_0050`, `frame_0050_cam0`, `c0_0001`."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sonjit.errors import InputError
from sonjit.media import VIDEO_ENDINGS
from sonjit.media.sources.image_files import IMAGE_ENDINGS
from sonjit.media.sources.open import image_files, is_pattern, natural_key

_CAMERA = re.compile(
    r"(?<![a-z])(?:(?P<word>camera|webcam|cam|view|port|kinect|gopro|c)[ _-]?0*(?P<own>\d+|[a-z])(?![a-z\d])"
    r"|(?P<side>left|right)(?![a-z]))",
    re.IGNORECASE,
)
"""What names a camera within a name."""
_CAM = ("camera", "webcam", "c")
"""Words for `cam`."""
_NUMBER = re.compile(r"\d+")


def frame_number(stem: str) -> int | None:
    """The last number in a name that is not its camera's; its camera's where it has no other, None without any.

    >>> [frame_number(stem) for stem in ("cam_0_frame_0050", "frame_0050_cam0", "image7", "cam3")]
    [50, 50, 7, 3]
    """
    numbers = _NUMBER.findall(_CAMERA.sub(" ", stem)) or _NUMBER.findall(stem)
    return int(numbers[-1]) if numbers else None


def camera_named(name: str, cameras: Iterable[str]) -> str | None:
    """Which of the cameras a video, folder or table is of by its name; None where none is, or several may be.

    It is called like it, with or without `cam` before it, or names it: `hands_cam0` and `Camera 00` are of `cam_0`.

    >>> [camera_named(name, ["cam_0", "cam_1"]) for name in ("cam_1", "hands_cam1", "GoPro 1")]
    ['cam_1', 'cam_1', None]
    """
    known = list(cameras)
    called = _called(name)
    alike = [one for one in known if called and _called(one) == called]
    return _exactly(name, known) or (alike[0] if len(alike) == 1 else None)


def _exactly(name: str, cameras: Sequence[str]) -> str | None:
    """The camera that is called like this, but for `cam` before it as in InterHand2.6M's; None without."""
    return next((one for one in (name, name.removeprefix("cam"), f"cam{name}") if one in cameras), None)


def _called(name: str) -> str | None:
    """What a name calls its camera, however it is written: `cam0` of `take2_Camera_00`; None where it does not."""
    if (found := _CAMERA.search(name.lower())) is None:
        return None
    word, own, side = found.group("word", "own", "side")
    return side or f"{'cam' if word in _CAM else word}{own}"


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


def find_views(
    cameras: Sequence[str], named: Sequence[str], is_one: Callable[[Path], bool] | None = None
) -> dict[str, Path]:
    """Which images, or tables, are of which of the known cameras.

    Args:
        cameras: their names.
        named: `CAMERA=PATH`; a video, folder or table that names its camera, see `camera_named`; a folder of such; or
            a folder of images whose names say the camera, see `cameras_in`.
        is_one: which files and folders below a folder count; by default videos and folders of images.

    Returns:
        By camera; in a folder what is called exactly like cameras goes before what names them: `cam0.mp4` before
        `cam0_drawn.mp4`.

    Raises:
        InputError: nothing is there, or a name fits no camera or two paths one.
    """
    found: dict[str, Path] = {}
    for text in named:
        camera, equals, path = text.partition("=")
        if equals and camera not in cameras:
            raise InputError(f"camera {camera!r:.60} is not in the rig: it has {', '.join(cameras)}")
        for one, where in [(camera, Path(path))] if equals else _known_at(Path(text), cameras, is_one or _is_view):
            if one in found:
                raise InputError(f"camera {one} has two views, {found[one]} and {where}: name one of them")
            found[one] = where
    return found


def _known_at(path: Path, cameras: Sequence[str], is_one: Callable[[Path], bool]) -> list[tuple[str, Path]]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    name = _name(path)
    if (own := _exactly(name, cameras)) is not None:
        return [(own, path)]
    below = sorted(child for child in path.iterdir() if is_one(child)) if path.is_dir() else []
    named = list(cameras_in(path).items()) or [(_name(one), one) for one in below]
    pairs: list[tuple[str, Path]] = []
    for of_name in (_exactly, camera_named):
        pairs = pairs or [(camera, one) for name, one in named if (camera := of_name(name, cameras)) is not None]
    if not pairs and (own := camera_named(name, cameras)) is not None:
        return [(own, path)]
    if not pairs:
        known = ", ".join(cameras)
        raise InputError(f"{path}: no such camera, and none below it; cameras: {known}; or write CAMERA={path}")
    return pairs


def _views_at(path: Path) -> Iterator[tuple[str, Path]]:
    """By camera, images of several in one folder; else what lies below it; else itself."""
    if own := cameras_in(path):
        yield from own.items()
        return
    below = sorted(child for child in path.iterdir() if _is_view(child)) if path.is_dir() else []
    for one in below or [path]:
        yield from cameras_in(one).items() or [(_name(one), one)]


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _is_view(path: Path) -> bool:
    if path.name[0] == "." or not path.is_dir():
        return path.name[0] != "." and path.suffix.lower() in VIDEO_ENDINGS
    return any(child.suffix.lower() in IMAGE_ENDINGS for child in path.iterdir())  # a folder of tables is no view
