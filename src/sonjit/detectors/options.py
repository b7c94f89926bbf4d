"""Options of the detectors: one dataclass per kind, with help text and bounds in the annotations.

`create_detector`, the command line, the server's schema, the documentation and the types of the browser module are
generated from the fields. A kind from outside subclasses `CommonOptions`.
"""

import os
from dataclasses import dataclass, field, fields, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

from sonjit._util.settings import Option as Option
from sonjit._util.settings import declared_options
from sonjit.detectors.smoothing import Filter, FilterChoice, OneEuro
from sonjit.engines import MAX_THREADS, EngineName, EngineOptions, Precision
from sonjit.gestures.classifier import CANNED, SHIPPED
from sonjit.weights import TaskBundle, cache_folder, find_weight, has_bundle, load_bundle

if TYPE_CHECKING:
    from sonjit.media.sources.base import SourceKind

SmoothingName: TypeAlias = Literal["auto", "none", "published", "one_euro"]
K = TypeVar("K", bound="CommonOptions")
GESTURES = ("none", CANNED, *SHIPPED)  # names of the shipped gestures for clients of the server; "none" is None
Mirrored: TypeAlias = Annotated[
    bool, Option("Treat the input as a selfie view, in which left and right are exchanged.")
]
Keypoints: TypeAlias = Annotated[
    Literal["published", "refined"],
    Option(
        "Hand keypoints. published: the network's keypoints, as in MediaPipe. refined: these keypoints, corrected from "
        "the network's feature maps, with z in the scale of x and y. refined requires the published networks.",
        needs_full=True,
        useless_with="distance",
    ),
]
Gestures: TypeAlias = Annotated[
    str | PathLike[str] | None,
    Option(
        f"Classify the gesture of each hand. {CANNED}: the shipped gestures. asl: also the letters of American Sign "
        "Language. Or a file of sonjit gestures train, which takes precedence over the shipped gestures.",
        remote_choices=GESTURES,
    ),
]
_blendshapes = partial(
    Option,
    "Add blendshapes to each face: 22 from its mesh, or 52 with a registered face_landmarker.task or "
    "holistic_landmarker.task and the default models.",
    needs_full=True,
    from_bundle=True,
)
_running = partial(Option, group="Running", remote=False)
STILL_INSTANCES = 20  # default maximum number of instances in a still
RECORDING_INSTANCES = 6  # default maximum number of instances in a recording
_MAXIMUM = (
    "Maximum number of {} in a live stream. "
    f"Default in stills: {STILL_INSTANCES}, in recordings: {RECORDING_INSTANCES}."
)
_CORES = os.cpu_count() or 1


def is_still(source: "SourceKind") -> bool:
    """Check whether the images of a source are independent of each other."""
    return source in ("image", "folder")


@dataclass(frozen=True)
class GraphThresholds:
    """Thresholds of MediaPipe's graphs that its tasks can set and `create_detector` cannot. None: as published."""

    overlap: float | None = None  # minimum IoU at which boxes of the kind's own detector are blended into one
    blended: float | None = None  # minimum score of the face boxes that are blended. None: the minimum detection score.
    same_overlap: float | None = None  # IoU above which two boxes show the same instance
    # Minimum score, and `overlap`, of a person's face in the crop of the head
    face_detection: float | None = None
    face_overlap: float | None = None
    # Minimum presence of a person's face and hands in their crops
    face_presence: float | None = None
    hand_presence: float | None = None
    searches_parts: bool = False  # search a person's hands and face in every frame of a video, as MediaPipe does
    turns_faces: bool = False  # detect doubtful faces again upside down, which MediaPipe does not


