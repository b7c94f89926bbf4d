"""Options of detectors: their bounds and defaults, and what the detectors derive from them."""

from types import SimpleNamespace

import pytest

from sonjit import InputError
from sonjit.detectors import kinds, options
from sonjit.detectors.kinds import KINDS, check_options, find_model, make_options, options_for
from sonjit.detectors.options import BodyOptions, CommonOptions, FaceOptions, GraphThresholds, HandOptions
from sonjit.detectors.smoothing import KeypointSmoother, OneEuro

OWN = OneEuro(1.0)


def test_engines_have_the_options_of_the_detector(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    given = {"engine": "onnxruntime", "device": "GPU", "precision": "f16", "threads": 3}
    running = HandOptions(**given, shared=True).running
    assert {name: getattr(running, name) for name in given} == given
    assert running.shared
    assert running.cache.name == "compiled"
    assert not HandOptions().running.shared


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
    check_options(options_for(kind, **given), given)


def test_smoothers_are_made_for_each_track_of_filters_only():
    assert kinds.usual_smoothers(SimpleNamespace(filter=None))() is None
    assert kinds.usual_smoothers(SimpleNamespace(filter="published"))() is None
    new = kinds.usual_smoothers(SimpleNamespace(filter=OWN))
    assert isinstance(new(), KeypointSmoother)
    assert new() is not new()


@pytest.mark.parametrize("kind", [*KINDS, "common", "sided"])
def test_options_are_given_by_their_names(kind):
    own = {"common": CommonOptions, "sided": options.SidedOptions}
    options_type = own.get(kind) or KINDS[kind].options
    assert options_type(search="thorough").is_thorough
    with pytest.raises(TypeError, match="positional argument"):
        options_type("full")
