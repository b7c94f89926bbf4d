"""The recipe `vqa`: answers to questions about images, from the features of a classifier and the words of the question.

Its data are laid out as those of https://visualqa.org (Antol et al. 2015; Goyal et al. 2017): in a folder
`*OpenEnded_mscoco_SPLIT_questions.json` and `*mscoco_SPLIT_annotations.json`, and images
`SPLIT/COCO_SPLIT_000000000001.jpg`, there or in the folder of `--images`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sonjit.datasets.reading import load_json
from sonjit.errors import InputError
from sonjit.explain.classes import image_tensor
from sonjit.files import write_text
from sonjit.media import rgb_from
from sonjit.networks.answers import Answerer, AnswerHead, save_answerer, word_numbers, words_of
from sonjit.networks.cam import CamNetwork
from sonjit.networks.classifiers import load_classifier
from sonjit.training.loop import WEIGHTS, TrainingSettings, train
from sonjit.training.recipes import TrainingRequest, settings_from
from sonjit.training.settings import check_at_least

METRICS = "metrics.json"
"""In the run: the accuracy on the questions held out."""
_AGREEING = 3  # people who gave an answer that makes it right
_DIGITS = {word: str(number) for number, word in enumerate(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
)} | {"none": "0"}  # fmt: skip
_ARTICLES = ("a", "an", "the")


@dataclass(frozen=True)
class VqaSettings(TrainingSettings):
    """Settings of the recipe.

    Attributes:
        network: whose features are asked, one of `list_networks("cam-*")`; that of `--weights`.
        pooling: gap or gmp, of weights that do not say it.
        batch: questions in a step.
        size: side of what the network is shown, in pixels; 0 for what its run was trained on, or what it is for.
        split: of the questions to train on.
        held_out_split: of those to evaluate on.
        answers: how many can be given: the most frequent ones.
        parts: from what an answer is found: image and question, or one of them alone, to compare.
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
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, batch=1, answers=2)
        if not self.network.startswith("cam-"):
            raise InputError(f"network={self.network}: give one of sonjit networks 'cam-*'")
        if self.size and self.size < 16:
            raise InputError(f"size={self.size}: give at least 16")


class Question(NamedTuple):
    """A question about an image.

    Attributes:
        image: its file.
        text: what is asked.
        answer: the one that most people gave.
        given: answers of all people, ten in the published set.
    """

    image: Path
    text: str
    answer: str
    given: tuple[str, ...]


