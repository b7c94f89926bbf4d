"""Every option of the detectors, once: name, type, default, bounds, help, and which kinds know it.

`create_detector`, the command line, the server, the page and the documentation are made of `OPTIONS`. A kind adds
options of its own with `own_options` of its `KindEntry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from sonjit.detectors.smoothing import OneEuro
from sonjit.engines import EngineName, EngineOptions, Precision
from sonjit.errors import InputError
from sonjit.gestures.shipped import CANNED, SHIPPED
from sonjit.weights import cache_folder, find_weight

if TYPE_CHECKING:
    from sonjit.detectors.smoothing import Filter, FilterChoice
    from sonjit.weights import TaskBundle

OptionValue: TypeAlias = "bool | int | float | str | Path | Filter | None"
OptionType: TypeAlias = Literal["boolean", "integer", "number", "string", "path"]
Group: TypeAlias = Literal["Finding", "Running"]

_PYTHON: dict[str, type] = {"boolean": bool, "integer": int, "number": float, "string": str}


@dataclass(frozen=True)
class Option:
    """One option of detectors.

    Attributes:
        name: of the argument of `create_detector`.
        type: of its value.
        help: one or two sentences, as the command line prints them.
        default: where nothing is given; None where that depends on the kind, the model or the input.
        choices: all values that a text may have; empty where any will do.
        minimum, maximum: bounds of a number.
        kinds: which know it; None for all.
        group: "Finding" for what to find, "Running" for what to run it with.
        remote: clients of the server may set it.
        remote_maximum: what they may ask for at most.
        remote_choices: what they may choose from where the command line takes any text; empty for the same.
        command_line: the command line offers it as such.
    """

    name: str
    type: OptionType
    help: str
    default: OptionValue = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    kinds: tuple[str, ...] | None = None
    group: Group = "Finding"
    remote: bool = True
    remote_maximum: float | None = None
    remote_choices: tuple[str, ...] = ()
    command_line: bool = True

    def check(self, value: OptionValue) -> OptionValue:
        """The value as its type; None, which is "not given", stays.

        Raises:
            InputError: it has another type, or is out of bounds.
        """
        if value is None:
            return None
        if self.type == "path":
            return Path(value)  # pyright: ignore[reportArgumentType]
        if self.type == "number" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not _PYTHON[self.type] or not self._is_within(value):
            if self.choices:
                what = f"{self.kinds[0]} model" if self.name == "model" and self.kinds else self.name
                raise InputError(f"unknown {what} {value!r}; known: {', '.join(self.choices)}")
            raise InputError(f"{self.name}={value!r}: give {self.wanted}")
        return value

    @property
    def wanted(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        match self.type:
            case "boolean":
                return "true or false"
            case "integer" | "number":
                noun = "a whole number" if self.type == "integer" else "a number"
                least = f" from {self.minimum:.15g}" if self.minimum is not None else ""
                most = f" to {self.maximum:.15g}" if self.maximum is not None else least and " upwards"
                return noun + least + most
            case _:
                return "text"

    def _is_within(self, value: object) -> bool:
        if self.choices:
            return value in self.choices
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return True
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)


_MEMBERS = {"hands": "hand", "face": "face", "body": "pose", "holistic": "pose"}
"""What a kind's networks are called in task bundles."""

SMOOTHINGS = ("none", "published", "one_euro")
"""Names of smoothing, as text; "none" is None."""
_PEOPLE = ("body", "holistic")
GESTURES = ("none", CANNED, *SHIPPED)
"""Names of gestures that come with Sonjit, as text; "none" is None."""

