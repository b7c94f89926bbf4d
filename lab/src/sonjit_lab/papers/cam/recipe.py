"""Train classifiers with class activation maps (recipe `cam`), and answers from their features (recipe `vqa`).

A classifier is trained on the images of a data set, or on crops of a video with known hands. Training uses only
classes, except in the view "box"; labelled boxes only evaluate the maps. The data of `vqa` have the layout of
https://visualqa.org (Antol et al. 2015; Goyal et al. 2017): `*OpenEnded_mscoco_SPLIT_questions.json`,
`*mscoco_SPLIT_annotations.json` and images `SPLIT/COCO_SPLIT_000000000001.jpg`.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sonjit._util import InputError, data_files
from sonjit._util.settings import Range
from sonjit.media import rgb_from
from sonjit.weights import find_weight
from sonjit_lab.datasets import Dataset, dataset_entry, open_dataset
from sonjit_lab.datasets.splits import SplitReport, hold_out, identities
from sonjit_lab.networks import Network, create_network, load_checkpoint, modes, network_entry, registry
from sonjit_lab.networks.checkpoints import DESCRIPTION, load_description
from sonjit_lab.papers.cam import class_images
from sonjit_lab.papers.cam import network as classifiers
from sonjit_lab.papers.cam.answers import Answerer, AnswerHead, save_answerer, word_numbers, words_of
from sonjit_lab.papers.cam.maps import image_tensor
from sonjit_lab.training import augment, building_blocks, loop
from sonjit_lab.training.batches import epoch_indices
from sonjit_lab.training.hands.samples import HELD_OUT, report_split
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import ImageBatch, SmallBatch, Steps

METRICS = "metrics.json"  # file of a run with the metrics on held-out images or questions
_HELD_OUT = ("val", "test")  # names of splits to evaluate on
_AGREEING = 3  # number of people whose agreement makes an answer correct
_DIGITS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_ARTICLES = ("a", "an", "the")
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'

_FILES = ("OpenEnded_", "questions"), ("", "annotations")
_CHUNK = 256  # number of questions that are answered at once
_SIZE = 96


def _check_size(size: int) -> None:
    if size:
        Range(16, 4096).check("size", size)


@dataclass(frozen=True)
class VqaSettings(loop.TrainingSettings):
    """Settings of the recipe."""

    steps: Steps = 2000
    learning_rate: float = 1e-2
    network: str = "cam-small"  # network that computes the features, from `list_networks("cam-*")`; that of `--weights`
    pooling: Literal["", "gap", "gmp"] = ""  # gap or gmp, for weights that do not define it
    batch: SmallBatch = 100  # number of questions in a step
    size: int = 0  # side of the network's input in pixels; 0 for that of its run, or the network's own size
    split: str = "train2014"  # split to train on
    held_out_split: str = "val2014"  # split to evaluate on
    answers: Annotated[int, Range(2, 65_536)] = 1000  # number of possible answers: the most frequent ones
    # inputs of the answer: image and question, or only one of them for a comparison
    parts: Literal["both", "question", "image"] = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.network.startswith("cam-"):
            raise InputError(f"Unknown network {self.network!r}. Choose from sonjit networks 'cam-*'")
        _check_size(self.size)


class Question(NamedTuple):
    """A question about an image."""

    image: Path  # image file
    text: str  # text of the question
    answer: str  # most frequent answer
    human_answers: tuple[str, ...]  # answers of all people, ten in the published set


def read_questions(data: Path, images: Path, split: str) -> list[Question]:
    """Read the questions of a split in the layout of https://visualqa.org."""
    files: list[Path] = []
    for pattern in (f"*{name}mscoco_{split}_{part}.json" for name, part in _FILES):
        matching_files = sorted(data.glob(pattern))
        if len(matching_files) != 1:
            raise InputError(
                f"{data}: must contain one file {pattern}, as in visualqa.org; found {len(matching_files)}"
            )
        files += matching_files
    questions_json, answers_json = (data_files.read_json(file) for file in files)
    try:
        texts = {question["question_id"]: question["question"] for question in questions_json["questions"]}
        questions = [
            Question(
                images / split / f"COCO_{split}_{record['image_id']:012}.jpg",
                texts[record["question_id"]],
                record["multiple_choice_answer"],
                tuple(answer["answer"] for answer in record["answers"]),
            )
            for record in answers_json["annotations"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{files[1]}: no answers to {files[0].name} in the form of visualqa.org ({error})") from None
    if not questions:
        raise InputError(f"{files[1]}: contains no answers")
    return questions


def vqa_accuracy(answer: str, human_answers: Sequence[str]) -> float:
    """Return the accuracy of an answer, 0..1: the mean of min(agreeing people / 3, 1) over subsets without one person.

    Source: https://visualqa.org/evaluation.html. Unless all people say the same, case, articles and numbers in words do
    not matter, and punctuation is a space, or nothing next to a space and in texts with a number such as 1,000. The
    official code's spelling of contractions ("dont") is not reproduced.

    >>> round(vqa_accuracy("two", ["2", "2", "2", "3", "3", "3", "3", "3", "3", "3"]), 3)  # with one of the 2s left out
    0.9
    """
    plain = _normalise if len(set(human_answers)) > 1 else str
    normalised, people = plain(answer), [plain(other) for other in human_answers]
    agreeing = people.count(normalised)
    if len(people) == 1:
        return float(agreeing)
    return sum(min((agreeing - (other == normalised)) / _AGREEING, 1) for other in people) / len(people)


def train_vqa(request: TrainingRequest) -> dict[str, object]:
    """Train answers from a classifier's features. The result is the held-out accuracy, 0..1, as visualqa.org defines
    it.
    """
    settings = settings_from(VqaSettings, request.settings)
    if request.data is None or request.weights is None:
        raise InputError("vqa requires --data, a folder with questions, and --weights, a classifier for the features")
    classifier = classifiers.load_classifier(settings.network, request.weights, settings.pooling or None)
    network = classifier.network.to(request.device)
    assert isinstance(network, classifiers.CamNetwork)
    size = settings.size or classifier.size
    images = request.images or request.data
    learned = read_questions(request.data, images, settings.split)
    held_out = read_questions(request.data, images, settings.held_out_split)
    answers = tuple(name for name, _ in Counter(item.answer for item in learned).most_common(settings.answers))
    learned = [question for question in learned if question.answer in set(answers)]
    words = tuple(sorted({word for question in learned for word in words_of(question.text)}))
    features = _features(network, [*learned, *held_out], size)
    learned_features = torch.stack(list({question.image: features[question.image] for question in learned}.values()))
    head = AnswerHead(
        (learned_features.mean(0), learned_features.std(0, correction=0).clamp(min=1e-6)), len(words), len(answers)
    )
    head.to(request.device)

    def inputs(questions: Sequence[Question]) -> tuple[Tensor, Tensor]:
        numbers = [word_numbers(question.text, words) if settings.parts != "image" else [0] for question in questions]
        longest = max(map(len, numbers))
        padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in numbers])
        middle = head.middle.cpu()
        rows = [features[question.image] if settings.parts != "question" else middle for question in questions]
        return torch.stack(rows), padded

    def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        chosen = [learned[index] for index in epoch_indices(rng, len(learned), settings.batch).tolist()]
        return *inputs(chosen), torch.tensor([answers.index(question.answer) for question in chosen])

    def losses(head: AnswerHead, batch: tuple[Tensor, Tensor, Tensor]) -> Mapping[str, Tensor]:
        return {"cross_entropy": cross_entropy(head(*batch[:2]), batch[2])}

    def evaluate(head: AnswerHead) -> dict[str, float]:
        accuracies: list[float] = []
        for start in range(0, len(held_out), _CHUNK):
            chunk = held_out[start : start + _CHUNK]
            pooled, numbers = inputs(chunk)
            best = head(pooled.to(request.device), numbers.to(request.device)).argmax(1).tolist()
            best_answers = [answers[index] for index in best]
            accuracies += [
                vqa_accuracy(answer, item.human_answers) for answer, item in zip(best_answers, chunk, strict=True)
            ]
        return {"accuracy": float(np.mean(accuracies))}

    metrics = loop.fit(
        request,
        head,
        batch,
        losses,
        settings,
        inputs=request.inputs() | {"answers": answers},
        evaluate=evaluate,
        higher_is_better=True,
        describe=lambda: save_answerer(request.out, Answerer(network, size, head, words, answers)),
    )
    data_files.write_json(request.out / METRICS, {**metrics, "held_out": len(held_out)}, indent=2)
    return {"weights": request.out / loop.WEIGHTS, "questions": len(learned), "answers": len(answers), **metrics}


