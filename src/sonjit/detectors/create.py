"""`create_detector`: make a running detector from names and options.

The three steps are `create_detector`, whose parameters and descriptions `tools/options.py` writes;
`detector_for_input`, which checks the options; and `detector_from`, which loads the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NewType, Unpack, overload

from sonjit._util import InputError
from sonjit._util.extensions import resolved
from sonjit.detectors import tracking
from sonjit.detectors.interfaces import Kind, SearchedKind, StillSearch
from sonjit.detectors.kinds import KINDS, KindEntry, check_options, make_options
from sonjit.detectors.loop import Loop
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.pipeline import Detector
from sonjit.detectors.recordings.live import LiveSearch
from sonjit.detectors.recordings.second_thread import Networks, SecondThread
from sonjit.results import Body, Face, Hand, Person, Result

if TYPE_CHECKING:  # the choices of options would take the order of these types
    from os import PathLike

    from sonjit.detectors.arguments import (
        ExactBodyArguments,
        ExactFaceArguments,
        ExactHandArguments,
        ExactHolisticArguments,
    )
    from sonjit.detectors.smoothing import Filter
    from sonjit.media.sources.base import SourceKind

KindName = NewType("KindName", str)
"""A kind that is known at run time: the name of a registered kind, or a TOML file of a network."""


@overload
def create_detector(kind: Literal["hands"] = "hands", **options: Unpack[ExactHandArguments]) -> Detector[Hand]: ...


@overload
def create_detector(kind: Literal["face"], **options: Unpack[ExactFaceArguments]) -> Detector[Face]: ...


@overload
def create_detector(kind: Literal["body"], **options: Unpack[ExactBodyArguments]) -> Detector[Body]: ...


@overload
def create_detector(kind: Literal["holistic"], **options: Unpack[ExactHolisticArguments]) -> Detector[Person]: ...


@overload
def create_detector(kind: KindName, **options: object) -> Detector[Result]: ...


def create_detector(  # pyright: ignore[reportInconsistentOverload]  # options of registered kinds have other types
    kind: str = "hands",
    *,
    model: Literal["attention", "box", "box-full", "full", "heavy", "lite", "mesh"] | None = None,
    max_instances: int | None = None,
    static_image: bool | None = None,
    flip_horizontal: bool | None = None,
    smoothing: Literal["auto", "none", "one_euro", "published"] | Filter | None = "auto",
    min_detection_score: float | None = None,
    min_presence_score: float | None = None,
    search_interval: int | None = None,
    search: Literal["auto", "fast", "thorough"] | None = None,
    mirrored: bool | None = None,
    segmentation: bool | None = None,
    smooth_segmentation: bool | None = None,
    keypoints: Literal["published", "refined"] | None = None,
    gestures: str | PathLike[str] | None = None,
    blendshapes: bool | None = None,
    hand_model: Literal["full", "lite"] | None = None,
    face_model: Literal["attention", "mesh"] | None = None,
    transform: bool | None = None,
    visibility: bool | None = None,
    distance: bool | None = None,
    hand_length: float | None = None,
    camera: str | None = None,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: Literal["onnxruntime", "openvino"] | None = None,
    device: str | None = None,
    precision: Literal["auto", "bf16", "f16", "f32", "int8"] | None = None,
    threads: int | None = None,
    **others: object,
) -> Detector[Any]:
    """Create a detector.

    None means the default of an option, except for `smoothing`, where it means no smoothing. `smoothing` also accepts a
    filter object, see `Filter`. The dataclass of a kind in `sonjit.detectors.options` has the options of the kind:
    `HandOptions`, `FaceOptions`, `BodyOptions` or `HolisticOptions`.

    Args:
        kind: Kind of instance to find: `"hands"`, `"face"`, `"body"`, `"holistic"`, or a registered one, which type
            checkers accept as `sonjit.detectors.KindName("spots")`.
        model: Model of the kind.
        max_instances: Maximum number of instances in a live stream. Default in stills: 20, in recordings: 6.
        static_image: Treat every image as a still. Default: false in Python; otherwise true for images and false for
            videos.
        flip_horizontal: Flip the x coordinates of the output.
        smoothing: Smooth keypoints over time. auto: one_euro for hands and faces in streams, published for bodies and
            people in streams, none for stills. published: the smoothing of MediaPipe's graph. Choices: auto, none,
            published, one_euro. Default: auto.
        min_detection_score: Minimum score of a new detection. Default: 0.5, for box-full 0.6.
        min_presence_score: Minimum presence score of a tracked instance. Default: 0.5.
        search_interval: Frames between searches for more instances while some are tracked. 1 searches every frame.
            Default: 5.
        search: fast searches the full image once, as MediaPipe does. In images, auto also searches for small and hidden
            instances, finds 1.8 times as many hands, and usually takes two to ten times as long. In videos, auto
            searches key frames in this way. thorough usually takes ten to thirty times as long as fast. Choices: fast,
            thorough, auto. Default: auto.
        mirrored: Treat the input as a selfie view, in which left and right are exchanged.
        segmentation: Add a mask to each body.
        smooth_segmentation: Smooth masks over time. Default: True.
        keypoints: Hand keypoints. published: the network's keypoints, as in MediaPipe. refined: these keypoints,
            corrected from the network's feature maps, with z in the scale of x and y. refined requires the published
            networks. Choices: published, refined. Default: published.
        gestures: Classify the gesture of each hand. canned: the shipped gestures. asl: also the letters of American
            Sign Language. Or a file of sonjit gestures train, which takes precedence over the shipped gestures.
        blendshapes: Add blendshapes to each face: 22 from its mesh, or 52 with a registered face_landmarker.task or
            holistic_landmarker.task and the default models.
        hand_model: Model of the hands. Default: lite with a lite body, otherwise full. Choices: lite, full.
        face_model: Model of the faces. Default: mesh with a lite body, otherwise attention. Choices: mesh, attention.
        transform: Add the pose in centimetres to each face with a mesh.
        visibility: Add to each keypoint the probability that it is visible.
        distance: Add the distance from the camera to each hand. Results then have refined keypoints, and the bones of a
            track have nearly the same lengths in all frames.
        hand_length: Length of the hands in metres, along the bones from the wrist to the tip of the middle finger.
            Requires distance. Default: 0.173, the mean of adults.
        camera: Focal lengths and principal point as fx,fy,cx,cy in pixels. Requires distance. Default: 60 degrees
            across the longer side.
        models_dir: Folder with the published weight files. Default: the cache.
        detector_model: File of a custom detector network.
        landmark_model: File of a custom landmark network, or a MediaPipe task bundle (.task). Its detector is used too.
        engine: Inference runtime. Choices: openvino, onnxruntime. Default: openvino.
        device: Device: cpu, gpu, npu or auto. onnxruntime also accepts cuda, tensorrt, coreml and directml. Default:
            CPU.
        precision: Number format of the networks. auto is f32, except in networks whose keypoints move by at most 0.3
            px: hands run partly in bf16 if the CPU has it, and networks in int8 if `sonjit models quantize` wrote them
            on the same kind of CPU with VNNI. int8 always uses these networks. Choices: auto, f32, bf16, f16, int8.
            Default: auto.
        threads: Threads per process. 0 uses all cores. Default: SONJIT_THREADS, or all cores.
        others: Further options of a registered kind.

    Raises:
        InputError: A name is unknown, the kind does not have an option, a value is out of bounds, an option has no
            effect with the others, or a model file is missing. The message names the remedy.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     [hand.handedness for hand in detector.detect("photo.jpg")]
        ['Left', 'Right']
    """
    options = dict(locals())
    del options["kind"], options["others"]
    if smoothing == "auto":  # the default of the kind
        del options["smoothing"]
    return detector_for_input(kind, options | others, "camera")


def detector_for_input(
    kind: str, options: Mapping[str, object], source: SourceKind, *, is_live: bool = False
) -> Detector[Any]:
    """Check options and create a detector for a source. Options of streams do not apply to stills.

    No frame of a live source waits for a search.
    """
    checked = make_options(KINDS.find(kind), options).for_input(source)
    check_options(checked, options)
    return detector_from(replace(checked, is_live=is_live))


def detector_from(
    options: CommonOptions, tracker_settings: tracking.TrackerSettings = tracking.SHIPPED
) -> Detector[Any]:
    """Create a detector from checked options."""
    entry = KINDS.find(options.kind)
    kind = _load(entry, options)
    search: StillSearch[Any] | None = None
    live: LiveSearch[Any] | None = None
    if options.is_live and options.has_key_frames:
        live = _live_search(entry, options, kind)
    elif options.is_thorough or options.has_key_frames:
        search = _load_search(entry, options, kind)
    second: SecondThread[Any] | None = None
    if options.has_second_thread:
        second = SecondThread(Networks(kind, search), partial(_load_networks, entry, options))
        kind.at_close.callback(second.close)
        kind.second = second
    new_tracker = partial(
        tracking.Tracker[Any],
        entry.smoothers(options),
        merge_nested=options.search != "fast",
        propagate=kind.propagate if options.search != "fast" else None,
        max_tracks=options.max_instances,
        overlap_keypoints=kind.overlap_keypoints,
        settings=tracker_settings,
    )
    one_of_several = replace(options, threads=1, shared=True)
    custom = {"detector": options.detector_model, "landmark": options.landmark_model}
    custom_files = {role: file.name for role, file in custom.items() if file}
    networks = {**entry.models[options.model].weights, **kind.networks, **custom_files}
    backward = new_tracker() if options.has_key_frames else None
    return Detector(
        Loop(kind, new_tracker(), options, search=search, backward=backward, live=live, second=second),
        create_sibling=lambda: detector_from(one_of_several),
        networks=networks,
        keypoint_count=kind.keypoint_count or next(iter(entry.result.skeletons)),
    )


def _live_search(entry: KindEntry, options: CommonOptions, kind: Kind[Any, Any]) -> LiveSearch[Any] | None:
    """Return the search of a live stream, with networks of its own on one core. None if the kind has none."""
    if not entry.search or isinstance(kind, SearchedKind):
        return None
    _check_search_files(entry, options)
    load_search = resolved(entry.search)
    on_one_core = replace(options, threads=1)
    return LiveSearch(lambda: load_search(on_one_core, _load(entry, on_one_core)))


def _load(entry: KindEntry, options: CommonOptions) -> Kind[Any, Any]:
    """Load a kind. If a network is missing, name the command that fetches all networks of the kind."""
    try:
        return entry.load(options)
    except InputError as error:
        pulls = [f"sonjit models pull {name}" for name in entry.models[options.model].weights.values()]
        named = next((pull for pull in pulls if entry.weight_groups and str(error).endswith(pull)), None)
        if named is None:
            raise
        message = f"{str(error).removesuffix(named)}sonjit models pull {' '.join(entry.weight_groups)}"
        raise InputError(message) from error


def _load_search(entry: KindEntry, options: CommonOptions, kind: Kind[Any, Any]) -> StillSearch[Any] | None:
    """Load the thorough search of a detector."""
    _check_search_files(entry, options)
    search = resolved(entry.search)(options, kind) if entry.search else None
    if search is None and options.search == "thorough":
        images = "images" if options.static_image else "streams"
        raise InputError(
            f"search='thorough' is not available for {entry.name} {options.model} in {images}. Use search='auto'."
        )
    return search


def _load_networks(entry: KindEntry, options: CommonOptions) -> Networks[Any]:
    kind = _load(entry, options)
    return Networks(kind, _load_search(entry, options, kind))


def _check_search_files(entry: KindEntry, options: CommonOptions) -> None:
    """Raise InputError if a network of the search is missing."""
    for name in entry.search_weights:
        try:
            options.file(name)
        except InputError as error:
            groups = " ".join(entry.weight_groups)
            raise InputError(
                f"{error} (search={options.search!r} needs it: sonjit models pull {groups} fetches all of "
                "its networks, search='fast' does without)"
            ) from error
