"""Run the loop of every detector: search the image, run the landmark network on each box, track the instances.

The keypoints of a frame become the box of the next frame while the instance is present. What differs between hands,
faces and bodies is in a `sonjit.detectors.interfaces.Kind`.
"""

from __future__ import annotations

import enum
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from sonjit._util import Image, InputError, files
from sonjit.detectors import interfaces
from sonjit.detectors.graph import PipelineGraph, pipeline_graph
from sonjit.detectors.observations import Observation, suppress_duplicates
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.recordings.following import Follower
from sonjit.detectors.recordings.joining import Recording
from sonjit.detectors.recordings.key_frames import KeyFrames, is_same
from sonjit.detectors.recordings.live import LiveSearch
from sonjit.detectors.recordings.tracklets import Pairs, Tracklets
from sonjit.detectors.schedule import Schedule
from sonjit.detectors.tracking import Track, Tracker
from sonjit.engines import refuse_in_fork
from sonjit.geometry.boxes import RotatedBox, iou, latest_boxes
from sonjit.gestures import GestureSmoother, MotionRecognizer
from sonjit.media import ImageLike, rgb_from
from sonjit.media.cuts import Scenes
from sonjit.results import Hand, MotionEvent, Result, Results

if TYPE_CHECKING:
    from sonjit.gestures import LearnedGestures

R = TypeVar("R", bound=Result, covariant=True)
_T = TypeVar("_T")
_NOMINAL_STEP_S = 1 / 30
_MIN_STEP_S = 1e-6  # smaller steps, or steps lost in the rounding of a huge time, do not count
_MAX_SIDE_PX = 32_766  # OpenCV's warps index pixels with 16 bits
_LOG = logging.getLogger("sonjit")


def check_region(roi: tuple[int, int, int, int], options: CommonOptions) -> None:
    """Raise InputError if no image has a region, or an option requires the complete image, because it has a camera."""
    named = f"roi {','.join(map(str, roi))}"
    if min(roi[:2]) < 0 or min(roi[2:]) < 1:
        raise InputError(f"{named}: give x and y of at least 0, and width and height of at least 1")
    if used := [name for name in ("distance", "transform") if getattr(options, name, False)]:
        raise InputError(f"{named}: cannot be combined with {used[0]}, which requires the complete image")


class _State(enum.Enum):
    """State of a detector."""

    OPEN = enum.auto()
    CLOSED = enum.auto()


