"""Load the classifiers of `sonjit explain` that need PyTorch."""

from collections.abc import Sequence
from pathlib import Path

from sonjit._util import Image, InputError
from sonjit.engines.devices import torch_device
from sonjit.explanations.imagenet import IMAGE_MODELS, ClassMap, imagenet_names
from sonjit.explanations.task import Explain, parts_of
from sonjit.weights import find_weight
from sonjit_lab.datasets.dataset import read_lines
from sonjit_lab.papers.cam.answers import load_answerer
from sonjit_lab.papers.cam.maps import explain_classes, saliency_of_classes
from sonjit_lab.papers.cam.network import Classifier, load_classifier


class ExplainedClassifier:
    """A classifier in PyTorch that `sonjit explain` explains."""

    def __init__(self, classifier: Classifier, names: Sequence[str] = ()) -> None:
        self._classifier = classifier
        self.model, self.ids = classifier.network.name, classifier.ids
        self.names = tuple(names or classifier.names)
        self.has_maps = classifier.pooling is not None

    def explain(self, rgb: Image, classes: Sequence[int] | None = None, top: int = 1) -> list[ClassMap]:
        """Return the maps, for an image (H, W, 3), of classes or the `top` most probable ones.

        Networks without maps have their saliency instead.
        """
        explain = explain_classes if self.has_maps else saliency_of_classes
        return explain(self._classifier.network, rgb, self._classifier.size, classes, top)

    def saliency(self, rgb: Image, classes: Sequence[int]) -> list[ClassMap]:
        """Return the saliency of classes in an image (H, W, 3) by backprop."""
        return saliency_of_classes(self._classifier.network, rgb, self._classifier.size, classes)


def load_classifiers(task: Explain) -> list[ExplainedClassifier]:
    """Load the classifiers of a task. Runs of `sonjit train cam` contain their classes and size."""
    models, weights = parts_of(task.model), parts_of(task.weights or "")
    if weights and len(weights) != len(models):
        raise InputError(
            f"--weights: {len(weights)} files for {len(models)} networks. List one per network, separated by commas"
        )
    device = torch_device(task.device)
    pairs = [
        (f"cam-{name}", find_weight(name, task.models_dir)) if name in IMAGE_MODELS and not weights else (name, path)
        for name, path in zip(models, weights or [None] * len(models), strict=True)
    ]
    names: Sequence[str] = imagenet_names() if set(models) <= set(IMAGE_MODELS) else ()
    if task.names:
        names = [name.strip() for name in read_lines(Path(task.names))]
    if task.ask is None:
        classifiers = [load_classifier(name, path, task.pooling) for name, path in pairs]
    else:
        if unsupported := [f"--{name}" for name in ("pooling", "names") if getattr(task, name) is not None]:
            raise InputError(f"{', '.join(unsupported)} cannot be combined with --ask")
        classifiers = [load_answerer(name, path).classifier_for(task.ask) for name, path in pairs]
    for classifier in classifiers:
        classifier.network.to(device)
    return [ExplainedClassifier(classifier, names) for classifier in classifiers]
