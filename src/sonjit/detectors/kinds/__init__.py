"""Hands, faces, bodies and whole people: the table of kinds, with what differs between them.

A kind of your own is made known with `register_kind`; `create_detector`, the command line, tables, the server and
the page then have it. Its result type is registered with `sonjit.results.register_result`, how it is drawn with
`sonjit.media.drawing.register_drawing`, and its measures with `sonjit.measures.register_measures`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from sonjit.detectors.options import OPTIONS, DetectorOptions, Option
from sonjit.errors import InputError
from sonjit.extensions import Registry
from sonjit.results import Body, Face, Hand, Person, Result

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import Kind, Spread, Thorough
    from sonjit.detectors.options import OptionValue
    from sonjit.detectors.smoothing import FilterChoice, Smoother

    Loader = Callable[[DetectorOptions], Kind[Any, Any]]
    NewSmoother = Callable[[], Smoother[Any] | None]
    Smoothers = Callable[[DetectorOptions], NewSmoother]


@dataclass(frozen=True)
class Model:
    """One model of a kind.

    Attributes:
        name: as it is asked for.
        weights: names of the published files in the catalogue that it is made of, by what they are for.
        min_detection_score: of what a search finds, where the caller gives none.
        is_box: it gives boxes, which have columns of their own in tables and no measures.
    """

    name: str
    weights: Mapping[str, str]
    min_detection_score: float = 0.5
    is_box: bool = False


@dataclass(frozen=True)
class KindEntry:
    """What is known of a kind before anything is loaded.

    Attributes:
        name: as `create_detector` takes it.
        result: what its detectors give; its `list_name` is the list of a frame.
        summary: one line for the command line: what is found.
        plural: what several of them are called in a message.
        models: by name, the default first.
        model_help: what the models are good for.
        load: makes the pipeline's `Kind` with its networks; the function, or its place as "module:function".
        smoothers: gives what makes a new track's smoother; "published" smooths nothing by default.
        search: makes a thorough search for a kind that was loaded, or its place; None where there is none.
        search_weights: names in the catalogue of the networks that it needs besides the model's own, for stills.
        stream_search: makes the search of streams that is spread over their frames, and checks what is found, or its
            place; None where there is none.
        max_instances: where the caller gives none.
        stream_smoothing: name of the smoothing of videos and cameras where none is given.
        instances: kinds of what has keypoints in its results: ("hand",).
        own_options: that no other kind has and `OPTIONS` lacks.
        examples: calls of the command line, each with what it does, as they are in the help.
        weight_groups: of the catalogue, that `sonjit models pull` fetches for it.
    """

    name: str
    result: type[Result]
    summary: str
    plural: str
    models: Mapping[str, Model]
    model_help: str
    load: Loader | str
    smoothers: Smoothers | str = "sonjit.detectors.pipeline:keypoint_smoothers"
    search: str | Callable[[DetectorOptions, Any], Thorough[Any] | None] | None = None
    search_weights: tuple[str, ...] = ()
    stream_search: str | Callable[[DetectorOptions, Any], Spread[Any]] | None = None
    max_instances: int = 1
    stream_smoothing: str = "one_euro"
    instances: tuple[str, ...] = ()
    own_options: tuple[Option, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    weight_groups: tuple[str, ...] = ()

    @property
    def list_name(self) -> str:
        """Of the list of a frame that holds its results."""
        return self.result.list_name

    def make_search(self, options: DetectorOptions, kind: Kind[Any, Any]) -> Thorough[Any] | None:
        """A thorough search for a loaded kind; None where it has none."""
        made = cast("Callable[[DetectorOptions, Any], Thorough[Any] | None] | None", _resolved(self.search))
        return None if made is None else made(options, kind)

    def make_stream_search(self, options: DetectorOptions, kind: Kind[Any, Any]) -> Spread[Any] | None:
        """A search spread over the frames of a stream for a loaded kind; None where it has none."""
        made = cast("Callable[[DetectorOptions, Any], Spread[Any]] | None", _resolved(self.stream_search))
        return None if made is None or self.models[options.model].is_box else made(options, kind)

    @property
    def loader(self) -> Loader:
        """The function behind `load`."""
        return cast("Loader", _resolved(self.load))

    @property
    def new_smoothers(self) -> Smoothers:
        """The function behind `smoothers`."""
        return cast("Smoothers", _resolved(self.smoothers))


def _resolved(place: object) -> object:
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


_FIELDS = frozenset(item.name for item in fields(DetectorOptions))

KINDS: Registry[KindEntry] = Registry("kind")
"""Every kind by name."""


def register_kind(entry: KindEntry) -> KindEntry:
    """Make a kind known.

    Raises:
        InputError: there is one of that name.
    """
    return KINDS.add(entry.name, entry)


def find_kind(name: str) -> KindEntry:
    """The kind of that name; InputError with the list of known ones where there is none."""
    return KINDS.find(name)


def find_model(name: str) -> tuple[KindEntry, Model]:
    """Kind and model of a name such as `hands-full`; the kind alone stands for its default model."""
    kind, _, model = name.partition("-")
    entry = find_kind(kind)
    model = model or next(iter(entry.models))
    if model not in entry.models:
        raise InputError(f"unknown {kind} model {model!r}; known: {', '.join(entry.models)}")
    return entry, entry.models[model]


def _table(*models: Model) -> dict[str, Model]:
    return {model.name: model for model in models}


def _hands(name: str) -> Model:
    return Model(name, {"detector": f"palm-{name}", "landmark": f"hand-{name}"})


def _mesh(name: str) -> Model:
    return Model(name, {"detector": "face-short", "landmark": f"face-{name}"})


def _body(name: str) -> Model:
    return Model(name, {"detector": "pose-detector", "landmark": f"body-{name}"})


def _holistic(name: str, hand: str, face: str) -> Model:
    hands, faces = _hands(hand).weights["landmark"], _mesh(face).weights
    parts = {"hand": hands, "face": faces["landmark"], "face_detector": faces["detector"], "recrop": "hand-recrop"}
    return Model(name, {**_body(name).weights, **parts})


register_kind(KindEntry(
    name="hands",
    result=Hand,
    summary="Find hands: 21 keypoints each, left or right, in pixels and in metres.",
    plural="hands",
    models=_table(_hands("full"), _hands("lite")),
    model_help="lite is faster, full more exact.",
    load="sonjit.detectors.kinds.hands:load_hands",
    max_instances=2,
    instances=("hand",),
    search="sonjit.detectors.search.load:search_hands",
    stream_search="sonjit.detectors.search.streams:hands_in_streams",
    search_weights=("face-full", "body-full"),
    examples=(
        ("sonjit hands photo.jpg", "prints what is in an image."),
        ("sonjit hands clip.mp4 --save clip.csv --draw clip-drawn.mp4", "writes a table and a drawn video."),
        ("sonjit hands recordings/ --save tables/ --jobs 4", "writes one table per file; run it again to go on."),
        ("sonjit hands camera:0 --mirrored --draw me.mp4", "records until Ctrl-C."),
        ("sonjit hands photo.jpg --lift internet --lift-weights snapshot_20.pth.tar --save hands.json",
         "puts them into the camera's space, with InterNet's weights."),
    ),
    weight_groups=("hands",),
))  # fmt: skip
register_kind(KindEntry(
    name="face",
    result=Face,
    summary="Find faces: a mesh of 478 keypoints with lips, eyes and irises, or boxes. Nothing identifies a person.",
    plural="faces",
    models=_table(
        _mesh("attention"),
        _mesh("mesh"),
        Model("box", {"detector": "face-short"}, is_box=True),
        Model("box-full", {"detector": "face-full"}, min_detection_score=0.6, is_box=True),
    ),
    model_help="attention refines lips, eyes and irises; mesh is faster; box and box-full (to about 5 m) give boxes.",
    load="sonjit.detectors.kinds.face:load_faces",
    smoothers="sonjit.detectors.kinds.face:face_smoothers",
    instances=("face",),
    search="sonjit.detectors.search.load:search_faces",
    stream_search="sonjit.detectors.search.streams:faces_in_streams",
    search_weights=("face-full",),
    examples=(
        ("sonjit face photo.jpg --draw drawn.jpg", "draws the mesh."),
        ("sonjit face clip.mp4 --save clip.parquet --measures --max-instances 3", "writes head pose and openness too."),
        ("sonjit face crowd.jpg --model box-full --max-instances 50 --save boxes.json", "finds small faces as boxes."),
    ),
    weight_groups=("face",),
))  # fmt: skip
register_kind(KindEntry(
    name="body",
    result=Body,
    summary="Find bodies: 33 keypoints each with visibility, in pixels and in metres, of one or several people.",
    plural="bodies",
    models=_table(_body("full"), _body("lite"), _body("heavy")),
    model_help="lite is fastest, heavy most exact.",
    load="sonjit.detectors.kinds.body:load_bodies",
    smoothers="sonjit.detectors.kinds.body:body_smoothers",
    stream_smoothing="published",
    instances=("body",),
    search="sonjit.detectors.search.load:search_bodies",
    stream_search="sonjit.detectors.search.streams:bodies_in_streams",
    search_weights=("face-full", "face-short", "face-attention"),
    examples=(
        ("sonjit body clip.mp4 --save clip.csv --measures --draw drawn.mp4", "writes joint angles too."),
        ("sonjit body clip.mp4 --mask cutout.webm", "writes the people without their background."),
        ("sonjit body squats.mp4 --count left_knee_angle_rad --draw counted.mp4", "counts squats."),
        ("sonjit models pull body-lite body-heavy", "fetches the two other sizes."),
    ),
    weight_groups=("body",),
))  # fmt: skip
register_kind(KindEntry(
    name="holistic",
    result=Person,
    summary="Find people: each body with its own hands and face.",
    plural="people",
    models=_table(
        _holistic("full", "full", "attention"),
        _holistic("lite", "lite", "mesh"),
        _holistic("heavy", "full", "attention"),
    ),
    model_help="Of the body; lite takes the lighter hand and face networks too.",
    load="sonjit.detectors.kinds.holistic:load_holistic",
    smoothers="sonjit.detectors.kinds.body:body_smoothers",
    stream_smoothing="published",
    instances=("body", "hand", "face"),
    search="sonjit.detectors.search.load:search_people",
    stream_search="sonjit.detectors.search.streams:people_in_streams",
    search_weights=("face-full", "palm-full"),
    examples=(("sonjit holistic clip.mp4 --max-instances 2 --save clip.json --draw drawn.mp4", "follows two people."),),
    weight_groups=("hands", "face", "body", "holistic"),
))  # fmt: skip


def options_of(entry: KindEntry) -> dict[str, Option]:
    """The options that a kind knows, by name; `model` with the kind's own choices."""
    known = [one for one in OPTIONS if one.kinds is None or entry.name in one.kinds]
    models = Option(
        "model",
        "string",
        entry.model_help,
        default=next(iter(entry.models)),
        choices=tuple(entry.models),
        kinds=(entry.name,),
    )
    return {one.name: one for one in (models, *known[1:], *entry.own_options)}


