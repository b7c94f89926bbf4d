"""Containers of results: `Results`, the list of the results of one image, and `Frame`, an image of a source.

Drawings, tables and previews of them are functions of `sonjit.media`, which are imported when they are called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex, TypeVar, Unpack, cast, overload
from weakref import ref

import numpy as np

from sonjit._util import BoolArray, Float32Array, Image, IndexArray, InputError, IntArray, JsonObject
from sonjit.results.classes import Body, Event, Face, Hand, Instance, MotionEvent, Person
from sonjit.results.schema import RESULT_TYPES, Result, in_image

if TYPE_CHECKING:
    import pandas
    import polars

    from sonjit.media.drawing import DrawingStyle
    from sonjit.media.result_exports import TableOptions
    from sonjit.media.sources.images import ImageLike

R = TypeVar("R", bound=Result)

NO_ID = -1
"""Value of `Results.ids` for a result that is not tracked. Track IDs begin at 1."""


def _of_media(name: str) -> Callable[..., Any]:
    """Return a function of `sonjit.media.result_exports`, which loads slowly and imports this package."""
    return resolve_name(f"sonjit.media.result_exports:{name}")


class Shown(ABC):
    """Results that know their image as long as the caller keeps the image; they do not keep it themselves."""

    __slots__ = ()
    _image: Any

    @property
    def image(self) -> Image:
        """Return the image of the results as uint8 RGB (H, W, 3).

        Raises:
            InputError: The image is no longer available, or it was passed as bytes.
        """
        image = self._image() if isinstance(self._image, ref) else self._image
        if image is None:
            raise InputError(
                "the image of these results is not in memory. Keep it and call sonjit.draw(image, results)"
            )
        return resolve_name("sonjit.media.sources.images:rgb_from")(image)

    @abstractmethod
    def _frame(self) -> Frame:
        """Return the results as a frame."""

    def draw(self, style: DrawingStyle | None = None, *, labels: bool = True) -> Image:
        """Return the image with all results drawn over it; see `sonjit.draw`."""
        image = self.image
        return _of_media("draw")(image, self._frame().in_image(image.shape[1]), style, labels=labels)

    def show(self) -> None:
        """Show the drawn image below the cell of a notebook, or in the image viewer of the system.

        The file for the viewer is removed when the program ends, three seconds after the last call at the earliest.
        """
        _of_media("show")(self)

    @overload
    def to_dataframe(
        self, library: Literal["pandas"] = "pandas", **options: Unpack[TableOptions]
    ) -> pandas.DataFrame: ...
    @overload
    def to_dataframe(self, library: Literal["polars"], **options: Unpack[TableOptions]) -> polars.DataFrame: ...
    def to_dataframe(
        self, library: Literal["pandas", "polars"] = "pandas", **options: Unpack[TableOptions]
    ) -> pandas.DataFrame | polars.DataFrame:
        """Return the results as a data frame; see `sonjit.to_dataframe`."""
        return _of_media("to_dataframe")(self._frame(), library, **options)

    def to_supervision(self, form: Literal["keypoints", "detections"] = "keypoints") -> Any:  # noqa: ANN401  # its types
        """Return the results as `supervision.KeyPoints`, or as `supervision.Detections` with boxes and track IDs.

        Keypoints of people are those of their bodies; detections are also their hands and faces.

        Raises:
            InputError: An unknown form, or results with several numbers of keypoints.
            MissingExtraError: Supervision is not installed.
        """
        return _of_media("to_supervision")(self._frame(), form)

    def _repr_html_(self) -> str:
        """Return a small picture and a line per instance, for notebooks."""
        return _of_media("html_from")(self, self._frame())


class Results(Shown, list[R]):
    """List of the results in one image, which gives their values as arrays, and can be drawn, shown and converted.

    Arrays are made when they are asked for: an edit of them changes no result. Besides a number, an index can be a
    slice, an array of booleans or an array of indices, and selects results of the same image.

    It has only a weak reference to the image. `draw` and `show` require that the program keeps the image, or that the
    image was given as a path. The lists of a `Frame` have no image; the frame has it.

    `keypoint_count` is the number of keypoints K of each result, which is the shape of the arrays of an empty list.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     hands = detector.detect("photo.jpg")
        >>> hands.xy.shape, hands.boxes.shape
        ((2, 21, 2), (2, 4))
        >>> [hand.handedness for hand in hands[hands.xy[:, 0, 0] > 320]]
        ['Left']

    Attributes:
        motions: Motions of hands, if the detector was created with `gestures`.
        complete: True if the search of a still processed all proposals. False if it left out windows because the image
            shows no small instances.
    """

    __slots__ = ("_image", "_keypoint_count", "_total", "complete", "motions")

    def __init__(
        self,
        found: Iterable[R] = (),
        image: ImageLike | None = None,
        motions: Sequence[MotionEvent] = (),
        total: int | None = None,
        complete: bool = True,
        *,
        keypoint_count: int = 0,
    ) -> None:
        super().__init__(found)
        if image is None or isinstance(image, (str, Path)):
            self._image = image
        else:  # bytes have no weak references
            self._image = None if isinstance(image, (bytes, bytearray, memoryview)) else ref(image)
        self.motions = list(motions)
        self.complete = complete
        self._total = total
        self._keypoint_count = keypoint_count

    @property
    def total(self) -> int:
        """Return the number of instances found, also those beyond `max_instances`."""
        return len(self) if self._total is None else self._total

    @property
    def keypoints(self) -> Float32Array:
        """Return the keypoints (N, K, 3) float32: x, y in pixels of the image, z as the results define it.

        Raises:
            InputError: The results have different numbers of keypoints.
        """
        if not self:
            return np.empty((0, self._keypoint_count, 3), np.float32)
        points = [result.keypoints for result in self]
        if len({len(keypoints) for keypoints in points}) > 1:
            raise InputError("the results have several numbers of keypoints. Select those of one kind")
        return np.array(points, np.float32)

    @property
    def xy(self) -> Float32Array:
        """Return x and y (N, K, 2) float32 of the keypoints in pixels of the image."""
        return self.keypoints[..., :2]

    @property
    def scores(self) -> Float32Array:
        """Return the scores (N,) float32, 0..1."""
        return np.array([result.score for result in self], np.float32)

    @property
    def ids(self) -> IntArray:
        """Return the track IDs (N,) int64. They are -1 in stills, where nothing is tracked."""
        return np.array([NO_ID if result.id is None else result.id for result in self], np.int64)

    @property
    def boxes(self) -> Float32Array:
        """Return the boxes (N, 4) float32: x_min, y_min, x_max, y_max in pixels of the image."""
        return np.array([result.box for result in self], np.float32).reshape(-1, 4)

    @overload
    def __getitem__(self, index: SupportsIndex) -> R: ...
    @overload
    def __getitem__(self, index: slice | BoolArray | IndexArray | IntArray | Sequence[int]) -> Self: ...
    def __getitem__(self, index: Any) -> Any:
        """Return one result, or those of a slice, of booleans (N,) or of indices (M,)."""
        if not isinstance(index, (slice, np.ndarray, list)) or getattr(index, "shape", None) == ():
            return super().__getitem__(cast("SupportsIndex", index))
        chosen = np.arange(len(self))[index]
        if chosen.ndim != 1:
            raise IndexError(f"an index has {chosen.ndim} dimensions: give a list or an array of one dimension")
        every = list(self)
        return self._like(every[k] for k in chosen.tolist())

    def _frame(self) -> Frame:
        return Frame.from_results(0, None, self)

    def _like(self, results: Iterable[R]) -> Results[R]:
        """Return a list of other results of the same image."""
        count = self._keypoint_count
        selected = Results(results, None, self.motions, self.total, self.complete, keypoint_count=count)
        selected._image = self._image
        return selected

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the results without the image."""
        state = {"_keypoint_count": self._keypoint_count}
        return Results, (list(self), None, self.motions, self._total, self.complete), (None, state)