OPTIONS: tuple[Option, ...] = (
    Option("model", "string", "Which of the kind's models."),
    Option("max_instances", "integer", "How many to hold at most: 2 hands, 1 face, 1 body where not given.", minimum=1,
           remote_maximum=50),
    Option("static_image", "boolean",
           "Take every image on its own; by default so for images, not for videos."),
    Option("mirrored", "boolean", "The input is a selfie view: left and right are exchanged in it.",
           default=False, kinds=("hands", "body", "holistic")),
    Option("flip_horizontal", "boolean", "Flip the x of the output.", default=False),
    Option("smoothing", "string",
           "Of keypoints over time; by default one_euro for hands and faces in videos, published for bodies.",
           choices=SMOOTHINGS),
    Option("min_detection_score", "number",
           "Least score of what a search finds, 0 to 1; by default 0.5, of box-full 0.6.", minimum=0, maximum=1),
    Option("min_presence_score", "number", "Least presence, 0 to 1, to hold an instance.",
           default=0.5, minimum=0, maximum=1),
    Option("search_interval", "integer",
           "Frames between searches for more instances while some are held; 1 is every frame.",
           default=5, minimum=1, remote_maximum=1_000_000),
    Option("search", "string",
           "fast searches the whole image, as MediaPipe does; thorough then also where faces and arms point and in "
           "windows, and checks each find: 1.8 times the hands in snapshots, in mostly three to ten times the time; "
           "auto is thorough for images, and in videos spreads windows over frames and drops doubles and phantoms.",
           default="auto", choices=("fast", "thorough", "auto")),
    Option("segmentation", "boolean", "Give each body its mask.", default=False, kinds=_PEOPLE, command_line=False),
    Option("smooth_segmentation", "boolean", "Smooth masks over time.", default=True, kinds=_PEOPLE),
    Option("visibility", "boolean", "Give each keypoint the probability that it is seen and not hidden.",
           default=False, kinds=("hands",)),
    Option("gestures", "string",
           f"Tell what each hand says: {CANNED} for the shipped gestures, asl for the letters of American Sign "
           "Language too, or a file of your own (sonjit gestures train), which goes before the shipped ones.",
           kinds=("hands", "holistic"), remote_choices=GESTURES),
    Option("blendshapes", "boolean",
           "Give each face its 52 blendshapes; of face_landmarker.task or holistic_landmarker.task.",
           default=False, kinds=("face", "holistic")),
    Option("transform", "boolean", "Give each face its pose in metric space; of face_landmarker.task.",
           default=False, kinds=("face",)),
    Option("hand_model", "string", "Of the hands; by default lite beside a lite body, else full.",
           choices=("lite", "full"), kinds=("holistic",), remote=False),
    Option("face_model", "string", "Of the faces; by default mesh beside a lite body, else attention.",
           choices=("mesh", "attention"), kinds=("holistic",), remote=False),
    Option("models_dir", "path", "Folder with the published weight files.", group="Running", remote=False),
    Option("detector_model", "path", "Detector network of your own.", group="Running", remote=False),
    Option("landmark_model", "path",
           "Landmark network of your own, or a task bundle of MediaPipe's (.task), whose detector is taken too.",
           group="Running", remote=False),
    Option("engine", "string", "Which runtime.", default="openvino", choices=get_args(EngineName), group="Running",
           remote=False),
    Option("device", "string", "cpu, gpu, npu or auto; of onnxruntime also cuda, tensorrt, coreml, directml.",
           default="CPU", group="Running", remote=False),
    Option("precision", "string",
           "auto takes bf16 where the CPU has it natively and the network bears it, else what `sonjit models quantize` "
           "wrote on a CPU with VNNI like this if it moves keypoints by 0.3 px at most, else f32; int8 takes what was "
           "written in any case.",
           default="auto", choices=get_args(Precision), group="Running", remote=False),
    Option("threads", "integer", "Per process; 0 for all cores.", minimum=0, group="Running", remote=False),
)  # fmt: skip


@dataclass(frozen=True)
class GraphThresholds:
    """What the options of MediaPipe's tasks set in their graphs and `create_detector` does not; None: as published.

    Attributes:
        overlap: IoU from which on boxes of the kind's own detector are blended into one.
        blended: the least score of face boxes that are blended; surer or weaker ones are chosen from these afterwards,
            or stand beside them. None: what is asked for is what is blended.
        same_overlap: IoU above which a found box is that of an instance held, or of another one found.
        face_detection, face_overlap: the least score, and `overlap`, of a person's face in the crop of the head.
        face_presence, hand_presence: of a person's face and hands in their crops.
    """

    overlap: float | None = None
    blended: float | None = None
    same_overlap: float | None = None
    face_detection: float | None = None
    face_overlap: float | None = None
    face_presence: float | None = None
    hand_presence: float | None = None


