"""`create_detector`: errors of one line, and the effects of its options."""

import dataclasses
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

import sonjit
from sonjit import InputError, create_detector
from sonjit.detectors import arguments
from sonjit.detectors.create import detector_for_input
from sonjit.detectors.kinds import KINDS, options_for
from sonjit.detectors.options import RECORDING_INSTANCES, STILL_INSTANCES
from sonjit.results import Body, Face, Hand
from sonjit.results.names import BodyKeypoint, FaceKeypoint, HandKeypoint
from sonjit.results.skeletons import load_skeleton

STILL, BOXES = {"static_image": True}, {"kind": "face", "model": "box"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "feet"}, r"Unknown kind 'feet'\. Choose from .*hands"),
        ({"model": "huge"}, "Unknown model 'huge'. Choose from .*lite"),
        ({"kind": "holistic", "hand_model": "huge"}, "Unknown hand_model 'huge'. Choose from lite"),
        ({"kind": "holistic", "face_model": "huge"}, "Unknown face_model 'huge'. Choose from "),
        ({"smoothing": "butter"}, "Unknown smoothing 'butter'. Choose from auto, none, published, one_euro"),
        ({"smoothing": 3}, "Unknown smoothing 3. Choose from auto"),
        ({"engine": "abacus"}, "Unknown engine 'abacus'. Choose from openvino, onnxruntime"),
        ({"precision": "f8"}, "Unknown precision 'f8'. Choose from auto, f32, bf16, f16, int8"),
        ({"max_instances": 0}, "max_instances=0"),
        ({"search_interval": 0}, "search_interval=0"),
        ({"min_detection_score": 1.5}, "min_detection_score=1.5"),
        ({"min_presence_score": math.nan}, "min_presence_score=nan: give a number from 0 to 1"),
        ({"segmentation": True}, "segmentation=True: hands has no option segmentation. Choose from model"),
        ({"kind": "face", "distance": True}, "distance=True: face has no option distance"),
        ({"kind": "body", "hand_model": "lite"}, "hand_model='lite': body has no option hand_model"),
        ({"min_presence_score": -1}, "min_presence_score=-1"),
        ({"threads": -1}, "threads=-1: give a whole number from 0"),
        ({"models_dir": 3}, "models_dir=3: give a path"),
        ({"gestures": 3}, "gestures=3: give text"),
        (
            {"detector_model": "nowhere.tflite", "landmark_model": "nowhere.tflite"},
            "nowhere.tflite: no such model file",
        ),
        (STILL | {"smoothing": "one_euro"}, "smoothing='one_euro' has no effect with static_image=True"),
        (STILL | {"smoothing": sonjit.OneEuro()}, "smoothing=.*OneEuro.* has no effect with static_image=True"),
        (STILL | {"search_interval": 3}, "search_interval=3 has no effect with static_image=True"),
        (
            STILL | {"kind": "body", "segmentation": True, "smooth_segmentation": False},
            "smooth_segmentation=False has no effect with static_image=True",
        ),
        (
            {"kind": "holistic", "smooth_segmentation": False},
            "smooth_segmentation=False requires segmentation=True",
        ),
        (BOXES | {"search_interval": 3}, "search_interval=3 has no effect with model='box'"),
        (BOXES | {"min_presence_score": 0.7}, "min_presence_score=0.7 has no effect with model='box'"),
        ({"distance": True, "keypoints": "published"}, "keypoints='published' has no effect with distance=True"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_invalid_options_are_input_errors_of_one_line(options, words, tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))  # without weights: a wrong option is named all the same
    with pytest.raises(InputError) as caught:
        create_detector(**options)
    assert re.match(words, str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("smoothing", "interval"), [("auto", 5), ("none", 1), (None, 1), ("published", 1)])
def test_values_that_describe_stills_are_accepted(hands, smoothing, interval, photo):
    assert hands(static_image=True, smoothing=smoothing, search_interval=interval).detect(photo)


def test_options_of_streams_do_not_apply_to_the_stills_of_several_inputs(weights, photo):
    options = {"smoothing": "one_euro", "search_interval": 3, "model": "lite"}
    with detector_for_input("hands", options, "image") as detector:
        assert detector.detect(photo)[0].id is None
    with pytest.raises(InputError, match="has no effect with static_image=True"):
        detector_for_input("hands", options | {"static_image": True}, "camera")


