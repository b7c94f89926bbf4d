"""Find the images of each camera by name, and read them by number, from a video, a folder, or a pattern.

Names are such as `cam_0_frame_0050`, `frame_0050_cam0` and `c0_0001`. A video's frames count from 0. Images have the
last number of their name that is not the camera's, or count from 0 if names lack numbers or repeat one.
"""

from __future__ import annotations

import glob
import re
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util import Image, InputError, data_files
from sonjit._util.records import field
from sonjit.media import VIDEO_ENDINGS, open_source
from sonjit.media.sources import geometry, image_files, is_pattern, natural_key, video
from sonjit.media.sources.images import IMAGE_ENDINGS, load_image

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import InputContainer
    from av.video.frame import VideoFrame

_CAMERA_PATTERN = re.compile(  # camera designation within a file name
    r"(?<![a-z])(?:(?P<word>camera|webcam|cam|view|port|kinect|gopro|c)[ _-]?0*(?P<own>\d+|[a-z])(?![a-z\d])"
    r"|(?P<side>left|right)(?![a-z]))",
    re.IGNORECASE,
)
_CAM_SYNONYMS = ("camera", "webcam", "c")  # words that mean the same as `cam`
_NUMBER_PATTERN = re.compile(r"\d+")
_MAX_DECODE_AHEAD = 24  # largest distance in frames to decode forward instead of seeking to the previous key frame
_CACHED_FRAMES = 3  # number of recently decoded frames to cache; the previous frame is often requested next


def frame_number(stem: str) -> int | None:
    """Return the last number of a name that is not its camera's, else the camera's, or None.

    >>> [frame_number(stem) for stem in ("cam_0_frame_0050", "frame_0050_cam0", "image7", "cam3")]
    [50, 50, 7, 3]
    """
    numbers = _NUMBER_PATTERN.findall(_CAMERA_PATTERN.sub(" ", stem)) or _NUMBER_PATTERN.findall(stem)
    return int(numbers[-1]) if numbers else None


def match_camera(name: str, cameras: Iterable[str]) -> str | None:
    """Return the one camera that a name equals, with or without `cam` in front, or contains, or None.

    >>> [match_camera(name, ["cam_0", "cam_1"]) for name in ("cam_1", "hands_cam1", "GoPro 1")]
    ['cam_1', 'cam_1', None]
    """
    names, designation = list(cameras), _camera_in_name(name)
    matches = [camera for camera in names if designation and _camera_in_name(camera) == designation]
    return _exact_match(name, names) or (matches[0] if len(matches) == 1 else None)


def _exact_match(name: str, cameras: Sequence[str]) -> str | None:
    """Return the camera of this name, with or without `cam` in front as in InterHand2.6M, or None."""
    return next((other for other in (name, name.removeprefix("cam"), f"cam{name}") if other in cameras), None)


def _camera_in_name(name: str) -> str | None:
    """Return the normalised camera designation of a name: `cam0` of `take2_Camera_00`, or None."""
    if (match := _CAMERA_PATTERN.search(name.lower())) is None:
        return None
    word, number, side = match.group("word", "own", "side")
    return side or f"{'cam' if word in _CAM_SYNONYMS else word}{number}"


def image_patterns_by_camera(folder: Path) -> dict[str, Path]:
    """Return a pattern of each camera's images in a folder by sorted names, empty for one or unnamed cameras.

    Images without a camera in their name are ignored if others have one.
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
    """Return the video, folder or pattern of each camera by name.

    `views`: videos or folders named like cameras, folders of such or of images of several, or CAMERA=PATH.
    """
    views_found: dict[str, Path] = {}
    for text in views:
        camera, equals, where = _camera_and_path(text)
        view_path = Path(where)
        if not view_path.exists() and not (equals and is_pattern(view_path)):
            raise InputError(f"{view_path}: no such file or folder")
        if equals and (others := image_patterns_by_camera(view_path)):
            raise InputError(f"{text}: the folder has images of {', '.join(others)}: name it without {camera}=")
        for name, path in [(camera, view_path)] if equals else _views_at(view_path):
            if name in views_found:
                raise InputError(f"camera {name!r} has two views, {views_found[name]} and {path}: write CAMERA=PATH")
            views_found[name] = path
    return views_found


def _camera_and_path(text: str) -> tuple[str, str, str]:
    """Split CAMERA=PATH; a path without a camera, or an address with its query, has an empty camera and no "="."""
    camera, equals, path = text.partition("=")
    return (camera, equals, path) if equals and "://" not in camera else ("", "", text)


def find_views(
    cameras: Sequence[str], named: Sequence[str], is_candidate: Callable[[Path], bool] | None = None
) -> dict[str, Path]:
    """Match images or tables to known cameras, in folders exact names first: `cam0.mp4` before `cam0_drawn.mp4`.

    `named`: as in `views_by_camera`, or tables. `is_candidate` selects in folders, by default videos and folders of
    images.
    """
    views: dict[str, Path] = {}
    for text in named:
        camera, equals, path = _camera_and_path(text)
        if equals and camera not in cameras:
            raise InputError(f"camera {camera!r:.60} is not in the rig: it has {', '.join(cameras)}")
        pairs = [(camera, Path(path))] if equals else _known_views_at(Path(path), cameras, is_candidate or _is_view)
        for name, at in pairs:
            if name in views:
                raise InputError(f"camera {name} has two views, {views[name]} and {at}: name one of them")
            views[name] = at
    return views


def _known_views_at(path: Path, cameras: Sequence[str], is_candidate: Callable[[Path], bool]) -> list[tuple[str, Path]]:
    """Return the pairs of camera and path at or directly below a path."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    name = _path_name(path)
    if (camera := _exact_match(name, cameras)) is not None:
        return [(camera, path)]
    children = sorted(child for child in path.iterdir() if is_candidate(child)) if path.is_dir() else []
    candidates = list(image_patterns_by_camera(path).items()) or [(_path_name(child), child) for child in children]
    for matcher, named in ((_exact_match, candidates), (match_camera, candidates), (match_camera, [(name, path)])):
        if pairs := [(camera, at) for text, at in named if (camera := matcher(text, cameras)) is not None]:
            return pairs
    names = ", ".join(cameras)
    raise InputError(f"{path}: no such camera, and none below it; cameras: {names}; or write CAMERA={path}")


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


