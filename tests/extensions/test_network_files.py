"""Networks of other projects, described by TOML files, give the keypoints of their own programs."""

import json

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.cli import main
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.network_files import (
    NetworkObservation,
    _from_unbiased_maps,
)
from sonjit.detectors.options import CommonOptions
from sonjit.detectors.search.network import HandBox, PersonBox
from sonjit.detectors.tracking import Track
from sonjit.geometry.boxes import RotatedBox
from sonjit.results import RESULT_TYPES

from ..support.constant_networks import add_nodes, write_constant  # noqa: TID252  # for both files of networks

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
    assert main([path, str(tmp_path / "photo.png"), "--max-instances", "1", *options]) == 0
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
        ('[[parts]]\nskeleton = "body_coco17"\nconnections = [[0, 1]]', "body_coco17 has its own connections"),
        ('[[parts]]\nprefix = "a"', "a part needs either skeleton or keypoints"),
        ('[[parts]]\nskeleton = "dog"', "dog"),
        ("std = [1, 0, 1]", "std must be positive"),
        ("std = [1, 1, inf]", "std must be positive"),
        ("mean = [0, nan, 0]", "std must be positive"),
        ("parts = []  # [[", "parts must have keypoints"),
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
    for option in ({"search_interval": 50}, {"min_presence_score": 0.9}):
        with pytest.raises(sonjit.InputError, match='no effect with decoder = "yolo"'):
            sonjit.create_detector("other", **option)
    with sonjit.create_detector("other") as detector, pytest.raises(sonjit.InputError, match="no given boxes"):
        detector.detect(image, boxes=[RotatedBox(50, 50, 40, 40, 0)])


class People:
    """Network that finds two people, or from the second call on a third one, and a hand each."""

    def __init__(self, height):
        self.calls, self.height = [], height

    def find(self, rgb, window, min_person, min_hand):
        self.calls.append((window, min_person, min_hand))
        score, left = (0.6, 10) if len(self.calls) == 1 else (0.9, 80)
        hand = HandBox(score, RotatedBox(left, 20, 40, 40, 0.3))
        return [PersonBox(score, (left, 10, left + 20, 10 + self.height)), PersonBox(0.3, (10, 10, 30, 60))], [hand]


@pytest.mark.parametrize(("boxes", "network"), [("image", None), ("people", People), ("hands", People), ("", People)])
def test_crops_are_those_of_the_image_or_of_people_or_hands(new_kind, image, monkeypatch, boxes, network):
    people = People(height=9)  # a small person, so that parts of the image are searched too
    monkeypatch.setattr("sonjit.detectors.network_files.load_network", lambda _: people)
    sonjit.load_extension(str(new_kind("heatmap", f'boxes = "{boxes}"' if boxes else "")))
    found = KINDS["other"].load(CommonOptions(kind="other", model="own")).find(np.tile(image, (4, 4, 1)), 0.25)
    assert bool(people.calls) == (network is not None)
    if boxes == "image":
        assert found == [RotatedBox(300, 180, 600, 360)]
        return
    assert [limits for _, *limits in people.calls] == [[0.25, 0.25]] * len(people.calls)
    assert [window[2:] for window, *_ in people.calls] == [(600, 360), (321, 360), (600, 360)]
    if boxes == "hands":
        assert found == [RotatedBox(80, 20, 26, 26), RotatedBox(80, 20, 26, 26), RotatedBox(10, 20, 26, 26)]
    else:
        assert found == [RotatedBox(90, 14.5, 20, 9), RotatedBox(20, 14.5, 20, 9), RotatedBox(20, 35, 20, 50)]


def test_parts_of_an_image_are_searched_only_around_small_people(new_kind, image, monkeypatch):
    people = People(height=60)
    monkeypatch.setattr("sonjit.detectors.network_files.load_network", lambda _: people)
    sonjit.load_extension(str(new_kind("heatmap")))
    found = KINDS["other"].load(CommonOptions(kind="other", model="own")).find(image, 0.25)
    assert len(people.calls) == 1
    assert [box.height for box in found] == [60]


@pytest.mark.parametrize(("shape", "corner"), [((90, 150), (0, 13)), ((150, 90), (13, 0)), ((9, 640), (0, 31))])
def test_an_image_of_any_shape_is_scaled_into_the_middle_of_a_yolo_network(new_kind, shape, corner):
    sonjit.load_extension(str(new_kind("yolo")))
    kind = KINDS["other"].load(CommonOptions(kind="other", model="own"))
    rgb = np.full((*shape, 3), 200, np.uint8)
    kind.search(rgb, 0.99)
    seen = kind._engine.input[0]
    rows, columns = np.nonzero((seen == 200).all(axis=2))
    assert (columns.min(), rows.min()) == corner
    assert (seen[[0, -1], [0, -1]] == (200 if corner == (0, 0) else 114)).all()
    size = columns.max() - columns.min() + 1, rows.max() - rows.min() + 1
    assert size == tuple(max(round(64 * side / max(shape)), 1) for side in shape[::-1])


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


