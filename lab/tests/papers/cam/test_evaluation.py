"""Classifiers the whole way, on made data in the official layouts: training, evaluation, report.

What the report says is compared with the official formulas, worked out here on their own from the network's outputs.
"""

import itertools
import json

import cv2
import numpy as np
import pytest
import torch
import torchvision
from scipy import ndimage

from sonjit import InputError
from sonjit.cli import main
from sonjit.media import rgb_from
from sonjit_lab.datasets import open_dataset
from sonjit_lab.networks import create_network, load_checkpoint
from sonjit_lab.papers.cam.answers import load_answerer
from sonjit_lab.papers.cam.maps import explain_classes
from sonjit_lab.papers.cam.model import ClassifierModel
from sonjit_lab.papers.cam.network import Classifier
from sonjit_lab.papers.cam.recipe import read_questions, train_vqa, vqa_accuracy
from sonjit_lab.training.recipes import TrainingRequest

from .drawn_sets import write_cub, write_ilsvrc, write_questions

SIZE = 48


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return {"cub200": write_cub(root / "cub", 36), "ilsvrc-loc": write_ilsvrc(root / "ilsvrc", 10)}


@pytest.fixture(scope="module")
def runs(sets, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name, dataset, pooling in (("gap", "cub200", "gap"), ("gmp", "cub200", "gmp"), ("loc", "ilsvrc-loc", "gap")):
        settings = {"dataset": dataset, "size": SIZE, "steps": 12, "batch": 8, "pooling": pooling, "warmup": 2}
        typed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        assert main(["train", "cam", "--data", str(sets[dataset]), "--out", str(root / name), *typed]) in (0, None)
    return root


def run_eval(protocol, root, weights, out, *options, model="cam-small"):
    arguments = ["--model", model, "--weights", weights, "--root", root, "--out", out, *options]
    assert main(["eval", "--protocol", protocol, *map(str, arguments)]) == 0
    record = json.loads((out / "eval.json").read_text("utf-8"))
    (run,) = record["runs"]
    return {metric["name"]: metric["value"] for metric in run["metrics"]}, record


class Independent:
    """Independent implementation of the paper's steps on the raw outputs of the network."""

    def __init__(self, weights, pooling):
        state = load_checkpoint(weights / "weights.safetensors")
        self.network = create_network("cam-small", classes=len(state["head.bias"]), pooling=pooling).eval()
        self.network.load_state_dict(state)
        self.head = state["head.weight"].numpy().astype(np.float64)
        self.bias = state["head.bias"].numpy().astype(np.float64)
        self.pool = {"gap": lambda f: f.mean((1, 2)), "gmp": lambda f: f.max((1, 2))}[pooling]

    def scores_and_maps(self, rgb):
        small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        images = torch.from_numpy(small.transpose(2, 0, 1)[None])
        with torch.no_grad():
            features = self.network(images)["features"][0].numpy().astype(np.float64)  # (K, h, w)
        scores = self.head @ self.pool(features) + self.bias
        maps = (self.head[:, :, None, None] * features[None]).sum(1)
        return scores, [cv2.resize(target_map, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR) for target_map in maps]

    def saliency(self, rgb, label):
        small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        images = torch.from_numpy(small.transpose(2, 0, 1)[None]).requires_grad_()
        self.network(images)["scores"][0, label].backward()
        values = np.abs(images.grad[0].numpy()).max(0)
        return cv2.resize(values, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def largest_part(values, share):
    if values.max() <= 0:
        return None
    parts, count = ndimage.label(values > share * values.max(), np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1))
    rows, columns = np.nonzero(parts == 1 + sizes.argmax())
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def iou(a, b):
    if a is None:
        return 0
    inside = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def official_errors(independent, data, by="cam", view="full", cropper=None, last=0):
    """Return the errors by Russakovsky et al. 2015, section 4.2: the minimum over the first k guesses of each image."""
    wrong = {f"{what}_error_{top}": [] for what in ("localization", "classification") for top in (1, 5)}
    wrong["localization_error_any"] = []
    for sample in data:
        rgb = sample.rgb()
        label = sample.instances[0].category_id
        true = [np.add(instance.box, (0, 0, last, last)) for instance in sample.instances]
        left, top_edge = 0, 0
        if view != "full":
            scores, maps = (cropper or independent).scores_and_maps(rgb)
            area = true[0] if view == "box" else largest_part(maps[scores.argmax()], 0.2) or (0, 0, *rgb.shape[1::-1])
            left, top_edge, right, bottom = (round(edge) for edge in area)
            rgb = np.ascontiguousarray(rgb[top_edge:bottom, left:right])
        scores, maps = independent.scores_and_maps(rgb)
        order = (-scores).argsort()[:5].tolist()
        if by == "backprop":
            guesses = [(one, largest_part(independent.saliency(rgb, one), 0.2)) for one in order]
        elif by == "cam":
            guesses = [(one, largest_part(maps[one], 0.2)) for one in order]
        else:  # tight and loose of the first two classes, loose of the third
            shares = [(order[0], 0.5), (order[0], 0.2), (order[1], 0.5), (order[1], 0.2), (order[2], 0.2)]
            guesses = [(one, box) for one, share in shares if (box := largest_part(maps[one], share)) is not None]
            guesses = [guess for index, guess in enumerate(guesses) if guess not in guesses[:index]]
        moved = [
            (one, box and (box[0] + left, box[1] + top_edge, box[2] + left, box[3] + top_edge)) for one, box in guesses
        ]
        for count in (1, 5):
            wrong[f"classification_error_{count}"].append(label not in order[:count])
            hit = any(one == label and any(iou(box, t) >= 0.5 for t in true) for one, box in moved[:count])
            wrong[f"localization_error_{count}"].append(not hit)
        wrong["localization_error_any"].append(not any(iou(moved[0][1], t) >= 0.5 for t in true))
    return {name: 100 * float(np.mean(values)) for name, values in wrong.items()}


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("by", ["cam", "backprop", "heuristics"])
def test_imagenets_localization_end_to_end(by, sets, runs, tmp_path):
    ours, record = run_eval("ilsvrc-loc", sets["ilsvrc-loc"], runs / "loc", tmp_path, "--localize-by", by)
    data = open_dataset("ilsvrc-loc", sets["ilsvrc-loc"], "val")
    assert ours == pytest.approx(official_errors(Independent(runs / "loc", "gap"), data, by, last=1), abs=1e-6)
    assert record["model"]["settings"] == {"pooling": "gap", "localize_by": by, "view": "whole image"}
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "| VGGnet | weak |" in report
    assert "| OverFeat | full |" in report
    assert f"| Sonjit: cam-small, gap, {by}, whole image, reacquisition | weak |" in report


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "view"), [("gap", "full"), ("gmp", "crop"), ("gap", "box")])
def test_birds_end_to_end(pooling, view, sets, runs, tmp_path):
    ours, record = run_eval("cub200", sets["cub200"], runs / pooling, tmp_path, "--view", view)
    data = open_dataset("cub200", sets["cub200"], "test")
    assert ours == pytest.approx(official_errors(Independent(runs / pooling, pooling), data, view=view), abs=1e-6)
    assert record["model"]["settings"]["pooling"] == pooling  # from the checkpoint, without an option
    assert record["runs"][0]["mode"] == ("ground-truth boxes" if view == "box" else "reacquisition")
    assert "GoogLeNet-GAP on the crop | weak | 32.20" in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.nightly