def checked_options(entry: KindEntry, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Given options of a kind as their types; None is left out, as is the default of an option it does not have.

    Raises:
        InputError: the kind does not know one, or its value is none that it takes.
    """
    known, idle = options_of(entry), {one.name: one.default for one in OPTIONS}
    values: dict[str, OptionValue] = {}
    for name, value in given.items():
        if name in known and value is not None:
            values[name] = known[name].check(value)
        elif name not in known and value is not None and value != idle.get(name):
            raise InputError(f"{name}={value!r}: {entry.name} has no option {name}; known: {', '.join(known)}")
    return values


def filled_options(entry: KindEntry, given: Mapping[str, OptionValue], *, smoothing: FilterChoice) -> DetectorOptions:
    """The record of a kind's options: what is given, and the defaults of the kind, its model and `OPTIONS`.

    Args:
        entry: of the kind.
        given: by name, as `checked_options` gives them; None is "not given".
        smoothing: in place of the name.
    """
    model = entry.models[str(given.get("model") or next(iter(entry.models)))]
    values: dict[str, OptionValue] = {one.name: one.default for one in options_of(entry).values()}
    values |= {
        "model": model.name,
        "max_instances": entry.max_instances,
        "min_detection_score": model.min_detection_score,
        "static_image": False,
    }
    values |= {name: value for name, value in given.items() if value is not None}
    values["smoothing"] = smoothing
    own = {name: value for name, value in values.items() if name not in _FIELDS}
    shared = {name: value for name, value in values.items() if name in _FIELDS}
    return DetectorOptions(entry.name, own=own, **shared)  # pyright: ignore[reportArgumentType]  # checked by `Option`