def write_maps(path, shape, number=np.float32):
    """Write a network with the mean of the colours as two maps."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(number))
    inner = np.float16 if number == np.float16 else np.float32  # ONNX Runtime has no convolution of others
    real = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(inner))
    weights = np.full((2, 3, 3, 3), 1 / 27, inner)
    nodes = [onnx.helper.make_node("Conv", ["values", "weights"], ["maps"], pads=[1, 1, 1, 1])]
    nodes.insert(0, onnx.helper.make_node("Cast", ["image"], ["values"], to=real))
    ends = [onnx.helper.make_tensor_value_info("maps", real, [shape[0], 2, *shape[2:]])]
    sides = [onnx.helper.make_tensor_value_info("image", kind, shape)]
    held = [onnx.numpy_helper.from_array(weights, "weights")]
    graph = onnx.helper.make_graph(nodes, "maps", sides, ends, held)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture
def peak(tmp_path):
    """Write a network of maps, and return the brightest pixel that it finds in an image."""

    def peak(shape, text="", number=np.float32, engine="openvino", decoder="heatmap"):
        write_maps(tmp_path / "maps.onnx", shape, number)
        path = tmp_path / "other.toml"
        path.write_text(
            f'network = "maps.onnx"\ndecoder = "{decoder}"\nboxes = "image"\n{text}\n'
            '[[parts]]\nkeypoints = ["a", "b"]\n'
        )
        sonjit.load_extension(str(path))
        image = np.zeros((300, 400, 3), np.uint8)
        image[40:60, 300:320] = 255
        options = {"static_image": True, "engine": engine, "min_presence_score": 0}
        with sonjit.create_detector("other", **options) as detector:
            (found,) = detector.detect(image)
        return found.keypoints[0, :2]

    yield peak
    KINDS.pop("other", None)
    RESULT_TYPES.pop("other", None)


@pytest.fixture
def with_nodes(monkeypatch):
    """Return a function that appends nodes to the networks which `peak` writes."""
    write = write_maps

    def with_nodes(nodes, shapes):
        def write_more(path, *arguments):
            write(path, *arguments)
            add_nodes(path, nodes, shapes)

        monkeypatch.setitem(globals(), "write_maps", write_more)

    return with_nodes


@pytest.mark.parametrize("stride", [1, 48])  # the second has as many rows as keypoints
def test_maps_with_the_keypoints_last_as_in_tflite(peak, with_nodes, stride):
    sides = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    nodes = [
        onnx.helper.make_node("MaxPool", ["maps"], ["small"], **sides),
        onnx.helper.make_node("Transpose", ["small"], ["last"], perm=[0, 2, 3, 1]),
    ]
    with_nodes(nodes, {"last": (1, 96 // stride, 192 // stride, 2)})
    np.testing.assert_allclose(peak((1, 3, 96, 192)), (310, 50), atol=6 + 3 * stride)


def test_unbiased_maps_have_two_pixels_along_each_axis(peak, with_nodes):
    sides = {"kernel_shape": [1, 192], "strides": [1, 192]}
    with_nodes([onnx.helper.make_node("MaxPool", ["maps"], ["small"], **sides)], {"small": (1, 2, 96, 1)})
    with pytest.raises(sonjit.InputError, match="gives 1 x 2 x 96 x 1, which is not heatmap_udp of 2 keypoints"):
        peak((1, 3, 96, 192), decoder="heatmap_udp")


@pytest.mark.parametrize("order", ["xy", "yx"])
def test_logits_along_y_may_be_first(peak, with_nodes, order):
    nodes = [
        onnx.helper.make_node("ReduceMax", ["maps"], [axis], axes=[number], keepdims=0)
        for axis, number in (("x", 2), ("y", 3))
    ]
    lengths = {"x": (1, 2, 128), "y": (1, 2, 96)}
    with_nodes(nodes, {axis: lengths[axis] for axis in order})
    np.testing.assert_allclose(peak((1, 3, 96, 128), decoder="simcc"), (310, 50), atol=12)


@pytest.mark.parametrize(("order", "text"), [("xy", ""), ("xy", 'axes = "xy"'), ("yx", 'axes = "yx"')])
def test_the_axes_of_a_square_input_are_stated_in_the_file(peak, with_nodes, order, text):
    nodes = [
        onnx.helper.make_node("ReduceMax", ["maps"], [axis], axes=[number], keepdims=0)
        for axis, number in (("x", 2), ("y", 3))
    ]
    with_nodes(nodes, dict.fromkeys(order, (1, 2, 96)))
    np.testing.assert_allclose(peak((1, 3, 96, 96), text, decoder="simcc"), (310, 50), atol=12)


def test_axes_that_do_not_fit_the_outputs_are_refused(peak, with_nodes):
    nodes = [
        onnx.helper.make_node("ReduceMax", ["maps"], [axis], axes=[number], keepdims=0)
        for axis, number in (("x", 2), ("y", 3))
    ]
    with_nodes(nodes, {"x": (1, 2, 128), "y": (1, 2, 96)})
    with pytest.raises(sonjit.InputError, match="gives 1 x 2 x 128, 1 x 2 x 96, which is not simcc of 2 keypoints"):
        peak((1, 3, 96, 128), 'axes = "yx"', decoder="simcc")


BYTES = "mean = [0, 0, 0]\nstd = [1, 1, 1]"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("shape", "text", "number"),
    [
        (("b", 3, "h", "w"), "input = [128, 96]", np.float32),
        ((1, 3, "h", 128), "input = [128, 96]", np.float32),
        (("b", 3, 96, 96), "", np.float32),
        ((1, 3, 96, 128), "input = [128, 96]", np.float16),
        ((1, 3, 96, 96), "", np.float16),
        (("b", 3, "h", "w"), "input = [96, 96]", np.float16),
        ((1, 3, 96, 96), "", np.float64),
        ((1, 3, 96, 96), BYTES, np.uint8),
    ],
)
def test_free_sizes_and_number_formats_give_the_same_keypoints(peak, engine, shape, text, number):
    np.testing.assert_allclose(peak(shape, text, number, engine), (310, 50), atol=6)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("shape", "text", "number", "message"),
    [
        (
            ("b", 3, "h", "w"),
            "",
            np.float32,
            r"\? x 3 x \? x \? has a free height or width. Export it with a fixed size",
        ),
        ((1, 3, 96, "w"), "", np.float32, r"1 x 3 x 96 x \? has a free height or width"),
        ((1, 3, 96, 96), "input = [128, 96]", np.float32, r"1 x 3 x 96 x 96 does not accept input = \[128, 96\]"),
        ((1, 3, 96, "w"), "input = [96, 128]", np.float32, r"does not accept input = \[96, 128\]"),
        ((1, 3, 96, 96), "", np.uint8, r"takes bytes from 0 to 255. Give mean = \[0, 0, 0\] and std = \[1, 1, 1\]"),
        ((1, 3, 96, 96), "input = [0, 96]", np.float32, "input and classes must be positive"),
        ((1, 3, 96, 96), "classes = 2", np.float32, "classes=2 has no effect with decoder='heatmap'"),
        ((1, 3, 96, 96), 'axes = "yx"', np.float32, "axes='yx' has no effect with decoder='heatmap'"),
    ],
)
def test_sizes_and_formats_that_do_not_fit_are_refused_in_a_line(peak, engine, shape, text, number, message):
    with pytest.raises(sonjit.InputError, match=message):
        peak(shape, text, number, engine)


@pytest.mark.parametrize("option", ["landmark_model", "detector_model"])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_own_networks_of_free_size_are_refused_for_published_kinds(weights, tmp_path, option, engine):
    write_maps(tmp_path / "free.onnx", ("b", 3, "h", "w"))
    with pytest.raises(sonjit.InputError, match="has a free height or width"):
        sonjit.create_detector("hands", engine=engine, search="fast", **{option: tmp_path / "free.onnx"})


def test_selfie_views_exchange_the_sides(new_kind, image):
    sonjit.load_extension(str(new_kind("heatmap", 'boxes = "image"')))
    options = {"static_image": True, "min_presence_score": 0}
    with sonjit.create_detector("other", **options) as detector:
        (plain,) = detector.detect(image)
    with sonjit.create_detector("other", mirrored=True, **options) as detector:
        (mirrored,) = detector.detect(image)
    for name, other in (("nose", "nose"), ("left_eye", "right_eye"), ("right_ankle", "left_ankle")):
        k, other_k = plain.names.index(name), plain.names.index(other)
        np.testing.assert_array_equal(mirrored.keypoints[k, :2], plain.keypoints[other_k, :2])
        assert mirrored.visibility[k] == plain.visibility[other_k]


def test_selfie_views_without_sides_are_refused(new_kind):
    sonjit.load_extension(
        str(new_kind("heatmap", f'boxes = "image"\n[[parts]]\nkeypoints = {list(map(str, range(K)))}'))
    )
    with pytest.raises(sonjit.InputError, match="other has no option mirrored"):
        sonjit.create_detector("other", mirrored=True)


@pytest.fixture
def instance(tmp_path):
    """Return what a network of maps (K, h, w), which do not depend on the image, finds in an image (64, 64, 3)."""

    def instance(maps, decoder="heatmap"):
        write_constant(tmp_path / "constant.onnx", maps[None], 64)
        names = json.dumps([f"k{k}" for k in range(len(maps))])
        path = tmp_path / "other.toml"
        path.write_text(
            f'network = "constant.onnx"\ndecoder = "{decoder}"\nboxes = "image"\n[[parts]]\nkeypoints = {names}\n'
        )
        sonjit.load_extension(str(path))
        with sonjit.create_detector("other", static_image=True, min_presence_score=0) as detector:
            (found,) = detector.detect(np.zeros((64, 64, 3), np.uint8))
        return found

    yield instance
    KINDS.pop("other", None)
    RESULT_TYPES.pop("other", None)


def bells(places, width=24, height=20):
    """Return maps (K, h, w) with a Gaussian of 2 pixels around each place x, y."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8) for a, b in places])