class Detector(files.Closing, Generic[R]):
    """Find instances of one kind in images. Create detectors with `sonjit.create_detector`.

    A detector follows one stream. Calls from several threads run one after the other: create one detector per thread.
    A detector is a context manager.
    """

    def __init__(
        self,
        kind: interfaces.Kind[Any, R],
        tracker: Tracker[Any],
        options: CommonOptions,
        *,
        search: interfaces.StillSearch[Any] | None = None,
        backward: Tracker[Any] | None = None,
        live: LiveSearch[Any] | None = None,
        create_sibling: Callable[[], Detector[R]] | None = None,
        networks: Mapping[str, str] | None = None,
        keypoint_count: int = 0,
    ) -> None:
        self._kind = kind
        self._keypoint_count = keypoint_count
        self._networks = networks or {}
        self._options = options
        self._still_search = search
        self._tracker = tracker
        published: Callable[[Image], Sequence[RotatedBox]] | None = None
        if getattr(options, "averages_mirrored", False):
            published = partial(kind.find, min_score=options.min_detection_score)
        self._tracklets = Tracklets(kind, tracker, options.min_presence_score, published)
        self._backward = None if backward is None else Tracklets(kind, backward, options.min_presence_score)
        self._schedule = Schedule(options.search_interval, options.sparse_from)
        self._follower: Follower[Any] | None = None
        if options.has_key_frames and (search is not None or live is not None):
            key_frames = KeyFrames(
                search, self._schedule, kind.certain_presence, kind.sure_score, is_urgent=kind.is_urgent
            )
            self._follower = Follower(self._tracklets, key_frames, self._proposed, options.max_instances, live)
        self._live = live
        self._scenes = Scenes()
        self._state = _State.OPEN
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sonjit-detect")
        self._lock = threading.Lock()
        cores = os.cpu_count() or 1
        self._parallel = min(options.running.thread_count or cores, cores)
        # All batches use the same threads: OpenVINO keeps memory for each thread that ever ran a network.
        self._batch_threads = ThreadPoolExecutor(self._parallel, thread_name_prefix="sonjit-batch")
        self._create_sibling, self._own = create_sibling, threading.local()
        self._siblings: list[Detector[R]] = []
        self.set_gestures(getattr(options, "gestures", None))
        self._total: int | None = None
        self._complete = True
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
        self._refuse_if_closed()
        refuse_in_fork()
        rgb = rgb_from(image)
        if max(rgb.shape[:2]) > _MAX_SIDE_PX:
            raise InputError(
                f"image of {rgb.shape[1]} x {rgb.shape[0]} px: shrink it to at most {_MAX_SIDE_PX} px a side"
            )
        height, width = rgb.shape[:2]
        if roi is not None:
            rgb = self._region(rgb, *roi)
        observations: list[tuple[Any, Track[Any] | None]]
        with self._lock, nullcontext() if self._live is None else self._live.paused():
            self._refuse_if_closed()
            self._total, self._complete = None, True
            if self._options.static_image:
                observations = [(self._kind.refine(item), None) for item in self._detect_still(rgb, boxes)]
            else:
                observations = [(track.smoothed, track) for track in self._step(rgb, time, boxes)]
                self._excess = self._excess if len(observations) >= self._options.max_instances else 0
                self._total = len(observations) + self._excess
            return self._results(rgb, image, observations, (width, height), roi)

    def _results(
        self,
        rgb: Image,
        image: ImageLike,
        observations: Sequence[tuple[Any, Track[Any] | None]],
        size: tuple[int, int],
        roi: tuple[int, int, int, int] | None,
    ) -> Results[R]:
        """Return the results of one image, of which `rgb` (H, W, 3) is a region; `size` is that of the image."""
        results = [self._kind.result(rgb, observation, track) for observation, track in observations]
        if self._gestures is not None:
            hands = _hands_of(results)
            for hand, gesture in zip(hands, self._gestures(hands, self._shown_s), strict=True):
                hand.gesture = gesture
        for result in results:
            if roi is not None:
                result.move(roi[0], roi[1], *size)
            if self._options.flip_horizontal:
                result.flip(size[0])
            result.freeze()
        motions = [] if self._motions is None else self._motions(_hands_of(results), self._shown_s)
        return Results(results, image, motions, self._total, self._complete, keypoint_count=self._keypoint_count)

    def detect_frames(
        self, frames: Iterable[tuple[Image, float | None]], *, roi: tuple[int, int, int, int] | None = None
    ) -> Generator[Results[R]]:
        """Yield the instances in each frame of a recording, as lists in the order of the frames.

        With `search="auto"`, a detector of streams looks ahead: an instance is also found in the seconds before it is
        first detected. It keeps images of at most 256 MB. The results depend on the frames alone.

        Args:
            frames: RGB images (H, W, 3) uint8 of one size, each with its time in seconds; None as in `detect`.
            roi: Region that is searched, as in `detect`.

        Example:
            >>> with sonjit.create_detector("body") as detector, sonjit.open_source("clip.mp4") as source:
            ...     counts = [len(bodies) for bodies in detector.detect_frames((f.rgb, f.time) for f in source)]
        """
        if self._follower is None or self._backward is None or self._live is not None:
            for rgb, time in frames:
                yield self.detect(rgb, time=time, roi=roi)
            return
        with self._lock:
            self._forget()
        recording = Recording(self._follower, self._backward, self._options.max_instances)
        images: deque[Image] = deque()
        for (image, time), is_last in _with_last(frames):
            with self._lock:
                self._refuse_if_closed()
                refuse_in_fork()
                rgb = image if roi is None else self._region(image, *roi)
                now = self._clock(time)
                images.append(image)
                recording.add(rgb, now, self._scenes.number(rgb, now), is_last=is_last)
            for view, shown_s, joined in recording.ready(is_last=is_last):
                with self._lock:
                    shown = images.popleft()
                    self._shown_s = shown_s
                    self._total = len(joined.tracks) + joined.excess
                    self._complete = True
                    observations = [(track.smoothed, track) for track in joined.tracks]
                    results = self._results(view, shown, observations, shown.shape[1::-1], roi)
                yield results

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
        self._refuse_if_closed()
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
        self._refuse_if_closed()
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
        self._refuse_if_closed()
        crops = not isinstance(self._kind, interfaces.SearchedKind)
        searches = self._still_search is not None or self._live is not None
        return pipeline_graph(self._options, self._networks, searches_windows=searches, crops=crops)

    def reset(self) -> None:
        """Forget all tracked instances and the time. The next image starts a new stream."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._tracker.reset()
        self._reset_gestures()
        self._time = self._shown_s = -math.inf
        self._schedule.reset()
        self._scenes.reset()
        self._excess = 0
        self._warned = False
        if self._follower is not None:
            self._follower.key_frames.reset()
        if self._live is not None:
            self._live.reset()

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
            if self._state is _State.OPEN:
                self._state = _State.CLOSED
                self._kind.at_close.close()
                if self._live is not None:
                    self._live.close()
                # These refer to networks.
                self._still_search = self._follower = self._live = self._backward = None
                self._tracker = Tracker()
                del self._tracklets, self._kind

    def _refuse_if_closed(self) -> None:
        if self._state is _State.CLOSED:
            raise InputError("this detector is closed. Create a new one with create_detector.")

    def _detect_still(self, rgb: Image, boxes: Sequence[RotatedBox] | None) -> list[Any]:
        """Return the observations of a still."""
        if boxes is None and self._still_search is not None:
            observations, self._complete = self._still_search(rgb)
            present = [observation for observation in observations if self._is_present(observation)]
            self._total = len(present)
            return present[: self._options.max_instances]
        follows_graph = self._options.follows_bundle and self._options.kind != "hands"
        keeps_all = follows_graph or self._options.thresholds.overlap is not None  # as MediaPipe's graph does
        limit, min_score = self._options.max_instances, self._options.min_detection_score
        beyond = 0  # number of proposals beyond the limit
        if boxes is None and isinstance(self._kind, interfaces.SearchedKind):
            candidates = self._kind.search(rgb, min_score)
            observations, beyond = candidates[:limit], len(candidates[limit:])
        else:
            if boxes is None:
                proposals = self._kind.find(rgb, min_score)
                boxes, beyond = proposals[:limit], len(proposals[limit:])
            observations = self._present(rgb, boxes if keeps_all else self._without_overlapping(boxes))
        observations = observations if keeps_all else suppress_duplicates(observations)
        self._total = len(observations) + beyond
        return observations

    def _step(self, rgb: Image, time: float | None, boxes: Sequence[RotatedBox] | None) -> list[Track[Any]]:
        """Process one frame of a stream: update the tracks, search for more instances, assign identities."""
        now = self._shown_s = self._clock(time)
        if boxes is not None or isinstance(self._kind, interfaces.SearchedKind):
            self._schedule.skip()
            pairs, new = self._tracker.match(self._given_or_searched(rgb, boxes), now)
            is_any_lost = self._tracklets.update(pairs, new, now)
        elif self._follower is None:
            visible_tracks = [track for track in self._tracker.active if track.occluded_s is None]
            pairs, _ = self._tracklets.observe(rgb)
            is_any_lost = self._tracklets.update(pairs, self._search(rgb, visible_tracks, pairs), now)
        else:
            step = self._follower.step(rgb, now, self._scenes.number(rgb, now))
            is_any_lost = step.is_any_lost
            self._excess = self._excess if step.excess is None else step.excess
        if is_any_lost:
            self._schedule.search_soon()
        if self._follower is None or boxes is not None:
            return self._tracker.active
        key_frames = self._follower.key_frames
        if self._live is not None:  # no frame waits for the first key frame
            return [track for track in self._tracker.active if not key_frames.is_refused(track)]
        return [track for track in self._tracker.active if key_frames.confirms(track)]

    def _given_or_searched(self, rgb: Image, boxes: Sequence[RotatedBox] | None) -> list[Any]:
        """Return the observations of given boxes, or of the search of a kind that searches every image."""
        if boxes is not None:
            return self._present(rgb, boxes)
        assert isinstance(self._kind, interfaces.SearchedKind)
        candidates, limit = self._kind.search(rgb, self._options.min_detection_score), self._options.max_instances
        self._excess = len(candidates[limit:])
        return candidates[:limit]

    def _search(self, rgb: Image, visible_tracks: Sequence[Track[Any]], pairs: Pairs[Any]) -> list[Any]:
        """Return the new instances of a frame by the published or the thorough search, if it is due."""
        room = max(self._options.max_instances - len(visible_tracks), 0)
        if not self._schedule.searches(len(visible_tracks), room):
            return []
        self._excess = 0
        if self._still_search is not None:
            new = [item for item in self._still_search(rgb)[0] if self._is_present(item)]
        else:
            new = self._published(rgb, [track.box for track in visible_tracks], room)
        if len(new) > room:
            visible = [observation for track, observation in pairs if track.occluded_s is None]
            distinct = suppress_duplicates(new, visible, merge_nested=True)
            self._excess = max(len(distinct) - room, 0)
            if self._options.search != "fast":
                new = sorted(distinct, key=lambda item: -item.score)
        return new[:room]

    def _published(self, rgb: Image, known_boxes: Sequence[RotatedBox], room: int) -> list[Any]:
        """Return the instances that the published search finds apart from known boxes.

        One more than there is room for shows that the result is limited.
        """
        boxes = self._kind.find(rgb, self._options.min_detection_score)
        candidates = self._without_overlapping(boxes[: self._options.max_instances], known_boxes)[:room]
        new = self._present(rgb, candidates)
        if len(new) >= room:
            new += self._present(rgb, self._without_overlapping(boxes, [*known_boxes, *candidates])[:1])
        return new

    def _proposed(self, rgb: Image, pairs: Pairs[Any]) -> list[Any]:
        """Return the instances that the published search finds apart from the tracked ones."""
        tracked = [observation for _, observation in pairs]
        boxes = [self._kind.box_after(observation) for observation in tracked]
        candidates = self._published(rgb, boxes, max(self._options.max_instances - len(tracked), 0))
        return [candidate for candidate in candidates if not any(is_same(candidate, other) for other in tracked)]

    def _is_present(self, observation: Observation) -> bool:
        return self._kind.is_present(observation, self._options.min_presence_score)

    def _present(self, rgb: Image, boxes: Sequence[RotatedBox]) -> list[Any]:
        return list(filter(self._is_present, (self._kind.observe(rgb, box) for box in boxes)))

    def _clock(self, time: float | None) -> float:
        """Return an increasing time. Filters restart if the caller's time does not increase."""
        if time is None:
            time = self._time + _NOMINAL_STEP_S if math.isfinite(self._time) else 0.0
        if not math.isfinite(time) or time - self._time < _MIN_STEP_S:
            if not self._warned:
                _LOG.warning("time %r does not move forward from %r: filters restart", time, self._time)
                self._warned = True
            self._tracker.restart_clock()
            self._reset_gestures()
            time = time if math.isfinite(time) else 0.0
        self._time = time
        return time

    def _without_overlapping(self, boxes: Sequence[RotatedBox], others: Sequence[RotatedBox] = ()) -> list[RotatedBox]:
        """Return the boxes of new instances. Of two boxes of one instance the later stays, as in MediaPipe."""
        accepted = latest_boxes(boxes, self._is_same_instance)
        return [box for box in accepted if not any(self._is_same_instance(box, other) for other in others)]

    def _is_same_instance(self, box: RotatedBox, other: RotatedBox) -> bool:
        limit = self._options.thresholds.same_overlap
        return self._kind.is_same_instance(box, other) if limit is None else iou(box, other) > limit


def _with_last(frames: Iterable[_T]) -> Generator[tuple[_T, bool]]:
    """Yield each frame, and whether it is the last one, which is known when the next one is read."""
    waiting: list[_T] = []
    for frame in frames:
        if waiting:
            yield waiting.pop(), False
        waiting.append(frame)
    if waiting:
        yield waiting.pop(), True


def _hands_of(results: Sequence[Result]) -> list[Hand]:
    return [part for result in results for part in result.parts if isinstance(part, Hand)]
