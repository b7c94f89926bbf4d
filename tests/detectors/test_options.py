"""Options of detectors: their bounds and defaults, and what the detectors derive from them."""

import inspect
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import sonjit
from sonjit import InputError
from sonjit.detectors import create, kinds, options
from sonjit.detectors.interfaces import Kind
from sonjit.detectors.kinds import KINDS, find_model, make_options, options_for, options_of, refuse_unused_options
from sonjit.detectors.options import BodyOptions, CommonOptions, FaceOptions, GraphThresholds, HandOptions
from sonjit.detectors.smoothing import KeypointSmoother, OneEuro

NAMES = ("hands", "face", "body", "holistic")
OWN = OneEuro(1.0)


def test_engines_have_the_options_of_the_detector(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    given = {"engine": "onnxruntime", "device": "GPU", "precision": "f16", "threads": 3}
    running = HandOptions(**given, shared=True).running
    assert {name: getattr(running, name) for name in given} == given
    assert running.shared
    assert running.cache.name == "compiled"
    assert not HandOptions().running.shared


class Bundle:
    """Task bundle with any file."""

    name = "own.task"

    def file(self, member):
        return Path("bundle") / member


@pytest.fixture
def bundles(monkeypatch):
    """Replace the loading of bundles, and return the paths that are loaded."""
    loaded = []
    monkeypatch.setattr(options, "has_bundle", lambda name, folder: name != "holistic_landmarker.task")
    monkeypatch.setattr(options, "load_bundle", lambda path, folder: loaded.append((path, folder)) or Bundle())
    monkeypatch.setattr(options, "find_weight", lambda name, folder: Path("published") / name)
    return loaded


OWN_BUNDLE, NETWORK = Path("own.task"), Path("own.tflite")


@pytest.mark.parametrize(
    ("made", "path"),
    [
        (HandOptions(landmark_model=OWN_BUNDLE), OWN_BUNDLE),
        (HandOptions(landmark_model=NETWORK), None),
        (HandOptions(), None),
        (FaceOptions(), None),
        (FaceOptions(blendshapes=True), Path("face_landmarker.task")),
        (FaceOptions(transform=True), Path("face_landmarker.task")),
        (FaceOptions(transform=True, landmark_model=NETWORK), None),
        (FaceOptions(blendshapes=True, model="mesh"), None),  # a bundle has no such network
        (options.HolisticOptions(blendshapes=True), None),  # it is not registered
        (options.HolisticOptions(blendshapes=True, landmark_model=Path("other.task")), Path("other.task")),
    ],
)
def test_a_bundle_is_that_of_the_user_or_the_registered_one_that_an_option_prefers(bundles, made, path):
    made = replace(made, models_dir=Path("folder"))
    assert (made.bundle is not None) == (path is not None)
    assert bundles == ([] if path is None else [(path, Path("folder"))])
    assert not made.follows_bundle  # only the fast search does
    assert replace(made, search="fast").follows_bundle == (path is not None)


@pytest.mark.parametrize(
    ("kind", "prefix"), [("hands", "hand"), ("face", "face"), ("body", "pose"), ("holistic", "pose")]
)
def test_networks_are_those_of_the_user_then_of_the_bundle_then_the_published_ones(bundles, kind, prefix):
    usual = options_for(kind)
    assert (usual.detector_file("d"), usual.landmark_file("l")) == (Path("published/d"), Path("published/l"))
    own = replace(usual, detector_model=Path("mine"), landmark_model=NETWORK)
    assert (own.detector_file("d"), own.landmark_file("l")) == (Path("mine"), NETWORK)
    bundled = replace(usual, landmark_model=OWN_BUNDLE)
    assert bundled.detector_file("d") == Path(f"bundle/{prefix}_detector.tflite")
    assert bundled.landmark_file("l") == Path(f"bundle/{prefix}_landmarks_detector.tflite")
    assert replace(bundled, detector_model=Path("mine")).detector_file("d") == Path("mine")


def test_a_bundle_that_is_followed_keeps_its_maximum_in_recordings(bundles):
    bundled = HandOptions(landmark_model=OWN_BUNDLE, search="fast", has_own_limit=False)
    assert bundled.for_input("video").max_instances == 2
    assert replace(bundled, search="auto").for_input("video").max_instances == 6


def test_options_of_another_kind_have_the_common_values():
    limits = GraphThresholds(overlap=0.2)
    body = BodyOptions(threads=2, search="fast", max_instances=4, min_presence_score=0.3, mirrored=True, model="lite")
    face = body.as_kind(FaceOptions, thresholds=limits, transform=True)
    assert (face.threads, face.search, face.max_instances, face.min_presence_score) == (2, "fast", 4, 0.3)
    assert (face.kind, face.model, face.mirrored, face.transform) == ("face", "attention", False, True)
    assert face.thresholds is limits


def test_options_of_other_kinds_are_accepted_with_their_defaults():
    made = make_options(
        KINDS["face"], {"visibility": False, "segmentation": None, "max_instances": 3, "smoothing": None}
    )
    assert (made.max_instances, made.has_own_limit, made.smoothing) == (3, True, None)
    assert (make_options(KINDS["face"], {}).smoothing, make_options(KINDS["face"], {}).has_own_limit) == ("auto", False)
    with pytest.raises(InputError, match="visibility=True: face has no option visibility"):
        make_options(KINDS["face"], {"visibility": True})


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("hands", "full"),
        ("hands-lite", "lite"),
        ("face-box-full", "box-full"),
        ("face", "attention"),
        ("body-heavy", "heavy"),
    ],
)
def test_models_are_named_by_their_kind(name, model):
    entry, found = find_model(name)
    assert (entry.name, found.name) == (name.partition("-")[0], model)
    with pytest.raises(InputError, match=r"min_detection_score=10{59}: give a number from 0 to 1"):
        make_options(KINDS["hands"], {"min_detection_score": 10**400})
    with pytest.raises(InputError, match=r"Unknown hands model 'huge'. Choose from full, lite\."):
        find_model("hands-huge")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("hands", {"static_image": True, "smoothing": "none", "search_interval": 1}),
        ("hands", {"static_image": True, "smoothing": "published"}),
        ("hands", {"static_image": True, "smoothing": None}),
        ("face", {"model": "box", "search_interval": 5}),
        ("face", {"model": "mesh", "search_interval": 3, "min_presence_score": 0.7}),
        ("body", {"segmentation": True, "smooth_segmentation": False}),
        ("hands", {"distance": True}),
        ("hands", {"keypoints": "published"}),
        ("hands", {"search_interval": 3, "smoothing": "one_euro"}),
    ],
)
def test_options_that_have_an_effect_or_describe_what_happens_are_accepted(kind, given):
    refuse_unused_options(options_for(kind, **given), given)