PUBLISHED_THRESHOLDS = GraphThresholds()


@dataclass(frozen=True)
class DetectorOptions:
    """Every option of one detector, filled in; see `create_detector` for their meaning.

    Attributes:
        thresholds: of MediaPipe's graphs.
        shared: its networks are, those too that are loaded when they are first needed; see `shared_networks`.
    """

    kind: str
    model: str
    max_instances: int
    static_image: bool = False
    mirrored: bool = False
    flip_horizontal: bool = False
    smoothing: FilterChoice = "published"
    min_detection_score: float = 0.5
    min_presence_score: float = 0.5
    search_interval: int = 5
    search: str = "auto"
    segmentation: bool = False
    smooth_segmentation: bool = True
    visibility: bool = False
    gestures: str | None = None
    blendshapes: bool = False
    transform: bool = False
    hand_model: str | None = None
    face_model: str | None = None
    models_dir: Path | None = None
    detector_model: Path | None = None
    landmark_model: Path | None = None
    engine: EngineName = "openvino"
    device: str = "CPU"
    precision: Precision = "auto"
    threads: int | None = None
    own: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue], hash=False)
    thresholds: GraphThresholds = PUBLISHED_THRESHOLDS
    shared: bool = field(default_factory=lambda: EngineOptions().shared)

    @property
    def running(self) -> EngineOptions:
        """How networks run."""
        cache = cache_folder() / "compiled"
        return EngineOptions(self.engine, self.device, self.precision, self.threads, cache, self.shared)

    @property
    def is_thorough(self) -> bool:
        """Whether images are searched thoroughly."""
        return self.search == "thorough" or (self.search == "auto" and self.static_image)

    @property
    def spreads_windows(self) -> bool:
        """Whether a stream is searched window by window, and what it finds is checked."""
        return self.search == "auto" and not self.static_image

    @property
    def bundle(self) -> TaskBundle | None:
        """The task bundle that `landmark_model` names, or the registered one that an option needs; None for none."""
        path = self.landmark_model
        if path is None and (self.blendshapes or self.transform):
            path = Path(f"{self.kind}_landmarker.task")
        if path is None or path.suffix != ".task":
            return None
        from sonjit.weights import load_bundle

        return load_bundle(path, self.models_dir)

    @property
    def follows_bundle(self) -> bool:
        """Whether boxes and smoothing are those of the bundle's own graph: MediaPipe's search alone."""
        return self.search == "fast" and self.bundle is not None

    def detector_file(self, name: str) -> Path:
        """The caller's own detector, that of the caller's bundle, or the published one of that name."""
        if self.detector_model is not None:
            return self.detector_model
        bundle = self.bundle
        return self.file(name) if bundle is None else bundle.file(f"{_MEMBERS[self.kind]}_detector.tflite")

    def landmark_file(self, name: str) -> Path:
        """The caller's own landmark network, that of the caller's bundle, or the published one of that name."""
        bundle = self.bundle
        if bundle is not None:
            return bundle.file(f"{_MEMBERS[self.kind]}_landmarks_detector.tflite")
        return self.landmark_model or self.file(name)

    def file(self, name: str) -> Path:
        """The published file of that name in the catalogue."""
        return find_weight(name, self.models_dir)


def filter_from_name(smoothing: str | Filter | None) -> FilterChoice:
    """The filter of a name; "none" is None."""
    match smoothing:
        case "published":
            return "published"
        case "one_euro":
            return OneEuro()
        case "none" | None:
            return None
        case str():
            raise InputError(f"unknown smoothing {smoothing!r}; known: published, one_euro, None or a filter object")
        case _ if callable(smoothing):
            return smoothing
        case _:
            raise InputError(f"smoothing={smoothing!r}: give 'published', 'one_euro', None or a filter object")
