"""The one loop behind every detector: find, crop, landmark, place, carry.

*Find* searches the whole image for new instances, *landmark* runs a network on the crop of each box, *carry*
makes this frame's keypoints the next frame's box while the instance is present. What differs between hands, faces
and bodies is in a `sonjit.detectors.interfaces.Kind`.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np

from sonjit.detectors.graph import PipelineGraph, pipeline_graph
from sonjit.detectors.observations import Observation, without_duplicates
from sonjit.detectors.smoothing import KeypointSmoother
from sonjit.detectors.tracking import Track, Tracker
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, crop_on_grid, iou
from sonjit.media import ImageLike, Results, rgb_from
from sonjit.results import Hand, Result

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.detectors.interfaces import Kind, Spread, Thorough
    from sonjit.detectors.options import DetectorOptions
    from sonjit.engines import Engine
    from sonjit.gestures import GestureSmoother, LearnedGestures, MotionRecognizer

R = TypeVar("R", bound=Result)
_NOMINAL_STEP_S = 1 / 30
_LEAST_STEP_S = 1e-6  # what is less, or lost in a huge time's rounding, is no step
_MAX_SIDE_PX = 32_766  # OpenCV's warps index pixels with 16 bits
_LOG = logging.getLogger("sonjit")


class Detector(Generic[R]):
    """Finds instances of one kind in images; made by `sonjit.create_detector`.

    It follows one stream: calls of several threads are worked off one by one, so take one detector per thread. It is a
    context manager.
    """

    def __init__(
        self,
        kind: Kind[Any, R],
        tracker: Tracker[Any],
        options: DetectorOptions,
        search: Thorough[Any] | None = None,
        spread: Spread[Any] | None = None,
        another: Callable[[], Detector[R]] | None = None,
        networks: Mapping[str, str] | None = None,
    ) -> None:
        self._kind = kind
        self._networks = networks or {}
        self._tracker = tracker
        self._options = options
        self._thorough = search
        self._spread = spread
        self._check = None if spread is None else spread.check
        self._another = another
        self._executor: ThreadPoolExecutor | None = None
        self._at_work = threading.Lock()
        self._batches: _Batches[R] | None = None
        self.tell_gestures(options.gestures)
        self.reset()

    def detect(
        self, image: ImageLike, *, time: float | None = None, boxes: Sequence[RotatedBox] | None = None
    ) -> Results[R]:
        """Instances in one image.

        Args:
            image: (H, W, 3) uint8 RGB of any size; grey, RGBA, 16-bit, a path, encoded bytes or a PIL image also work.
            time: seconds, for smoothing and the memory of lost instances; without it 30 frames a second are assumed.
                A time that does not move forward starts a new stream; it is never an error.
            boxes: rotated boxes in pixels to crop instead of searching and carrying.

        Returns:
            What was found, a list; an empty one for nothing. Tracked instances come in the order of their ids, those of
            stills with the best first.
        """
        self._refuse_if_closed()
        rgb = rgb_from(image)
        if max(rgb.shape[:2]) > _MAX_SIDE_PX:
            raise InputError(
                f"image of {rgb.shape[1]} x {rgb.shape[0]} px: shrink it to at most {_MAX_SIDE_PX} px a side"
            )
        seen: list[tuple[Any, Track[Any] | None]]
        with self._at_work:
            self._refuse_if_closed()
            if self._options.static_image:
                seen = [(observation, None) for observation in self._detect_still(rgb, boxes)]
            else:
                seen = [(track.smoothed, track) for track in self._step(rgb, time, boxes)]
            results = [self._kind.result(rgb, observation, track) for observation, track in seen]
            if self._gestures is not None:
                hands = _hands_of(results)
                for hand, gesture in zip(hands, self._gestures(hands, self._time), strict=True):
                    hand.gesture = gesture
            if self._options.flip_horizontal:
                results = [self._kind.flip(result, rgb.shape[1]) for result in results]
            motions = [] if self._motions is None else self._motions(_hands_of(results), self._time)
        return Results(results, image, motions)

    def detect_batch(self, images: Sequence[ImageLike]) -> list[Results[R]]:
        """One list of instances per image, as `detect` gives them.

        A tracking detector takes the images as consecutive frames. With `static_image` there are as many images under
        way as `threads` says, each on one thread; their networks are loaded for the first batch and kept.
        """
        self._refuse_if_closed()
        count = min(self._options.running.thread_count or os.cpu_count() or 1, len(images))
        if not self._options.static_image or self._another is None or count < 2:
            return [self.detect(image) for image in images]
        if self._batches is None:
            self._batches = _Batches(self._another)
        return self._batches.detect(images, count)

    def detect_async(self, image: ImageLike, *, time: float | None = None) -> Future[Results[R]]:
        """Like `detect`, in a thread of the detector's own; calls are worked off in their order."""
        self._refuse_if_closed()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="sonjit-detect")
        return self._executor.submit(self.detect, image, time=time)

    def tell_gestures(self, name: str | LearnedGestures | None) -> None:
        """From now on give hands their gestures: by a name that `create_detector` takes, or as they were read; or none.

        Streams give the steps of motions too, in the `motions` of what `detect` gives.

        Raises:
            InputError: the file holds no gestures.
        """
        told: GestureSmoother | None = None
        motions: MotionRecognizer | None = None
        if name is not None:  # what is not asked for is not imported
            from sonjit.gestures import GestureSmoother, MotionRecognizer, find_gestures
            from sonjit.gestures.learned import find_motions

            told = GestureSmoother(tell=find_gestures(name))
            if not self._options.static_image:
                motions = MotionRecognizer(custom=find_motions(name))
        with self._at_work:
            self._gestures, self._motions = told, motions

    @property
    def graph(self) -> PipelineGraph:
        """What happens to an image, as nodes and edges: `print` lists it, `mermaid()` is the text of a diagram."""
        self._refuse_if_closed()
        stream = not self._options.static_image
        return pipeline_graph(
            self._options,
            self._networks,
            thorough=self._thorough is not None,
            spread=stream and self._spread is not None,
            check=stream and self._check is not None,
            crops=not self._kind.searches_always,
        )

    def reset(self) -> None:
        """Forget every tracked instance and the time: the next image starts a new stream."""
        with self._at_work:
            self._forget()

    def _forget(self) -> None:
        self._tracker.reset()
        self._reset_gestures()
        self._time = -math.inf
        self._since_search = self._options.search_interval
        self._warned = False
        if self._spread is not None:
            self._spread.reset()

    def _reset_gestures(self) -> None:
        for one in (self._gestures, self._motions):
            if one is not None:
                one.reset()

    def close(self) -> None:
        """Free the networks; waits for calls under way."""
        if self._executor is not None:
            self._executor.shutdown()
        if self._batches is not None:
            self._batches.close()
        with self._at_work:
            if hasattr(self, "_kind"):
                del self._kind

    def __enter__(self) -> Self:
        """The detector itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _refuse_if_closed(self) -> None:
        if not hasattr(self, "_kind"):
            raise InputError("this detector is closed; make a new one with create_detector")

    def _detect_still(self, rgb: NDArray[np.uint8], boxes: Sequence[RotatedBox] | None) -> list[Any]:
        """Every instance of a still, found afresh."""
        if boxes is None and self._thorough is not None:
            return [seen for seen in self._thorough.search(rgb) if self._is_present(seen)][
                : self._options.max_instances
            ]
        if boxes is None:
            boxes = self._kind.find(rgb, self._options.min_detection_score)[: self._options.max_instances]
        follows_graph = self._options.follows_bundle and self._options.kind != "hands"
        if follows_graph or self._options.thresholds.overlap is not None:
            return self._present(rgb, boxes)  # its graph keeps whatever the detector told apart
        boxes = self._without_taken(boxes)
        return without_duplicates(self._present(rgb, boxes))

    def _step(self, rgb: NDArray[np.uint8], time: float | None, boxes: Sequence[RotatedBox] | None) -> list[Track[Any]]:
        """One frame of a stream: carry what is held, search where there is room, say who is who."""
        now = self._clock(time)
        if boxes is None and self._kind.searches_always:
            boxes = self._kind.find(rgb, self._options.min_detection_score)[: self._options.max_instances]
        if boxes is None:
            held = self._tracker.active
            pairs = [(track, self._look(rgb, track, held)) for track in held]
            pairs = [(track, one) for track, one in pairs if one is not None and self._is_present(one)]
            new = self._search(rgb, held, [pair for pair in pairs if pair[0].hidden is None], now)
        else:
            self._since_search += 1
            pairs, new = self._tracker.match(self._present(rgb, boxes), now)
        if self._tracker.update(pairs, new, now):
            self._since_search = self._options.search_interval
        for track in self._tracker.active:
            track.box = self._kind.follow(track)
        return self._tracker.active

    def _search(
        self, rgb: NDArray[np.uint8], held: Sequence[Track[Any]], seen: Sequence[tuple[Track[Any], Any]], now: float
    ) -> list[Any]:
        """What a search of this frame finds: in the whole image when it is due, and where that is spread, step by step.

        Args:
            rgb: (H, W, 3).
            held: before this frame.
            seen: of these, what is still seen in it.
            now: seconds.
        """
        if self._spread is None:
            carried = [track.box for track in held if track.hidden is None]
            due = self._is_search_due(len(carried))
        else:  # what is lost in this frame is searched in it
            carried = [track.box for track, _ in seen]
            is_lost = len(carried) < sum(track.hidden is None for track in held)
            is_hidden = self._since_search > 1 and any(track.hidden is not None for track in held)
            due = is_lost or is_hidden or self._is_search_due(len(carried))
            if due and not held and self._since_search < self._options.search_interval:
                due = self._spread.is_changed(rgb)
        room = self._options.max_instances - len(carried)
        self._since_search = 1 if due else self._since_search + 1
        due &= room > 0
        beside = [one for _, one in seen]
        new: list[Any] = []
        if due and self._thorough is not None:
            new = [one for one in self._thorough.search(rgb) if self._is_present(one)]
        elif due:
            candidates = self._kind.find(rgb, self._options.min_detection_score)[: self._options.max_instances]
            new = self._present(rgb, self._without_taken(candidates, carried)[:room])
        if self._spread is not None:
            spent, left = len(new) + (due and bool(beside)), room - len(new)
            found = self._spread.step(rgb, [*beside, *new], self._tracker.lost_boxes(now), spent=spent, room=left)
            new += [one for one in found if self._is_present(one)]
        if self._check is not None:
            new = [one for one in new if self._check.admits(rgb, one)]
        return new[: max(room, 0)]

    def _look(self, rgb: NDArray[np.uint8], track: Track[Any], held: Sequence[Track[Any]]) -> Any | None:  # noqa: ANN401
        """What is seen of one of those held; None where it may not stay."""
        check = self._check
        seen = self._kind.observe(rgb if check is None else check.view(rgb, track, held), track.box)
        if check is not None:
            seen = check.keeps(rgb, track, seen, held)
        return None if seen is None or self._tracker.is_another(track, seen) else seen

    def _is_search_due(self, held: int) -> bool:
        if held >= self._options.max_instances:
            return False
        return held == 0 or self._since_search >= self._options.search_interval

    def _is_present(self, observation: Observation) -> bool:
        return self._kind.is_present(observation, self._options.min_presence_score)

    def _present(self, rgb: NDArray[np.uint8], boxes: Sequence[RotatedBox]) -> list[Any]:
        return [seen for seen in (self._kind.observe(rgb, box) for box in boxes) if self._is_present(seen)]

    def _clock(self, time: float | None) -> float:
        """A time that moves forward; where the caller's does not, filters start anew."""
        if time is None:
            time = self._time + _NOMINAL_STEP_S if math.isfinite(self._time) else 0.0
        if not math.isfinite(time) or time - self._time < _LEAST_STEP_S:
            if not self._warned:
                _LOG.warning("time %r does not move forward from %r: taken as a new stream", time, self._time)
                self._warned = True
            self._tracker.restart_clock()
            self._reset_gestures()
            time = time if math.isfinite(time) else 0.0
        self._time = time
        return time

    def _without_taken(self, boxes: Sequence[RotatedBox], taken: Sequence[RotatedBox] = ()) -> list[RotatedBox]:
        """Boxes of instances that are not taken; of two of one instance the later stays, as in MediaPipe."""
        kept: list[RotatedBox] = []
        for box in boxes:
            kept = [other for other in kept if not self._is_taken(box, other)]
            kept.append(box)
        return [box for box in kept if not any(self._is_taken(box, other) for other in taken)]

    def _is_taken(self, box: RotatedBox, other: RotatedBox) -> bool:
        most = self._options.thresholds.same_overlap
        return self._kind.is_taken(box, other) if most is None else iou(box, other) > most


