"""`create_detector`: from names and options to a running detector."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sonjit.detectors import calibration
from sonjit.detectors.hands import PALM_GRID, Hands, PalmFinder
from sonjit.detectors.pipeline import Detector, LoopOptions
from sonjit.detectors.smoothing import KeypointSmoother, OneEuro
from sonjit.detectors.tracking import Tracker
from sonjit.engines import EngineOptions, load_engine
from sonjit.errors import InputError
from sonjit.weights import cache_folder, find_weight

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.detectors.smoothing import Filter
    from sonjit.engines import Engine, EngineName, Precision
    from sonjit.results import Hand

_HAND_SIZE = 224
_HAND_MODELS = {"lite": ("palm-lite", "hand-lite"), "full": ("palm-full", "hand-full")}


def create_detector(
    kind: Literal["hands"] = "hands",
    *,
    model: str | None = None,
    max_instances: int = 2,
    static_image: bool = False,
    mirrored: bool = False,
    flip_horizontal: bool = False,
    smoothing: Literal["published", "one_euro"] | Filter | None = "published",
    min_detection_score: float = 0.5,
    min_presence_score: float = 0.5,
    search_interval: int = 5,
    models_dir: str | PathLike[str] | None = None,
    detector_model: str | PathLike[str] | None = None,
    landmark_model: str | PathLike[str] | None = None,
    engine: EngineName = "openvino",
    device: str = "CPU",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Detector[Any, Hand]:
    """Make a detector.

    Args:
        kind: what to find: `"hands"`.
        model: `"lite"` or `"full"` (default).
        max_instances: how many to hold at most.
        static_image: every picture stands alone; otherwise pictures are frames of one stream, in order.
        mirrored: the input is a selfie view, left and right exchanged in the picture. `handedness` is the person's
            own hand either way.
        flip_horizontal: flip the x of the output, which a mirrored canvas needs.
        smoothing: None; `"published"`: what MediaPipe's own graph does (nothing, for hands); `"one_euro"`; or a
            filter object (see `Filter`). Stills are never smoothed.
        min_detection_score: of a palm, 0..1.
        min_presence_score: of an instance in its crop, 0..1; it must be larger than this.
        search_interval: frames between searches for more instances while some are held but fewer than
            `max_instances`; 1 searches on every frame, as MediaPipe does.
        models_dir: folder with the published weight files, instead of the cache.
        detector_model: a palm detector of your own, `.tflite`, `.onnx` or `.xml`.
        landmark_model: a landmark network of your own.
        engine: `"openvino"` or `"onnxruntime"`.
        device: passed to the engine: `CPU`, `GPU`, `NPU`, `AUTO`.
        precision: `auto` takes bf16 where the CPU has it natively, else f32.
        threads: 0 for all cores; SONJIT_THREADS where not given.

    Raises:
        InputError: an unknown name, a value that can find nothing, or a model file that is missing; the message
            says what to do.
    """
    if kind != "hands":
        raise InputError(f"unknown kind {kind!r}; known: hands")
    model = model or "full"
    if model not in _HAND_MODELS:
        raise InputError(f"unknown hand model {model!r}; known: {', '.join(_HAND_MODELS)}")
    loop = LoopOptions(
        max_instances=max_instances,
        static_image=static_image,
        flip_horizontal=flip_horizontal,
        min_detection_score=min_detection_score,
        min_presence_score=min_presence_score,
        search_interval=search_interval,
    )
    new_smoother = _smoother_maker(smoothing)
    running = EngineOptions(
        engine=engine, device=device, precision=precision, threads=threads, cache=cache_folder() / "compiled"
    )
    palm_name, hand_name = _HAND_MODELS[model]
    files = [
        Path(given) if given else find_weight(name, Path(models_dir) if models_dir else None)
        for given, name in ((detector_model, palm_name), (landmark_model, hand_name))
    ]
    palms, landmarks = _load_both(files[0], files[1], running)
    return Detector(Hands(PalmFinder(palms), landmarks, mirrored=mirrored), Tracker(new_smoother), loop)


def _load_both(palm_file: Path, hand_file: Path, options: EngineOptions) -> tuple[Engine, Engine]:
    """Palm and landmark network at once: reading and compiling lets go of the interpreter."""

    def crops_of_hands() -> list[NDArray[np.uint8]]:
        finder = PalmFinder(load_engine(palm_file, replace(options, precision="f32")))
        return calibration.crops(_HAND_SIZE, lambda rgb: finder.find(rgb, 0.5))

    with ThreadPoolExecutor(2) as pool:
        palms = pool.submit(
            load_engine,
            palm_file,
            options,
            calibration=lambda: calibration.whole_pictures(PALM_GRID.input_size),
        )
        landmarks = pool.submit(load_engine, hand_file, options, calibration=crops_of_hands)
        return palms.result(), landmarks.result()


def _smoother_maker(smoothing: str | Filter | None) -> Callable[[], KeypointSmoother | None]:
    """A function that makes a new track's smoother."""
    if smoothing is None or smoothing == "published":
        return lambda: None
    if isinstance(smoothing, str):
        if smoothing != "one_euro":
            raise InputError(f"unknown smoothing {smoothing!r}; known: published, one_euro, None or a filter object")
        return lambda: KeypointSmoother(OneEuro())
    if not callable(smoothing):
        raise InputError(f"smoothing={smoothing!r}: give 'published', 'one_euro', None or a filter object")
    return lambda: KeypointSmoother(smoothing)