def frame_numbers(files: Sequence[Path]) -> list[int]:
    """Return the number of each of one camera's images, in the given order.

    >>> frame_numbers([Path("image32523.jpg"), Path("image32526.jpg")])
    [32523, 32526]
    """
    numbers = [number for file in files if (number := frame_number(file.stem)) is not None]
    return numbers if len(set(numbers)) == len(files) else list(range(len(files)))


class View:
    """The images of one camera: its path, and the ascending numbers of its frames."""

    def __init__(self, path: Path, numbers: Sequence[int]) -> None:
        self.path = path
        self.numbers = tuple(numbers)

    def read(self, number: int) -> Image:
        """Read one image, (H, W, 3) uint8 RGB, from any thread; InputError if it is missing or cannot be read."""
        raise NotImplementedError

    def files(self) -> Iterable[Path]:
        """Iterate over the files that are read, in order."""
        return (self.path,)

    def times_s(self) -> Mapping[int, float]:
        """Return the times in seconds of the frames by number; empty if they are unknown."""
        return {}

    def close(self) -> None:
        """Close open files. May be called twice."""


class FolderView(View):
    """The images of a folder or a pattern."""

    def __init__(self, path: Path) -> None:
        try:
            files = image_files(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if not files:
            raise InputError(f"{path} has no images: expected names ending in {', '.join(IMAGE_ENDINGS)}")
        self._files = dict(sorted(zip(frame_numbers(files), files, strict=True)))
        super().__init__(path, tuple(self._files))

    def read(self, number: int) -> Image:
        if number not in self._files:
            raise InputError(f"{self.path} has no image {number}")
        return load_image(self._files[number])

    def files(self) -> Iterable[Path]:
        return self._files.values()


class VideoView(View):
    """The frames of a video, whose packets are indexed first; decoding continues where it stopped."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._container: InputContainer | None = None
        self._frames: Generator[VideoFrame] | None = None
        self._next = 0
        self._aspect: Fraction | None = None
        self._cache: deque[VideoFrame] = deque(maxlen=_CACHED_FRAMES)
        self._frame_times, second = _frame_times(path)
        self._times_s = {number: float(pts * second) for number, pts in enumerate(self._frame_times)}
        super().__init__(path, range(len(self._frame_times)))

    def read(self, number: int) -> Image:
        if not 0 <= number < len(self._frame_times):
            raise InputError(f"{self.path} has no frame {number}: it has {len(self._frame_times)}")
        pts = self._frame_times[number]
        with self._lock:
            frame = next((frame for frame in self._cache if frame.pts == pts), None)
            if frame is None:
                if self._frames is None or not 0 <= number - self._next <= _MAX_DECODE_AHEAD:
                    self._seek(number)
                frame = self._decode_until(pts)
            if frame is None:
                self._close_decoder()
                raise InputError(f"{self.path}: frame {number} cannot be decoded; the video is damaged there")
            return video.upright_rgb(frame, None, geometry.Geometry.of_frame(frame, self._aspect))

    def times_s(self) -> Mapping[int, float]:
        return self._times_s

    def close(self) -> None:
        with self._lock:
            self._close_decoder()

    def _decode_until(self, pts: int) -> VideoFrame | None:
        """Decode forward to the frame of a time. Return None if the frame is lost."""
        for frame in self._frames or ():
            if frame.pts is not None:
                self._next = bisect_left(self._frame_times, frame.pts) + 1
                self._cache.append(frame)
                if frame.pts >= pts:
                    return frame if frame.pts == pts else None
        return None

    def _seek(self, number: int) -> None:
        self._close_decoder()
        container = self._container = video.open_container(self.path, str(self.path))
        stream = video.video_stream(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        self._aspect = stream.sample_aspect_ratio
        if number:
            container.seek(self._frame_times[number], stream=stream, backward=True)
        self._frames = video.decoded_frames(container, stream, Counter[str]())
        self._next = 0

    def _close_decoder(self) -> None:
        frames, container = self._frames, self._container
        self._frames = self._container = None
        self._cache.clear()
        if frames is not None:
            frames.close()
        if container is not None:
            container.close()


class SynchronizedView(View):
    """The images of a view, numbered by the frame set of each image. Images of no frame set are absent."""

    def __init__(self, view: View, frame_sets: Mapping[int, int]) -> None:
        available = set(view.numbers)
        self._images = {row: image for image, row in frame_sets.items() if image in available}
        self._view = view
        super().__init__(view.path, sorted(self._images))

    def read(self, number: int) -> Image:
        if number not in self._images:
            raise InputError(f"{self.path} has no image of frame set {number}")
        return self._view.read(self._images[number])

    def files(self) -> Iterable[Path]:
        return self._view.files()

    def close(self) -> None:
        self._view.close()


def open_view(path: Path) -> View:
    """Open a camera's images."""
    if path.is_dir() or is_pattern(path):
        return FolderView(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; put it back or create the project again")
    return VideoView(path)


def open_checked_view(path: Path) -> tuple[View, tuple[int, int]]:
    """Open a camera's images, read the first one, and return the view with its width and height in pixels."""
    view = open_view(path)
    if isinstance(view, VideoView):
        with open_source(path) as source:  # raises a precise error for a file that is empty or not a video
            if source.kind != "video":
                raise InputError(f"{path} is one image: name a video or a folder of images")
    try:
        height, width = view.read(view.numbers[0]).shape[:2]
    finally:
        view.close()
    return view, (width, height)


def _frame_times(path: Path) -> tuple[list[int], Fraction]:
    """Return the presentation times of a video's frames in ticks, ascending, and the length of a tick in seconds."""
    with video.open_container(path, str(path)) as container:
        stream = video.video_stream(container)
        if stream is None:
            raise InputError(f"{path} contains no video stream: name a video or a folder of images")
        try:
            packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_corrupt]
        except OSError as error:  # FFmpeg's errors derive from OSError
            raise InputError(f"{path} cannot be read to its end: {error.strerror}; copy or record it again") from None
        tick = stream.time_base or Fraction(1)
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    if not stamps:
        raise InputError(f"{path}: no frame of this video has a time; export it again as MP4 or MKV")
    return stamps, tick


@dataclass(frozen=True)
class CameraFrames:
    """The images of one camera by frame set."""

    frame_sets: Mapping[int, int]
    offset_s: float = 0.0
    drift_ppm: float = 0.0  # by which the camera's seconds are too short
    times_s: tuple[float, ...] = ()


def save_frame_sets(path: Path, cameras: Mapping[str, CameraFrames], warnings: Sequence[str] = ()) -> None:
    """Write `clocks`, `times_s`, `warnings` and `images`, by camera the image of every frame set or -1, as JSON."""
    count = 1 + max((row for camera in cameras.values() for row in camera.frame_sets.values()), default=-1)
    images = {name: [-1] * count for name in cameras}
    for name, camera in cameras.items():
        for image, row in camera.frame_sets.items():
            images[name][row] = image
    clocks = {name: {"offset_s": camera.offset_s, "drift_ppm": camera.drift_ppm} for name, camera in cameras.items()}
    times = next((camera.times_s for camera in cameras.values()), ())
    record = {"clocks": clocks, "images": images, "times_s": times, "warnings": list(warnings)}
    data_files.write_json(path, record)


def load_frame_sets(path: Path, cameras: Sequence[str]) -> dict[str, CameraFrames]:
    """Read a file of `save_frame_sets` for some cameras. Names in it may be longer, see `match_camera`."""
    record = data_files.read_json(path)
    images, clocks = field(record, "images", str(path)), field(record, "clocks", str(path))
    try:
        times = tuple(float(time) for time in record.get("times_s", ()))
        frames_by_camera = {
            camera: CameraFrames(
                {int(image): row for row, image in enumerate(images[name]) if image >= 0},
                float(clocks[name]["offset_s"]),
                float(clocks[name]["drift_ppm"]),
                times,
            )
            for name in images
            if (camera := match_camera(name, cameras)) is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{path} is not a file of sonjit annotate sync --out") from None
    if missing := [name for name in cameras if name not in frames_by_camera]:
        raise InputError(f"{path} has no images of camera {missing[0]!r}: it has {', '.join(images)}")
    return frames_by_camera