@torch.inference_mode()
def _features(network: classifiers.CamNetwork, questions: Sequence[Question], size: int) -> dict[Path, Tensor]:
    """Return the pooled features (K,) of each image."""
    features: dict[Path, Tensor] = {}
    files = list(dict.fromkeys(question.image for question in questions))
    for file in files:
        maps = network(image_tensor(rgb_from(file), size).to(network.device))["features"]
        pooled = maps.mean((2, 3)) if network.pooling == "gap" else maps.amax((2, 3))
        features[file] = pooled[0].cpu().clone()
    return features


def _normalise(answer: str) -> str:
    text = answer
    for mark in _PUNCTUATION:
        vanishes = f"{mark} " in answer or f" {mark}" in answer or re.search(r"\d,\d", answer)
        text = text.replace(mark, "" if vanishes else " ")
    words = re.sub(r"\.(?!\d)", "", text).lower().split()
    return " ".join(_DIGITS.get(word, word) for word in words if word not in _ARTICLES)


@dataclass(frozen=True)
class CamSettings(augment.AugmentedSettings):
    """Settings of the recipe."""

    steps: Steps = 200
    learning_rate: float = 2e-3
    UNSUPPORTED: ClassVar[tuple[str, ...]] = ("shift", "reverse")  # crops are already at random positions

    network: str = "cam-small"  # network name from `list_networks("cam-*")` or `list_networks("fc-*")`
    pretrained: bool = False  # True to start with the weights of `sonjit models pull classifiers`
    # gap or gmp, for networks with maps; "" for gap, or the pooling of the given weights
    pooling: Literal["", "gap", "gmp"] = ""
    batch: ImageBatch = 32  # number of images in a step
    # side of the network's input in pixels; 0 for 96 with the clip's crops, or else the network's own size
    size: int = 0
    # kind of data set of `--data`, by its name in `sonjit datasets list`, such as `folder`, `cub200` or `ilsvrc-loc`;
    # "" for a clip of hands with its ground truth
    dataset: str = ""
    split: str = ""  # split to train on; "" is the training set, or else the first split
    # split to evaluate on; "" is the data set's own, or else a fifth: some subjects, else recordings, else the last
    # images of each folder
    held_out_split: str = ""
    held_out: Steps = 500  # maximum number of images to evaluate on
    # part of an image of a data set: all of it (full), the part that the maps of `--weights` crop (crop), or the
    # labelled box (box)
    view: classifiers.View = "full"
    context: Annotated[float, Range(1, 4)] = 2.0  # side of a clip's crop as a multiple of the hand's
    # length of segments of a clip in frames; the first three quarters of each are for training
    segment: Annotated[int, Range(4, 1_000_000_000)] = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_size(self.size)
        if not classifiers.is_classifier(self.network):
            raise InputError(f"Unknown network {self.network!r}. Choose from sonjit networks 'cam-*' or 'fc-*'")
        if self.pooling and self.network.startswith("fc-"):
            raise InputError(f"pooling={self.pooling} applies only to cam-* networks, not to {self.network}")
        used = [name for name in ("split", "held_out_split") if getattr(self, name)]
        if not self.dataset and (used or self.view != "full"):
            raise InputError(f"{', '.join(used or ['view'])} requires dataset")


