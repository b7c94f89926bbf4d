"""`create_detector`: from names and options to a running detector."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

from sonjit.detectors.kinds import checked_options, filled_options, find_kind
from sonjit.detectors.options import filter_from_name
from sonjit.detectors.pipeline import Detector
from sonjit.detectors.tracking import Tracker
from sonjit.errors import InputError

if TYPE_CHECKING:
    from os import PathLike

    from sonjit.detectors.interfaces import Kind, Thorough
    from sonjit.detectors.kinds import KindEntry
    from sonjit.detectors.options import DetectorOptions, OptionValue
    from sonjit.detectors.smoothing import Filter
    from sonjit.engines import EngineName, Precision
    from sonjit.results import Body, Face, Hand, Person, Result


@overload
def create_detector(
    kind: Literal["hands"] = "hands",
    *,
    model: Literal["lite", "full"] | None = None,
    max_instances: int | None = None,
    static_image: bool = False,
    mirrored: bool = False,
    flip_horizontal: bool = False,
    smoothing: Literal["published", "one_euro"] | Filter | None = "published",
    min_detection_score: float | None = None,
    min_presence_score: float = 0.5,
    search_interval: int = 5,
    search: Literal["auto", "fast", "thorough"] = "auto",
    visibility: bool = False,
    gestures: str | PathLike[str] | None = None,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    device: str = "CPU",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Detector[Hand]: ...


@overload
def create_detector(  # pyright: ignore[reportOverlappingOverload]  # faces lack options that the last one takes
    kind: Literal["face"],
    *,
    model: Literal["attention", "mesh", "box", "box-full"] | None = None,
    max_instances: int | None = None,
    static_image: bool = False,
    flip_horizontal: bool = False,
    smoothing: Literal["published", "one_euro"] | Filter | None = "published",
    min_detection_score: float | None = None,
    min_presence_score: float = 0.5,
    search_interval: int = 5,
    search: Literal["auto", "fast", "thorough"] = "auto",
    blendshapes: bool = False,
    transform: bool = False,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    device: str = "CPU",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Detector[Face]: ...


@overload
def create_detector(
    kind: Literal["body"],
    *,
    model: Literal["lite", "full", "heavy"] | None = None,
    max_instances: int | None = None,
    static_image: bool = False,
    mirrored: bool = False,
    flip_horizontal: bool = False,
    smoothing: Literal["published", "one_euro"] | Filter | None = "published",
    min_detection_score: float | None = None,
    min_presence_score: float = 0.5,
    search_interval: int = 5,
    search: Literal["auto", "fast", "thorough"] = "auto",
    segmentation: bool = False,
    smooth_segmentation: bool = True,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    device: str = "CPU",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Detector[Body]: ...


@overload
def create_detector(
    kind: Literal["holistic"],
    *,
    model: Literal["lite", "full", "heavy"] | None = None,
    max_instances: int | None = None,
    static_image: bool = False,
    mirrored: bool = False,
    flip_horizontal: bool = False,
    smoothing: Literal["published", "one_euro"] | Filter | None = "published",
    min_detection_score: float | None = None,
    min_presence_score: float = 0.5,
    search_interval: int = 5,
    search: Literal["auto", "fast", "thorough"] = "auto",
    segmentation: bool = False,
    smooth_segmentation: bool = True,
    gestures: str | PathLike[str] | None = None,
    blendshapes: bool = False,
    hand_model: Literal["lite", "full"] | None = None,
    face_model: Literal["mesh", "attention"] | None = None,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    device: str = "CPU",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Detector[Person]: ...


@overload
def create_detector(kind: str, **options: Any) -> Detector[Result]: ...  # noqa: ANN401  # one registered from outside


def create_detector(
    kind: str = "hands",
    *,
    model: str | None = None,
    max_instances: int | None = None,
    static_image: bool = False,
    mirrored: bool = False,
    flip_horizontal: bool = False,
    smoothing: str | Filter | None = "published",
    min_detection_score: float | None = None,
    min_presence_score: float = 0.5,
    search_interval: int = 5,
    search: Literal["auto", "fast", "thorough"] = "auto",
    segmentation: bool = False,
    smooth_segmentation: bool = True,
    visibility: bool = False,
    gestures: str | PathLike[str] | None = None,
    blendshapes: bool = False,
    transform: bool = False,
    hand_model: str | None = None,
    face_model: str | None = None,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    device: str = "CPU",
    precision: Precision = "auto",
    threads: int | None = None,
    **own: OptionValue,
) -> Detector[Any]:
    """Make a detector.

    Args:
        kind: what to find: `"hands"`, `"face"`, `"body"`, `"holistic"`, or one that was registered.
        model: hands: `"lite"` or `"full"` (default); face: `"box"` (box and 6 keypoints), `"box-full"` (the same for
            faces up to 5 m away), `"mesh"` (468 landmarks) or `"attention"` (478 with exact lips, eyes and irises,
            default); body: `"lite"`, `"full"` (default) or `"heavy"`.
        max_instances: how many to hold at most; by default 2 hands, 1 face or 1 body.
        static_image: every image stands alone; otherwise images are frames of one stream, in order.
        mirrored: the input is a selfie view, left and right exchanged in the image. `handedness` is the person's
            own hand either way, and a body's left and right its own.
        flip_horizontal: flip the x of the output, which a mirrored canvas needs.
        smoothing: None; `"published"`: what MediaPipe's own graph does (One-Euro for bodies, nothing for hands and
            faces); `"one_euro"`; or a filter object (see `Filter`). Stills are never smoothed.
        min_detection_score: of a palm, face or person, 0..1; by default 0.5, of `"box-full"` 0.6.
        min_presence_score: of an instance in its crop, 0..1; it must be larger than this. Boxes alone have none.
        search_interval: frames between searches for more instances while some are held but fewer than
            `max_instances`; 1 searches on every frame, as MediaPipe does.
        search: `"fast"`: the whole image, as MediaPipe searches it. `"thorough"`: then also where faces and arms point,
            and windows, each find scored by further inferences: 1.8 times the hands in snapshots, in mostly three to
            ten times the time; their `score` is then a calibrated probability. `"auto"`: thorough for stills; in
            streams a window beside the published search while there is room, bodies that show no face must be seen with
            their back to the camera, and of two detections of one hand one is kept. Both need further networks, which
            `sonjit models pull` fetches with the kind's own.
        segmentation: give each body its mask.
        smooth_segmentation: and smooth masks over time.
        visibility: give each keypoint of `"hands"` the probability that it is seen, and left or right with a
            calibrated probability, both by heads of our own (docs/hand-heads.md). Bodies always have visibility.
        gestures: tell what each hand of `"hands"` or `"holistic"` says, in its `gesture`: `"canned"`, the shipped
            gestures; `"asl"`, the letters of American Sign Language before these; or a file of your own, which
            `sonjit gestures train` wrote, before these. In streams they are steady over time.
        blendshapes: give each face its 52 blendshapes. They need MediaPipe's `face_landmarker.task`, for `"holistic"`
            `holistic_landmarker.task`, given as `landmark_model` or registered with `sonjit models add`; its other
            networks are then used too.
        transform: give each face its pose in metric space, (4, 4); needs the same.
        hand_model: of `"holistic"`; by default lite beside a lite body, else full.
        face_model: of `"holistic"`; by default mesh beside a lite body, else attention.
        models_dir: folder with the published weight files, instead of the cache.
        detector_model: a palm, face or person detector of your own, `.tflite`, `.onnx` or `.xml`.
        landmark_model: a landmark network of your own; or one of MediaPipe's task bundles, `hand_landmarker.task`
            say, whose detector is taken too, by its path or the name under which `sonjit models add` knows it.
        engine: `"openvino"` or `"onnxruntime"`.
        device: `cpu`, `gpu`, `npu` or `auto`; of onnxruntime also `cuda`, `tensorrt`, `coreml`, `directml`.
        precision: `auto` takes bf16 where the CPU has it natively, else f32, as far as the network bears
            it: faces and most bodies are f32. `int8` takes the networks that `sonjit models quantize` wrote; a
            palm detector that it did not write, other boxes and the attention mesh are in f32 then.
        threads: 0 for all cores; where not given SONJIT_THREADS, else all cores (faces: one, they are that small).
        own: options that a kind registered from outside brings.

    Raises:
        InputError: an unknown name, an option that the kind does not know, a value that can find nothing, or a model
            file that is missing; the message says what to do.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     [hand.handedness for hand in detector.detect("photo.jpg")]
        ['Left', 'Right']
    """
    options = {name: value for name, value in locals().items() if name not in ("kind", "smoothing", "own")} | own
    options["gestures"] = gestures if gestures is None or isinstance(gestures, str) else str(gestures)
    entry = find_kind(kind)
    return detector_from(filled_options(entry, checked_options(entry, options), smoothing=filter_from_name(smoothing)))


def detector_from(options: DetectorOptions) -> Detector[Any]:
    """A detector of options that are checked and filled in."""
    entry = find_kind(options.kind)
    kind = entry.loader(options)
    search = _search(entry, options, kind) if options.is_thorough else None
    spread = entry.make_stream_search(options, kind) if options.spreads_windows else None
    tracker = Tracker(
        entry.new_smoothers(options),
        one_reading=options.search != "fast",
        move=kind.moved if options.search != "fast" else None,
        most=options.max_instances,
        core=kind.core,
    )
    one_of_several = replace(options, threads=1, shared=True)
    own = {"detector": options.detector_model, "landmark": options.landmark_model}
    networks = dict(entry.models[options.model].weights) | {role: file.name for role, file in own.items() if file}
    return Detector(kind, tracker, options, search, spread, lambda: detector_from(one_of_several), networks)


def _search(entry: KindEntry, options: DetectorOptions, kind: Kind[Any, Any]) -> Thorough[Any] | None:
    """The thorough search that a detector has.

    Raises:
        InputError: one was asked for that cannot be had.
    """
    _require_search_weights(entry, options)
    search = entry.make_search(options, kind)
    if search is None and options.search == "thorough":
        what = "images" if options.static_image else "streams"
        raise InputError(f"search='thorough': {entry.name} {options.model} has none for {what}; leave it out")
    return search


def _require_search_weights(entry: KindEntry, options: DetectorOptions) -> None:
    """InputError where a network is missing that a search of stills needs besides the model's own."""
    for name in entry.search_weights:
        try:
            options.file(name)
        except InputError as error:
            groups = " ".join(entry.weight_groups)
            raise InputError(
                f"{error} (search={options.search!r} needs it for images: sonjit models pull {groups} fetches all of "
                "its networks, search='fast' does without)"
            ) from error
