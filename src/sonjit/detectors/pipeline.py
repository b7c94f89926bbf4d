"""Run the loop of every detector: search the image, run the landmark network on each box, track the instances.

The keypoints of a frame become the box of the next frame while the instance is present. What differs between hands,
faces and bodies is in a `sonjit.detectors.interfaces.Kind`.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from sonjit._util import Image, InputError, files
from sonjit.detectors import interfaces
from sonjit.detectors.graph import PipelineGraph, pipeline_graph
from sonjit.detectors.observations import Observation, suppress_duplicates
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.tracking import Track, Tracker
from sonjit.engines import Engine
from sonjit.geometry.boxes import RotatedBox, crop, crop_on_grid, iou, latest_boxes
from sonjit.gestures import GestureSmoother, MotionRecognizer
from sonjit.media import ImageLike, rgb_from
from sonjit.results import Hand, MotionEvent, Result, Results

if TYPE_CHECKING:
    from sonjit.gestures import LearnedGestures

R = TypeVar("R", bound=Result, covariant=True)
_NOMINAL_STEP_S = 1 / 30
_COUNT_INTERVAL = 90  # number of frames between searches of a live stream for instances beyond `max_instances`
_CERTAIN = 0.9  # score of a tracked instance below which changed images are searched as if none was tracked
_SPARSE_INTERVAL = 30  # number of frames between searches from `sparse_from` visible instances on
_SPARSE_FRAMES = 3  # number of frames from such a search on in which windows are searched
_SPARSE_VERIFIED_FRAMES = 6  # the same number while a detection is not verified
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
        stream_search: interfaces.StreamSearch[Any] | None = None,
        create_sibling: Callable[[], Detector[R]] | None = None,
        networks: Mapping[str, str] | None = None,
        keypoint_count: int = 0,
    ) -> None:
        self._kind = kind
        self._keypoint_count = keypoint_count
        self._networks = networks or {}
        self._tracker = tracker
        self._options = options
        self._still_search = search
        self._stream_search = stream_search
        self._verifier = interfaces.Verifier[Any]() if stream_search is None else stream_search.check
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
        rgb = rgb_from(image)
        if max(rgb.shape[:2]) > _MAX_SIDE_PX:
            raise InputError(
                f"image of {rgb.shape[1]} x {rgb.shape[0]} px: shrink it to at most {_MAX_SIDE_PX} px a side"
            )
        height, width = rgb.shape[:2]
        if roi is not None:
            rgb = self._region(rgb, *roi)
        observations: list[tuple[Any, Track[Any] | None]]
        with self._lock:
            self._refuse_if_closed()
            self._total, self._complete = None, True
            if self._options.static_image:
                observations = [(self._kind.refine(item), None) for item in self._detect_still(rgb, boxes)]
            else:
                observations = [(track.smoothed, track) for track in self._step(rgb, time, boxes)]
                self._excess = self._excess if len(observations) >= self._options.max_instances else 0
                self._total = len(observations) + self._excess
            results = [self._kind.result(rgb, observation, track) for observation, track in observations]
            if self._gestures is not None:
                hands = _hands_of(results)
                for hand, gesture in zip(hands, self._gestures(hands, self._time), strict=True):
                    hand.gesture = gesture
            if roi is not None:
                for result in results:
                    result.move(roi[0], roi[1], width, height)
            if self._options.flip_horizontal:
                for result in results:
                    result.flip(width)
            for result in results:
                result.freeze()
            motions = [] if self._motions is None else self._motions(_hands_of(results), self._time)
            total, complete = self._total, self._complete
        return Results(results, image, motions, total, complete, keypoint_count=self._keypoint_count)

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
        searches = self._still_search, self._stream_search
        crops = not isinstance(self._kind, interfaces.SearchedKind)
        return pipeline_graph(self._options, self._networks, *searches, crops=crops)

    def reset(self) -> None:
        """Forget all tracked instances and the time. The next image starts a new stream."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._tracker.reset()
        self._reset_gestures()
        self._time = -math.inf
        self._since_search = self._options.search_interval
        self._excess = 0
        self._warned = False
        if self._stream_search is not None:
            self._stream_search.reset()

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
            if hasattr(self, "_kind"):
                self._kind.at_close.close()
                self._still_search = None
                self._stream_search = None
                self._verifier = interfaces.Verifier[Any]()  # the former ones refer to networks
                self._tracker = Tracker()
                del self._kind

    def _refuse_if_closed(self) -> None:
        if not hasattr(self, "_kind"):
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
            found = self._kind.search(rgb, min_score)
            observations, beyond = found[:limit], len(found[limit:])
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
        now = self._clock(time)
        if boxes is not None or isinstance(self._kind, interfaces.SearchedKind):
            self._since_search += 1
            pairs, new = self._tracker.match(self._given_or_searched(rgb, boxes), now)
        else:
            tracks = self._tracker.active
            updated = [(track, self._update_track(rgb, track, tracks)) for track in tracks]
            pairs = [(track, observation) for track, observation in updated if observation is not None]
            observed = {track: observation for track, observation in pairs if track.occluded_s is None}
            # Only the stream search searches at once for what was lost in this frame.
            known = [t for t in tracks if t.occluded_s is None] if self._stream_search is None else [*observed]
            due = self._is_search_due(rgb, tracks, len(known))
            new = self._search(rgb, [track.box for track in known], [*observed.values()], now, due=due)
        if self._tracker.update(pairs, new, now):
            self._since_search = self._options.search_interval
        for track in self._tracker.active:
            if track.occluded_s is None:
                track.smooth(self._kind.refine(track.observation), now)
            track.box = self._kind.follow(track)
        return self._tracker.active

    def _given_or_searched(self, rgb: Image, boxes: Sequence[RotatedBox] | None) -> list[Any]:
        """Return the observations of given boxes, or of the search of a kind that searches every image."""
        if boxes is not None:
            return self._present(rgb, boxes)
        assert isinstance(self._kind, interfaces.SearchedKind)
        found, limit = self._kind.search(rgb, self._options.min_detection_score), self._options.max_instances
        self._excess = len(found[limit:])
        return found[:limit]

    def _is_search_due(self, rgb: Image, tracks: Sequence[Track[Any]], count: int) -> bool:
        """Decide whether to search the full image (H, W, 3) of a frame, and count the frames since the last search."""
        room, interval = self._options.max_instances - count, self._options.search_interval
        if self._is_sparse(count):
            interval = max(interval, _SPARSE_INTERVAL)
        elif room <= 0:
            interval = max(interval, _COUNT_INTERVAL)
        due = room > 0 and (count == 0 or self._since_search >= interval)
        if self._stream_search is not None:
            visible = [track.observation.score for track in tracks if track.occluded_s is None]
            is_lost = count < len(visible) or (self._since_search > 1 and len(visible) < len(tracks))
            is_unsure = max(visible, default=0.0) < _CERTAIN
            due = due or is_lost or (is_unsure and room > 0)
            if due and not is_lost and self._since_search < interval:
                due = self._stream_search.is_changed(rgb)
        is_count_due = room == 0 and self._since_search >= interval
        self._since_search = 1 if due or is_count_due else self._since_search + 1
        return is_count_due or (due and room > 0)

    def _search(
        self, rgb: Image, known: Sequence[RotatedBox], visible: Sequence[Any], now: float, *, due: bool
    ) -> list[Any]:
        """Return new instances of one frame, from the full image if that is due, and from a step of the search."""
        room = max(self._options.max_instances - len(known), 0)
        new: list[Any] = []
        others: Sequence[RotatedBox] = ()
        if due and self._still_search is not None:
            new = [item for item in self._still_search(rgb)[0] if self._is_present(item)]
        elif due:
            boxes = self._kind.find(rgb, self._options.min_detection_score)
            candidates = self._without_overlapping(boxes[: self._options.max_instances], known)[:room]
            new = self._present(rgb, candidates)
            others = self._without_overlapping(boxes, [*known, *candidates])
        if self._stream_search is not None:
            spent = len(new) + (due and bool(visible))
            seeks = 0 if self._is_paused(len(known)) else max(room, 1)  # one more shows that the result is limited
            found = self._stream_search.step(rgb, visible, new, self._tracker.lost_boxes(now), spent=spent, room=seeks)
            new = [item for item in found if self._is_present(item)]
        if len(new) >= room:
            new += [item for item in self._present(rgb, others[:1]) if self._verifier.accepts_new(rgb, item)]
        self._excess = 0 if due else self._excess
        if len(new) > room:
            distinct = suppress_duplicates(new, visible, merge_nested=True)
            self._excess = max(self._excess, len(distinct) - room)
            if self._options.search != "fast":
                new = sorted(distinct, key=lambda item: -item.score)
        return new[:room]

    def _is_sparse(self, count: int) -> bool:
        """Check whether so many visible instances are found that further ones are rarely searched."""
        return self._options.sparse_from is not None and count >= self._options.sparse_from

    def _is_paused(self, count: int) -> bool:
        """Check whether a frame with so many visible instances is not searched for further ones."""
        search, is_full = self._stream_search, count >= self._options.max_instances
        if search is None or (is_full and search.is_first_pass):
            return False
        frames = _SPARSE_VERIFIED_FRAMES if search.is_verifying else _SPARSE_FRAMES
        return (is_full or self._is_sparse(count)) and self._since_search > frames

    def _update_track(self, rgb: Image, track: Track[Any], tracks: Sequence[Track[Any]]) -> Any | None:  # noqa: ANN401
        """Return the observation of a track in this frame, or None if the track ends."""
        image = self._verifier.image_for_track(rgb, track, tracks)
        observation = self._verifier.verify(rgb, track, self._kind.observe(image, track.box), tracks)
        if observation is None or self._tracker.is_another(track, observation):
            return None
        return observation if self._is_present(observation) else None

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