PUBLISHED_THRESHOLDS, _OWN_THRESHOLDS = GraphThresholds(), GraphThresholds(turns_faces=True)


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options that every kind of detector has.

    A subclass adds or narrows fields. A field with an `Option` in its annotation is an option of `create_detector`.

    Attributes:
        static_image: Whether every image is a still. None is a stream, unless the input decides; see `for_input`.
        stream_smoothing: What `smoothing="auto"` means in streams.
        kind: Name of the kind.
        has_own_limit: False if `max_instances` was not given, so that the input decides; see `for_input`.
        sparse_from: Number of visible instances from which a stream is rarely searched; None for no such number.
        thresholds: Thresholds of MediaPipe's graphs.
        bundle_prefix: Prefix of the network files in MediaPipe's task bundle of the kind; empty without a bundle.
        bundle_models: Models that the bundle has; empty for all.
        keeps_overlapping: Whether the graph of the bundle keeps instances that overlap.
        is_live: True if no frame may wait for a search. Results then depend on the speed of the machine.
        is_recording: True if two inferences run at once, each on half of the cores.
        is_divisible: Whether recordings with key frames do so, which pays where their search has many steps.
        shared: True if detectors share the networks, also those that load later; see `shared_networks`.
    """

    stream_smoothing: ClassVar[SmoothingName] = "one_euro"
    bundle_prefix: ClassVar[str] = ""
    bundle_models: ClassVar[tuple[str, ...]] = ()
    keeps_overlapping: ClassVar[bool] = True
    is_divisible: ClassVar[bool] = False

    model: Annotated[str, Option("Model of the kind.", default_by="kind")] = ""
    max_instances: Annotated[int, Option(_MAXIMUM.format("instances"), minimum=1, remote_maximum=50)] = 1
    static_image: Annotated[
        bool | None,
        Option(
            "Treat every image as a still. Default: false in Python; otherwise true for images and false for videos.",
            default_by="input",
        ),
    ] = None
    flip_horizontal: Annotated[bool, Option("Flip the x coordinates of the output.")] = False
    smoothing: Annotated[
        SmoothingName | Filter | None,
        Option(
            "Smooth keypoints over time. auto: one_euro for hands and faces in streams, published for bodies and "
            "people in streams, none for stills. published: the smoothing of MediaPipe's graph.",
            of_streams=True,
            for_stills=(None, "none", "published"),  # MediaPipe's graphs do not smooth stills
        ),
    ] = "auto"
    min_detection_score: Annotated[
        float,
        Option(
            "Minimum score of a new detection. Default: 0.5, for box-full 0.6.",
            minimum=0,
            maximum=1,
            default_by="model",
        ),
    ] = 0.5
    min_presence_score: Annotated[
        float, Option("Minimum presence score of a tracked instance.", minimum=0, maximum=1, of_keypoints=True)
    ] = 0.5
    search_interval: Annotated[
        int,
        Option(
            "Frames between searches for more instances while some are tracked. 1 searches every frame.",
            minimum=1,
            remote_maximum=1_000_000,
            of_streams=True,
            for_stills=(1,),  # each of them is searched
            of_keypoints=True,
        ),
    ] = 5
    search: Annotated[
        Literal["fast", "thorough", "auto"],
        Option(
            "fast searches the full image once, as MediaPipe does. In images, auto also searches for small and hidden "
            "instances, finds 1.8 times as many hands, and usually takes two to ten times as long. In videos, auto "
            "searches key frames in this way. thorough usually takes ten to thirty times as long as fast."
        ),
    ] = "auto"
    models_dir: Annotated[Path | None, _running("Folder with the published weight files. Default: the cache.")] = None
    detector_model: Annotated[Path | None, _running("File of a custom detector network.")] = None
    landmark_model: Annotated[
        Path | None,
        _running("File of a custom landmark network, or a MediaPipe task bundle (.task). Its detector is used too."),
    ] = None
    engine: Annotated[EngineName, _running("Inference runtime.")] = "openvino"
    device: Annotated[
        str, _running("Device: cpu, gpu, npu or auto. onnxruntime also accepts cuda, tensorrt, coreml and directml.")
    ] = "CPU"
    precision: Annotated[
        Precision,
        _running(
            "Number format of the networks. auto is f32, except in networks whose keypoints move by at most 0.3 px: "
            "hands run partly in bf16 if the CPU has it, and networks in int8 if `sonjit models quantize` wrote them "
            "on the same kind of CPU with VNNI. int8 always uses these networks."
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        _running(
            "Threads per process. 0 uses all cores. Default: SONJIT_THREADS, or all cores.",
            minimum=0,
            maximum=MAX_THREADS,
        ),
    ] = None
    kind: str = ""
    has_own_limit: bool = True
    sparse_from: int | None = None
    thresholds: GraphThresholds = _OWN_THRESHOLDS
    is_live: bool = False
    is_recording: bool = False
    shared: bool = field(default_factory=lambda: EngineOptions().shared)

    def for_input(self, source: "SourceKind") -> Self:
        """Return the options for a source. Its images are stills or a stream, unless `static_image` was chosen.

        Without an own maximum, stills and recordings have room for more instances than live streams. A task bundle
        that is followed as in MediaPipe keeps its maximum in recordings. A recording with its maximum of instances is
        still searched, rarely, so that further ones are counted.
        """
        still = is_still(source) if self.static_image is None else self.static_image
        chosen = replace(self, static_image=still, has_own_limit=True)
        if still:
            return chosen if self.has_own_limit else replace(chosen, max_instances=STILL_INSTANCES)
        if source == "camera":
            return chosen
        is_on_cpu = (self.engine, self.device.upper()) == ("openvino", "CPU")
        is_recording = self.is_divisible and chosen.has_key_frames and is_on_cpu and not self.shared
        chosen = replace(chosen, sparse_from=self.max_instances, is_recording=is_recording)
        keeps = self.has_own_limit or self.follows_bundle
        return chosen if keeps else replace(chosen, max_instances=RECORDING_INSTANCES)

    @property
    def resolved_smoothing(self) -> SmoothingName | Filter | None:
        """Return the smoothing with "auto" replaced."""
        if self.smoothing != "auto":
            return self.smoothing
        return "none" if self.static_image else self.stream_smoothing

    @property
    def filter(self) -> FilterChoice:
        """Return the filter of a new track; None for no smoothing. Stills are never smoothed."""
        match self.resolved_smoothing:
            case "none" | None:
                return None
            case "one_euro":
                return OneEuro()
            case "published" | "auto":
                return "published"
            case custom:
                return custom

    @property
    def running(self) -> EngineOptions:
        """Return the options of the engines."""
        names = ("engine", "device", "precision", "threads", "shared")
        running = EngineOptions(**{name: getattr(self, name) for name in names}, cache=cache_folder() / "compiled")
        if not self.is_recording:
            return running
        # Few threads take less processor time than many, which wait for each other after each layer.
        return replace(running, threads=max(self._cores // 2, 1))

    @property
    def has_second_thread(self) -> bool:
        """Check whether two threads work on a recording, each with half of the cores."""
        return self.is_recording and self._cores > 1

    @property
    def _cores(self) -> int:
        return min(EngineOptions(threads=self.threads).thread_count or _CORES, _CORES)

    @property
    def is_thorough(self) -> bool:
        """Check whether images are searched thoroughly."""
        return self.search == "thorough" or (self.search == "auto" and bool(self.static_image))

    @property
    def has_key_frames(self) -> bool:
        """Check whether key frames of a stream are searched as stills."""
        return self.search == "auto" and not self.static_image

    @property
    def bundle(self) -> TaskBundle | None:
        """Return the task bundle of `landmark_model`, or the registered one that an option prefers."""
        path = self.landmark_model
        declared = declared_options(type(self)).values()
        needs_bundle = any(option.from_bundle and getattr(self, option.name) for option in declared)
        if path is None and needs_bundle and not self._names_other_networks:
            path = Path(f"{self.kind}_landmarker.task")
        if path is None or path.suffix != ".task":
            return None
        is_missing = self.landmark_model is None and not has_bundle(path.name, self.models_dir)
        return None if is_missing else load_bundle(path, self.models_dir)

    @property
    def _names_other_networks(self) -> bool:
        """Whether an option names networks that a registered bundle does not have."""
        if self.bundle_models and self.model not in self.bundle_models:
            return True
        return any(getattr(self, name, None) is not None for name in ("hand_model", "face_model"))

    @property
    def follows_bundle(self) -> bool:
        """Check whether boxes and smoothing follow the bundle's graph, which only the fast search does."""
        return self.search == "fast" and self.bundle is not None

    def detector_file(self, name: str) -> Path:
        """Return the custom detector, the bundle's detector, or the published one with that name."""
        if self.detector_model is not None:
            return self.detector_model
        bundle = self.bundle
        return self.file(name) if bundle is None else bundle.file(f"{self.bundle_prefix}_detector.tflite")

    def landmark_file(self, name: str) -> Path:
        """Return the custom landmark network, the bundle's network, or the published one with that name."""
        bundle = self.bundle
        if bundle is not None:
            return bundle.file(f"{self.bundle_prefix}_landmarks_detector.tflite")
        return self.landmark_model or self.file(name)

    def file(self, name: str) -> Path:
        """Return the published file with that name in the catalogue."""
        return find_weight(name, self.models_dir)

    def as_kind(self, kind: type[K], **changes: Any) -> K:  # noqa: ANN401  # of any option
        """Return options of another kind with the same common values, except for the model and the changes."""
        common = {item.name: getattr(self, item.name) for item in fields(CommonOptions)}
        del common["model"], common["kind"]
        return kind(**common | changes)


