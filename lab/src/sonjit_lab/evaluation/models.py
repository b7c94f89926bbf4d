"""Models that can be evaluated: Sonjit's detectors, networks of its registry, and files of predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import numpy as np
from cyclopts import Group, Parameter
from numpy.typing import NDArray

from sonjit._util import InputError, unknown_name
from sonjit._util.files import sha256_of_file
from sonjit.detectors import Detector, KindName, create_detector
from sonjit.detectors.kinds import KINDS, find_model
from sonjit.engines.devices import torch_device
from sonjit.weights import find_weight
from sonjit_lab.datasets import Sample
from sonjit_lab.datasets.sample import LandmarkKind
from sonjit_lab.evaluation import predictions as records
from sonjit_lab.evaluation.coco import PALM_MODELS, PalmModel

if TYPE_CHECKING:
    import torch

    from sonjit_lab.networks.registry import NetworkEntry

TRACKING_PASSES = 5  # passes over an image without predecessor, so that tracking crops by the last one
_DEFAULTS: Final = {"search": "fast", "smoothing": "published", "max_instances": 4}
"""Search and smoothing of the cards, with more instances than an image labels, because sets label only some of them."""
_LANDMARKS = {
    "hand-full": "hands-full",
    "hand-lite": "hands-lite",
    "hand-heavy": "hands-full",
    "timm-landmarks": "hands-full",
    "face-mesh": "face-mesh",
    "pose-lite": "body-lite",
    "pose-full": "body-full",
    "pose-heavy": "body-heavy",
}
"""Detectors of the landmark networks that recipes train."""


class DetectorModel(records.Model):
    """Detector in the two modes of the model cards, by default with `search="fast"`, as in the cards, and 4 instances.

    Tracking processes the images of a recording in order, each crop from the previous result; an image without
    predecessor is processed several times, as in the cards. Reacquisition searches every image.
    """

    modes = ("tracking", "reacquisition")

    def __init__(self, kind: str, model: str, **options: Any) -> None:  # noqa: ANN401  # the detector's own
        self._kind = kind
        self._model = model
        self._options = options
        self._detectors: dict[records.Mode, Detector[Any]] = {}
        self._before: tuple[str, str | None, str | None] | None = None
        self._frame = -1

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: records.Mode) -> list[records.Prediction]:
        detector = self._detector(mode)
        if mode == "reacquisition":
            return records.predictions_from_results(detector.detect(rgb))
        if not self._follows(sample):
            detector.reset()
            for _ in range(TRACKING_PASSES - 1):
                detector.detect(rgb)
        return records.predictions_from_results(detector.detect(rgb))

    def begin(self, mode: records.Mode) -> None:
        self._detector(mode)
        self._before = None

    def close(self) -> None:
        for detector in self._detectors.values():
            detector.close()
        self._detectors.clear()

    def _detector(self, mode: records.Mode) -> Detector[Any]:
        if mode not in self._detectors:
            options = _DEFAULTS | self._options | {"static_image": mode == "reacquisition"}
            self._detectors[mode] = create_detector(KindName(self._kind), model=self._model, **options)
        return self._detectors[mode]

    def _follows(self, sample: Sample) -> bool:
        """Return whether an image comes after the previous one in the same recording."""
        now = (sample.dataset, sample.sequence, sample.view)
        in_recording = sample.sequence is not None and sample.frame is not None
        follows = in_recording and now == self._before and (sample.frame or 0) > self._frame
        self._before, self._frame = (now if in_recording else None), (sample.frame or 0)
        return follows


@Parameter(name="*", group=Group("Model", sort_key=1))
@dataclass(frozen=True)
class ModelChoice:
    """Model with its files and options, as for `sonjit eval`.

    Attributes:
        name: A detector's kind and model such as hands-full, a network of sonjit networks with --weights, or the
            folder of a run of sonjit train.
        predictions: File of predictions to evaluate instead: .npz with id (N,) and keypoints_px, keypoints_m,
            vertices_m, side, score and so on; COCO's results as .json; or what sonjit hands --save wrote for a folder
            of images.
        weights: Checkpoint of a network, or folder of its run; demo for placeholder weights.
        layout: Training data set of an official InterNet checkpoint. Sonjit's checkpoints contain it.
        root_weights: Checkpoint of RootNet, for InterNet.
        root_input_scale: Value of white for an official RootNet checkpoint, 255 in the release. Sonjit's contain it.
        boxes: JSON file with InterNet's crops and root depths: RootNet's released results, or a list with annot_id or
            sample (and side), bbox (x, y, width, height of the square crop) and abs_depth in mm.
        mano: MANO_RIGHT.pkl, for HandOccNet and Deformer, and for meshes of sets with MANO parameters.
        mano_left: MANO_LEFT.pkl, for left hands.
        pooling: Pooling of a classifier's checkpoint that does not contain it: gap (mean) or gmp (maximum).
        localize_by: Source of a classifier's boxes: cam, the map of each class; heuristics, the paper's five boxes of
            three classes; backprop, the saliency of each class; image, the image as a baseline. Default: cam.
        view: Part of the image for a classifier: the full image (full), the crop by its map (crop), or the labelled
            box (box). Default: the part that it was trained on.
        models_dir: Folder with the published weight files.
        landmark_model: File of a custom landmark network, for detectors.
        search: Search of detectors. Default: the search of the protocol.
        max_instances: Maximum number of instances of detectors. Default: the number of the protocol.
        device: Device: cpu, gpu, npu or auto for a detector; cpu, gpu, cuda:1, mps or auto for a network.
        labels: Kind of the data's labels, which predictions from a file then have.
    """

    name: Annotated[str | None, Parameter(name="--model")] = None
    predictions: str | None = None
    weights: str | None = None
    root_weights: str | None = None
    mano: str | None = None
    mano_left: str | None = None
    models_dir: str | None = None
    landmark_model: str | None = None
    pooling: Literal["gap", "gmp"] | None = None
    localize_by: Literal["cam", "heuristics", "backprop", "image"] | None = None
    view: Literal["full", "crop", "box"] | None = None
    search: Literal["auto", "fast", "thorough"] | None = None
    max_instances: int | None = None
    device: str | None = None
    layout: Literal["interhand", "stb", "rhd"] | None = None
    root_input_scale: Literal[1, 255] | None = None
    boxes: str | None = None
    labels: Annotated[LandmarkKind, Parameter(parse=False)] = "hand"

    def __post_init__(self) -> None:
        """Refuse no model, and two models at once."""
        if self.name is not None and Path(self.name).is_dir():
            self._use_run(Path(self.name))
        if self.name is None and self.predictions is None:
            raise InputError("sonjit eval requires --model or --predictions")
        if self.name is not None and self.predictions is not None:
            raise InputError("--model cannot be combined with --predictions")
        if self.device is not None and self.predictions is not None:
            raise InputError("--device cannot be combined with --predictions, which are evaluated on the CPU")
        for name in ("root_weights", "layout", "root_input_scale", "boxes"):
            if getattr(self, name) is not None and self.name != "internet":
                raise InputError(f"--{name.replace('_', '-')} applies only to --model internet")
        if self.root_input_scale is not None and self.root_weights is None:
            raise InputError("--root-input-scale requires --root-weights")
        of_classifiers = {"pooling": self.pooling, "localize-by": self.localize_by, "view": self.view}
        if not self.is_classifier:
            for name, value in of_classifiers.items():
                if value is not None:
                    raise InputError(f"--{name} {value} applies only to classifiers such as --model cam-small")

    def _use_run(self, folder: Path) -> None:
        """Replace the folder of a run by the name of its network and its weights."""
        from sonjit_lab.networks.checkpoints import saved_network, weight_file

        saved = saved_network(weight_file(folder))
        if saved is None:
            raise InputError(f"--model {folder}: its weights do not name their network. Give --model and --weights")
        field, name = ("weights", saved.name)
        if saved.name in _LANDMARKS:
            field, name = "landmark_model", _LANDMARKS[saved.name]
        if getattr(self, field) is not None:
            raise InputError(f"--model {folder} cannot be combined with --{field.replace('_', '-')}")
        object.__setattr__(self, "name", name)  # the dataclass is frozen for callers
        object.__setattr__(self, field, str(folder))

    @property
    def is_classifier(self) -> bool:
        """Return whether it predicts the class of an image."""
        network = _network_of(self.name or "")
        return network is not None and network.is_classifier

    @property
    def title(self) -> str:
        """Return the title for reports."""
        return self.name or Path(self.predictions or "").stem

    @property
    def kind(self) -> LandmarkKind:
        """Return the kind of its predictions: the data's labels for a file of predictions, and hands if unknown."""
        if self.predictions is not None:
            return self.labels
        entry = KINDS.get((self.name or "hands").partition("-")[0])
        return cast("LandmarkKind", entry.instances[0]) if entry else "hand"


