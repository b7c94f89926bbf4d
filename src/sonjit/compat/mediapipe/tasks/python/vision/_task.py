"""Base of the vision tasks: modes, timestamps, rotation, live streams, landmarks as dataclasses."""

import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, InputError
from sonjit._util.files import Closing
from sonjit.compat.mediapipe import _detector, _options, follows_current
from sonjit.compat.mediapipe._containers import Landmark, NormalizedLandmark, NormalizedRect, Rect
from sonjit.compat.mediapipe._images import Image, ModelError, rgb_of
from sonjit.detectors.options import PUBLISHED_THRESHOLDS, GraphThresholds
from sonjit.weights.bundles import ENDING

Found = TypeVar("Found")
_LOG = logging.getLogger("sonjit")
_CLOSING_S = 0.8
_MAX_WAIT_S, _MAX_AGE_S = 0.02, 0.1
"""Maximum time that a result waits for the callback, and maximum age of its frame if a newer one is in progress."""
_SLOW_RUNS = 1.5  # maximum age of a frame in fastest recent runs, where this is longer: no frame is younger


@dataclass
class TaskOptions:
    """Options of every task. Live streams also have `result_callback`, which takes result, image and milliseconds.

    Attributes:
        base_options: Model of the task and its device.
        running_mode: Type of input: images, a video or a live stream.
    """

    base_options: _options.BaseOptions
    running_mode: _options.VisionTaskRunningMode = _options.VisionTaskRunningMode.IMAGE