@dataclass(frozen=True, kw_only=True)
class SidedOptions(CommonOptions):
    """Options of detectors of networks of your own that have keypoints on both sides."""

    mirrored: Mirrored = False


@dataclass(frozen=True, kw_only=True)
class HandOptions(CommonOptions):
    """Options of hand detectors."""

    bundle_prefix: ClassVar[str] = "hand"
    keeps_overlapping: ClassVar[bool] = False
    is_divisible: ClassVar[bool] = True

    model: Annotated[Literal["full", "lite"], Option("Model of the hands.", default_by="kind")] = "full"
    max_instances: Annotated[int, Option(_MAXIMUM.format("hands"), minimum=1, remote_maximum=50)] = 2
    mirrored: Mirrored = False
    visibility: Annotated[
        bool,
        Option("Add to each keypoint the probability that it is visible.", requires_server=True, in_jobs=False),
    ] = False
    keypoints: Keypoints = "published"
    gestures: Gestures = None
    distance: Annotated[
        bool,
        Option(
            "Add the distance from the camera to each hand. Results then have refined keypoints, and the bones of a "
            "track have nearly the same lengths in all frames.",
            requires_server=True,
            needs_full=True,
            whole_image=True,  # which has the principal point of the camera
        ),
    ] = False
    hand_length: Annotated[
        float | None,
        Option(
            "Length of the hands in metres, along the bones from the wrist to the tip of the middle finger. Requires "
            "distance. Default: 0.173, the mean of adults.",
            minimum=0.02,
            maximum=0.5,
            remote=False,
            requires="distance",
        ),
    ] = None
    camera: Annotated[
        str | None,
        Option(
            "Focal lengths and principal point as fx,fy,cx,cy in pixels. Requires distance. Default: 60 degrees across "
            "the longer side.",
            remote=False,
            command_line=False,
            requires="distance",
        ),
    ] = None
    kind: str = "hands"