def train_cam(request: TrainingRequest) -> dict[str, object]:
    """Train on a data set, on the bundled clip, or on a video (`images`) with its ground truth (`data`).

    The results are "weights", the accuracy and number of held-out images, and for a data set ILSVRC's errors in per
    cent.
    """
    settings = settings_from(CamSettings, request.settings)
    if settings.dataset:
        return _train_on_set(settings, request)
    clip = request.images or data_files.ASSETS / "demo.mp4"
    truth = request.data or data_files.ASSETS / "demo.json"
    size = settings.size or _SIZE
    crops = class_images.HandCrops(clip, truth, size=size, context=settings.context, segment=settings.segment)
    classifier = _classifier(settings, request, class_images.CLASSES, tuple(range(len(class_images.CLASSES))))
    test = crops.test()

    def evaluate(network: Network) -> dict[str, float]:
        return {"accuracy": accuracy(network, test)}

    network = _train(classifier, crops, settings, request, evaluate)
    results: dict[str, object] = {"weights": request.out / loop.WEIGHTS, "accuracy": accuracy(network, test)}
    results["held_out_crops"] = len(test)
    results["split"] = "by segments of one clip, so that the same people are on both sides"
    return results | building_blocks.export_trained(network, request)


def _train_on_set(settings: CamSettings, request: TrainingRequest) -> dict[str, object]:
    if request.data is None:
        raise InputError(f"dataset={settings.dataset} requires its folder as --data")
    cropper = None
    if settings.view == "crop":
        if request.weights is None or not (run := _run_folder_of(request.weights)):
            raise InputError("view=crop requires --weights, the run of sonjit train cam whose maps crop images")
        cropper = classifiers.load_classifier(
            load_description(run, "cam", lambda described: str(described["network"])), run
        )
        if cropper.view != "full":
            raise InputError(f"view=crop requires a run on view=full, but {run} was trained on view={cropper.view}")
    training, held_out = _open_images(settings, request.data, request.images)
    split = report_split(training, held_out) if training.split == held_out.split else None
    size = settings.size or _size_of(settings.network)
    images = class_images.ClassImages(training, held_out, size, settings.view, cropper)
    augment.warn_about_mirror(images.names, images.mirrored, settings.augmentation.mirror)
    samples = images.select_held_out(settings.held_out)
    classifier = _classifier(settings, request, images.names, images.ids)
    classifier = replace(classifier, view=settings.view, cropper=cropper)

    def evaluate(network: Network) -> dict[str, float]:
        return class_images.classification_metrics(replace(classifier, network=network), samples)

    network = _train(classifier, images, settings, request, evaluate, split)
    metrics = evaluate(network)
    data_files.write_json(request.out / METRICS, {**metrics, "held_out": len(samples)}, indent=2)
    results: dict[str, object] = {"weights": request.out / loop.WEIGHTS, "training_images": len(images)}
    results |= {} if split is None else {"split": split.text}
    results |= {"accuracy": 1 - metrics["classification_error_1"] / 100, "held_out": len(samples), **metrics}
    return results | building_blocks.export_trained(network, request)


