"""Networks quantized to int8, and the rule for low precisions on photographs."""

import hashlib
import json
from dataclasses import asdict, replace

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from sonjit import InputError, create_detector
from sonjit.detectors import options, quantization
from sonjit.detectors.kinds.face_networks import load_faces
from sonjit.detectors.quantization import measure_agreement, record_crops
from sonjit.engines import EngineOptions, devices, load_engine
from sonjit.engines.int8 import Landmarks, quantize
from sonjit.engines.openvino import has_bf16, resolve_precision
from sonjit.engines.precision import Int8Accuracy, int8_path, is_accurate_enough, save_accuracy, source_hash

SIDE = 16


@pytest.fixture(autouse=True)
def saves_time(monkeypatch):
    """Make every form save time, independent of this machine."""
    monkeypatch.setattr("sonjit.engines.int8._times", lambda *_: (2.0, 1.0))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def maps(rng):
    """Return an image, and 4 maps of 4 x 4 from convolutions with channels of very different ranges."""
    image = ops.parameter([1, SIDE, SIDE, 3], ov.Type.f32, "image")
    values = ops.transpose(image, np.array([0, 3, 1, 2]))
    sizes = np.geomspace(0.05, 1, 8).astype(np.float32)
    first = rng.normal(size=(8, 3, 3, 3)).astype(np.float32) * sizes[:, None, None, None]
    second = rng.normal(size=(8, 1, 1, 3, 3)).astype(np.float32)
    third = rng.normal(size=(4, 8, 1, 1)).astype(np.float32) / sizes[:, None, None]
    where = {"strides": [2, 2], "pads_begin": [1, 1], "pads_end": [1, 1], "dilations": [1, 1]}
    values = ops.relu(ops.convolution(values, first, **where))
    values = ops.relu(ops.group_convolution(values, second, **where))
    where = {"strides": [1, 1], "pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1]}
    return image, ops.convolution(values, third, **where)


@pytest.fixture
def landmarks(tmp_path, rng):
    """Return a small landmark network with 2 keypoints and a presence of 1."""
    image, values = maps(rng)
    points = ops.reshape(ops.reduce_mean(values, np.array([2, 3])), np.array([1, 4]), special_zero=False)
    presence = ops.constant(np.ones((1, 1), np.float32))
    seen = ops.add(presence, ops.multiply(ops.slice(points, [0], [1], [1], [1]), np.float32(0)))
    path = tmp_path / "points.xml"
    ov.save_model(ov.Model([points, seen], [image]), path, compress_to_fp16=False)
    return path


@pytest.fixture
def images(rng):
    return list(rng.integers(0, 256, (16, 1, SIDE, SIDE, 3), np.uint8))


def run(path, image, precision):
    (output,) = run_all(path, [image], precision)
    return output


def run_all(path, images, precision):
    engine, outputs = load_engine(path, EngineOptions(precision=precision, threads=1)), []
    for image in images:
        engine.input[:] = image
        outputs.append(np.array(engine.run()[0]))
    return outputs


@pytest.mark.slow
def test_the_int8_form_gives_nearly_the_same_and_is_recognised(landmarks, images):
    promise = quantize(landmarks, Landmarks(4, step=2), images[::2], images[1::2], shift_px=1.0)
    assert promise.shift_px <= 1.5
    assert promise.images == 8
    assert 0 <= promise.f32 < promise.layers == 3
    kept = json.loads(int8_path(landmarks).with_suffix(".json").read_text("utf-8"))
    assert kept["shift_px"] == promise.shift_px
    assert kept["source"] == hashlib.sha256(landmarks.read_bytes()).hexdigest()
    exact, rounded = (run(landmarks, images[0], precision) for precision in ("f32", "int8"))
    assert np.abs(exact - rounded).max() < 2
    assert (exact != rounded).any()


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({}, True), ({"shift_px": 0.31}, False), ({"processor": "another"}, False), ({"source": "of another"}, False),
        ({"flags": {"avx2"}}, False), ({"unknown": 1}, False),
    ],
)  # fmt: skip
def test_auto_takes_a_form_that_keeps_its_promise(landmarks, monkeypatch, changes, taken):
    monkeypatch.setattr("sonjit.engines.precision.processor_flags", lambda: changes.get("flags", {"avx512_vnni"}))
    promise = Int8Accuracy(source_hash(landmarks), devices.processor_name(), 8, 3, 0, 0.3, 0.5, 0.01, 2.0, 1.0, 100)
    save_accuracy(landmarks, promise)
    assert not is_accurate_enough(landmarks)  # the form itself is missing
    int8_path(landmarks).write_text("<net/>")
    kept = asdict(promise) | {key: change for key, change in changes.items() if key != "flags"}
    int8_path(landmarks).with_suffix(".json").write_text(json.dumps(kept))
    assert is_accurate_enough(landmarks) == taken
    if resolve_precision(EngineOptions()) != "bf16":
        assert resolve_precision(EngineOptions(), landmarks) == ("int8" if taken else "f32")


@pytest.mark.slow
def test_a_form_of_another_network_is_refused(landmarks, images):
    quantize(landmarks, Landmarks(4, step=2), images[::2], images[1::2], shift_px=100)
    landmarks.write_text(landmarks.read_text("utf-8") + " ")
    with pytest.raises(InputError, match=r"belongs to another points\.xml"):
        run(landmarks, images[0], "int8")