def _hands_of(results: Sequence[Result]) -> list[Hand]:
    return [part for one in results for part in one.parts if isinstance(part, Hand)]


class _Batches(Generic[R]):
    """Detectors of stills at work side by side, each in one thread at a time."""

    def __init__(self, another: Callable[[], Detector[R]]) -> None:
        self._another = another
        self._detectors: list[Detector[R]] = []
        self._free: SimpleQueue[Detector[R]] = SimpleQueue()
        # The same threads for all batches: OpenVINO keeps something for each that ever ran a network.
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="sonjit-batch")

    def detect(self, images: Sequence[ImageLike], count: int) -> list[Results[R]]:
        """The results of each image, so many under way at a time; an error of one ends the rest."""
        while len(self._detectors) < count:
            self._detectors.append(self._another())
            self._free.put(self._detectors[-1])
        return list(self._threads.map(self._detect, images))

    def close(self) -> None:
        """Free the networks."""
        self._threads.shutdown()
        for detector in self._detectors:
            detector.close()

    def _detect(self, image: ImageLike) -> Results[R]:
        detector = self._free.get()
        try:
            return detector.detect(image)
        finally:
            self._free.put(detector)


def crop_for(network: Engine, rgb: NDArray[np.uint8], box: RotatedBox) -> None:
    """Cut a box out of an image into a network's input, as exactly as the network runs.

    In f32 that gives MediaPipe's answers; for bf16 the faster warp differs by less than the network's own rounding.
    """
    out = network.input[0]
    if network.precision == "f32":
        crop_on_grid(rgb, box, out)
    else:
        crop(rgb, box, out.shape[1], out.shape[0], out=out)