def read_questions(data: Path, images: Path, split: str) -> list[Question]:
    """The questions of a split, in the layout of https://visualqa.org.

    Raises:
        InputError: a file is missing or of another kind, or nothing was asked.
    """
    files = [_only_file(data, f"*{name}mscoco_{split}_{part}.json") for name, part in _FILES]
    asked, answered = (load_json(file) for file in files)
    try:
        questions = {one["question_id"]: one["question"] for one in asked["questions"]}
        found = [
            Question(
                images / split / f"COCO_{split}_{one['image_id']:012}.jpg", questions[one["question_id"]],
                one["multiple_choice_answer"], tuple(given["answer"] for given in one["answers"]),
            )
            for one in answered["annotations"]
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{files[1]}: not answers to {files[0].name} as of visualqa.org ({error})") from None
    if not found:
        raise InputError(f"{files[1]}: holds no answer")
    return found


def vqa_accuracy(answer: str, given: Sequence[str]) -> float:
    """How right an answer is, 0..1: mean over all choices of all people but one of min(how many said so / 3, 1).

    Source: https://visualqa.org/evaluation.html. Case, punctuation, articles and numbers in words do not count; the
    official code's spelling of contractions ("dont") is not repeated.

    >>> round(vqa_accuracy("two", ["2", "2", "2", "3", "3", "3", "3", "3", "3", "3"]), 3)  # with one of the 2s left out
    0.9
    """
    said, people = _normalised(answer), [_normalised(one) for one in given]
    agreeing = people.count(said)
    if len(people) == 1:
        return float(agreeing)
    return sum(min((agreeing - (one == said)) / _AGREEING, 1) for one in people) / len(people)


def train_vqa(request: TrainingRequest) -> dict[str, object]:
    """Train the answers of a classifier's features; the classifier itself stays as it is.

    Returns:
        The weights' path and the accuracy on the questions held out, 0..1, as visualqa.org counts it.

    Raises:
        InputError: data or weights that cannot be used.
    """
    settings = settings_from(VqaSettings, request.settings)
    if request.export is not None:
        raise InputError("vqa writes PyTorch weights alone: leave --export out")
    if request.data is None or request.weights is None:
        raise InputError("vqa: give --data, a folder with questions, and --weights, a classifier to take features from")
    classifier = load_classifier(settings.network, request.weights, settings.pooling or None)
    network = classifier.network.to(request.device)
    assert isinstance(network, CamNetwork)
    size = settings.size or classifier.size
    images = request.images or request.data
    learnt = read_questions(request.data, images, settings.split)
    held_out = read_questions(request.data, images, settings.held_out_split)
    answers = tuple(name for name, _ in Counter(one.answer for one in learnt).most_common(settings.answers))
    learnt = [one for one in learnt if one.answer in set(answers)]
    words = tuple(sorted({word for one in learnt for word in words_of(one.text)}))
    features = _features(network, [*learnt, *held_out], size)
    shown = torch.stack(list({one.image: features[one.image] for one in learnt}.values()))
    head = AnswerHead((shown.mean(0), shown.std(0, correction=0).clamp(min=1e-6)), len(words), len(answers))
    head.to(request.device)

    def inputs(questions: Sequence[Question]) -> tuple[Tensor, Tensor]:
        numbers = [word_numbers(one.text, words) if settings.parts != "image" else [0] for one in questions]
        longest = max(map(len, numbers))
        padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in numbers])
        rows = [features[one.image] if settings.parts != "question" else head.middle.cpu() for one in questions]
        return torch.stack(rows), padded

    def batch(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        chosen = [learnt[place] for place in rng.integers(len(learnt), size=settings.batch)]
        return *inputs(chosen), torch.tensor([answers.index(one.answer) for one in chosen])

    def losses(head: AnswerHead, drawn: tuple[Tensor, Tensor, Tensor]) -> Mapping[str, Tensor]:
        return {"cross_entropy": cross_entropy(head(*drawn[:2]), drawn[2])}

    def evaluate(head: AnswerHead) -> dict[str, float]:
        return _metrics(head, inputs, held_out, answers, request.device)

    save_answerer(request.out, Answerer(network, size, head, words, answers))
    metrics = train(
        head, batch, losses, settings, out=request.out, inputs=request.inputs() | {"answers": answers},
        progress=request.progress, evaluate=evaluate, higher_is_better=True,
    )  # fmt: skip
    write_text(request.out / METRICS, json.dumps({**metrics, "held_out": len(held_out)}, indent=2) + "\n")
    return {"weights": request.out / WEIGHTS, "questions": len(learnt), "answers": len(answers), **metrics}


_FILES = ("OpenEnded_", "questions"), ("", "annotations")
_PART = 256  # questions at once
_Inputs: TypeAlias = Callable[[Sequence[Question]], tuple[Tensor, Tensor]]


def _only_file(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{folder}: {len(found)} files {pattern} in it; give a folder with one, as of visualqa.org")
    return found[0]


@torch.inference_mode()
def _features(network: CamNetwork, questions: Sequence[Question], size: int) -> dict[Path, Tensor]:
    """Pooled features (K,) of each image."""
    found: dict[Path, Tensor] = {}
    files = list(dict.fromkeys(one.image for one in questions))
    for file in files:
        maps = network(image_tensor(rgb_from(file), size).to(network.device))["features"]
        pooled = maps.mean((2, 3)) if network.pooling == "gap" else maps.amax((2, 3))
        found[file] = pooled[0].cpu().clone()
    return found


def _metrics(
    head: AnswerHead, inputs: _Inputs, questions: Sequence[Question], answers: Sequence[str], device: str
) -> dict[str, float]:
    right: list[float] = []
    for start in range(0, len(questions), _PART):
        part = questions[start : start + _PART]
        features, words = inputs(part)
        best: list[int] = head(features.to(device), words.to(device)).argmax(1).tolist()
        right += [vqa_accuracy(answers[one], question.given) for one, question in zip(best, part, strict=True)]
    return {"accuracy": float(np.mean(right))}


def _normalised(answer: str) -> str:
    words = re.sub(r"[^\w\s:'.]|(?<!\d)\.(?!\d)", "", answer.lower()).split()
    return " ".join(_DIGITS.get(word, word) for word in words if word not in _ARTICLES)