class Loaded(Kind):
    """Kind without networks."""

    keypoint_count, overlap_keypoints = 5, (0, 2)
    find = observe = result = None
    networks = {"recrop": "again.tflite"}  # noqa: RUF012  # a constant


@pytest.mark.parametrize("search", ["fast", "auto", "thorough"])
@pytest.mark.parametrize(
    ("name", "model", "still"), [("hands", "lite", True), ("body", "full", False), ("face", "box", False)]
)
def test_a_detector_has_the_parts_that_its_options_ask_for(monkeypatch, search, name, model, still):
    made, loaded = [], Loaded()
    entry = replace(
        KINDS[name], load=lambda _: loaded, search=lambda *_: "stills", stream_search=lambda *_: "stream",
        search_weights=(), smoothers=lambda _: "smoothers",
    )  # fmt: skip
    monkeypatch.setitem(kinds.KINDS, name, entry)
    monkeypatch.setattr(create, "Detector", lambda *parts, **more: made.append((parts, more)) or len(made))
    monkeypatch.setattr(create.tracking, "Tracker", lambda *parts, **more: (parts, more))
    chosen = options_for(name, model=model, static_image=still, search=search, threads=4, detector_model="a/mine.onnx")
    assert create.detector_from(chosen) == 1
    (kind, tracker, given), more = made[0]
    assert (kind, given) == (loaded, chosen)
    is_fast = search == "fast"
    propagate = None if is_fast else loaded.propagate
    rules = {"merge_nested": not is_fast, "propagate": propagate, "max_tracks": chosen.max_instances}
    assert tracker == (("smoothers",), rules | {"overlap_keypoints": (0, 2)})
    assert more["search"] == ("stills" if search == "thorough" or (search == "auto" and still) else None)
    assert more["stream_search"] == ("stream" if (search, still, model) == ("auto", False, "full") else None)
    weights = entry.models[model].weights
    assert more["networks"] == {**weights, "recrop": "again.tflite", "detector": "mine.onnx"}
    assert more["keypoint_count"] == 5
    loaded.keypoint_count = None
    assert more["create_sibling"]() == 2
    sibling = made[1][0][2]
    assert sibling == replace(chosen, threads=1, shared=True)
    assert made[1][1]["keypoint_count"] == next(iter(entry.result.skeletons))