@pytest.mark.parametrize("how", ["cache", "models_dir"])
def test_absent_weights_name_the_command(how, tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"palm_detection_full\.tflite is not in .*; run: sonjit models pull"):
        create_detector(models_dir=tmp_path / "models" if how == "models_dir" else None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["detector_model", "landmark_model"])
@pytest.mark.parametrize("content", [b"just a text\n", b""], ids=["text", "empty"])
def test_a_file_that_is_no_model_is_refused(option, content, tmp_path, weights):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.tflite: not a model that OpenVINO reads") as caught:
        create_detector(**{option: path})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["detector_model", "landmark_model"])
def test_a_network_for_another_job_is_refused(option, weights, photo):
    other = weights["hand-full" if option == "detector_model" else "palm-full"]
    with pytest.raises(InputError) as caught, create_detector(**{option: other}) as detector:
        detector.detect(photo)
    assert other.name in str(caught.value)


def test_own_models_stand_in_for_the_published_ones(hands, weights, photo):
    published = hands(model="lite", static_image=True, precision="f32")
    with create_detector(
        detector_model=str(weights["palm-lite"]),
        landmark_model=weights["hand-lite"],
        static_image=True,
        search="fast",
        precision="f32",
    ) as own:
        assert own.detect(photo) == published.detect(photo)


@pytest.mark.slow
def test_models_may_lie_in_a_folder_of_their_own(weights, tmp_path, photo, monkeypatch):
    for name in ("palm-full", "hand-full"):
        (tmp_path / weights[name].name).write_bytes(weights[name].read_bytes())
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "home"))
    with create_detector(models_dir=tmp_path, search="fast") as detector:
        assert detector.detect(photo)


@pytest.mark.slow
def test_smoothing_calms_and_none_is_what_is_published(hands, demo_clip):
    frames = demo_clip[1][:20]
    runs = {}
    for smoothing in (None, "published", "one_euro"):
        detector = hands(smoothing=smoothing)
        runs[smoothing] = [detector.detect(rgb) for rgb in frames]
    assert runs[None] == runs["published"] != runs["one_euro"]
    assert runs[None][0] == runs["one_euro"][0]


@pytest.mark.slow
def test_a_filter_object_is_copied_for_every_hand_and_both_kinds_of_keypoints(weights, demo_clip):
    calls = []

    @dataclasses.dataclass
    class Shift:
        seen: int = 0

        def __call__(self, values, *, time, scale):
            self.seen += 1
            calls.append((self.seen, time, scale > 1))
            return values + np.float32(5)

        def reset(self):
            self.seen = 0

    own = Shift()
    with create_detector(smoothing=own) as detector, create_detector(smoothing=None) as plain:
        for rgb in demo_clip[1][:3]:
            shifted, raw = detector.detect(rgb), plain.detect(rgb)
    assert own.seen == 0
    assert max(seen for seen, _, _ in calls) == 3
    assert {pixels for _, _, pixels in calls} == {True, False}
    np.testing.assert_allclose(shifted[0].keypoints - raw[0].keypoints, 5, atol=1e-3)


MISSPELT = {
    "sonjit.create_detector('hand')": '"KindName"',
    "sonjit.create_detector('hands', max_instance=2)": '"max_instance" of type "NoSuchOption"',
    "sonjit.create_detector(max_instance=2)": '"max_instance" of type "NoSuchOption"',
    "sonjit.create_detector('face', gestures='canned')": '"gestures" of type "NoSuchOption"',
    "sonjit.create_detector('hands', model='heavy')": "\"model\" of type \"Literal['full', 'lite'] | None\"",
    "sonjit.track('a.mp4', 'hand')": '"KindName"',
    "sonjit.track('a.mp4', max_instance=2)": '"max_instance" of type "NoSuchOption"',
    "sonjit.track('a.mp4', measure=True)": '"measure" of type "NoSuchOption"',
    "sonjit.track('a.mp4', 'body', model='box')": '"model" of type "Literal[',
    "sonjit.track('a.mp4', DETECTOR, max_instances=2)": '"max_instances" of type "NoSuchOption"',
    "sonjit.explain('a.jpg', model='resnet')": '"model" of type "Literal[',
    "DETECTOR.detect('a.jpg')[0]['index_tip']": '"name" of type "HandKeypoint"',
    "sonjit.create_detector('body').detect('a.jpg')[0]['left_kne']": '"name" of type "BodyKeypoint"',
    "sonjit.create_detector('holistic').detect('a.jpg')[0]['left_kne']": '"name" of type "BodyKeypoint"',
    "sonjit.create_detector('face').detect('a.jpg')[0]['lip']": '"name" of type "FaceKeypoint"',
}
CORRECT = (
    "sonjit.create_detector('hands', max_instances=2)",
    "sonjit.create_detector(KindName('spots'), radius=3)",
    "sonjit.track('a.mp4', 'face', model='box', measures=True)",
    "sonjit.track('a.mp4', KindName('spots'), radius=3, every=2)",
    "sonjit.track('a.mp4', DETECTOR, count='left_knee')",
    "sonjit.track('a.mp4')",
    "[hand[name] for hand in DETECTOR.detect('a.jpg') for name in hand.names]",
    "sonjit.create_detector('face', model='mesh').detect('a.jpg')[0]['lips']",
)


