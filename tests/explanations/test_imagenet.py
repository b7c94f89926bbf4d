"""Published classifiers: the same scores as their own libraries, exact maps, and `sonjit explain` without options."""

import pickle

import cv2
import numpy as np
import pytest

import sonjit
from sonjit import InputError
from sonjit.explanations import imagenet, tflite


@pytest.fixture(scope="module")
def files(need):
    """Skip without the classifiers."""
    return need(*imagenet.IMAGE_MODELS)


def published(name, file):
    """Return the network of torchvision or timm with the weights of a file."""
    torch = pytest.importorskip("torch")
    state = torch.load(file, weights_only=True)
    if name == "mobilenet_v2":
        network = pytest.importorskip("torchvision").models.mobilenet_v2()
    else:
        network = pytest.importorskip("timm").create_model("tf_efficientnet_lite0")
        state = dict(zip(network.state_dict(), state.values(), strict=True))
    network.load_state_dict(state)
    return network.eval()


@pytest.mark.parametrize("name", imagenet.IMAGE_MODELS)
def test_scores_are_those_of_torchvision_and_timm(name, files, photo):
    torch = pytest.importorskip("torch")
    classifier, network = imagenet.ImageClassifier(name), published(name, files[name])
    images = np.random.default_rng(1).integers(0, 256, (2, imagenet.SIDE, imagenet.SIDE, 3), np.uint8)
    images[0] = cv2.resize(photo, (imagenet.SIDE, imagenet.SIDE), interpolation=cv2.INTER_AREA)
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) if name == "mobilenet_v2" else ([0.5] * 3, [0.5] * 3)
    for image in images:
        pixels = torch.from_numpy(((image / 255 - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = network(pixels)[0].numpy()
        np.testing.assert_allclose(classifier.run(image)[1], expected, atol=1e-4)


@pytest.mark.parametrize("name", imagenet.IMAGE_MODELS)
def test_each_map_is_the_weighted_sum_of_the_features(name, files, photo):
    classifier = imagenet.ImageClassifier(name)
    features, scores = classifier.run(photo)
    maps = classifier.explain(photo, top=5)
    assert [found.label for found in maps] == np.argsort(-scores)[:5].tolist()
    assert [found.name for found in maps] == [imagenet.imagenet_names()[found.label] for found in maps]
    for found in maps:
        expected = sum(
            weight * values
            for weight, values in zip(classifier.weights[found.label], features.astype(float), strict=True)
        )
        np.testing.assert_allclose(found.values, expected, atol=1e-5)
        assert found.values.mean(dtype=float) + found.bias == pytest.approx(found.score, abs=1e-4)  # float32
    probabilities = np.exp(scores - scores.max())
    expected_probabilities = (probabilities / probabilities.sum())[[explanation.label for explanation in maps]]
    np.testing.assert_allclose([explanation.probability for explanation in maps], expected_probabilities, atol=1e-4)


def test_the_file_for_pages_gives_the_same_maps_and_scores(files, photo):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    content, names = tflite.classifier_file()
    runner = interpreter.Interpreter(model_content=content)
    runner.allocate_tensors()
    classifier = imagenet.ImageClassifier()
    features, scores = classifier.run(photo)
    scaled = cv2.resize(photo, (imagenet.SIDE, imagenet.SIDE), interpolation=cv2.INTER_AREA)
    runner.set_tensor(runner.get_input_details()[0]["index"], (scaled[None] / 127.5 - 1).astype(np.float32))
    runner.invoke()
    first, maps = (runner.get_tensor(output["index"])[0] for output in runner.get_output_details())
    np.testing.assert_allclose(first, scores, atol=0.1)  # weights in half precision
    expected = np.tensordot(classifier.weights, features, 1).transpose(1, 2, 0)
    np.testing.assert_allclose(maps, expected, atol=0.01 * np.abs(expected).max())
    assert tuple(names) == classifier.names


def test_a_file_or_an_image_and_named_classes_can_be_explained(files, photo, tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), photo[..., ::-1])
    (best,) = sonjit.explain(path)
    dome, palace = sonjit.explain(photo, ["dome", "palace"], models_dir=files["mobilenet_v2"].parent)
    assert best.probability > max(dome.probability, palace.probability)
    assert (dome.name, palace.name, dome.values.shape) == ("dome", "palace", (7, 7))
    (again,) = sonjit.explain(path, best.label)
    assert again.box == best.box
    height, width = photo.shape[:2]
    assert best.box is not None
    assert 0 <= best.box[0] < best.box[2] <= width
    assert 0 <= best.box[1] < best.box[3] <= height


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("terrier", "Several classes match 'terrier'. Choose from toy terrier, American"),
        ("palaces", "Unknown class 'palaces'. Choose from palace"),
        ("1000", "Unknown class '1000'. Choose from tench"),
        ("", "Several classes match ''"),
    ],
)
def test_a_class_that_is_unknown_or_ambiguous_is_one_line(target, words):
    with pytest.raises(InputError, match=words) as caught:
        imagenet.class_index(target)
    assert "\n" not in str(caught.value)


