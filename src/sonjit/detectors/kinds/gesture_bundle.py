"""Gestures by a gesture recognizer's own networks: what a hand is like as 128 numbers, then classifiers of these.

Source: Zhang et al. 2020, MediaPipe Hands, section 6; the constants are those of mediapipe 0.10.21's graph.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from sonjit._util import Float32Array, InputError
from sonjit.engines import EngineOptions, load_number_engine

if TYPE_CHECKING:
    from sonjit.engines.openvino import OpenVinoEngine
    from sonjit.results import Hand
    from sonjit.weights import TaskBundle

EMBEDDER = "gesture_embedder.tflite"
CUSTOM = "custom_gesture_classifier.tflite"
_CLASSIFIERS = (CUSTOM, "canned_gesture_classifier.tflite")
_HAND = (1, 21, 3)
_LABELS = "labels.txt"
_MAX_LABEL_BYTES = 1_000_000
_EPSILON = 1e-5


class GestureNetworks:
    """Classify gestures with an embedder and classifiers with the names of their scores, a custom one first."""

    def __init__(self, embedder: OpenVinoEngine, classifiers: list[tuple[OpenVinoEngine, list[str]]]) -> None:
        self._embedder = embedder
        self._classifiers = classifiers

    def scores(self, hand: Hand, side_px: int, depth_px: int) -> list[dict[str, float]]:
        """Return the scores of each classifier for one hand in an upright image, by name.

        `side_px`: the image's long side; `depth_px`: width of the original image, the unit of depth.
        """
        points = hand.keypoints / np.array([side_px, side_px, depth_px], np.float32)
        score = hand.handedness_score or 0.0
        right = score if hand.handedness == "Right" else 1 - score
        landmarks, side, world = self._embedder.inputs
        landmarks[:] = _in_own_size(points)
        side[:] = right
        world[:] = _in_own_size(hand.keypoints_3d)
        (embedding,) = self._embedder.run()
        scores_by_classifier: list[dict[str, float]] = []
        for engine, names in self._classifiers:
            engine.input[:] = embedding
            (scores,) = engine.run()
            scores_by_classifier.append(dict(zip(names, scores.ravel().tolist(), strict=True)))
        return scores_by_classifier


def _in_own_size(points: Float32Array) -> Float32Array:
    """Normalise points (21, 3) to the wrist and the longer side of the box around them."""
    moved = points - points[0]
    return moved / (np.ptp(moved[:, :2], axis=0).max() + np.float32(_EPSILON))


def load_gestures(bundle: TaskBundle, running: EngineOptions) -> GestureNetworks | None:
    """Load the gesture networks of a bundle, or return None if it has none."""
    if EMBEDDER not in bundle.members:
        return None
    embedder = load_number_engine(bundle.file(EMBEDDER), running)
    shapes = [tensor.shape for tensor in embedder.inputs]
    if shapes != [_HAND, (1, 1), _HAND] or len(embedder.output_sizes) != 1:
        raise InputError(f"{bundle.name}: {EMBEDDER} has inputs {shapes}. Expected {[_HAND, (1, 1), _HAND]}.")
    classifiers: list[tuple[OpenVinoEngine, list[str]]] = []
    for member in _CLASSIFIERS:
        if member not in bundle.members and member == _CLASSIFIERS[0]:
            continue
        engine, names = load_number_engine(bundle.file(member), running), _names(bundle, member)
        if [tensor.size for tensor in engine.inputs] != embedder.output_sizes or engine.output_sizes != [len(names)]:
            raise InputError(
                f"{bundle.name}: {member} has input sizes {[tensor.size for tensor in engine.inputs]} and output sizes "
                f"{engine.output_sizes}. Expected {embedder.output_sizes} and {[len(names)]}, the number of its names."
            )
        classifiers.append((engine, names))
    return GestureNetworks(embedder, classifiers)


def _names(bundle: TaskBundle, member: str) -> list[str]:
    """Return the names of a classifier's scores, a text in the zip archive appended to the network."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle.read(member))) as nested:
            if nested.getinfo(_LABELS).file_size > _MAX_LABEL_BYTES:
                raise ValueError("too large")
            return nested.read(_LABELS).decode().splitlines()
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, OSError, ValueError) as error:
        raise InputError(f"{bundle.name}: {member} requires {_LABELS} with the names of the gestures") from error