def list_models() -> list[str]:
    """Return the names that `open_model` accepts."""
    detectors = [f"{kind}-{model}" for kind, entry in KINDS.items() for model in entry.models]
    from sonjit_lab.networks.registry import list_networks, network_entry

    networks = [name for name in list_networks() if network_entry(name).evaluate]
    return [*detectors, *PALM_MODELS, *networks]


def uses_windows(name: str) -> bool:
    """Check whether a model uses the neighbouring frames of a recording."""
    network = _network_of(name)
    return network is not None and network.uses_windows


def _network_of(name: str) -> NetworkEntry | None:
    """Return the network of a name that can be evaluated; None for detectors, whose names need no PyTorch."""
    if KINDS.has(name.partition("-")[0]) or name in PALM_MODELS:
        return None
    from sonjit_lab.networks.registry import list_networks, network_entry

    entry = network_entry(name) if name in list_networks() else None
    return entry if entry is not None and entry.evaluate else None


def open_model(choice: ModelChoice) -> records.Model:
    """Open a model."""
    if choice.predictions is not None:
        from sonjit_lab.evaluation.prediction_files import PredictionsModel

        return PredictionsModel(Path(choice.predictions))
    assert choice.name is not None
    if _is_detector(choice):
        return _detector(choice)
    if choice.name in PALM_MODELS:
        return PalmModel(choice.name, choice.weights, choice.models_dir, choice.device)
    network = _network_of(choice.name)
    if network is None:
        raise InputError(unknown_name("model", choice.name, list_models()))
    open_network: Callable[[ModelChoice, torch.device], records.Model] = resolve_name(network.evaluate)
    return open_network(choice, torch_device(choice.device or "cpu"))