@pytest.mark.slow
def test_type_checkers_name_misspelt_options_and_keypoints(tmp_path):
    pytest.importorskip("pyright")
    head = "import sonjit\nfrom sonjit.detectors import KindName\n\nDETECTOR = sonjit.create_detector('hands')\n"
    (tmp_path / "app.py").write_text(head + "\n".join([*MISSPELT, *CORRECT]))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "app.py"]
    found = json.loads(subprocess.run(command, capture_output=True, cwd=tmp_path).stdout)["generalDiagnostics"]
    messages: dict[int, str] = {}
    for item in found:
        line = item["range"]["start"]["line"] - head.count("\n")
        messages[line] = messages.get(line, "") + item["message"]
    for line, (call, message) in enumerate(MISSPELT.items()):
        assert message in messages.pop(line, ""), call
    assert messages == {}


@pytest.mark.parametrize(
    ("names", "skeletons"),
    [(HandKeypoint, Hand.skeletons), (BodyKeypoint, Body.skeletons), (FaceKeypoint, Face.skeletons)],
)
def test_types_contain_the_names_of_the_skeletons(names, skeletons):
    known = {point for name in skeletons.values() for point in load_skeleton(name).keypoints if point}
    assert set(get_args(names)) == known


@pytest.mark.parametrize(
    ("kind", "options", "pull"),
    [("hands", {}, "sonjit models pull hands"), ("body", {"model": "lite"}, "sonjit models pull body"),
     ("holistic", {}, "sonjit models pull holistic")],
)  # fmt: skip
def test_missing_networks_are_fetched_by_one_command(tmp_path, monkeypatch, kind, options, pull):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"is not in .*; run: {pull}$"):
        create_detector(kind, **options)


def test_tensors_are_refused_with_the_conversion(weights):
    class Tensor:
        def numpy(self):
            """Return an array."""

    message = r"a Tensor is not an image: convert it, such as image\.cpu\(\)\.numpy\(\)"
    with create_detector("hands", model="lite", search="fast") as detector, pytest.raises(InputError, match=message):
        detector.detect(Tensor())


@pytest.mark.parametrize("kind", KINDS)
def test_stills_have_room_for_everyone_unless_a_maximum_is_given(kind):
    usual, own = options_for(kind), options_for(kind, max_instances=3)
    assert usual.for_input("image").max_instances == STILL_INSTANCES
    assert usual.for_input("camera").max_instances == type(usual).max_instances
    assert options_for(kind, static_image=True).for_input("camera").max_instances == STILL_INSTANCES
    assert options_for(kind, static_image=False).for_input("image").max_instances == RECORDING_INSTANCES
    assert {own.for_input(source).max_instances for source in ("image", "folder", "video", "camera")} == {3}


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_have_room_for_several_people_unless_a_maximum_is_given(kind):
    usual = options_for(kind)
    assert usual.for_input("video").max_instances == RECORDING_INSTANCES
    assert usual.for_input("video").sparse_from == usual.max_instances
    assert options_for(kind, static_image=True).for_input("video").max_instances == STILL_INSTANCES
    assert options_for(kind, max_instances=3).for_input("video").sparse_from == 3
    assert usual.for_input("camera") == replace(usual, static_image=False, has_own_limit=True)


def test_no_argument_is_required():
    kinds = (arguments.CommonArguments, arguments.HandArguments, arguments.FaceArguments, arguments.BodyArguments)
    for one in (*kinds, arguments.HolisticArguments):
        assert not one.__required_keys__
        assert "max_instances" in one.__optional_keys__