def on_maps(found, ends):
    """Return keypoints (K, 2) in pixels of maps. The crop of the image is 1.25 times as large as the image."""
    return ((found.keypoints[:, :2] - 32) / 80 + 0.5) * ends


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((5.3, 7.6), (5.25, 7.75)),
        ((5, 7), (5, 7)),
        ((2.3, 17.7), (2.25, 17.75)),
        ((21.7, 2.3), (21.75, 2.25)),
        ((1.3, 7.4), (1, 7.25)),  # not next to the edges, as in mmpose
        ((7.4, 1.3), (7.25, 1)),
        ((0, 7.4), (0, 7)),
        ((7.4, 0), (7, 0)),
        ((22.8, 7.4), (23, 7.25)),
        ((7.4, 18.8), (7.25, 19)),
    ],
)
def test_a_peak_is_shifted_by_a_quarter_pixel_to_its_higher_neighbour(instance, place, expected):
    np.testing.assert_allclose(on_maps(instance(bells([place])), (24, 20)), [expected], atol=1e-3)


def test_a_refined_peak_lies_between_pixels_and_at_most_one_pixel_away(instance):
    places = [(10.3, 9.6), (12, 10.5), (8.7, 8), (0, 9), (23, 19)]
    found = on_maps(instance(bells(places), "heatmap_udp"), (23, 19))
    np.testing.assert_allclose(found[:3], places[:3], atol=0.02)
    assert np.abs(found[3:] - places[3:]).max() <= 1.001


