"""Train answers to questions about images (recipe `vqa`) from a classifier's features and the words of the question.

The data have the layout of https://visualqa.org (Antol et al. 2015; Goyal et al. 2017): a folder with
`*OpenEnded_mscoco_SPLIT_questions.json` and `*mscoco_SPLIT_annotations.json`, and images
`SPLIT/COCO_SPLIT_000000000001.jpg` in it or in the folder of `--images`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sonjit._util.data_files import read_json, write_json
from sonjit._util.errors import InputError
from sonjit.lab.explain.classes import image_tensor
from sonjit.lab.networks.answers import Answerer, AnswerHead, save_answerer, word_numbers, words_of
from sonjit.lab.networks.cam import CamNetwork
from sonjit.lab.networks.classifiers import load_classifier
from sonjit.lab.training.loop import WEIGHTS, TrainingSettings, train
from sonjit.lab.training.recipes import TrainingRequest, settings_from
from sonjit.lab.training.settings import MAX_BATCH, MAX_SIDE, check_range
from sonjit.media import rgb_from

METRICS = "metrics.json"
"""File of a run with the accuracy on held-out questions."""
_AGREEING = 3  # number of people whose agreement makes an answer correct
_DIGITS = {word: str(number) for number, word in enumerate(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
)} | {"none": "0"}  # fmt: skip
_ARTICLES = ("a", "an", "the")

_FILES = ("OpenEnded_", "questions"), ("", "annotations")
_CHUNK = 256  # number of questions that are answered at once


@dataclass(frozen=True)
class VqaSettings(TrainingSettings):
    """Settings of the recipe.

    Attributes:
        network: Network that computes the features, from `list_networks("cam-*")`; that of `--weights`.
        pooling: gap or gmp, for weights that do not define it.
        batch: Number of questions in a step.
        size: Side of the network's input in pixels; 0 for that of its run, or the network's own size.
        split: Split to train on.
        held_out_split: Split to evaluate on.
        answers: Number of possible answers: the most frequent ones.
        parts: Inputs of the answer: image and question, or only one of them for a comparison.
    """

    steps: int = 2000
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    network: str = "cam-small"
    pooling: Literal["", "gap", "gmp"] = ""
    batch: int = 100
    size: int = 0
    split: str = "train2014"
    held_out_split: str = "val2014"
    answers: int = 1000
    parts: Literal["both", "question", "image"] = "both"

    def __post_init__(self) -> None:
        """Check that values are in range."""
        super().__post_init__()
        check_range(self, batch=(1, MAX_BATCH), answers=(2, MAX_BATCH))
        if not self.network.startswith("cam-"):
            raise InputError(f"Unknown network {self.network!r}. Choose from sonjit networks 'cam-*'")
        if self.size:
            check_range(self, size=(16, MAX_SIDE))


class Question(NamedTuple):
    """A question about an image.

    Attributes:
        image: Image file.
        text: Text of the question.
        answer: Most frequent answer.
        human_answers: Answers of all people, ten in the published set.
    """

    image: Path
    text: str
    answer: str
    human_answers: tuple[str, ...]


def read_questions(data: Path, images: Path, split: str) -> list[Question]:
    """Read the questions of a split in the layout of https://visualqa.org.

    Raises:
        InputError: A file is missing or has another layout, or there are no answers.
    """
    files = [_only_file(data, f"*{name}mscoco_{split}_{part}.json") for name, part in _FILES]
    questions_json, answers_json = (read_json(file) for file in files)
    try:
        texts = {question["question_id"]: question["question"] for question in questions_json["questions"]}
        found = [
            Question(
                images / split / f"COCO_{split}_{record['image_id']:012}.jpg", texts[record["question_id"]],
                record["multiple_choice_answer"], tuple(answer["answer"] for answer in record["answers"]),
            )
            for record in answers_json["annotations"]
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{files[1]}: not the answers to {files[0].name} in the layout of visualqa.org ({error})"
        ) from None
    if not found:
        raise InputError(f"{files[1]}: contains no answers")
    return found


def vqa_accuracy(answer: str, human_answers: Sequence[str]) -> float:
    """Return the accuracy of an answer, 0..1: the mean of min(agreeing people / 3, 1) over subsets without one person.

    Source: https://visualqa.org/evaluation.html. Case, punctuation, articles and numbers in words do not matter. The
    official code's spelling of contractions ("dont") is not reproduced.

    >>> round(vqa_accuracy("two", ["2", "2", "2", "3", "3", "3", "3", "3", "3", "3"]), 3)  # with one of the 2s left out
    0.9
    """
    own, people = _normalise(answer), [_normalise(other) for other in human_answers]
    agreeing = people.count(own)
    if len(people) == 1:
        return float(agreeing)
    return sum(min((agreeing - (other == own)) / _AGREEING, 1) for other in people) / len(people)


def train_vqa(request: TrainingRequest) -> dict[str, object]:
    """Train answers from a classifier's features; the classifier itself is not trained.

    Returns:
        "weights" and the accuracy on the held-out questions, 0..1, in the definition of visualqa.org.

    Raises:
        InputError: Data or weights cannot be used.
    """
    settings = settings_from(VqaSettings, request.settings)
    if request.export is not None:
        raise InputError("--export does not apply to vqa, which writes PyTorch weights")
    if request.data is None or request.weights is None:
        raise InputError("vqa requires --data, a folder with questions, and --weights, a classifier for the features")
    classifier = load_classifier(settings.network, request.weights, settings.pooling or None)
    network = classifier.network.to(request.device)
    assert isinstance(network, CamNetwork)
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
        chosen = [learned[index] for index in rng.integers(len(learned), size=settings.batch)]
        return *inputs(chosen), torch.tensor([answers.index(question.answer) for question in chosen])

    def losses(head: AnswerHead, batch: tuple[Tensor, Tensor, Tensor]) -> Mapping[str, Tensor]:
        return {"cross_entropy": cross_entropy(head(*batch[:2]), batch[2])}

    def evaluate(head: AnswerHead) -> dict[str, float]:
        return _metrics(head, inputs, held_out, answers, request.device)

    save_answerer(request.out, Answerer(network, size, head, words, answers))
    metrics = train(
        head, batch, losses, settings, out=request.out, inputs=request.inputs() | {"answers": answers},
        progress=request.progress, evaluate=evaluate, higher_is_better=True,
    )  # fmt: skip
    write_json(request.out / METRICS, {**metrics, "held_out": len(held_out)}, indent=2)
    return {"weights": request.out / WEIGHTS, "questions": len(learned), "answers": len(answers), **metrics}


def _only_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{folder}: must contain one file {pattern}, as in visualqa.org; found {len(found)}")
    return found[0]


@torch.inference_mode()
def _features(network: CamNetwork, questions: Sequence[Question], size: int) -> dict[Path, Tensor]:
    """Return the pooled features (K,) of each image."""
    found: dict[Path, Tensor] = {}
    files = list(dict.fromkeys(question.image for question in questions))
    for file in files:
        maps = network(image_tensor(rgb_from(file), size).to(network.device))["features"]
        pooled = maps.mean((2, 3)) if network.pooling == "gap" else maps.amax((2, 3))
        found[file] = pooled[0].cpu().clone()
    return found


def _metrics(
    head: AnswerHead,
    inputs: Callable[[Sequence[Question]], tuple[Tensor, Tensor]],
    questions: Sequence[Question],
    answers: Sequence[str],
    device: str,
) -> dict[str, float]:
    accuracies: list[float] = []
    for start in range(0, len(questions), _CHUNK):
        chunk = questions[start : start + _CHUNK]
        features, words = inputs(chunk)
        best: list[int] = head(features.to(device), words.to(device)).argmax(1).tolist()
        accuracies += [
            vqa_accuracy(answers[index], question.human_answers) for index, question in zip(best, chunk, strict=True)
        ]
    return {"accuracy": float(np.mean(accuracies))}


def _normalise(answer: str) -> str:
    words = re.sub(r"[^\w\s:'.]|(?<!\d)\.(?!\d)", "", answer.lower()).split()
    return " ".join(_DIGITS.get(word, word) for word in words if word not in _ARTICLES)
