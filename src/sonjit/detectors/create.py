"""`create_detector`: from names and options to a running detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sonjit.detectors.kinds.body import body_smoothers, load_bodies
from sonjit.detectors.kinds.face import load_faces
from sonjit.detectors.kinds.hands import load_hands
from sonjit.detectors.kinds.holistic import load_holistic
from sonjit.detectors.pipeline import Detector, Kind, LoopOptions
from sonjit.detectors.request import Request, keypoint_smoothers
from sonjit.detectors.smoothing import OneEuro, Smoother
from sonjit.detectors.tracking import Tracker
from sonjit.engines import EngineOptions
from sonjit.errors import InputError
from sonjit.weights import cache_folder

if TYPE_CHECKING:
    from os import PathLike

    from sonjit.detectors.smoothing import Filter, FilterChoice
    from sonjit.engines import EngineName, Precision

NewSmoother = Callable[[], Smoother[Any] | None]


@dataclass(frozen=True)
class KindEntry:
    """What `create_detector` knows of a kind.

    Attributes:
        models: names, the default first.
        max_instances: where the caller gives none.
        load: makes the `Kind` with its networks.
        smoothers: gives what makes a new track's smoother; without it, "published" smooths nothing.
        detection_scores: the default of the models that have not 0.5.
    """

    models: tuple[str, ...]
    max_instances: int
    load: Callable[[Request], Kind[Any, Any]]
    smoothers: Callable[[Request], NewSmoother] = keypoint_smoothers
    detection_scores: Mapping[str, float] = field(default_factory=dict[str, float])


KINDS = {
    "hands": KindEntry(("full", "lite"), 2, load_hands),
    "face": KindEntry(("attention", "mesh", "box", "box-full"), 1, load_faces, detection_scores={"box-full": 0.6}),
    "body": KindEntry(("full", "lite", "heavy"), 1, load_bodies, body_smoothers),
    "holistic": KindEntry(("full", "lite", "heavy"), 1, load_holistic, body_smoothers),
}


def create_detector(
    kind: Literal["hands", "face", "body", "holistic"] = "hands",
    *,
    model: str | None = None,
    max_instances: int | None = None,
    static_image: bool = False,
    mirrored: bool = False,
    flip_horizontal: bool = False,
    smoothing: Literal["published", "one_euro"] | Filter | None = "published",
    min_detection_score: float | None = None,
    min_presence_score: float = 0.5,
    search_interval: int = 5,
    segmentation: bool = False,
    smooth_segmentation: bool = True,
    visibility: bool = False,
    hand_model: Literal["lite", "full"] | None = None,
    face_model: Literal["mesh", "attention"] | None = None,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    device: str = "CPU",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Detector[Any, Any]:
    """Make a detector.

    Args:
        kind: what to find: `"hands"`, `"face"` or `"body"`.
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
        segmentation: give each body its mask.
        smooth_segmentation: and smooth masks over time.
        visibility: give each keypoint of `"hands"` the probability that it is seen, and tell left from right with a
            calibrated probability, both by heads of our own (docs/hand-heads.md). Bodies always have visibility.
        hand_model: of `"holistic"`; by default lite beside a lite body, else full.
        face_model: of `"holistic"`; by default mesh beside a lite body, else attention.
        models_dir: folder with the published weight files, instead of the cache.
        detector_model: a palm, face or person detector of your own, `.tflite`, `.onnx` or `.xml`.
        landmark_model: a landmark network of your own.
        engine: `"openvino"` or `"onnxruntime"`.
        device: passed to the engine: `CPU`, `GPU`, `NPU`, `AUTO`.
        precision: `auto` takes bf16 where the CPU has it natively, else f32, as far as the network bears
            it: faces and most bodies are f32.
        threads: 0 for all cores; where not given SONJIT_THREADS, else all cores (faces: one, they are that small).

    Raises:
        InputError: an unknown name, a value that can find nothing, or a model file that is missing; the message
            says what to do.
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    entry = KINDS[kind]
    model = model or entry.models[0]
    if model not in entry.models:
        raise InputError(f"unknown {kind} model {model!r}; known: {', '.join(entry.models)}")
    if visibility and kind != "hands":
        raise InputError(f"visibility=True: goes with hands, not with {kind}; bodies have it always")
    loop = LoopOptions(
        max_instances=entry.max_instances if max_instances is None else max_instances,
        static_image=static_image,
        flip_horizontal=flip_horizontal,
        min_detection_score=(
            entry.detection_scores.get(model, 0.5) if min_detection_score is None else min_detection_score
        ),
        min_presence_score=min_presence_score,
        search_interval=search_interval,
    )
    request = Request(
        model=model,
        mirrored=mirrored,
        models_dir=_path(models_dir),
        detector_model=_path(detector_model),
        landmark_model=_path(landmark_model),
        engine=EngineOptions(engine, device, precision, threads, cache=cache_folder() / "compiled"),
        segmentation=segmentation,
        smooth_segmentation=smooth_segmentation,
        hand_model=_known("hand_model", hand_model, ("lite", "full")),
        face_model=_known("face_model", face_model, ("mesh", "attention")),
        min_presence_score=min_presence_score,
        search_interval=search_interval,
        smoothing=_filter(smoothing),
        static_image=static_image,
        visibility=visibility,
    )
    return Detector(entry.load(request), Tracker(entry.smoothers(request)), loop)


def _known(name: str, given: str | None, known: tuple[str, ...]) -> str | None:
    if given is not None and given not in known:
        raise InputError(f"unknown {name} {given!r}; known: {', '.join(known)}")
    return given


def _path(given: str | PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def _filter(smoothing: str | Filter | None) -> FilterChoice:
    """The filter of that name."""
    if smoothing == "published":
        return "published"
    if isinstance(smoothing, str):
        if smoothing != "one_euro":
            raise InputError(f"unknown smoothing {smoothing!r}; known: published, one_euro, None or a filter object")
        return OneEuro()
    if smoothing is not None and not callable(smoothing):
        raise InputError(f"smoothing={smoothing!r}: give 'published', 'one_euro', None or a filter object")
    return smoothing
