"""Visual question answering with a map of the answer: one linear layer over the image's features and the words.

The score of an answer is `w_image . mean(features) + w_words . counts + bias`. Its part from the image is the mean
of a map, as of any class. Source: Zhou et al. 2016, section 4.3, after Zhou et al. 2015, Simple Baseline for Visual
Question Answering (a bag of words).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Answerer:
    """A linear model that answers questions about images.

    Attributes:
        answers: A texts that it can give.
        words: V words that it knows; others are passed over.
        image_weights: (A, K).
        word_weights: (A, V).
        bias: (A,).
    """

    answers: tuple[str, ...]
    words: tuple[str, ...]
    image_weights: NDArray[np.float64]
    word_weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def answer(self, features: NDArray[np.floating], question: str) -> tuple[str, float, NDArray[np.float32]]:
        """The answer, its probability, and the map (h, w) of the evidence for it in the image.

        Args:
            features: (K, h, w), the last map of a network.
            question: in plain words.
        """
        scores = self.image_weights @ features.mean((1, 2)) + self.word_weights @ _counts(question, self.words)
        shares = _softmax((scores + self.bias)[None])[0]
        best = int(shares.argmax())
        return (
            self.answers[best],
            float(shares[best]),
            np.tensordot(self.image_weights[best], features, 1).astype(np.float32),
        )


def train_answerer(
    features: NDArray[np.floating],
    questions: Sequence[str],
    answers: Sequence[str],
    *,
    steps: int = 300,
    learning_rate: float = 0.5,
    weight_decay: float = 1e-3,
) -> Answerer:
    """Fit the linear layer by gradient descent on the cross entropy.

    Args:
        features: (N, K) means of the images' last maps.
        questions: N of them.
        answers: N of them.
        steps: of the descent.
        learning_rate: step length, over inputs scaled to unit deviation.
        weight_decay: pulls weights that explain nothing to zero.
    """
    if not len(features) == len(questions) == len(answers) or not questions:
        raise InputError(
            f"{len(features)} features, {len(questions)} questions, {len(answers)} answers: give as many of each"
        )
    known = tuple(sorted(set(answers)))
    words = tuple(sorted({word for question in questions for word in _words(question)}))
    counts = np.array([_counts(question, words) for question in questions])  # (N, V)
    inputs = np.concatenate([features, counts], axis=1).astype(np.float64)  # (N, K + V)
    middle, spread = inputs.mean(0), np.maximum(inputs.std(0), 1e-6)
    inputs = (inputs - middle) / spread
    wanted = np.eye(len(known))[[known.index(answer) for answer in answers]]  # (N, A)
    weights, bias = np.zeros((len(known), inputs.shape[1])), np.zeros(len(known))
    for _ in range(steps):
        error = (_softmax(inputs @ weights.T + bias) - wanted) / len(inputs)  # (N, A)
        weights -= learning_rate * (error.T @ inputs + weight_decay * weights)
        bias -= learning_rate * error.sum(0)
    weights = weights / spread  # back to the inputs as they come
    return Answerer(
        known, words, weights[:, : features.shape[1]], weights[:, features.shape[1] :], bias - weights @ middle
    )


def _words(question: str) -> list[str]:
    return re.findall(r"\w+", question.lower())


def _counts(question: str, words: tuple[str, ...]) -> NDArray[np.float64]:
    asked = _words(question)
    return np.array([asked.count(word) for word in words], np.float64)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
