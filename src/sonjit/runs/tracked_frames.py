"""A detector over images, videos or a camera, as one loop."""

import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, cast, overload

import numpy as np

from sonjit._util import InputError, InputNote, InputWarning
from sonjit.detectors.create import KindName, detector_for_input
from sonjit.detectors.kinds import KINDS, options_of
from sonjit.detectors.options import is_still
from sonjit.detectors.pipeline import Detector, with_last
from sonjit.gestures.classifier import CANNED
from sonjit.media.sources import ImageSource, Reading
from sonjit.media.sources.base import Source, SourceKind
from sonjit.media.sources.images import ImageLike, rgb_from
from sonjit.results import Frame
from sonjit.runs.annotations import AngleLimits, EventLimits, count_columns
from sonjit.runs.inputs import Inputs, is_video
from sonjit.runs.session import Session

Trackable: TypeAlias = "Source | ImageLike | Iterable[ImageLike]"  # inputs of `track`
_OPTIONS_OF_NAMES = "options apply only to the name of a detector. Pass them to create_detector"

if TYPE_CHECKING:  # Python itself does not know `extra_items` yet, see PEP 728
    from sonjit.detectors import arguments

    class TrackArguments(TypedDict, total=False):
        """Arguments of `track` with all detectors."""

        measures: bool
        count: str | Sequence[str]
        events: Sequence[str]
        fps: float | None
        start_s: float
        end_s: float | None
        every: int
        roi: tuple[int, int, int, int] | None

    class TrackDetectorArguments(TrackArguments, extra_items=arguments.NoSuchOption):
        """Arguments of `track` with a detector."""

    class TrackHandArguments(TrackArguments, arguments.HandArguments, extra_items=arguments.NoSuchOption):
        """Arguments of `track` with hands."""

    class TrackFaceArguments(TrackArguments, arguments.FaceArguments, extra_items=arguments.NoSuchOption):
        """Arguments of `track` with faces."""

    class TrackBodyArguments(TrackArguments, arguments.BodyArguments, extra_items=arguments.NoSuchOption):
        """Arguments of `track` with bodies."""

    class TrackHolisticArguments(TrackArguments, arguments.HolisticArguments, extra_items=arguments.NoSuchOption):
        """Arguments of `track` with people."""

    class TrackNamedArguments(TrackArguments, extra_items=object):
        """Arguments of `track` with the name of a registered kind."""


@overload
def track(
    source: Trackable, detector: Literal["hands"] = "hands", **options: "Unpack[TrackHandArguments]"
) -> Iterator[Frame]: ...


@overload
def track(source: Trackable, detector: Literal["face"], **options: "Unpack[TrackFaceArguments]") -> Iterator[Frame]: ...


@overload
def track(source: Trackable, detector: Literal["body"], **options: "Unpack[TrackBodyArguments]") -> Iterator[Frame]: ...


@overload
def track(
    source: Trackable, detector: Literal["holistic"], **options: "Unpack[TrackHolisticArguments]"
) -> Iterator[Frame]: ...


@overload
def track(
    source: Trackable, detector: Detector[Any], **options: "Unpack[TrackDetectorArguments]"
) -> Iterator[Frame]: ...


@overload
def track(source: Trackable, detector: KindName, **options: "Unpack[TrackNamedArguments]") -> Iterator[Frame]: ...


def track(
    source: Trackable,
    detector: str | Detector[Any] = "hands",
    *,
    measures: bool = False,
    count: str | Sequence[str] = (),
    events: Sequence[str] = (),
    fps: float | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    every: int = 1,
    roi: tuple[int, int, int, int] | None = None,
    **options: object,
) -> Iterator[Frame]:
    """Detect instances in each image of an input, frame by frame.

    Args:
        source: Images, videos, folders and globs, one or a list; or `camera:0`, or an open source. Images and videos of
            a folder, a glob or a list come one after the other. `frame.source` names their file. Also RGB arrays,
            encoded images as bytes and PIL images, one or an iterable, which `frame.source` names `image 0` and so on.
        detector: `"hands"`, `"face"`, `"body"`, `"holistic"`, or a detector, which is not closed.
        measures: Add the measures of each instance to `frame.measures`, and classify gestures.
        count: Angle, or several, whose repetitions to count, such as `"left_knee_angle_rad"` or with limits in degrees
            `"left_elbow_angle_rad:70:140"`. The count is `repetitions` in `frame.measures`, for several angles
            `repetitions_left_elbow_angle`, and each repetition that ends is an event.
        events: Measures that make events, each as `"NAME:BEGIN:END"`, with limits of angles in degrees.
        fps: Frames per second, as in `open_source`. A folder of images is then one recording.
        start_s: Time of the first frame of a video in seconds.
        end_s: Time from which frames are not read; None for the end.
        every: Process only frames whose index is a multiple of this number.
        roi: Region x, y, width and height in pixels that is searched. Results are in coordinates of the image.
        options: Options of `sonjit.create_detector`, if the detector is a name. Images are processed as stills.

    Yields:
        Frames: `hands`, `faces`, `bodies` or `people`, `index`, `time` in seconds, and with `gestures` `motions` and
        `events`. The last frame of a recording has the ends of all motions and events. `image` (H, W, 3) exists until
        the next frame. `total` also counts the instances beyond `max_instances`.

    Raises:
        InputError: An input does not exist or cannot be read, or an option is unknown. A file of several that cannot be
            read is a warning.

    Example:
        >>> for frame in sonjit.track("clip.mp4", "hands"):
        ...     if frame.index % 5 == 0:
        ...         print(f"{frame.time:.2f} s", [(hand.id, hand.side) for hand in frame.hands])
        0.00 s [(1, 'Left'), (2, 'Right')]
        0.17 s [(1, 'Left'), (2, 'Right')]
        0.33 s [(1, 'Left'), (2, 'Right')]
    """
    if not isinstance(detector, str) and options:
        raise InputError(f"{', '.join(options)}: {_OPTIONS_OF_NAMES}")
    if isinstance(detector, str) and measures and "gestures" in options_of(KINDS.find(detector)):
        options.setdefault("gestures", CANNED)
    reading = Reading(fps, start_s, end_s, every)
    kind = detector if isinstance(detector, str) or not (count or events) else detector.kind
    counted = [AngleLimits.from_text(text, str(kind)) for text in ([count] if isinstance(count, str) else count or ())]
    count_columns(counted)
    crossings = [EventLimits.from_text(text, str(kind)) for text in events]
    new_session = partial(Session, events=crossings, count=counted, measures=measures or bool(counted), roi=roi)
    has_ends = bool(crossings) or options.get("gestures") is not None or not isinstance(detector, str)
    return _detect(_sources(source, reading), detector, options, new_session, has_ends=has_ends)


