"""Outputs of the hand landmark network are the means of their maps."""

import json
import math
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

import sonjit
from sonjit import InputError
from sonjit.cli import main
from sonjit.engines import EngineOptions, load_engine
from sonjit.explanations.hand_saliency import HandExplainer, hand_map, load_hand_explainer
from sonjit.geometry.boxes import RotatedBox, crop_on_grid
from sonjit.media import load_frames


@pytest.fixture(scope="module", params=["full", "lite"])
def model(request, weights):
    return request.param


@pytest.fixture(scope="module")
def found(photo, weights):
    with sonjit.create_detector("hands", static_image=True) as detector:
        return detector.detect(photo)


@pytest.mark.nightly_after(1)
@pytest.mark.slow
def test_every_number_is_the_mean_of_its_map_and_the_bias(model, weights, photo, found):
    explainer = load_hand_explainer(model)
    box = explainer.explain(photo, found[0], ["presence"])[0].box
    engine = load_engine(weights[f"hand-{model}"], EngineOptions(precision="f32"))
    crop_on_grid(photo, box, engine.input[0])
    points, presence, label, world = (one.ravel().astype(float) for one in engine.run())
    looks = {target_map.target: target_map for target_map in explainer.explain(photo, found[0], explainer.targets)}
    assert looks.keys() == set(explainer.targets)
    for one in looks.values():
        assert one.values.shape == (7, 7)
        assert one.values.mean(dtype=float) + one.bias == pytest.approx(one.value, rel=1e-5, abs=1e-6)
    names = found[0].skeleton.keypoints
    for outputs, ending in ((points, ""), (world, "_m")):
        values = [looks[f"{name}.{axis}{ending}"].value for name in names for axis in "xyz"]
        np.testing.assert_allclose(values, outputs, rtol=1e-5, atol=1e-5 * np.abs(outputs).max())
    for target, output in (("presence", presence), ("handedness", label)):
        assert 1 / (1 + math.exp(-looks[target].value)) == pytest.approx(output[0], rel=1e-5)


@pytest.mark.slow
def test_handedness_speaks_for_the_persons_right_hand(photo, found):
    for hand in found:
        one = hand_map(photo, hand)
        assert (one.value > 0) == (hand.handedness == "Right")
        mirrored = hand_map(np.ascontiguousarray(photo), hand, mirrored=True)
        assert mirrored.value == pytest.approx(-one.value)
        np.testing.assert_allclose(mirrored.values, -one.values)


def make_network(tmp_path, *, last="mean", heads=(63, 1, 1, 63)):
    """Return a hand landmark network with one convolution."""
    rng = np.random.default_rng(3)
    image = ops.parameter([1, 3, 28, 28], np.float32, name="image")
    filters = rng.normal(size=(6, 3, 4, 4)).astype(np.float32)
    features = ops.convolution(image, ops.constant(filters), [4, 4], [0, 0], [0, 0], [1, 1])
    pooled = {"mean": ops.reduce_mean, "max": ops.reduce_max}[last](features, ops.constant(np.array([2, 3])), False)
    outputs = []
    for index, size in enumerate(heads):
        rows = ops.constant(rng.normal(size=(6, size)).astype(np.float32))
        value = ops.matmul(pooled, rows, transpose_a=False, transpose_b=False)
        value = ops.add(value, ops.constant(rng.normal(size=(1, size)).astype(np.float32)))
        outputs.append(ops.sigmoid(value) if index in (1, 2) else value)
    path = tmp_path / "own.xml"
    ov.save_model(ov.Model(outputs, [image]), path, compress_to_fp16=False)
    return path


def test_a_user_defined_network_is_explained(tmp_path, photo):
    path = make_network(tmp_path)
    explainer = HandExplainer(path)
    box = RotatedBox(200, 150, 120, 120)
    maps = explainer.explain(
        photo, box, [target for target in explainer.targets if target.endswith((".x", ".y", ".z"))]
    )
    engine = load_engine(path, EngineOptions(precision="f32"))
    crop_on_grid(photo, box, engine.input[0])
    np.testing.assert_allclose([target_map.value for target_map in maps], engine.run()[0].ravel(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"last": "max"}, "not linear in the mean of a map"), ({"heads": (63, 1, 1)}, "gives 63 [+] 1 [+] 1 numbers")],
)
def test_a_network_without_exact_maps_is_refused(options, words, tmp_path):
    with pytest.raises(InputError, match=words):
        HandExplainer(make_network(tmp_path, **options))


@pytest.fixture
def image(photo, tmp_path):
    import cv2

    path = tmp_path / "hands.png"
    cv2.imwrite(str(path), photo[..., ::-1])
    return path


@pytest.mark.slow
def test_the_command_saves_and_draws(image, found, tmp_path, capsys):
    import cv2

    saved, drawn = tmp_path / "maps.json", tmp_path / "maps.png"
    arguments = ["explain", image, "--of", "handedness,index_finger_tip.x", "--save", saved, "--draw", drawn]
    assert main([str(argument) for argument in arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(found)
    (frame,) = json.loads(saved.read_text("utf-8"))["frames"]
    for hand, original in zip(frame["hands"], found, strict=True):
        assert hand["handedness"] == original.handedness
        for target_map in hand["maps"]:
            assert np.mean(target_map["map"]) + target_map["bias"] == pytest.approx(
                target_map["value"], rel=1e-5, abs=1e-5
            )
    height, width = cv2.imread(str(image)).shape[:2]
    assert cv2.imread(str(drawn)).shape == (height, 2 * width, 3)


@pytest.mark.slow
def test_hands_need_no_pytorch(image, weights):
    code = "import sys; sys.modules['torch'] = None; from sonjit.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-W", "error", "-c", code, "explain", str(image), "--of", "presence"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "presence" in done.stdout


@pytest.mark.slow
def test_one_hand_can_be_chosen(image, found, capsys):
    assert main(["explain", str(image), "--hand", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["explain", str(image), "--hand", "9"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no hand 9 found" in captured.err


@pytest.mark.slow
def test_a_image_without_hands_is_no_error(tmp_path, weights, capsys):
    import cv2

    path, drawn = tmp_path / "grey.png", tmp_path / "drawn.png"
    cv2.imwrite(str(path), np.full((90, 120, 3), 90, np.uint8))
    assert main(["explain", str(path), "--hand", "1", "--draw", str(drawn), "--save", str(tmp_path / "m.json")]) == 0
    assert "no hand 1 found" in capsys.readouterr().err
    assert drawn.exists()
    assert load_frames(tmp_path / "m.json")[1][0].hands == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--of", "nose.x"], "Unknown target 'nose.x'"),
        (["--hand", "0"], "--hand 0"),
        (["--of", "presence", "--save", "maps.txt"], "Unknown ending '.txt'"),
        (["--weights", "w.pt"], "--weights applies only to classifiers"),
        (["--landmark-model", "none.tflite"], "none.tflite: no such model file"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, words, image, weights, refusal):
    assert words in refusal("explain", image, *arguments)
