"""Networks of other projects, described by TOML files, give the keypoints of their own programs."""

import json

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.cli import main
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.network_files import _from_unbiased_maps
from sonjit.detectors.options import CommonOptions
from sonjit.geometry.boxes import RotatedBox
from sonjit.results import RESULT_TYPES

onnx = pytest.importorskip("onnx", reason="extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="extra onnx")
K, WIDTH, HEIGHT = 17, 48, 64
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
BODY = '[[parts]]\nskeleton = "body_coco17"\n'


def write_network(path, decoder):
    """Write a network of random weights with the outputs of a decoder, by 4 x 4 convolutions."""
    rng = np.random.default_rng(5)
    is_yolo = decoder == "yolo"
    side, channels = ((64, 64), 5 + 3 * K) if is_yolo else ((HEIGHT, WIDTH), K)
    cells = side[0] * side[1] // 16
    weights, bias = rng.normal(size=(channels, 3, 4, 4)).astype(np.float32) / 48, np.full(channels, 0.3, np.float32)
    if is_yolo:
        weights *= np.repeat([900, 100, 9, 300], [2, 2, 1, 3 * K])[:, None, None, None]
        bias[:4], bias[4], bias[5:] = 60, 0.5, 30
    arrays = {"weights": weights.astype(np.float32), "bias": bias, "lines": np.array([1, channels, -1])}
    nodes = [onnx.helper.make_node("Conv", ["image", "weights", "bias"], ["maps"], strides=[4, 4])]
    outputs = {"maps": (1, channels, side[0] // 4, side[1] // 4)}
    if decoder in ("simcc", "yolo"):
        nodes += [onnx.helper.make_node("Reshape", ["maps", "lines"], ["rows"])]
        outputs = {"rows": (1, channels, cells)}
    if decoder == "simcc":
        outputs = {"x": (1, K, 2 * WIDTH), "y": (1, K, 2 * HEIGHT)}
        arrays |= {f"to_{axis}": rng.normal(size=(cells, outputs[axis][2])).astype(np.float32) / 9 for axis in outputs}
        nodes += [onnx.helper.make_node("MatMul", ["rows", f"to_{axis}"], [axis]) for axis in outputs]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in {"image": (1, 3, *side), **outputs}.items()
    ]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph(nodes, "random", values[:1], values[1:], held)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture
def new_kind(tmp_path):
    """Write a network and its file, and return the name of the file."""

    def new(decoder, text="", name="other"):
        write_network(tmp_path / "random.onnx", decoder)
        path = tmp_path / f"{name}.toml"
        path.write_text(f'network = "random.onnx"\ndecoder = "{decoder}"\n{text}\n' + ("" if "[[" in text else BODY))
        return path

    yield new
    for name in ("other", "serve"):
        KINDS.pop(name, None)
        RESULT_TYPES.pop(name, None)


@pytest.fixture
def image():
    return cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (90, 150, 3), np.uint8), (0, 0), 3) // 2 * 2


def crop_of_image(image, *, udp):
    """Return the crop of the complete image with padding 1.25, made by OpenCV, its centre and its size."""
    height, width = image.shape[:2]
    centre, size = np.array([width / 2, height / 2]), 1.25 * np.array([width, height])
    size = np.maximum(size, size[::-1] * (WIDTH / HEIGHT, HEIGHT / WIDTH))
    ends = np.array([WIDTH, HEIGHT]) - udp
    source = centre + np.array([[0, 0], [-0.5, 0], [0, -0.5]]) * size
    target = ends * np.array([[0.5, 0.5], [0, 0.5], [0.5, 0]])
    matrix = cv2.getAffineTransform(source.astype(np.float32), target.astype(np.float32))
    return cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR), centre, size


@pytest.mark.parametrize("decoder", ["simcc", "heatmap", "heatmap_udp"])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_keypoints_of_a_crop_are_those_of_the_network(new_kind, image, tmp_path, decoder, channels):
    text = f'boxes = "image"\nchannels = "{channels}"\nmean = {list(MEAN)}\nstd = {list(STD)}'
    sonjit.load_extension(str(new_kind(decoder, text)))
    with sonjit.create_detector("other", static_image=True, min_presence_score=0) as detector:
        (found,) = detector.detect(image)
    crop, centre, size = crop_of_image(image, udp=decoder == "heatmap_udp")
    crop = crop[..., ::-1] if channels == "bgr" else crop
    values = ((crop - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
    outputs = onnxruntime.InferenceSession(tmp_path / "random.onnx").run(None, {"image": values})
    if decoder == "simcc":
        fractions = np.stack([each[0].argmax(1) / each.shape[2] for each in outputs], axis=1)
        scores = np.minimum(*(each[0].max(1) for each in outputs))
        tolerance = 0.01
    else:
        (maps,) = outputs[0]
        rows, columns = np.divmod(maps.reshape(K, -1).argmax(1), maps.shape[2])
        ends = np.array(maps.shape[:0:-1]) - (decoder == "heatmap_udp")
        fractions = np.stack([columns, rows], axis=1) / ends
        scores = maps.max(axis=(1, 2))
        tolerance = (0.26 if decoder == "heatmap" else 1.01) * (size / ends).max()
    expected = centre + (fractions - 0.5) * size
    assert np.abs(found.keypoints[:, :2] - expected).max() <= tolerance
    assert np.abs(found.visibility - scores.clip(0, 1)).max() < 1e-3
    assert found.names[0] == "nose"
    assert np.ptp(found.keypoints[:, 0]) > 20


def test_instances_of_a_yolo_network_are_those_of_its_rows(new_kind, image, tmp_path):
    sonjit.load_extension(str(new_kind("yolo")))
    kind = KINDS["other"].load(CommonOptions(kind="other", model="own"))
    found = kind.search(image, 0.4)
    gain = 64 / 150
    inside = cv2.resize(image, (64, round(90 * gain)))
    canvas = np.full((64, 64, 3), 114, np.uint8)
    top = round((64 - len(inside)) / 2 - 0.1)
    canvas[top : top + len(inside)] = inside
    values = (canvas / 255).transpose(2, 0, 1)[None].astype(np.float32)
    (rows,) = onnxruntime.InferenceSession(tmp_path / "random.onnx").run(None, {"image": values})[0]
    rows = rows.T
    boxes = np.hstack([rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]])
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), 0.4, 0.7)
    assert 1 < len(kept) < (rows[:, 4] > 0.4).sum()
    assert [one.score for one in found] == pytest.approx(rows[kept, 4].clip(0, 1).tolist(), abs=1e-4)
    points = (rows[kept, 5:].reshape(-1, K, 3)[..., :2] - (0, top)) / gain
    assert np.abs(np.stack([one.keypoints[:, :2] for one in found]) - points).max() < 0.01