@dataclass(frozen=True, kw_only=True)
class FaceOptions(CommonOptions):
    """Options of face detectors."""

    bundle_prefix: ClassVar[str] = "face"
    bundle_models: ClassVar[tuple[str, ...]] = ("attention",)

    model: Annotated[
        Literal["attention", "mesh", "box", "box-full"], Option("Model of the faces.", default_by="kind")
    ] = "attention"
    blendshapes: Annotated[bool, _blendshapes()] = False
    transform: Annotated[
        bool,
        Option(
            "Add the pose in centimetres to each face with a mesh.",
            needs_full=True,
            from_bundle=True,
            whole_image=True,
        ),
    ] = False
    mirrored: Mirrored = False
    kind: str = "face"


@dataclass(frozen=True, kw_only=True)
class BodyOptions(CommonOptions):
    """Options of body detectors.

    Attributes:
        averages_mirrored: Whether keypoints are the means of each crop and its mirror image.
    """

    stream_smoothing: ClassVar[SmoothingName] = "published"
    bundle_prefix: ClassVar[str] = "pose"

    model: Annotated[Literal["full", "lite", "heavy"], Option("Model of the bodies.", default_by="kind")] = "full"
    mirrored: Mirrored = False
    segmentation: Annotated[bool, Option("Add a mask to each body.", command_line=False, in_jobs=False)] = False
    smooth_segmentation: Annotated[
        bool, Option("Smooth masks over time.", in_jobs=False, of_streams=True, requires="segmentation")
    ] = True
    averages_mirrored: bool = False
    kind: str = "body"


@dataclass(frozen=True, kw_only=True)
class HolisticOptions(BodyOptions):
    """Options of detectors of people: each body with its own hands and face."""

    keypoints: Keypoints = "published"
    gestures: Gestures = None
    blendshapes: Annotated[bool, _blendshapes(requires_server=True)] = False
    hand_model: Annotated[
        Literal["lite", "full"] | None,
        Option("Model of the hands. Default: lite with a lite body, otherwise full.", remote=False),
    ] = None
    face_model: Annotated[
        Literal["mesh", "attention"] | None,
        Option("Model of the faces. Default: mesh with a lite body, otherwise attention.", remote=False),
    ] = None
    kind: str = "holistic"