class Frame(NamedTuple):
    """Image in a task."""

    image: Image  # as the caller passed it
    rgb: NDArray[np.uint8]  # (H, W, 3), turned upright
    turns: int  # number of clockwise quarter turns, 0 to 3
    timestamp_ms: int | None  # None for a single image

    @property
    def time_s(self) -> float | None:
        """Time of the frame in seconds, or None for a single image."""
        return None if self.timestamp_ms is None else self.timestamp_ms / 1000

    def points(self, keypoints: Float32Array) -> Float32Array:
        """Return keypoints (K, 3) from pixels of the upright image as fractions of the given image."""
        height, width = self.rgb.shape[:2]
        x, y = keypoints[:, 0] / width, keypoints[:, 1] / height
        for _ in range(self.turns):
            x, y = y, 1 - x
        return np.stack([x, y, keypoints[:, 2] / self.image.width], axis=1).astype(np.float32)

    def directions(self, points: Float32Array) -> Float32Array:
        """Rotate points (K, 3) from the upright image to the axes of the given image."""
        turned = points.copy()
        for _ in range(self.turns):
            turned[:, 0], turned[:, 1] = turned[:, 1].copy(), -turned[:, 0]
        return turned

    def mask(self, mask: Float32Array) -> Float32Array:
        """Rotate a mask (H, W) from the upright image to the given image."""
        return np.ascontiguousarray(np.rot90(mask, self.turns))

    def transform(self, matrix: Float32Array) -> NDArray[np.float32 | np.float64]:
        """Rotate a face's matrix (4, 4) from the camera of the upright image to that of the given image.

        Both cameras have the same field of view upwards, so that the one of a turned image is nearer or farther.
        """
        turn = np.eye(4)
        angle = math.pi / 2 * self.turns
        turn[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        moved = turn.round() @ matrix.astype(np.float64)
        moved[2, 3] *= self.image.height / self.rgb.shape[0]
        return moved.astype(np.float32) if follows_current() else moved


class BaseVisionTaskApi(Closing, ABC, Generic[Found]):
    """Base of the vision tasks. Use as a context manager.

    Raise InputError, a ValueError, if the mode is unknown, or does not fit the callback, and ModelError if the model is
    missing or invalid (also a ValueError and a RuntimeError).
    """

    options_type: ClassVar[type[TaskOptions]]
    turns_as_mediapipe: ClassVar[bool] = False  # shift a turned image by one pixel, as MediaPipe does

    @classmethod
    def create_from_model_path(cls, model_path: str) -> Self:
        """Create a task for single images from a model with default options. Raise the same errors as the class."""
        return cls(cls.options_type(_options.BaseOptions(model_asset_path=model_path)))

    @classmethod
    def create_from_options(cls, options: Any) -> Self:  # noqa: ANN401  # each task's own
        """Create a task with these options. Raise the same errors as the class."""
        return cls(options)

    def __init__(self, options: Any) -> None:  # noqa: ANN401  # each task's own
        for name, wanted in (("base_options", _options.BaseOptions), ("running_mode", _options.VisionTaskRunningMode)):
            if not isinstance(value := getattr(options, name), wanted):
                raise InputError(f"{name}={value!r}: give a {wanted.__name__.removeprefix('VisionTask')}")
        callback: Callable[[Found, Image, int], None] | None = options.result_callback
        self._running_mode = options.running_mode
        _options.validate_running_mode(options.running_mode, callback)
        with as_model_errors():
            self._open(options)
        self._is_closed = False
        self._last_ms = -1
        self._live: LiveStream | None = None
        if callback is not None:

            def deliver(frame: Frame, result: Found) -> None:
                assert frame.timestamp_ms is not None
                callback(result, frame.image, frame.timestamp_ms)

            self._live = LiveStream(self._run, deliver, self._free)

    @abstractmethod
    def _open(self, options: Any) -> None:  # noqa: ANN401  # each task's own
        """Load the networks of the task."""

    @abstractmethod
    def _run(self, frame: Frame) -> Found:
        """Convert the result of one frame."""

    @abstractmethod
    def _free(self) -> None:
        """Free the networks."""

    def _process_image(
        self, image: Image, image_processing_options: _options.ImageProcessingOptions | None = None
    ) -> Found:
        """Process one image.

        Raise InputError, a ValueError, if the task is not in image mode, or an argument is invalid.
        """
        self._check(_options.VisionTaskRunningMode.IMAGE)
        return self._run(self._frame(image, image_processing_options, None))

    def _process_video(
        self, image: Image, timestamp_ms: int, image_processing_options: _options.ImageProcessingOptions | None = None
    ) -> Found:
        """Process the next frame of a video. Timestamps must increase.

        Raise InputError, a ValueError, if the task is not in video mode, or an argument is invalid.
        """
        self._check(_options.VisionTaskRunningMode.VIDEO)
        frame = self._frame(image, image_processing_options, timestamp_ms)
        self._advance(timestamp_ms)
        return self._run(frame)

    def _send(
        self, image: Image, timestamp_ms: int, image_processing_options: _options.ImageProcessingOptions | None = None
    ) -> None:
        """Pass the next frame of a live stream. The callback receives its result, or that of a newer frame.

        Raise InputError, a ValueError. A frame whose timestamp does not increase is skipped, and the stream continues,
        if the task is not in live stream mode, or an argument is invalid.
        """
        self._check(_options.VisionTaskRunningMode.LIVE_STREAM)
        frame = self._frame(image, image_processing_options, timestamp_ms)
        self._advance(timestamp_ms)
        assert self._live is not None
        self._live.send(frame)

    def convert_to_normalized_rect(
        self, options: _options.ImageProcessingOptions | None, image: Image, roi_allowed: bool = True
    ) -> NormalizedRect:
        """Return the part and rotation of the image (H, W, 3) that the options select.

        Args:
            options: Processing options, or None for the complete upright image.
            image: Image that the processing options apply to.
            roi_allowed: Allow a region of interest.

        Returns:
            The region with the size after the rotation. Its rotation is the negative of `rotation_degrees`.

        Raises:
            InputError: The rotation is not a multiple of 90, or the region is empty, outside the image or not allowed.
        """
        if options is None:
            return NormalizedRect(0.5, 0.5, 1, 1, 0)
        degrees, region = options.rotation_degrees, options.region_of_interest
        if degrees % 90:
            raise InputError(f"Expected rotation to be a multiple of 90°, not {degrees}")
        if region is None:
            region = Rect(0, 0, 1, 1)
        elif not roi_allowed:
            raise InputError("This task doesn't support region-of-interest.")
        if region.left >= region.right or region.top >= region.bottom:
            raise InputError(f"Expected Rect with left < right and top < bottom, not {region}")
        if not all(0 <= side <= 1 for side in (region.left, region.top, region.right, region.bottom)):
            raise InputError(f"Expected Rect values to be in [0,1], not {region}")
        width, height = region.right - region.left, region.bottom - region.top
        if degrees % 180:
            width, height = height * image.height / image.width, width * image.width / image.height
        centre = (region.left + region.right) / 2, (region.top + region.bottom) / 2
        return NormalizedRect(*centre, width, height, -math.radians(degrees))

    def _frame(self, image: Image, options: _options.ImageProcessingOptions | None, timestamp_ms: int | None) -> Frame:
        self.convert_to_normalized_rect(options, image, roi_allowed=False)  # its checks
        turns, rgb = 0 if options is None else options.rotation_degrees // 90 % 4, rgb_of(image)
        if turns:
            rgb = _moved_corner(np.rot90(rgb, -turns), turns) if self.turns_as_mediapipe else np.rot90(rgb, -turns)
        return Frame(image, np.ascontiguousarray(rgb), turns, timestamp_ms)

    def _check(self, mode: _options.VisionTaskRunningMode) -> None:
        if self._running_mode is not mode:
            name = mode.name.lower().replace("_", " ")
            raise InputError(
                f"Task is not initialized with the {name} mode. Current running mode:{self._running_mode.name}"
            )
        if self._is_closed:
            raise InputError("Task runner is currently not running: it is closed; make a new one")

    def _advance(self, timestamp_ms: int) -> None:
        if timestamp_ms <= self._last_ms:
            raise InputError(
                f"Input timestamp must be monotonically increasing: {timestamp_ms} ms comes after {self._last_ms} ms"
            )
        self._last_ms = timestamp_ms

    def close(self) -> None:
        """Free the networks. A live stream ends within a second, even if its callback blocks."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._live is None:
            self._free()
        else:
            self._live.close()


class DetectingTask(BaseVisionTaskApi[Found]):
    """Base of the tasks whose methods are called `detect`."""

    detect = BaseVisionTaskApi[Found]._process_image
    detect_for_video = BaseVisionTaskApi[Found]._process_video
    detect_async = BaseVisionTaskApi[Found]._send


class DetectorTask(BaseVisionTaskApi[Found]):
    """Base of the tasks that run one detector."""

    kind: ClassVar[str]  # of the detector
    model: ClassVar[str]  # file name of the published model
    arguments: ClassVar[Mapping[str, str]]  # name in `create_detector` of each option of the task that is one there

    def _open(self, options: Any) -> None:  # noqa: ANN401  # each task's own
        values: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(options)}
        _detector.check_count(**{name: value for name, value in values.items() if name.startswith("num_")})
        _detector.check_confidences(**{name: value for name, value in values.items() if name.startswith("min_")})
        is_still, device = options.running_mode is _options.VisionTaskRunningMode.IMAGE, options.base_options.device
        given: dict[str, object] = {
            "static_image": is_still,
            "device": device,
            "precision": "f32" if device == "CPU" else "auto",
            **self._models(options.base_options.file(self.model)),
            **{argument: values[name] for name, argument in self.arguments.items()},
        }
        self._order = _detector.InstanceOrder(new_first=False)
        self._loading = _detector.open_detector(self.kind, given, self._thresholds(options))
        has_own_network = any(
            isinstance(path := given.get(name), Path) and path.is_file() and path.suffix != ENDING
            for name in ("detector_model", "landmark_model")
        )
        # Loading now keeps the first frames of a stream fresh and reports invalid networks at once.
        if has_own_network or options.running_mode is _options.VisionTaskRunningMode.LIVE_STREAM:
            self._loading.result()

    def _models(self, file: Path) -> dict[str, object]:
        """Return the arguments of `create_detector` for the model, and those that do not depend on the options."""
        return {"landmark_model": file}

    def _thresholds(self, options: Any) -> GraphThresholds:  # noqa: ANN401  # each task's own
        """Return `min_tracking_confidence` for the graph. Single images need no association."""
        if options.running_mode is _options.VisionTaskRunningMode.IMAGE:
            return PUBLISHED_THRESHOLDS
        return GraphThresholds(same_overlap=options.min_tracking_confidence)

    def _detect(self, frame: Frame) -> list[Any]:
        with as_model_errors():
            detector = self._loading.result()
        return self._order.sort(detector.detect(frame.rgb, time=frame.time_s))

    def _free(self) -> None:
        _detector.free_loaded(self._loading)


def _moved_corner(turned: NDArray[np.uint8], turns: int) -> NDArray[np.uint8]:
    """Move an image (H, W, 3) that was turned clockwise to where MediaPipe samples it.

    MediaPipe turns around the corner of a pixel and not around its center. Along each axis that runs backwards, the
    content is shifted by one pixel and the first row or column is black.
    """
    down, right = int(turns > 1), int(turns < 3)
    return np.pad(turned, ((down, 0), (right, 0), (0, 0)))[: turned.shape[0], : turned.shape[1]]


def normalized_landmarks(
    points: Float32Array, visibility: Float32Array | None = None, presence: Float32Array | None = None
) -> list[NormalizedLandmark]:
    """Return points (K, 3) in parts of an image as landmarks, with visibility and presence (K,) if they are known."""
    return list(map(NormalizedLandmark, *points.T.tolist(), _scores(points, visibility), _scores(points, presence)))


def world_landmarks(
    points: Float32Array, visibility: Float32Array | None = None, presence: Float32Array | None = None
) -> list[Landmark]:
    """Return points (K, 3) in metres as landmarks, with visibility and presence (K,) if they are known."""
    return list(map(Landmark, *points.T.tolist(), _scores(points, visibility), _scores(points, presence)))


def _scores(points: Float32Array, scores: Float32Array | None) -> list[float | None]:
    if scores is None:
        return [None if follows_current() else 0.0] * len(points)
    return scores.tolist()


@contextmanager
def as_model_errors() -> Generator[None]:
    """Convert errors about a model's files to `ModelError`."""
    try:
        yield
    except ModelError:
        raise
    except InputError as error:
        raise ModelError(str(error)) from error


class LiveStream:
    """Process frames in one thread and pass their results to a callback in another thread.

    At most one frame and one result wait, always the newest. Exceptions of `run` are logged, those of the callback are
    reported by `threading.excepthook`, and the stream continues. After the last run, `end` frees what `run` needs.
    """

    def __init__(self, run: Callable[[Any], Any], deliver: Callable[[Any, Any], None], end: Callable[[], None]) -> None:
        self._run = run
        self._deliver = deliver
        self._end = end
        self._frames, self._results = _Newest(), _Newest()
        self._runs_s: deque[float] = deque(maxlen=8)
        self._is_closing = False
        self._threads = [
            threading.Thread(target=target, name=f"sonjit-live-{name}", daemon=True)
            for name, target in (("run", self._run_all), ("callback", self._deliver_all))
        ]
        for thread in self._threads:
            thread.start()

    def send(self, frame: object) -> None:
        """Pass a frame to the stream and return at once."""
        self._frames.put(frame)

    def close(self) -> None:
        """Finish the frame in progress. This takes at most a second, even if the callback blocks."""
        self._is_closing = True
        self._frames.close()
        until = time.monotonic() + _CLOSING_S
        others = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in others:  # a callback may close the stream
            thread.join(max(until - time.monotonic(), 0))
        if any(thread.is_alive() for thread in others):
            _LOG.warning("a live stream was closed while its callback was running; the callback is not waited for")

    def _run_all(self) -> None:
        while (taken := self._frames.take()) is not None:
            (frame, waited_s), started_s = taken, time.monotonic()
            try:
                result = self._run(frame)
            except Exception:
                self._frames.is_taken = False
                _LOG.exception("a frame of a live stream failed; the stream continues")
            else:
                self._runs_s.append(time.monotonic() - started_s)
                self._frames.is_taken = False  # before the callback thread checks for newer frames
                self._results.put((frame, result, started_s - waited_s))
        self._results.close()
        self._end()

    def _deliver_all(self) -> None:
        while (taken := self._results.take()) is not None:
            (frame, result, sent_s), waited_s = taken
            max_age_s = max(_MAX_AGE_S, _SLOW_RUNS * min(self._runs_s))
            is_old = waited_s > _MAX_WAIT_S or time.monotonic() - sent_s > max_age_s
            if is_old and (self._frames.in_use or self._is_closing):
                continue
            try:
                self._deliver(frame, result)
            except Exception as error:  # of the user's function, reported as those of other threads
                trace = type(error), error, error.__traceback__, threading.current_thread()
                threading.excepthook(threading.ExceptHookArgs(trace))


class _Newest:
    """Queue of one item. A new item replaces the waiting one.

    `is_taken`: True until the owner has finished the item that it took.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: tuple[Any, float] | None = None
        self._is_closed = self.is_taken = False

    @property
    def in_use(self) -> bool:
        """Whether an item waits, or was taken and is not finished."""
        return self._waiting is not None or self.is_taken  # in this order, so that an item taken in between counts

    def put(self, item: object) -> None:
        """Add an item, in place of the waiting one."""
        with self._changed:
            self._waiting = item, time.monotonic()
            self._changed.notify()

    def close(self) -> None:
        """End the queue after the waiting item."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def take(self) -> tuple[Any, float] | None:
        """Wait for an item, and return it with the seconds that it waited. Return None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._is_closed)
            if self._waiting is None:
                return None
            self.is_taken = True
            (item, since_s), self._waiting = self._waiting, None
            return item, time.monotonic() - since_s
