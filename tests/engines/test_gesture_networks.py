"""Networks of a gesture recogniser's bundle, compared with numpy on small networks."""

import io
import struct
import zipfile

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.detectors.kinds.gesture_bundle import load_gestures
from sonjit.engines import EngineOptions
from sonjit.results import Hand
from sonjit.weights import TaskBundle

from .flat_tables import write_table

RNG = np.random.default_rng(0)
INT32, CONCATENATION, FULLY_CONNECTED, RESHAPE, SOFTMAX = 2, 2, 9, 22, 25
NAMES = ["None", "Thumb_Up", "Victory"]


def number(value):
    return struct.unpack("<i", np.float32(value).tobytes())[0]


def network(shapes, inputs, outputs, constants, *operators):
    """Return a TFLite file of tensors with these shapes, constants by tensor, and operators."""
    arrays = [np.zeros(0, np.float32), *constants.values()]
    places = {tensor: index for index, tensor in enumerate(constants, 1)}
    tensors = [
        {0: list(shape), 2: places.get(i, 0), 3: b"t%d" % i}
        | ({1: INT32} if arrays[places.get(i, 0)].dtype == np.int32 else {})
        for i, shape in enumerate(shapes)
    ]
    codes = sorted({operator[0] for operator in operators})
    graph = {
        0: tensors,
        1: inputs,
        2: outputs,
        3: [{0: codes.index(code), 1: i, 2: o, 3: kind, 4: options} for code, i, o, kind, options in operators],
    }
    buffers = [{0: array.tobytes()} if array.size else {} for array in arrays]
    data = bytearray(8)
    _, model = write_table({0: 3, 1: [{0: code, 3: code} for code in codes], 2: [graph], 4: buffers}, data)
    data[:8] = struct.pack("<I", model) + b"TFL3"
    return bytes(data)


FLAT = np.array([1, 63], np.int32)
EMBEDDER = network(
    [(1, 21, 3), (1, 1), (1, 21, 3), (2,), (1, 63), (1, 63), (1, 127)], [0, 1, 2], [6], {3: FLAT},
    (RESHAPE, [0, 3], [4], 17, {0: FLAT.tolist()}),
    (RESHAPE, [2, 3], [5], 17, {0: FLAT.tolist()}),
    (CONCATENATION, [4, 1, 5], [6], 10, {0: 1}),
)  # fmt: skip


def classifier(weights, names=NAMES):
    """Return a classifier of 127 numbers: a softmax of (N, 127) weights, with the names in an appended zip."""
    count = len(weights)
    file = io.BytesIO(
        network(
            [(1, 127), (count, 127), (count,), (1, count), (1, count)], [0], [4],
            {1: weights, 2: np.zeros(count, np.float32)},
            (FULLY_CONNECTED, [0, 1, 2], [3], 8, {}), (SOFTMAX, [3], [4], 9, {0: number(1)}),
        )
    )  # fmt: skip
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a") as behind:
        behind.writestr("labels.txt", "\n".join(names))
    return file.getvalue()


CANNED, CUSTOM = (RNG.normal(size=(3, 127)).astype(np.float32) for _ in range(2))


def bundle(tmp_path, monkeypatch, **members):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    files = {"gesture_embedder": EMBEDDER, "canned_gesture_classifier": classifier(CANNED)} | members
    return TaskBundle("mine.task", "gesture_recognizer", {f"{name}.tflite": data for name, data in files.items()})


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_scores_are_those_of_the_networks(tmp_path, monkeypatch, side):
    rng = np.random.default_rng(1)
    pixels = rng.uniform(100, 300, (21, 3)).astype(np.float32)
    metres = rng.uniform(-0.1, 0.1, (21, 3)).astype(np.float32)
    custom = classifier(CUSTOM, ["None", "rock", "paper"])
    networks = load_gestures(bundle(tmp_path, monkeypatch, custom_gesture_classifier=custom), EngineOptions())
    found = networks.scores(Hand(side, 1.0, pixels, metres, handedness_score=0.9), side_px=640, depth_px=480)

    def own_size(points):
        points = points - points[0]
        return (points / (np.ptp(points[:, :2], axis=0).max() + 1e-5)).ravel()

    right = 0.9 if side == "Right" else 0.1
    numbers = np.concatenate([own_size(pixels / (640, 640, 480)), [right], own_size(metres)])
    assert [list(one) for one in found] == [["None", "rock", "paper"], NAMES]
    for one, weights in zip(found, (CUSTOM, CANNED), strict=True):
        np.testing.assert_allclose(list(one.values()), softmax(weights @ numbers), rtol=1e-4)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"gesture_embedder": classifier(CANNED)}, r"gesture_embedder.tflite has inputs \[\(1, 127\)\]. Expected"),
        ({"canned_gesture_classifier": EMBEDDER}, "canned_gesture_classifier.tflite requires labels.txt"),
        ({"canned_gesture_classifier": classifier(CANNED, ["a" * 2**20])}, "requires labels.txt"),
        ({"canned_gesture_classifier": classifier(CANNED, NAMES[:2])}, r"sizes \[3\]. Expected \[127\] and \[2\]"),
    ],
)
def test_networks_of_no_use_are_named(tmp_path, monkeypatch, members, reason):
    with pytest.raises(InputError, match=reason):
        load_gestures(bundle(tmp_path, monkeypatch, **members), EngineOptions())
