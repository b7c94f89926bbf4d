"""Answers to questions about images, by one linear layer over an image's features and the words of the question.

Source: Zhou et al. 2015, Simple Baseline for Visual Question Answering, a bag of words beside features of a network
that is not trained; Zhou et al. 2016, Learning Deep Features for Discriminative Localization, section 4.3, for its
maps. The score of an answer is `w_image . F + sum of w_word + b`, with F the pooled features: for one question a
classifier of answers, whose class activation maps show the regions that speak for an answer.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.networks.cam import CamNetwork
from sonjit.networks.checkpoints import load_checkpoint, load_description, save_checkpoint, save_description
from sonjit.networks.classifiers import Classifier, load_classifier

_CLASSIFIER = Path("classifier", "weights.safetensors")
"""In a run, the network whose features are asked."""
_WEIGHTS = "weights.safetensors"


class AnswerHead(nn.Module):
    """Scores of answers from pooled features and a question's words.

    Args:
        features: means (K,) and deviations (K,) of the features in training, to which they are scaled.
        words: how many are known.
        answers: how many there are.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, features: tuple[Tensor, Tensor], words: int, answers: int) -> None:
        super().__init__()
        middle, spread = features
        self.register_buffer("middle", middle)
        self.register_buffer("spread", spread)
        self.image = nn.Linear(len(middle), answers)
        self.words = nn.EmbeddingBag(words + 1, answers, mode="sum", padding_idx=0)
        for weights in (self.image.weight, self.image.bias, self.words.weight):
            nn.init.zeros_(weights)

    def forward(self, features: Tensor, words: Tensor) -> Tensor:
        """Scores (B, A), before the softmax, from features (B, K) and numbers of words (B, L), 0 for none."""
        return self.image((features - self.middle) / self.spread) + self.words(words)


@dataclass(frozen=True, eq=False)
class Answerer:
    """A network's features and what answers questions from them.

    Attributes:
        network: whose features; its own classes are not used.
        size: side of its square input in pixels.
        head: what was trained.
        words: that are known; others are passed over.
        answers: that can be given.
    """

    network: CamNetwork
    size: int
    head: AnswerHead
    words: tuple[str, ...]
    answers: tuple[str, ...]

    def asked(self, question: str) -> Classifier:
        """The classifier of answers to one question; it can be explained as any other."""
        network = copy.deepcopy(self.network)
        network.forget_classes(len(self.answers))
        with torch.no_grad():
            weights = self.head.image.weight / self.head.spread
            words = self.head.words(torch.tensor([word_numbers(question, self.words)]))[0]
            network.head.weight.copy_(weights)
            network.head.bias.copy_(self.head.image.bias - weights @ self.head.middle + words)
        return Classifier(network.eval(), self.size, self.answers, tuple(range(len(self.answers))))


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


def word_numbers(question: str, words: Sequence[str]) -> list[int]:
    """Numbers of a question's words, from 1, one 0 where none is known."""
    known = {word: number for number, word in enumerate(words, 1)}
    return [known[word] for word in words_of(question) if word in known] or [0]


def save_answerer(folder: Path, answerer: Answerer) -> None:
    """Write beside the weights of the head what `load_answerer` needs.

    Raises:
        JobError: the disk refuses.
    """
    about = {"network": answerer.network.name, "size": answerer.size}
    save_description(folder, {**about, "words": answerer.words, "answers": answerer.answers})
    (folder / _CLASSIFIER).parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(answerer.network, folder / _CLASSIFIER)


def load_answerer(name: str, folder: str | Path | None) -> Answerer:
    """What a run of `sonjit train vqa` made.

    Args:
        name: of the network whose features are asked.
        folder: of the run.

    Raises:
        InputError: it is no such run, or one of another network.
    """
    if folder is None:
        raise InputError("a question needs --weights, the folder of a run of sonjit train vqa")
    path = Path(folder)
    own, size, words, answers = load_description(path, "vqa", _described)
    if own != name:
        raise InputError(f"{path} is a run with {own}, not with {name}: give --model {own}")
    network = load_classifier(name, path / _CLASSIFIER).network
    assert isinstance(network, CamNetwork)
    state = load_checkpoint(path / _WEIGHTS)
    head = AnswerHead((state["middle"], state["spread"]), len(words), len(answers))
    head.load_state_dict(state)
    return Answerer(network, size, head.eval(), words, answers)


def _described(description: Any) -> tuple[str, int, tuple[str, ...], tuple[str, ...]]:  # noqa: ANN401  # JSON
    words, answers = tuple(description["words"]), tuple(description["answers"])
    return str(description["network"]), int(description["size"]), words, answers
