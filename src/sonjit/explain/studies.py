"""What Zhou et al. 2016 do with maps: find patterns and answer questions.

Pattern discovery (section 4.2, informative objects in scenes): what the images of one class have in common where their
class activation maps are high; regions of all images of a class by its map, the strongest first.

Visual question answering with a map of the answer (section 4.3, after Zhou et al. 2015, Simple Baseline for Visual
Question Answering, a bag of words): one linear layer over the image's features and the words. The score of an answer is
`w_image . mean(features) + w_words . counts + bias`. Its part from the image is the mean of a map, as of any class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Float32Array, FloatArray, Image, RealArray
from sonjit.errors import InputError
from sonjit.explain.overlay import enlarge
from sonjit.metrics.localization import box_from_map
from sonjit.results import Box


@dataclass(frozen=True, eq=False)
class Region:
    """The most informative part of one image.

    Attributes:
        index: of the image.
        box: x_min, y_min, x_max, y_max in pixels.
        strength: mean of the class's map in the box.
        crop: (h, w, 3) uint8, the image in the box.
    """

    index: int
    box: Box
    strength: float
    crop: Image


def informative_regions(
    images: Sequence[NDArray[np.uint8]], maps: Sequence[Float32Array], threshold: float = 0.5
) -> list[Region]:
    """One region per image of a class, that of the strongest evidence first.

    Args:
        images: (H, W, 3) uint8 each.
        maps: (h, w), the class's map of each; images without evidence for the class are left out.
        threshold: of the box, as a share of the map's maximum.
    """
    if len(images) != len(maps):
        raise InputError(f"{len(maps)} maps for {len(images)} images: give one per image")
    found: list[Region] = []
    for index, (rgb, values) in enumerate(zip(images, maps, strict=True)):
        large = enlarge(values, rgb.shape[1], rgb.shape[0])
        box = box_from_map(large, threshold)
        if box is not None:
            x_min, y_min, x_max, y_max = (round(edge) for edge in box)
            part = slice(y_min, y_max), slice(x_min, x_max)
            found.append(Region(index, box, float(large[part].mean()), rgb[part]))
    return sorted(found, key=lambda one: -one.strength)


def mean_map(maps: Sequence[Float32Array]) -> Float32Array:
    """The mean of a class's maps, (h, w), each scaled to a maximum of 1."""
    if not maps:
        raise InputError("no maps to take the mean of: give at least one")
    return np.stack([values / max(float(values.max()), 1e-12) for values in maps]).mean(0).astype(np.float32)


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
    image_weights: FloatArray
    word_weights: FloatArray
    bias: FloatArray

    def answer(self, features: RealArray, question: str) -> tuple[str, float, Float32Array]:
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
    features: RealArray,
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


def _counts(question: str, words: tuple[str, ...]) -> FloatArray:
    asked = _words(question)
    return np.array([asked.count(word) for word in words], np.float64)


def _softmax(scores: FloatArray) -> FloatArray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