def _open_images(settings: CamSettings, data: Path, images: Path | None) -> tuple[Dataset, Dataset]:
    """Open the images to train and to evaluate on; without a split for the latter, a fifth, see `hold_out`."""
    entry = dataset_entry(settings.dataset)
    chosen = settings.split or ("train" if "train" in entry.splits else entry.splits[0])
    is_ilsvrc = settings.dataset == "ilsvrc-loc"
    options: dict[str, Any] = {"images": str(images)} if images else {}
    if "labels" in entry.options and not is_ilsvrc:  # COCO: all objects instead of people's keypoints
        options["labels"] = "instances"
    also_without_boxes: dict[str, Any] = {"labels": "folders"} if is_ilsvrc and chosen == "train" else {}
    training = open_dataset(settings.dataset, data, chosen, **options, **also_without_boxes)
    others = (name for name in _HELD_OUT if name in entry.splits and name != chosen)
    if other := settings.held_out_split or next(others, ""):
        return training, open_dataset(settings.dataset, data, other, **options)
    return _parts_by_folder(training, data)


def _parts_by_folder(images: Dataset, data: Path) -> tuple[Dataset, Dataset]:
    """Return the images to train on and those to evaluate on; without known people, the last fifth of each folder."""
    image_identities = identities(images)
    by_folder: dict[Path, list[int]] = {}
    for index, item in enumerate(image_identities):
        by_folder.setdefault(Path(item.id).parent, []).append(index)
    chosen = hold_out([[image_identities[index] for index in indices] for indices in by_folder.values()], HELD_OUT)
    held_out = sorted(
        indices[number] for indices, part in zip(by_folder.values(), chosen, strict=True) for number in part
    )
    rest = sorted(set(range(len(images))) - set(held_out))
    if not held_out or not rest:
        raise InputError(f"{data} has {len(images)} images: too few to train on some and evaluate on others")
    return images.subset(rest), images.subset(held_out)