@pytest.mark.parametrize(("still", "place"), [(True, "images"), (False, "streams")])
def test_a_kind_without_a_thorough_search_refuses_it(monkeypatch, still, place):
    monkeypatch.setitem(kinds.KINDS, "hands", replace(KINDS["hands"], load=lambda _: Loaded(), search=None))
    monkeypatch.setattr(CommonOptions, "file", lambda *_: None)
    words = f"search='thorough' is not available for hands full in {place}. Use search='auto'."
    with pytest.raises(InputError, match=f"^{words}$".replace(".", r"\.")):
        create.detector_from(options_for("hands", static_image=still, search="thorough"))


def test_the_function_has_the_parameters_and_descriptions_of_all_options():
    described = {name: one for kind in reversed(NAMES) for name, one in options_of(KINDS[kind]).items()}
    parameters, texts = create.option_parameters()
    first, *own, last = inspect.signature(sonjit.create_detector).parameters.values()
    assert (first.name, last.name) == ("kind", "options")
    assert own == parameters
    assert {one.name for one in parameters} == described.keys()
    assert {one.kind for one in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    groups = [described[one.name].group for one in parameters]
    assert groups == sorted(groups)
    defaults = {one.name: one.default for one in parameters}
    assert (defaults["smoothing"], defaults["search_interval"], defaults["gestures"]) == ("auto", 5, None)
    assert [defaults[name] for name in ("model", "max_instances", "min_detection_score")] == [None] * 3  # of the kind
    assert "\n".join(texts) in sonjit.create_detector.__doc__
    for parameter, text in zip(parameters, texts, strict=True):
        line, *more = text.splitlines()
        assert line.startswith(f"        {parameter.name}: ")
        assert all(line.startswith(" " * 12) and line[12] != " " for line in more)
        assert max(map(len, [line, *more])) <= 120
        assert not more or len(line) + 1 + len(more[0].split()[0]) > 120  # lines are full
    choices = next(text for text in texts if text.startswith("        engine: "))
    assert choices.endswith(" Choices: openvino, onnxruntime.")
    assert "Choices" not in next(text for text in texts if text.startswith("        threads: "))


def test_smoothers_are_made_for_each_track_of_filters_only():
    assert kinds.usual_smoothers(SimpleNamespace(filter=None))() is None
    assert kinds.usual_smoothers(SimpleNamespace(filter="published"))() is None
    new = kinds.usual_smoothers(SimpleNamespace(filter=OWN))
    assert isinstance(new(), KeypointSmoother)
    assert new() is not new()


@pytest.mark.parametrize("kind", [*NAMES, "common", "sided"])
def test_options_are_given_by_their_names(kind):
    own = {"common": CommonOptions, "sided": options.SidedOptions}
    options_type = own.get(kind) or KINDS[kind].options
    assert options_type(search="thorough").is_thorough
    with pytest.raises(TypeError, match="positional argument"):
        options_type("full")