def test_people_are_found_tracked_drawn_and_written(new_kind, photo, demo_clip, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    path = str(new_kind("heatmap", 'summary = "Find people."'))
    options = ["--min-presence-score", "0", "--draw", str(tmp_path / "drawn.png"), "--save", str(tmp_path / "out.json")]
    assert main([path, str(tmp_path / "photo.png"), *options]) == 0
    (frame,) = json.loads((tmp_path / "out.json").read_text())["frames"]
    (one,) = frame["other"]
    assert [point["name"] for point in one["keypoints"]][:2] == ["nose", "left_eye"]
    assert set(one["keypoints"][0]) == {"x", "y", "score", "name"}
    with sonjit.create_detector("body", static_image=True) as detector:
        (body,) = detector.detect(photo)
    x_min, y_min, x_max, y_max = body.box
    x, y = np.mean([(point["x"], point["y"]) for point in one["keypoints"]], axis=0)
    assert x_min - 50 < x < x_max + 50
    assert y_min - 50 < y < y_max + 50
    rows = tmp_path / "clip.csv"
    assert main([path, str(demo_clip[0]), "--min-presence-score", "0", "--save", str(rows), "--jobs", "2"]) == 0
    assert "other" in rows.read_text()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[parts]]\nskeleton = "hand_mediapipe21"', "not heatmap of 21 keypoints"),
        ('[[parts]]\nkeypoints = ["a"]\nconnections = [[0, 1]]', "connections must be between 0 and 0"),
        ('[[parts]]\nprefix = "a"', "a part needs either skeleton or keypoints"),
        ('[[parts]]\nskeleton = "dog"', "dog"),
        ("std = [1, 0, 1]", "std must be positive"),
        ('boxes = "dogs"', "Choose from people, hands, image"),
        ("speed = 3", "Unknown key 'speed'"),
    ],
)
def test_a_wrong_file_is_one_line(new_kind, image, tmp_path, text, message, refusal):
    cv2.imwrite(str(tmp_path / "image.png"), image)
    assert message in refusal(new_kind("heatmap", text), tmp_path / "image.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [("hands", "already"), ("My-Net", "lower-case"), ("none", "none.toml"), ("serve", "has the name of a command")],
)
def test_a_file_with_a_wrong_name_is_one_line(new_kind, tmp_path, name, message, refusal):
    path = new_kind("heatmap", name=name)
    if name == "none":
        path.unlink()
    assert message in refusal(path, "photo.png")


def test_options_without_effect_are_errors(new_kind, image, tmp_path):
    with pytest.raises(sonjit.InputError, match="no effect"):
        sonjit.load_extension(str(new_kind("yolo", 'boxes = "people"')))
    sonjit.load_extension(str(new_kind("yolo")))
    with pytest.raises(sonjit.InputError, match="no effect"):
        sonjit.create_detector("other", landmark_model=tmp_path / "random.onnx")
    with sonjit.create_detector("other") as detector, pytest.raises(sonjit.InputError, match="no given boxes"):
        detector.detect(image, boxes=[RotatedBox(50, 50, 40, 40, 0)])


def test_a_map_without_a_peak_has_a_keypoint_without_score():
    points, scores = _from_unbiased_maps([np.zeros((1, 2, 16, 12), np.float32)])
    assert np.isfinite(points).all()
    assert not scores.any()


def test_several_parts_are_one_skeleton(new_kind):
    own = '[[parts]]\nkeypoints = ["a", "b"]\nprefix = "own_"\nconnections = [[0, 1]]'
    sonjit.load_extension(str(new_kind("simcc", BODY + own)))
    skeleton = KINDS["other"].result.skeletons[K + 2]
    assert skeleton.keypoints[-2:] == ("own_a", "own_b")
    assert skeleton.connections[-1] == (K, K + 1)