@pytest.mark.parametrize(
    ("peaks", "score"), [((0.9, 0.5, 0.2), 0.7), ((0.9, 0.31, 0.29), 0.605), ((0.2, 0.1, 0.3), 0.3), ((1.5, 2, 3), 1)]
)
def test_the_score_of_an_instance_is_the_mean_of_its_visible_keypoints(instance, peaks, score):
    found = instance(bells([(5, 5), (9, 9), (15, 12)]) * np.array(peaks)[:, None, None])
    assert found.score == pytest.approx(score, abs=1e-3)
    np.testing.assert_allclose(found.visibility, np.clip(peaks, 0, 1), atol=1e-3)


@pytest.mark.parametrize(
    ("visibility", "box"),
    [
        ((0.9, 0.31, 0.29), RotatedBox(20, 30, 25, 50)),
        ((0.1, 0.1, 0.2), RotatedBox(60, 45, 125, 87.5)),
        ((0.9, 0.1, 0.1), RotatedBox(10, 10, 1, 1)),
    ],
)
def test_the_next_box_is_a_quarter_larger_than_the_visible_keypoints(new_kind, visibility, box):
    sonjit.load_extension(str(new_kind("heatmap", 'boxes = "image"')))
    kind = KINDS["other"].load(CommonOptions(kind="other", model="own"))
    points = np.array([(10, 10, 0), (30, 50, 0), (110, 80, 0)], np.float32)
    seen = NetworkObservation(0.5, points, np.array(visibility, np.float32))
    assert kind.follow(Track(1, seen, seen, None, 0.0)) == box