def _list_of(kind: type[R]) -> Results[R]:
    """Return an empty list of a type, with the number of keypoints of its first skeleton."""
    return Results[R](keypoint_count=next(iter(kind.skeletons)))


@dataclass(slots=True)
class Frame(Shown):
    """Results of one image of a source.

    Attributes:
        index: Position in the source, from 0.
        time: Time in seconds from the start of the video; None for stills.
        hands, faces, bodies, people: Results of each type, with arrays such as `hands.xy`; empty if none was found or
            requested.
        source: File of the image in a folder of stills; otherwise None.
        others: Results of registered types, by the name of their list.
        motions: Motions of hands, if the detector was created with `gestures`.
        measures: Measures by name of each instance in the order of `instances()`, if `sonjit.track` was called with
            `measures=True` or `count`.
        events: Events that begin or end in this frame of a stream: held gestures and motions, if the detector was
            created with `gestures`, and measures that cross limits.
    """

    index: int
    time: float | None
    hands: Results[Hand] = field(default_factory=lambda: _list_of(Hand))
    source: str | None = None
    faces: Results[Face] = field(default_factory=lambda: _list_of(Face))
    bodies: Results[Body] = field(default_factory=lambda: _list_of(Body))
    people: Results[Person] = field(default_factory=lambda: _list_of(Person))
    others: dict[str, Results[Result]] = field(default_factory=dict[str, Results[Result]])
    motions: list[MotionEvent] = field(default_factory=list[MotionEvent])
    measures: list[dict[str, float | str | None]] = field(default_factory=list[dict[str, "float | str | None"]])
    events: list[Event] = field(default_factory=list[Event])
    _hidden: int = field(default=0, init=False, compare=False, repr=False)
    _image: Any = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in RESULT_TYPES.keys() & {*Frame.__slots__}:
            if not isinstance(getattr(self, name), Results):  # a program may give plain lists
                setattr(self, name, Results(getattr(self, name)))

    @property
    def total(self) -> int:
        """Return the number of instances found, also those beyond `max_instances`."""
        return sum(1 for _ in self.all_results()) + self._hidden

    @classmethod
    def of(cls, frame: Frame, image: Image, hidden: int = 0) -> Self:
        """Return a frame with its image (H, W, 3) and the number of instances beyond `max_instances`.

        It knows the image as long as the caller keeps it.
        """
        complete = cls(*(getattr(frame, name) for name in Frame.__slots__ if not name.startswith("_")))
        complete._image, complete._hidden = ref(image), hidden
        return complete

    def _frame(self) -> Frame:
        return self

    @classmethod
    def from_results(cls, index: int, time: float | None, found: Iterable[Result], source: str | None = None) -> Self:
        """Return a frame with results, each in the list of its type."""
        frame = cls(index, time, source=source)
        frame.add(found)
        return frame

    def add(self, results: Iterable[Result]) -> None:
        """Append results to the lists of their types."""
        for result in results:
            name = result.list_name
            stored = (
                getattr(self, name) if name in Frame.__slots__ else self.others.setdefault(name, _list_of(type(result)))
            )
            stored.append(result)

    def results(self, list_name: str) -> Results[Result]:
        """Return the results of one list: `frame.results("hands")` is `frame.hands`."""
        return getattr(self, list_name) if list_name in Frame.__slots__ else self.others.get(list_name, Results())

    def all_results(self) -> Iterator[Result]:
        """Return the results of all lists."""
        for list_name in RESULT_TYPES:
            yield from self.results(list_name)

    def instances(self) -> Iterator[tuple[int, Instance]]:
        """Return each instance with keypoints and its index in its list. Parts have the index of their person."""
        for list_name in RESULT_TYPES:
            for number, result in enumerate(self.results(list_name)):
                for part in result.parts:
                    yield number, cast("Instance", part)

    def parts_of(self, kind: type[R]) -> Iterator[R]:
        """Return the instances of a type, such as `Body`, including those of people."""
        return (part for _, part in self.instances() if isinstance(part, kind))

    def in_image(self, width: int) -> Frame:
        """Return the results as they lie on the image of that width in pixels, without `flip_horizontal`.

        Drawings, masks and labels of the image use it.
        """
        results = [*self.all_results()]
        if not any(result.is_flipped for result in results):
            return self
        shown = Frame.from_results(self.index, self.time, [in_image(each, width) for each in results], self.source)
        shown.motions, shown.measures, shown.events = self.motions, self.measures, self.events
        return shown

    def to_dict(self, lists: Sequence[str] = ("hands",)) -> JsonObject:
        """Return "index", "time", lists, "source" for a folder of stills, "motions" and "events" if any.

        Args:
            lists: Names of lists to write even if they are empty, such as "hands" or "people".
        """
        result: JsonObject = {"index": self.index, "time": self.time}
        if self.source is not None:
            result["source"] = self.source
        for name in RESULT_TYPES:
            results = self.results(name)
            if results or name in lists:
                result[name] = [instance.to_dict(full=True) for instance in results]
        if self.motions:
            result["motions"] = [motion.to_dict() for motion in self.motions]
        if self.events:
            result["events"] = [event.to_dict() for event in self.events]
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create a frame from the values that `to_dict` wrote."""
        frame = cls(data["index"], data["time"], source=data.get("source"))
        for name, kind in RESULT_TYPES.items():
            frame.add(kind.from_dict(item) for item in data.get(name, []))
        frame.motions.extend(map(MotionEvent.from_dict, data.get("motions", [])))
        frame.events.extend(map(Event.from_dict, data.get("events", [])))
        return frame

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the frame without the image."""
        return Frame, tuple(getattr(self, name) for name in Frame.__slots__ if not name.startswith("_"))