def expect(engine: Engine, path: Path, what: str, *, size: int | None, outputs: Sequence[int]) -> Engine:
    """The engine itself, if its shapes are those of the network that was meant.

    Args:
        engine: just loaded.
        path: from where, for the message.
        what: the network that was meant, e.g. "palm detector".
        size: side of its square input in pixels; None where any will do.
        outputs: how many numbers each of its outputs holds, in any order.

    Raises:
        InputError: it takes or gives something else.
    """
    height, width = engine.input.shape[1:3]
    if height != width or size not in (None, height) or sorted(engine.output_sizes) != sorted(outputs):
        raise InputError(
            f"{path} is not a {what}: it takes {width} x {height} px and gives {_listed(engine.output_sizes)} numbers, "
            f"not {'any square' if size is None else f'{size} x {size} px'} and {_listed(outputs)}"
        )
    return engine


def _listed(sizes: Sequence[int]) -> str:
    return " + ".join(str(size) for size in sizes)


def keypoint_smoothers(options: DetectorOptions) -> Callable[[], KeypointSmoother | None]:
    """A function that makes a new track's smoother; for kinds where nothing is published."""
    pattern = options.smoothing
    if pattern is None or pattern == "published":
        return lambda: None
    return lambda: KeypointSmoother(pattern)
