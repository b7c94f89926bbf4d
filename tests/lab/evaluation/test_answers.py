"""Answers to questions about images: training, accuracy as on visualqa.org, and maps of answers."""

import itertools
import json

import cv2
import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.cli import main
from sonjit.lab.explain.classes import explain_classes
from sonjit.lab.networks.answers import load_answerer
from sonjit.lab.training.cam import read_questions, train_vqa, vqa_accuracy
from sonjit.lab.training.recipes import TrainingRequest
from sonjit.media import rgb_from

from .drawn_sets import write_questions

SIZE = 32


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_questions(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """Return a run that answers from the features of an untrained network."""
    out = tmp_path_factory.mktemp("run")
    settings = {"steps": 80, "size": SIZE, "batch": 40, "warmup": 2, "learning_rate": 0.03}
    typed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    arguments = ["--data", str(data), "--weights", "demo", "--set", "pooling=gap", "--out", str(out)]
    assert main(["train", "vqa", *arguments, *typed]) in (0, None)
    return out


def official_accuracy(answer, given):
    """Return the mean over every nine of ten people of min(number of equal answers / 3, 1)."""
    return np.mean([min(nine.count(answer) / 3, 1) for nine in itertools.combinations(given, len(given) - 1)])


@pytest.mark.slow
def test_the_accuracy_is_visualqas_and_the_answers_are_those_of_the_linear_layer(data, run):
    answerer = load_answerer("cam-small", run)
    answers, metrics = [], json.loads((run / "metrics.json").read_text("utf-8"))
    for question in read_questions(data, data, "val2014"):
        small = cv2.resize(rgb_from(question.image), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        with torch.no_grad():
            features = answerer.network(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)["features"]
        scaled = (features.mean((2, 3))[0] - answerer.head.middle) / answerer.head.spread
        scores = answerer.head.image.weight @ scaled + answerer.head.image.bias
        for word in question.text.lower().rstrip("?").split():
            scores = scores + answerer.head.words.weight[1 + answerer.words.index(word)]
        classifier = answerer.classifier_for(question.text)
        (best,) = explain_classes(classifier.network, rgb_from(question.image), SIZE)
        assert best.label == int(scores.argmax())
        assert best.score == pytest.approx(scores.max().item(), abs=1e-4)
        assert best.values.mean(dtype=float) + best.bias == pytest.approx(best.score, abs=1e-4)
        answers.append(official_accuracy(classifier.names[best.label], question.human_answers))
    assert metrics == {"accuracy": pytest.approx(np.mean(answers), abs=1e-6), "held_out": 40}
    assert metrics["accuracy"] > 0.4


@pytest.mark.slow
def test_a_question_is_answered_with_the_regions_behind_it(data, run, tmp_path, capsys):
    image = sorted((data / "val2014").glob("*.jpg"))[0]
    arguments = ["explain", str(image), "--model", "cam-small", "--weights", str(run)]
    outputs = ["--save", str(tmp_path / "a.json"), "--draw", str(tmp_path / "a.png"), "--top", "2", "--boxes"]
    assert main([*arguments, "--ask", "What shape has this thing?", *outputs]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"disc", "square"}
    (frame,) = json.loads((tmp_path / "a.json").read_text("utf-8"))["frames"]
    assert [label["class"] for label in frame["classes"]] != []
    height, width = rgb_from(image).shape[:2]
    assert cv2.imread(str(tmp_path / "a.png")).shape == (height, 2 * width, 3)
    for more, words in (
        ([], "use sonjit explain --ask"),
        (["--ask", "Which?", "--pooling", "gap"], "--pooling cannot be combined with --ask"),
    ):
        assert main([*arguments, *more]) == 2
        assert words in capsys.readouterr().err


def test_case_articles_and_numbers_in_words_do_not_count():
    assert vqa_accuracy("The two.", ["2"] * 10) == 1
    for answer in ("red", "green", "blue"):
        given = ["red"] * 3 + ["green"] * 6 + ["a blue"]
        plain = [one.removeprefix("a ") for one in given]
        assert vqa_accuracy(answer, given) == pytest.approx(official_accuracy(answer, plain), abs=1e-12)


def test_an_invalid_set_of_questions_is_refused(tmp_path, data):
    with pytest.raises(InputError, match="found 0"):
        read_questions(tmp_path, tmp_path, "train2014")
    with pytest.raises(InputError, match="requires --data"):
        train_vqa(TrainingRequest("vqa", tmp_path / "run", data=data))