def test_images_that_show_nothing_are_refused(landmarks, images):
    with pytest.raises(InputError, match="finds 0 and 0 instances"):
        quantize(landmarks, Landmarks(4, step=2, least_presence=2), images, images, shift_px=1)


def test_networks_without_a_form_are_refused():
    with pytest.raises(InputError, match=r"'face-attention' cannot be quantized. Choose from palm-full, "):
        next(quantization.quantize_networks(["face-attention"]))


@pytest.mark.nightly
@pytest.mark.slow
def test_hands_in_int8_are_near_those_in_f32(weights, photo, monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    for path in weights["hand-full"].parent.glob("*.tflite"):
        (tmp_path / "models" / path.name).symlink_to(path)
    models = tmp_path / "models"
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    with pytest.raises(InputError, match="Run: sonjit models quantize"):
        create_detector("hands", precision="int8", models_dir=models, search="fast")
    monkeypatch.setattr(quantization, "_STEP", 30)
    monkeypatch.setattr(quantization, "_MAX_INPUTS", 8)  # inputs: compiling takes most of the time then
    monkeypatch.setattr("sonjit.engines.int8._MIN_WORK", 0.04)  # few layers, because each is compiled separately
    ((_, promise),) = quantization.quantize_networks(["hand-full"])
    assert promise.shift_px < 1
    exact, rounded = (
        create_detector("hands", precision=precision, static_image=True, search="fast", models_dir=models)
        for precision in ("f32", "int8")
    )
    with exact, rounded:
        pairs = list(zip(rounded.detect(photo), exact.detect(photo), strict=True))
    assert pairs
    for mine, theirs in pairs:
        assert mine.handedness == theirs.handedness
        assert np.linalg.norm(mine.keypoints[:, :2] - theirs.keypoints[:, :2], axis=1).mean() < 2


@pytest.mark.parametrize("model", ["attention", "box", "box-full"])
def test_faces_without_an_int8_form_are_refused(model):
    with pytest.raises(InputError, match=f"precision='int8' requires the model mesh, not {model}"):
        load_faces(options.FaceOptions(precision="int8", model=model))


RULE = {
    # network: whether bf16 keeps the rule, and the largest mean shift in px of 224 that `auto` may have
    "hand-full": (False, 0.2),
    "hand-lite": (False, 0.2),
    "body-full": (False, 0.0),
    "body-lite": (False, 0.0),
    "face-mesh": (True, 0.05),
}


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("hand-full", "face-mesh") else pytest.mark.nightly) for name in RULE],
)
def test_auto_runs_a_network_in_bf16_only_if_it_keeps_the_rule(data, name):
    if not has_bf16():
        pytest.skip("this CPU has no bf16")
    folder = data / "real" / "wild"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    even, odd = record_crops(name, folder, search="fast")
    even, odd = (crops[:: 6 if name.startswith("body") else 1] for crops in (even, odd))  # large networks
    bf16_keeps, most_px = RULE[name]
    auto = measure_agreement(name, [*even, *odd])
    assert auto.keeps_rule
    assert auto.shift_px <= most_px
    assert measure_agreement(name, [*even, *odd], "bf16").keeps_rule == bf16_keeps


def test_all_images_of_a_folder_give_crops_and_some_frames_of_the_clip(weights, photo, tmp_path, monkeypatch):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), photo[..., ::-1])
    even, odd = record_crops("hand-lite", tmp_path, search="fast")
    assert len(even) == 2 * len(odd) > 0


def test_crops_that_show_nothing_are_refused(weights):
    with pytest.raises(InputError, match="hand-lite: the crops show nothing that the network is for"):
        measure_agreement("hand-lite", [np.zeros((1, 224, 224, 3), np.uint8)], "f32")


@pytest.mark.parametrize(
    ("change", "keeps"),
    [
        ({}, True),
        ({"shift_px": 0.4}, False),
        ({"presence": 0.9}, False),
        ({"side": 0.9}, False),
        ({"shift_p90": 1.0}, False),
    ],
)
def test_a_network_keeps_the_rule_only_in_every_respect(change, keeps):
    same = quantization.Agreement("bf16", crops=9, shift_px=0.1, shift_p90=0.001, presence=1.0, side=1.0)
    assert replace(same, **change).keeps_rule == keeps


def test_every_image_of_a_folder_is_taken_for_a_network(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), 10 * number, np.uint8))
    assert [rgb[0, 0, 0] for rgb in quantization._images(tmp_path)] == [0, 10, 20]


def test_every_sixth_frame_of_the_bundled_clip_is_taken(demo_clip):
    assert len(list(quantization._images(None))) == -(-len(demo_clip[1]) // 6)


@pytest.mark.parametrize(
    ("name", "count", "keypoints"),
    [("palm-lite", 2016, 9), ("hand-lite", 1, 21), ("body-lite", 1, 39), ("face-mesh", 1, 468)],
)
def test_the_layout_of_a_network_fits_its_outputs(need, name, count, keypoints):
    _, model, landmarks = quantization.quantized_networks()[name]
    assert model == name.partition("-")[2]
    assert (landmarks.candidates, landmarks.size / landmarks.step) == (count, keypoints)
    sizes = load_engine(need(name)[name], EngineOptions(threads=1)).output_sizes
    assert {landmarks.size * count, count} <= set(sizes)
    assert landmarks.least_presence == (
        0.0 if name in ("palm-lite", "face-mesh") else 0.5
    )  # of logits or probabilities
