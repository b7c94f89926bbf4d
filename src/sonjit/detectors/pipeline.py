"""Detectors: images in, results out.

A detector reads images, runs `sonjit.detectors.loop.Loop` on them, and makes the results: region, flip, gestures and
motions. It also runs the calls of several threads, and of batches.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from weakref import ref

import numpy as np

from sonjit._util import Image, InputError, files
from sonjit._util.settings import declared_options
from sonjit.detectors import interfaces
from sonjit.detectors.graph import PipelineGraph, pipeline_graph
from sonjit.detectors.loop import Found, Loop
from sonjit.detectors.options import CommonOptions
from sonjit.engines import refuse_in_fork
from sonjit.geometry.boxes import RotatedBox
from sonjit.gestures import GestureSmoother, MotionRecognizer
from sonjit.gestures.classifier import hands_of
from sonjit.media import ImageLike, rgb_from
from sonjit.results import MotionEvent, Result, Results

if TYPE_CHECKING:
    from sonjit.detectors.recordings.joining import Recording
    from sonjit.gestures import LearnedGestures

R = TypeVar("R", bound=Result, covariant=True)
_T = TypeVar("_T")
_NOMINAL_STEP_S = 1 / 30
_MIN_STEP_S = 1e-6  # smaller steps, or steps lost in the rounding of a huge time, do not count
_MOST_STEP_S = 1e9  # as time in a stream: longer ones would lose steps in their rounding
_AHEAD, _AHEAD_BYTES = 16, 64_000_000  # maxima of the frames that are read before their turn, and of their images
_MAX_SIDE_PX = 32_766  # OpenCV's warps index pixels with 16 bits
_LOG = logging.getLogger("sonjit")


def check_region(roi: tuple[int, int, int, int], options: CommonOptions) -> None:
    """Raise InputError if no image has a region, or an option requires the complete image, because it has a camera."""
    named = f"roi {','.join(map(str, roi))}"
    if min(roi[:2]) < 0 or min(roi[2:]) < 1:
        raise InputError(f"{named}: give x and y of at least 0, and width and height of at least 1")
    for name, option in declared_options(type(options)).items():
        if option.whole_image and getattr(options, name):
            raise InputError(f"{named}: cannot be combined with {name}, which requires the complete image")


class _Taken(NamedTuple):
    """A frame of a recording that was read."""

    original: ImageLike | ref[Image]  # the caller's image, as long as the caller keeps an array
    image: Image  # (H, W, 3)
    rgb: Image  # its region that is searched
    time: float | None


@dataclass(eq=False)
class _Open(Generic[R]):
    """Recording that a detector reads.

    Attributes:
        recording: Frames within the window; None if each frame is processed on its own, and after a reset.
        waiting: The frames of the window: the caller's image, its copy, the time of the caller, and the region.
        ready: Results that are not yielded yet, each with its image, which they do not keep.
    """

    recording: Recording[Any] | None
    waiting: deque[tuple[ImageLike | ref[Image], Image, float, tuple[int, int, int, int] | None]] = field(
        default_factory=deque
    )
    ready: deque[tuple[ImageLike, Results[R]]] = field(default_factory=deque)


class Detector(files.Closing, Generic[R]):
    """Find instances of one kind in images. Create detectors with `sonjit.create_detector`.

    A detector follows one stream. Calls from several threads run one after the other: create one detector per thread.
    A detector is a context manager.
    """

    def __init__(
        self,
        loop: Loop[R],
        *,
        create_sibling: Callable[[], Detector[R]] | None = None,
        networks: Mapping[str, str] | None = None,
        keypoint_count: int = 0,
    ) -> None:
        self._loop: Loop[R] | None = loop
        """Everything that refers to networks. None if the detector is closed."""
        self._keypoint_count = keypoint_count
        self._networks = networks or {}
        self._options = options = loop.options
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sonjit-detect")
        self._lock = threading.Lock()
        cores = os.cpu_count() or 1
        self._parallel = min(options.running.thread_count or cores, cores)
        # All batches use the same threads: OpenVINO keeps memory for each thread that ever ran a network.
        self._batch_threads = ThreadPoolExecutor(self._parallel, thread_name_prefix="sonjit-batch")
        self._create_sibling, self._own = create_sibling, threading.local()
        self._siblings: list[Detector[R]] = []
        self._open: _Open[R] | None = None  # recording that is read
        self.set_gestures(getattr(options, "gestures", None))
        self.reset()

    def detect(
        self,
        image: ImageLike,
        *,
        time: float | None = None,
        boxes: Sequence[RotatedBox] | None = None,
        roi: tuple[int, int, int, int] | None = None,
    ) -> Results[R]:
        """Find the instances in one image.

        Args:
            image: Image (H, W, 3) uint8 RGB of any size. Grey, RGBA and 16-bit images, paths, encoded bytes and PIL
                images also work.
            time: Time in seconds, for smoothing and the memory of lost instances. Default: 30 frames a second. A time
                that does not increase restarts the filters and forgets lost instances. It is never an error.
            boxes: Rotated boxes in pixels of the region to crop instead of searching and tracking.
            roi: Region x, y, width and height in pixels that is searched. Results are in coordinates of the image.

        Returns:
            List of the instances, empty if there are none. Tracked instances are sorted by id, those of stills by
            score.
        """
        self._opened()
        refuse_in_fork()
        rgb = self._checked(image)
        height, width = rgb.shape[:2]
        if roi is not None:
            rgb = self._region(rgb, *roi)
        with self._lock:
            loop = self._opened()
            with loop.paused():
                if self._options.static_image:
                    found = loop.still(rgb, boxes)
                else:
                    shown_s, now_s = self._clock(loop, time)
                    self._show(shown_s)
                    found = loop.frame(rgb, now_s, boxes)
                return self._results(loop, rgb, image, found, (width, height), roi)

    def _results(
        self,
        loop: Loop[R],
        rgb: Image,
        image: ImageLike,
        found: Found,
        size: tuple[int, int],
        roi: tuple[int, int, int, int] | None,
    ) -> Results[R]:
        """Return the results of one image, of which `rgb` (H, W, 3) is a region; `size` is that of the image."""
        results = [loop.kind.result(rgb, observation, track) for observation, track in found.instances]
        for result in results if getattr(self._options, "mirrored", False) else ():
            result.is_mirrored = True
        if self._gestures is not None:
            hands = hands_of(results)
            for hand, gesture in zip(hands, self._gestures(hands, self._shown_s), strict=True):
                hand.gesture = gesture
        for result in results:
            if roi is not None:
                result.move(roi[0], roi[1], *size)
            if self._options.flip_horizontal:
                result.flip(size[0])
            result.freeze()
        motions = [] if self._motions is None else self._motions(hands_of(results), self._shown_s)
        return Results(results, image, motions, found.total, found.complete, keypoint_count=self._keypoint_count)

    def detect_frames(
        self,
        frames: Iterable[tuple[ImageLike, float | None]],
        *,
        roi: tuple[int, int, int, int] | None = None,
        copy: bool = True,
    ) -> Generator[Results[R]]:
        """Yield the instances in each frame of a recording, as lists in the order of the frames.

        With `search="auto"`, a detector of streams looks ahead: an instance is also found in the seconds before it is
        first detected. It keeps images of at most 320 MB. The results depend only on the frames. An error of the
        frames is raised after the results of all frames before it.

        A detector has one open recording. `reset` begins a new stream with the next frame that is read.

        Args:
            frames: Images as `detect` takes them, each with its time in seconds; None as in `detect`. One of another
                size begins a new scene, whose instances have new ids.
            roi: Region that is searched, as in `detect`.
            copy: Copy each array, so that the caller may reuse it for the next frame. False saves the copy of arrays
                that do not change.

        Raises:
            InputError: An image that `detect` refuses, or another recording that began before this one ended.

        Example:
            >>> with sonjit.create_detector("body") as detector, sonjit.open_source("clip.mp4") as source:
            ...     counts = [len(bodies) for bodies in detector.detect_frames((f.rgb, f.time) for f in source)]
        """
        recording = self._opened().recording()
        self._open = None  # a recording before is over
        self.reset()
        self._open = opened = _Open[R](recording)
        try:
            if recording is None:
                for image, time in _pairs(frames):
                    self._check_open(opened)
                    yield self.detect(image, time=time, roi=roi)
                return
            most = self._most_ahead
            for frame, following in with_next(self._taken(frames, roi, copy=copy), lambda first: most(first.rgb)):
                with self._lock:
                    self._check_open(opened)
                    self._add(opened, frame, roi, is_last=not following)
                    lag_s = self._stream_s - self._time
                    later = ((next_.rgb, next_.time + lag_s) for next_ in following if next_.time is not None)
                    self._opened().search_early(later)
                while opened.ready:
                    shown, results = opened.ready.popleft()
                    yield results
                    del shown
        finally:
            if self._open is opened:
                self._open = None

    def _most_ahead(self, rgb: Image) -> int:
        """Return the number of frames to read ahead, of which the first one is an image (H, W, 3)."""
        return max(min(_AHEAD, _AHEAD_BYTES // rgb.nbytes), 1) if self._opened().searches_early else 1

    def _taken(
        self,
        frames: Iterable[tuple[ImageLike, float | None]],
        roi: tuple[int, int, int, int] | None,
        *,
        copy: bool,
    ) -> Iterator[_Taken]:
        """Yield the checked frames."""
        for image, time in _pairs(frames):
            kept = rgb = self._checked(image)
            original: ImageLike | ref[Image] = image
            if isinstance(image, np.ndarray):
                original = ref(image)
                kept = rgb.copy() if copy and np.may_share_memory(rgb, image) else rgb
            yield _Taken(original, kept, kept if roi is None else self._region(kept, *roi), time)

    def _checked(self, image: ImageLike) -> Image:
        """Return an image as (H, W, 3) uint8 RGB. Raise InputError for what is no image, or is too large."""
        rgb = rgb_from(image)
        if max(rgb.shape[:2]) > _MAX_SIDE_PX:
            raise InputError(
                f"image of {rgb.shape[1]} x {rgb.shape[0]} px: shrink it to at most {_MAX_SIDE_PX} px a side"
            )
        return rgb

    def _check_open(self, opened: _Open[R]) -> None:
        if self._open is not opened:
            raise InputError(
                "another recording of this detector has begun. Create a detector for each recording that is read "
                "at the same time"
            )

    def _add(self, opened: _Open[R], frame: _Taken, roi: tuple[int, int, int, int] | None, *, is_last: bool) -> None:
        """Add a frame to an open recording, with the results of the frames that are then ready."""
        loop = self._opened()
        refuse_in_fork()
        if opened.recording is None:  # after a reset
            opened.recording = loop.recording()
            assert opened.recording is not None
        shown_s, now_s = self._clock(loop, frame.time)
        opened.waiting.append((frame.original, frame.image, shown_s, roi))
        opened.recording.add(frame.rgb, now_s, is_last=is_last, kept_bytes=frame.image.nbytes)
        self._make_ready(loop, opened, is_last=is_last)

    def _make_ready(self, loop: Loop[R], opened: _Open[R], *, is_last: bool) -> None:
        """Make the results of the frames that leave the window of a recording, all at the end."""
        if opened.recording is None:
            return
        for view, joined in opened.recording.ready(is_last=is_last):
            original, image, shown_s, roi = opened.waiting.popleft()
            self._show(shown_s)
            instances = [(track.smoothed, track) for track in joined.tracks]
            found = Found(instances, len(instances) + joined.excess)
            kept = original() if isinstance(original, ref) else original
            if isinstance(kept, np.ndarray) and kept is not image and not np.array_equal(kept[..., :3], image):
                kept = None  # the caller uses its memory for another frame
            shown = image if kept is None else kept
            opened.ready.append((shown, self._results(loop, view, shown, found, image.shape[1::-1], roi)))

    def _region(self, rgb: Image, x: int, y: int, width: int, height: int) -> Image:
        """Return a region of an image (H, W, 3). Raise InputError if it is not inside."""
        check_region((x, y, width, height), self._options)
        if x + width > rgb.shape[1] or y + height > rgb.shape[0]:
            raise InputError(f"roi {x},{y},{width},{height}: not in the image of {rgb.shape[1]} x {rgb.shape[0]} px")
        return np.ascontiguousarray(rgb[y : y + height, x : x + width])

    def detect_batch(self, images: Sequence[ImageLike]) -> list[Results[R]]:
        """Return one list of instances per image, as `detect` does.

        A tracking detector takes the images as consecutive frames. With `static_image`, up to `threads` images are
        processed in parallel, each on one thread, and never more than the machine has cores. Their networks are loaded
        for the first batch and kept.
        """
        self._opened()
        if not self._options.static_image or self._create_sibling is None or min(self._parallel, len(images)) < 2:
            return [self.detect(image) for image in images]
        return list(self._batch_threads.map(self._detect_in_thread, images))

    def _detect_in_thread(self, image: ImageLike) -> Results[R]:
        """Run `detect` of the sibling that belongs to this thread."""
        if not hasattr(self._own, "sibling"):
            assert self._create_sibling is not None
            self._own.sibling = self._create_sibling()
            self._own.chosen = None
            self._siblings.append(self._own.sibling)
        if self._own.chosen is not self._chosen:  # `set_gestures` was called
            self._own.chosen = self._chosen
            self._own.sibling.set_gestures(*self._chosen)
        return self._own.sibling.detect(image)

    def detect_async(self, image: ImageLike, *, time: float | None = None) -> Future[Results[R]]:
        """Run `detect` in the detector's own thread. Calls run in their order."""
        self._opened()
        return self._executor.submit(self.detect, image, time=time)

    def finish(self) -> list[MotionEvent]:
        """Return the events of the motions that end with the stream, after its last image. Instances stay tracked."""
        with self._lock:
            return [] if self._motions is None else self._motions.finish()

    def set_gestures(self, name: str | LearnedGestures | None) -> None:
        """Set the gestures to classify. In streams, `Results.motions` then also has the events of motions.

        Args:
            name: Gestures, as `create_detector` takes them, loaded gestures, or None for no gestures.

        Raise InputError if the file contains no gestures.
        """
        gestures: GestureSmoother | None = None
        motions: MotionRecognizer | None = None
        if name is not None:
            from sonjit.gestures.custom import chosen_gestures

            learned = chosen_gestures(name)
            gestures = GestureSmoother(classify=learned.or_shipped)
            if not self._options.static_image:
                motions = MotionRecognizer(custom=learned.motions)
        with self._lock:
            self._gestures, self._motions = gestures, motions
            self._chosen = (name,)  # a new object, which siblings compare with theirs

    @property
    def kind(self) -> str:
        """Return the kind of instance that the detector finds, such as "hands"."""
        return self._options.kind

    @property
    def graph(self) -> PipelineGraph:
        """Return the processing steps as nodes and edges. `print` lists them, `mermaid()` returns a diagram."""
        loop = self._opened()
        crops = not isinstance(loop.kind, interfaces.SearchedKind)
        return pipeline_graph(self._options, self._networks, searches_windows=loop.searches_windows, crops=crops)

    def reset(self) -> None:
        """Forget all tracked instances and the time. The next image starts a new stream."""
        with self._lock:
            if self._loop is not None:
                if self._open is not None:
                    self._make_ready(self._loop, self._open, is_last=True)
                    self._open.recording = None
                self._loop.reset()
            self._reset_gestures()
            self._time = self._shown_s = self._stream_s = -math.inf
            self._start = 0.0, 0.0  # time of the caller and of the stream at the start of its current part
            self._warned = False

    def _reset_gestures(self) -> None:
        for recognizer in (self._gestures, self._motions):
            if recognizer is not None:
                recognizer.reset()

    def close(self) -> None:
        """Wait for running calls, end the threads and free the networks."""
        self._executor.shutdown()
        self._batch_threads.shutdown()
        for sibling in self._siblings:
            sibling.close()
        with self._lock:
            if self._loop is not None:
                self._loop.close()
                self._loop = None

    def _opened(self) -> Loop[R]:
        """Return the loop. Raise InputError if the detector is closed."""
        if self._loop is None:
            raise InputError("this detector is closed. Create a new one with create_detector.")
        return self._loop

    def _clock(self, loop: Loop[R], time: float | None) -> tuple[float, float]:
        """Return the time of the next frame, and its time in the stream, which always increases.

        Filters restart if the caller's time does not increase. The stream then goes on by one frame.
        """
        if time is None:
            time = self._time + _NOMINAL_STEP_S if math.isfinite(self._time) else 0.0
        gap_s = _MOST_STEP_S
        if not math.isfinite(time) or time - self._time < _MIN_STEP_S:
            if not self._warned:
                _LOG.warning("time %r does not move forward from %r: filters restart", time, self._time)
                self._warned = True
            loop.tracker.restart_clock()
            time, gap_s = time if math.isfinite(time) else 0.0, _NOMINAL_STEP_S
        if gap_s == _NOMINAL_STEP_S or not abs(time - self._start[0]) <= _MOST_STEP_S:  # a new part of the stream
            self._start = time, self._stream_s + gap_s if math.isfinite(self._stream_s) else 0.0
        self._time, self._stream_s = time, self._start[1] + (time - self._start[0])
        return time, self._stream_s

    def _show(self, time: float) -> None:
        """Set the time of the frame whose results are made. Gestures restart if it does not increase."""
        if time - self._shown_s < _MIN_STEP_S:
            self._reset_gestures()
        self._shown_s = time