def _train(
    classifier: classifiers.Classifier,
    images: class_images.ClassImages | class_images.HandCrops,
    settings: CamSettings,
    request: TrainingRequest,
    evaluate: Callable[[Network], Mapping[str, float]],
    split: SplitReport | None = None,
) -> Network:
    """Train the classifier's network, write its description into the run, and return it in eval mode on the CPU."""
    torch.manual_seed(settings.seed)
    network = classifier.network.to(request.device).train()

    def losses(network: Network, batch: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        pixels, labels = batch
        return {"cross_entropy": cross_entropy(network(pixels)["scores"], labels, label_smoothing=0.05)}

    def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        crops = images.draw(rng, settings.batch, settings.augmentation)
        return class_images.images_from(crops), torch.tensor([crop.label for crop in crops])

    run = _run_folder_of(request.weights)
    cropper = run if settings.view == "crop" else None
    loop.fit(
        request,
        network,
        batch,
        losses,
        settings,
        inputs=request.inputs() | {"classes": classifier.names} | (split.inputs() if split else {}),
        evaluate=evaluate,
        higher_is_better=not settings.dataset,
        describe=partial(classifiers.save_classifier_description, request.out, classifier, cropper),
    )
    return network.cpu().eval()


def _classifier(
    settings: CamSettings, request: TrainingRequest, names: tuple[str, ...], ids: tuple[int, ...]
) -> classifiers.Classifier:
    """Return a new network, or one with initial weights and a new output layer if the classes differ."""
    size = settings.size or (_size_of(settings.network) if settings.dataset else _SIZE)
    weights = request.weights or ("published" if settings.pretrained else None)
    torch.manual_seed(settings.seed)
    if weights is None:
        options = {} if settings.network.startswith("fc-") else {"pooling": settings.pooling or "gap"}
        network = create_network(settings.network, classes=len(names), **options)
    elif weights == "demo" or not (run := _run_folder_of(weights)):
        network = _network_from_file(settings, weights, len(names))
    else:
        initial = classifiers.load_classifier(settings.network, run, settings.pooling or None)
        network = initial.network
        if initial.names != names:
            _reset_classes(network, len(names))
    network.side = size
    return classifiers.Classifier(network, size, names, ids)


def _network_from_file(settings: CamSettings, weights: str, classes: int) -> Network:
    """Return a network with torchvision's weights and a new output layer, or with placeholder weights."""
    name = settings.network
    options = {"pooling": settings.pooling} if settings.pooling else {}
    if weights == "demo":
        return create_network(name, weights, classes=classes, **options)
    entry = network_entry(name)
    if weights == "published" and entry.weight is not None:
        weights = str(find_weight(entry.weight))
    state = load_checkpoint(Path(registry.required_checkpoint(name, weights)))
    heads = "head.weight", "fc.weight", "classifier.6.weight", "classifier.1.weight", "_fc.weight"
    last = next((state[key] for key in heads if key in state), None)
    complete = last is not None and not (name.startswith("cam-") and "classifier.6.weight" in state)
    network = create_network(name, weights, classes=len(last) if complete and last is not None else classes, **options)
    _reset_classes(network, classes)
    return network


def _reset_classes(network: Network, classes: int) -> None:
    assert isinstance(network, classifiers.CamNetwork | classifiers.FullyConnected)
    network.forget_classes(classes)


def _size_of(network: str) -> int:
    return network_entry(network).inputs[0].shape[-1]


def _run_folder_of(weights: str | None) -> Path | None:
    """Return the folder of the run that wrote the weights, or None for other weights."""
    path = Path(weights or "")
    folder = path if path.is_dir() else path.parent
    return folder if weights and (folder / DESCRIPTION).is_file() else None


@modes.evaluates
def accuracy(network: Network, crops: Sequence[class_images.Crop]) -> float:
    """Return the share of crops whose class is predicted correctly, 0..1."""
    right = 0
    for start in range(0, len(crops), 64):
        part = crops[start : start + 64]
        best = network(class_images.images_from(part).to(network.device))["scores"].argmax(1).cpu()
        right += int((best == torch.tensor([item.label for item in part])).sum())
    return right / len(crops)