def _detect(
    sources: Generator[tuple[Source, int | None, str | None]],
    detector: str | Detector[Any],
    options: Mapping[str, object],
    new_session: Callable[[Sequence[Detector[Any]]], Session],
    *,
    has_ends: bool,
) -> Generator[Frame]:
    """Yield the frames of all sources. With `has_ends`, the last frame of a recording may have ends of events."""
    with ExitStack() as stack:
        detectors: dict[SourceKind, Detector[Any]] = {}
        for opened, index, label in stack.enter_context(closing(sources)):
            if isinstance(detector, str) and opened.kind not in detectors:
                made = detector_for_input(detector, options, opened.kind, is_live=opened.live)
                detectors[opened.kind] = stack.enter_context(made)
            finder = detectors[opened.kind] if isinstance(detector, str) else detector
            if not is_still(opened.kind):  # identities and filters belong to one recording
                finder.reset()
            session = new_session([finder])
            found = session.frames(opened, opened, index=index, label=label)
            # The source frames keep the images.
            frames = ((Frame.of(frame, source.rgb, session.hidden), source) for source, frame in found)
            looks_ahead = has_ends and not opened.live  # a camera would lag by a frame
            for (frame, _), is_last in with_last(frames) if looks_ahead else ((pair, False) for pair in frames):
                frame.source = opened.name if frame.source is None else frame.source  # frames may be joined
                if is_last:
                    motions, ends = session.finish()
                    frame.motions += motions
                    frame.events += ends
                yield frame
            for note in dict.fromkeys(opened.notes):
                warnings.warn(note, InputNote, stacklevel=3)
            for problem in opened.problems:
                warnings.warn(problem, InputWarning, stacklevel=3)


def _sources(source: Trackable, reading: Reading) -> Generator[tuple[Source, int | None, str | None]]:
    """Yield each open source with its index and name among several files."""
    if isinstance(source, Source):
        yield source, None, None
        return
    if isinstance(source, int):
        raise InputError(f"{source} is no input. Name a camera as 'camera:{source}'")
    items: Iterator[Any] = iter([source] if _is_image(source) else cast("Iterable[ImageLike]", source))
    first = next(items, None)
    named = [] if first is None else [first]
    if isinstance(first, (str, os.PathLike)):
        named += items
    if not all(isinstance(name, (str, os.PathLike)) for name in named):
        yield from _image_sources(chain(named, items))
        return
    inputs = Inputs.find(map(os.fspath, named), reading)
    for note in inputs.notes:
        warnings.warn(note, InputNote, stacklevel=4)
    if inputs.files is None:
        with inputs.open_one() as opened:
            yield opened, None, None
        return
    if not any(map(is_video, inputs.files)):  # one source reads images ahead
        with inputs.open_all(videos=False) as opened:
            yield opened, None, None
        return
    is_any_readable = False
    for index, (file, label) in enumerate(zip(inputs.files, inputs.labels, strict=True)):
        try:
            opened = reading.open(file)
        except InputError as error:
            warnings.warn(str(error), InputWarning, stacklevel=4)
            continue
        is_any_readable = True
        with opened:
            yield opened, index, label
    if not is_any_readable:
        raise InputError(f"{inputs.name}: none of the {len(inputs.files)} files can be read")


def _is_image(source: Trackable) -> bool:
    """Check whether an input is a path or one image, and no iterable of them."""
    if isinstance(source, np.ndarray):
        return source.ndim < 4
    return isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(source, "getbands")


def _image_sources(images: Iterable[ImageLike]) -> Generator[tuple[Source, int, str]]:
    """Yield a source for each image. One that cannot be read is a warning."""
    is_any_readable = False
    for index, image in enumerate(images):
        label = os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"
        try:
            opened = ImageSource(label, rgb_from(image))
        except InputError as error:
            warnings.warn(f"{label}: {error}", InputWarning, stacklevel=5)
            continue
        is_any_readable = True
        yield opened, index, label
    if not is_any_readable:
        raise InputError("none of the images can be read")