def _pairs(frames: Iterable[tuple[ImageLike, float | None]]) -> Iterator[tuple[ImageLike, float | None]]:
    """Yield frames that are an image and its time. Raise InputError for others."""
    for frame in frames:
        if not isinstance(frame, tuple | list) or len(frame) != 2:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"a frame of a recording is a pair of an image and its time, not a {type(frame).__name__}: "
                "give (image, seconds), or (image, None) for 30 frames a second"
            )
        yield frame


def with_last(frames: Iterable[_T]) -> Iterator[tuple[_T, bool]]:
    """Yield each frame, and whether it is the last one; see `with_next`."""
    return ((frame, not following) for frame, following in with_next(frames, lambda _: 1))


def with_next(frames: Iterable[_T], count: Callable[[_T], int]) -> Generator[tuple[_T, Sequence[_T]]]:
    """Yield each frame with those that follow it, up to a number that the first one decides; none after the last.

    An error of the frames is raised after the last frame.
    """
    waiting: deque[_T] = deque()
    error: Exception | None = None
    most = 0
    try:
        for frame in frames:
            most = most or count(frame)
            waiting.append(frame)
            if len(waiting) > most:
                yield waiting.popleft(), waiting
    except Exception as problem:
        error = problem
    while waiting:
        yield waiting.popleft(), waiting
    if error is not None:
        raise error