@pytest.mark.slow
def test_the_papers_protocol_trains_a_linear_layer_on_the_first_networks_crops(sets, runs, tmp_path):
    run = tmp_path / "crops"
    settings = {"dataset": "cub200", "size": SIZE, "steps": 3, "batch": 4, "view": "crop", "freeze": "backbone"}
    typed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    data = ["--data", str(sets["cub200"]), "--weights", str(runs / "gap"), "--out", str(run)]
    assert main(["train", "cam", *data, *typed]) in (0, None)
    first, second = (load_checkpoint(folder / "weights.safetensors") for folder in (runs / "gap", run))
    changed = {
        key for key in first if "num_batches" not in key and "running" not in key and not first[key].equal(second[key])
    }
    assert changed == {"head.weight", "head.bias"}
    ours, record = run_eval("cub200", sets["cub200"], run, tmp_path / "eval")
    assert record["model"]["settings"]["view"] == "crop by the map"
    test = open_dataset("cub200", sets["cub200"], "test")
    cropper = Independent(runs / "gap", "gap")
    expected = official_errors(Independent(run, "gap"), test, view="crop", cropper=cropper)
    assert ours == pytest.approx(expected, abs=1e-6)


def test_a_classifier_with_other_ids_than_the_data_set_is_refused():
    classifier = Classifier(create_network("cam-small", "demo", classes=3), SIZE, ("cat", "dog", "dog"), (1, 2, 5))
    model = ClassifierModel(classifier, None, None, torch.device("cpu"))
    model.check([], lambda: {1: "cat", 2: "dog", 5: "dog", 7: "fox"})
    with pytest.raises(InputError, match="class dog has another id in the data set than in the model"):
        model.check([], lambda: {0: "cow", 1: "dog"})


def test_a_checkpoint_without_its_pooling_requires_the_option(tmp_path, sets, capsys):
    torch.save(create_network("cam-small", "demo", classes=4).state_dict(), tmp_path / "weights.pt")
    arguments = ["--model", "cam-small", "--weights", str(tmp_path / "weights.pt"), "--limit", "1"]
    common = ["eval", "--protocol", "cub200", "--root", str(sets["cub200"]), "--out", str(tmp_path / "e"), *arguments]
    assert main(common) == 2
    assert "set --pooling gap (mean) or gmp" in capsys.readouterr().err
    assert main([*common, "--pooling", "gmp"]) == 0
    record = json.loads((tmp_path / "e" / "eval.json").read_text("utf-8"))
    assert record["model"]["settings"]["pooling"] == "gmp"


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("name", ["fc-alexnet", "fc-vgg16", "cam-googlenet-whole"])
@pytest.mark.slow
def test_all_of_torchvisions_networks_loads(name):
    options = {} if name == "fc-alexnet" else {"init_weights": False}
    with torch.device("meta"):
        made, theirs = create_network(name), getattr(torchvision.models, name.split("-")[1])(weights=None, **options)
    shapes = {key: value.shape for key, value in made.from_official(theirs.state_dict()).items()}
    assert shapes == {key: value.shape for key, value in made.state_dict().items()}


