"""Answer questions about images with one linear layer over an image's features and the words of the question.

Source: Zhou et al. 2015, Simple Baseline for Visual Question Answering, a bag of words and the features of a pretrained
network; Zhou et al. 2016, Learning Deep Features for Discriminative Localization, section 4.3, for its maps. The score
of an answer is `w_image . F + sum of w_word + b`, with F the pooled features. For a fixed question this is a classifier
of answers, whose class activation maps show the evidence for an answer.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sonjit._util import InputError
from sonjit_lab.networks import checkpoints
from sonjit_lab.papers.cam import network as classifiers

_CLASSIFIER = Path("classifier", checkpoints.WEIGHTS)  # path of the classifier's weights in a run


class AnswerHead(nn.Module):
    """Scores of answers from features, normalised by their means and deviations (K,), and a question's words."""

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
        """Return logits (B, A) from features (B, K) and word indices (B, L), 0 for none."""
        return self.image((features - self.middle) / self.spread) + self.words(words)


@dataclass(frozen=True, eq=False)
class Answerer:
    """A network whose features answer questions."""

    network: classifiers.CamNetwork  # network for the features; its own classes are not used
    size: int  # side of its square input in pixels
    head: AnswerHead  # trained head
    words: tuple[str, ...]  # known words; other words are ignored
    answers: tuple[str, ...]  # possible answers

    def classifier_for(self, question: str) -> classifiers.Classifier:
        """Return the classifier of answers to one question, which can be explained like other classifiers."""
        network = copy.deepcopy(self.network)
        network.forget_classes(len(self.answers))
        with torch.no_grad():
            weights = self.head.image.weight / self.head.spread
            words = self.head.words(torch.tensor([word_numbers(question, self.words)]))[0]
            network.head.weight.copy_(weights)
            network.head.bias.copy_(self.head.image.bias - weights @ self.head.middle + words)
        return classifiers.Classifier(network.eval(), self.size, self.answers, tuple(range(len(self.answers))))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


def word_numbers(question: str, words: Sequence[str]) -> list[int]:
    """Return the indices of a question's words, from 1, or a single 0 if none is known."""
    number_of_word = {word: number for number, word in enumerate(words, 1)}
    return [number_of_word[word] for word in words_of(question) if word in number_of_word] or [0]


def save_answerer(folder: Path, answerer: Answerer) -> None:
    """Write the files that `load_answerer` requires next to the head's weights."""
    description = {"network": answerer.network.name, "size": answerer.size}
    checkpoints.save_description(folder, {**description, "words": answerer.words, "answers": answerer.answers})
    (folder / _CLASSIFIER).parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save_checkpoint(answerer.network, folder / _CLASSIFIER)


def load_answerer(name: str, folder: str | Path | None) -> Answerer:
    """Load the folder of a run of `sonjit train vqa` with a network for the features."""
    if folder is None:
        raise InputError("a question requires --weights, the folder of a run of sonjit train vqa")
    path = Path(folder)
    run_name, size, words, answers = checkpoints.load_description(
        path, "vqa", lambda d: (str(d["network"]), int(d["size"]), tuple(d["words"]), tuple(d["answers"]))
    )
    if run_name != name:
        raise InputError(f"{path} is a run with {run_name}, not with {name}; use --model {run_name}")
    network = classifiers.load_classifier(name, path / _CLASSIFIER).network
    assert isinstance(network, classifiers.CamNetwork)
    state = checkpoints.load_checkpoint(path)
    head = AnswerHead((state["middle"], state["spread"]), len(words), len(answers))
    head.load_state_dict(state)
    return Answerer(network, size, head.eval(), words, answers)