def test_the_command_draws_the_best_class_without_options(sonjit, files, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", photo[..., ::-1])
    status, out, lines = sonjit("explain", "photo.png")
    assert (status, len(out.splitlines())) == (0, 1)
    assert lines[-1].endswith("wrote photo-map.png")
    assert cv2.imread("photo-map.png").shape == photo.shape
    options = ("--top", "5", "--boxes", "--draw", "five.png", "--save", "five.json")
    assert sonjit("explain", "photo.png", *options)[0] == 0
    assert cv2.imread("five.png").shape == (photo.shape[0], 5 * photo.shape[1], 3)
    options = ("--of", "dome,palace", "--model", "mobilenet_v2", "--draw", "two.png")
    assert sonjit("explain", "photo.png", *options)[1].startswith("dome 0.")
    assert "Several classes match 'bear'" in sonjit("explain", "photo.png", "--of", "bear", "--draw", "bear.png")[2][0]


def test_the_command_replaces_no_picture_that_it_names_itself(sonjit, files, photo, demo_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", photo[..., ::-1])
    (tmp_path / "photo-map.png").write_bytes(b"mine")
    status, _, lines = sonjit("explain", "photo.png")
    assert (status, lines) == (2, ["sonjit: photo-map.png exists. Name the picture with --draw."])
    assert (tmp_path / "photo-map.png").read_bytes() == b"mine"
    assert sonjit("explain", "photo.png", "--draw", "photo-map.png")[0] == 0
    assert sonjit("explain", "photo.png", "--save", "photo.json")[0] == 0
    assert sonjit("explain", demo_clip[0], "--limit", "1")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "photo-map.png", "photo.json"}


@pytest.mark.slow
def test_backprop_is_drawn_next_to_the_map(sonjit, files, photo, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), photo[..., ::-1])
    options = ("--model", "mobilenet_v2,efficientnet_lite0", "--backprop", "--draw", tmp_path / "both.png")
    assert sonjit("explain", path, *options)[0] == 0
    assert cv2.imread(str(tmp_path / "both.png")).shape == (2 * photo.shape[0], 2 * photo.shape[1], 3)


def test_a_checkpoint_that_would_run_code_is_refused(files, tmp_path):
    class Forged:
        def __reduce__(self):
            return print, ("run",)

    content = files["mobilenet_v2"].read_bytes()
    start = content.index(b"\x80\x02ccollections")  # the mapping of the tensors
    for name, data in {
        "forged": content[:start] + pickle.dumps(Forged(), 2),
        "cut": content[: len(content) // 2],
    }.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(data)
        with pytest.raises(InputError, match="not a tensor; nothing" if name == "forged" else "damaged") as caught:
            imagenet.read_checkpoint(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", imagenet.IMAGE_MODELS)
def test_a_pretrained_backbone_sees_inputs_of_recipes_as_its_own(name, files):
    torch = pytest.importorskip("torch")
    backbones = pytest.importorskip("sonjit_lab.networks.backbones")
    network = published(name, files[name])
    trunk = pytest.importorskip("timm").create_model(backbones.timm_name(name, pretrained=True), num_classes=0)
    backbones.start_pretrained(trunk, name)
    pixels = torch.rand(1, 3, imagenet.SIDE, imagenet.SIDE, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbones.IMAGENET_MEAN, backbones.IMAGENET_STD))
    own = (pixels - mean) / std
    with torch.inference_mode():
        head = network.classifier if name == "efficientnet_lite0" else network.classifier[1]
        expected = network(own if name == "mobilenet_v2" else 2 * pixels - 1)
        scores = head(trunk.eval()(own))
    assert torch.corrcoef(torch.cat([scores, expected]))[0, 1] > 0.999  # the padding of TensorFlow differs at borders
    with pytest.raises(InputError, match="pretrained=true requires backbone=mobilenet_v2 or efficientnet_lite0"):
        backbones.timm_name("resnet18", pretrained=True)