SMALL = 32


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return write_questions(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="module")
def answered(questions, tmp_path_factory):
    out = tmp_path_factory.mktemp("answered")
    settings = {"steps": 80, "size": SMALL, "batch": 40, "warmup": 2, "learning_rate": 0.03}
    typed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    arguments = ["--data", str(questions), "--weights", "demo", "--set", "pooling=gap", "--out", str(out)]
    assert main(["train", "vqa", *arguments, *typed]) in (0, None)
    return out


def official_accuracy(answer, given):
    return np.mean([min(nine.count(answer) / 3, 1) for nine in itertools.combinations(given, len(given) - 1)])


@pytest.mark.nightly
@pytest.mark.slow
def test_the_accuracy_is_visualqas_and_the_answers_are_those_of_the_linear_layer(questions, answered):
    answerer = load_answerer("cam-small", answered)
    answers, metrics = [], json.loads((answered / "metrics.json").read_text("utf-8"))
    for question in read_questions(questions, questions, "val2014"):
        small = cv2.resize(rgb_from(question.image), (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        with torch.no_grad():
            features = answerer.network(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)["features"]
        scaled = (features.mean((2, 3))[0] - answerer.head.middle) / answerer.head.spread
        scores = answerer.head.image.weight @ scaled + answerer.head.image.bias
        for word in question.text.lower().rstrip("?").split():
            scores = scores + answerer.head.words.weight[1 + answerer.words.index(word)]
        classifier = answerer.classifier_for(question.text)
        (best,) = explain_classes(classifier.network, rgb_from(question.image), SMALL)
        assert best.label == int(scores.argmax())
        assert best.score == pytest.approx(scores.max().item(), abs=1e-4)
        assert best.values.mean(dtype=float) + best.bias == pytest.approx(best.score, abs=1e-4)
        answers.append(official_accuracy(classifier.names[best.label], question.human_answers))
    assert metrics == {"accuracy": pytest.approx(np.mean(answers), abs=1e-6), "held_out": 40}
    assert metrics["accuracy"] > 0.4


@pytest.mark.slow
def test_a_question_is_answered_with_the_regions_behind_it(questions, answered, tmp_path, capsys):
    image = sorted((questions / "val2014").glob("*.jpg"))[0]
    arguments = ["explain", str(image), "--model", "cam-small", "--weights", str(answered)]
    outputs = ["--save", str(tmp_path / "a.json"), "--draw", str(tmp_path / "a.png"), "--top", "2", "--boxes"]
    assert main([*arguments, "--ask", "What shape has this thing?", *outputs]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"disc", "square"}
    (frame,) = json.loads((tmp_path / "a.json").read_text("utf-8"))["frames"]
    assert [label["class"] for label in frame["classes"]] != []
    height, width = rgb_from(image).shape[:2]
    assert cv2.imread(str(tmp_path / "a.png")).shape == (height, 2 * width, 3)
    mixed = ["--ask", "Which?", "--pooling", "gap"]
    for more, words in (([], "use sonjit explain --ask"), (mixed, "--pooling cannot be combined with --ask")):
        assert main([*arguments, *more]) == 2
        assert words in capsys.readouterr().err


def test_case_articles_and_numbers_in_words_do_not_count():
    assert vqa_accuracy("The two.", ["2"] * 9 + ["3"]) == 1
    assert vqa_accuracy("two", ["2"] * 10) == 0  # the official rule compares unanimous answers as they are
    for answer, people, expected in (
        ("t-shirt", ["t-shirt"] * 2 + ["t shirt"] * 8, 1),
        ("black/white", ["black white"] * 9 + ["black/white"], 1),
        ("1,000", ["1000"] * 6 + ["1,000"] * 4, 1),
        ("rock & roll", ["rock & roll"] * 9 + ["rock and roll"], 1),
        ("it is 3.5 m.", ["it is 3.5 m"] * 9 + ["35"], 1),
        ("left , right", ["left right"] * 9 + ["up"], 1),
    ):
        assert vqa_accuracy(answer, people) == expected
    for answer in ("red", "green", "blue"):
        given = ["red"] * 3 + ["green"] * 6 + ["a blue"]
        plain = [one.removeprefix("a ") for one in given]
        assert vqa_accuracy(answer, given) == pytest.approx(official_accuracy(answer, plain), abs=1e-12)


def test_an_invalid_set_of_questions_is_refused(tmp_path, questions):
    with pytest.raises(InputError, match="found 0"):
        read_questions(tmp_path, tmp_path, "train2014")
    with pytest.raises(InputError, match="requires --data"):
        train_vqa(TrainingRequest("vqa", tmp_path / "answered", data=questions))