def _hands_of(results: Sequence[Result]) -> list[Hand]:
    return [part for result in results for part in result.parts if isinstance(part, Hand)]


def crop_for(network: Engine, rgb: Image, box: RotatedBox) -> None:
    """Crop a box of an image (H, W, 3) into a network's input, as exactly as the network runs.

    In f32 the crop is that of MediaPipe. In a lower precision the faster warp differs by less than the rounding of the
    network.
    """
    out = network.input[0]
    if network.precision == "f32":
        crop_on_grid(rgb, box, out)
    else:
        crop(rgb, box, out.shape[1], out.shape[0], out=out)


def check_shapes(engine: Engine, path: Path, role: str, *, size: int | None, outputs: Sequence[int]) -> None:
    """Check that an engine has the shapes of the expected network, such as a "palm detector".

    `size`: side of its square input in pixels; None for any. `outputs`: numbers of values in its outputs, in any order.
    """
    height, width = engine.input.shape[1:3]
    if height != width or size not in (None, height) or sorted(engine.output_sizes) != sorted(outputs):
        raise InputError(
            f"{path} is not a {role}: it takes {width} x {height} px and gives {_listed(engine.output_sizes)} numbers, "
            f"not {'any square' if size is None else f'{size} x {size} px'} and {_listed(outputs)}"
        )


def _listed(sizes: Sequence[int]) -> str:
    return " + ".join(str(size) for size in sizes)
