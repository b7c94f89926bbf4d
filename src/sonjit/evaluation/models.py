"""What can be evaluated: Sonjit's detectors, networks of its registry, files of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard, cast

from sonjit.detectors.kinds import KINDS, find_model
from sonjit.errors import InputError
from sonjit.evaluation.palms import PALM_MODELS, PalmModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.datasets.recordings import Samples
    from sonjit.evaluation.predictions import LandmarkKind, Mode, Prediction
    from sonjit.evaluation.schema import FileRecord, ModelRecord
    from sonjit.explain.classes import LocalizeBy
    from sonjit.networks.classifiers import View

_NETWORKS = ("internet", "handoccnet", "deformer", "mask-rcnn", "cam-*", "fc-*")
_CLASSIFIERS = ("cam-", "fc-")


class Model(Protocol):
    """Says what is in images."""

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The ways in which it can be asked."""
        ...

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """What it says of an image (H, W, 3)."""
        ...

    def check(self, samples: Iterable[Sample]) -> None:
        """Refuse a model that has nothing to say of any of these; called before any work."""
        ...

    def begin(self, mode: Mode) -> None:
        """Load what this way needs; the next image follows no other."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class WindowModel(Model, Protocol):
    """Looks at the frames around one too."""

    def find_among(self, samples: Samples, place: int) -> list[Prediction]:
        """What it says of one of the samples, of which those of a recording follow each other."""
        ...


def is_window_model(model: Model) -> TypeGuard[WindowModel]:
    """Whether a model looks at the frames around one too."""
    return hasattr(model, "find_among")


@dataclass(frozen=True)
class ModelChoice:
    """Which model, with which files.

    Attributes:
        name: a detector's kind and model such as hands-full, or a network of the registry.
        predictions: a file of predictions instead.
        weights: checkpoint of a network.
        root_weights: RootNet's, beside InterNet's.
        mano: MANO's right hand, for networks that need it, and for the meshes of data sets that give its parameters.
        mano_left: its left hand, likewise.
        models_dir: folder with the published files.
        landmark_model: a landmark network of your own, for a detector.
        pooling: gap or gmp, of a classifier's checkpoint that does not say it.
        localize_by: of a classifier, where boxes come from: cam, heuristics or backprop.
        view: of a classifier, what it is shown: full, crop or box.
        search: of a detector, see `create_detector`; the protocol's by default.
        max_instances: likewise.
        labels: kind of what the data labels, which predictions from a file are then of.
        device: where it runs: a detector see `create_detector`, a network `torch_device`.
        layout: of InterNet's official weights, see `load_internet`.
        root_input_scale: of RootNet's official weights, see `load_rootnet`.
        boxes: where InterNet looks, see `GivenBoxes`; in the labels' boxes by default.
    """

    name: str | None = None
    predictions: str | None = None
    weights: str | None = None
    root_weights: str | None = None
    mano: str | None = None
    mano_left: str | None = None
    models_dir: str | None = None
    landmark_model: str | None = None
    pooling: str | None = None
    localize_by: LocalizeBy | None = None
    view: View | None = None
    search: str | None = None
    max_instances: int | None = None
    device: str | None = None
    layout: str | None = None
    root_input_scale: float | None = None
    boxes: str | None = None
    labels: LandmarkKind = "hand"

    def __post_init__(self) -> None:
        """Refuse nothing, and two at once."""
        if self.name is None and self.predictions is None:
            raise InputError("name what is to be evaluated with --model, or a file with --predictions")
        if self.name is not None and self.predictions is not None:
            raise InputError("--model and --predictions: give one of both")
        if self.device is not None and self.predictions is not None:
            raise InputError(f"--device {self.device}: predictions are evaluated on the CPU, leave it out")
        for name in ("root_weights", "layout", "root_input_scale", "boxes"):
            if getattr(self, name) is not None and self.name != "internet":
                raise InputError(f"--{name.replace('_', '-')}: only with --model internet")
        if self.root_input_scale is not None and self.root_weights is None:
            raise InputError(f"--root-input-scale {self.root_input_scale:g}: only with --root-weights")
        of_classifiers = {"pooling": self.pooling, "localize-by": self.localize_by, "view": self.view}
        if not self.is_classifier:
            for name, value in of_classifiers.items():
                if value is not None:
                    raise InputError(f"--{name} {value}: is of classifiers such as --model cam-small")

    @property
    def is_classifier(self) -> bool:
        """Whether it says the class of an image."""
        return (self.name or "").startswith(_CLASSIFIERS)

    @property
    def title(self) -> str:
        """What is in the report."""
        return self.name or Path(self.predictions or "").stem

    @property
    def kind(self) -> LandmarkKind:
        """What it finds; of predictions what the data labels, and hands where neither is known."""
        if self.predictions is not None:
            return self.labels
        entry = KINDS.get((self.name or "hands").partition("-")[0])
        return cast("LandmarkKind", entry.instances[0]) if entry else "hand"


def list_models() -> list[str]:
    """Names that `open_model` takes."""
    detectors = [f"{kind}-{model}" for kind, entry in KINDS.items() for model in entry.models]
    return [*detectors, *PALM_MODELS, *_NETWORKS]


def open_model(choice: ModelChoice) -> Model:
    """The model that was chosen.

    Raises:
        InputError: an unknown name, which lists the known ones; a missing file.
        MissingExtraError: a network without PyTorch.
    """
    if choice.predictions is not None:
        from sonjit.evaluation.prediction_files import PredictionsModel

        return PredictionsModel(Path(choice.predictions))
    assert choice.name is not None
    if _is_detector(choice):
        return _detector(choice)
    if choice.name in PALM_MODELS:
        return PalmModel(choice.name, choice.weights, choice.models_dir, choice.device)
    from sonjit.engines.devices import torch_device
    from sonjit.evaluation import network_models

    device = torch_device(choice.device or "cpu")
    if choice.name == "internet":
        return _internet(choice, device)
    if choice.name in ("handoccnet", "deformer"):
        from sonjit.evaluation import mano_models

        if choice.name == "handoccnet":
            return mano_models.HandOccNetModel(choice.weights, choice.mano, device)
        return mano_models.DeformerModel(choice.weights, choice.mano, choice.mano_left, device)
    if choice.name == "mask-rcnn":
        return network_models.InstancesModel(choice.weights, device)
    if choice.is_classifier:
        return _classifier(choice, device)
    raise InputError(f"unknown model {choice.name!r}; known: {', '.join(list_models())}")


def describe_model(choice: ModelChoice, model: Model | None = None) -> ModelRecord:
    """Name and files of a model, each file with its hash; of an open classifier also how it is asked."""
    files = [
        choice.predictions, choice.weights, choice.root_weights, choice.boxes, choice.mano, choice.mano_left,
        choice.landmark_model,
    ]  # fmt: skip
    record: ModelRecord = {
        "name": choice.title,
        "files": [_described(Path(one)) for one in files if one] + _published(choice),
    }
    if choice.is_classifier:
        from sonjit.evaluation.network_models import ClassifierModel

        assert isinstance(model, ClassifierModel)
        record["supervision"] = model.supervision
        record["settings"] = model.settings
    if _is_detector(choice) and choice.search is not None and choice.max_instances is not None:
        record["search"], record["max_instances"] = choice.search, choice.max_instances
    if choice.layout is not None:
        record["layout"] = choice.layout
    if choice.root_input_scale is not None:
        record["root_input_scale"] = choice.root_input_scale
    return record


def _classifier(choice: ModelChoice, device: torch.device) -> Model:
    from sonjit.evaluation.network_models import ClassifierModel
    from sonjit.networks.classifiers import load_classifier

    classifier = load_classifier(choice.name or "", choice.weights, choice.pooling)
    return ClassifierModel(classifier, choice.localize_by, choice.view, device)


def _is_detector(choice: ModelChoice) -> bool:
    return choice.name is not None and KINDS.has(choice.name.partition("-")[0])


def _detector(choice: ModelChoice) -> Model:
    from sonjit.evaluation.detector_models import DetectorModel

    entry, model = find_model(choice.name or "hands")
    names = ("models_dir", "landmark_model", "search", "max_instances", "device")
    options = {name: getattr(choice, name) for name in names}
    return DetectorModel(entry.name, model.name, **{key: one for key, one in options.items() if one is not None})


def _internet(choice: ModelChoice, device: torch.device) -> Model:
    from sonjit.evaluation.internet_model import InterNetModel
    from sonjit.evaluation.network_models import needed_weights

    return InterNetModel(
        needed_weights("internet", choice.weights),
        layout=choice.layout,
        root_weights=choice.root_weights,
        root_input_scale=choice.root_input_scale,
        boxes=None if choice.boxes is None else Path(choice.boxes),
        device=device,
    )


def _published(choice: ModelChoice) -> list[FileRecord]:
    """The catalogue's files behind a detector."""
    from sonjit.weights import find_weight

    if choice.name in PALM_MODELS and choice.weights is None:
        return [{"name": choice.name, **_described(find_weight(choice.name, choice.models_dir))}]
    if not _is_detector(choice):
        return []
    entry, model = find_model(choice.name or "")
    weights = dict(model.weights)
    if choice.landmark_model is not None:
        weights.pop("landmark", None)
    further = () if choice.search in (None, "fast") or model.is_box else entry.search_weights
    names = dict.fromkeys((*weights.values(), *further))
    return [{"name": name, **_described(find_weight(name, choice.models_dir))} for name in names]


def _described(path: Path) -> FileRecord:
    import hashlib

    if path.is_dir():
        path /= "weights.safetensors"  # of a run
    if not path.is_file():
        return {"file": str(path)}
    with path.open("rb") as stream:
        return {"file": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