def describe_model(choice: ModelChoice, model: records.Model | None = None) -> records.ModelRecord:
    """Return the name and files of a model with their hashes; for an open classifier also its settings."""
    files = [
        choice.predictions,
        choice.weights,
        choice.root_weights,
        choice.boxes,
        choice.mano,
        choice.mano_left,
        choice.landmark_model,
    ]
    own_files: list[records.FileRecord] = [{**_file_record(Path(file)), "path": str(file)} for file in files if file]
    record: records.ModelRecord = {"name": choice.title, "files": own_files + _published_files(choice)}
    if choice.is_classifier:
        assert model is not None
        record["supervision"] = model.supervision
        record["settings"] = dict(model.settings)
    if _is_detector(choice) and choice.search is not None and choice.max_instances is not None:
        record["search"], record["max_instances"] = choice.search, choice.max_instances
    if choice.layout is not None:
        record["layout"] = choice.layout
    if choice.root_input_scale is not None:
        record["root_input_scale"] = choice.root_input_scale
    return record


def _is_detector(choice: ModelChoice) -> bool:
    return choice.name is not None and KINDS.has(choice.name.partition("-")[0])


def _detector(choice: ModelChoice) -> records.Model:
    entry, model = find_model(choice.name or "hands")
    names = ("models_dir", "landmark_model", "search", "max_instances", "device")
    options = {name: getattr(choice, name) for name in names}
    return DetectorModel(entry.name, model.name, **{key: item for key, item in options.items() if item is not None})


def _published_files(choice: ModelChoice) -> list[records.FileRecord]:
    """Return the catalogue's files of a detector."""
    if choice.name in PALM_MODELS and choice.weights is None:
        return [{"name": choice.name, **_file_record(find_weight(choice.name, choice.models_dir))}]
    if not _is_detector(choice):
        return []
    entry, model = find_model(choice.name or "")
    weights = dict(model.weights)
    if choice.landmark_model is not None:
        weights.pop("landmark", None)
    further = () if choice.search in (None, "fast") or model.is_box else entry.search_weights
    names = dict.fromkeys((*weights.values(), *further))
    return [{"name": name, **_file_record(find_weight(name, choice.models_dir))} for name in names]


def _file_record(path: Path) -> records.FileRecord:
    if path.is_dir():
        path /= "weights.safetensors"  # of a run
    if not path.is_file():
        return {"file": str(path)}
    return {"file": path.name, "sha256": sha256_of_file(path)}
