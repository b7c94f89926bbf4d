"""Options of clients: what is read, what is refused in one line, and the bounds of texts and images."""

import json

import pytest
from starlette.datastructures import QueryParams

from sonjit.server import options
from sonjit.server.errors import RefusedError
from sonjit.server.options import (
    LABELS,
    MEASURES,
    SessionOptions,
    check_pixels,
    load_json,
    read_detector,
    read_detectors,
    read_options,
    read_values,
    require_short_map,
    single_values,
)


def refusal(function, *arguments, **more):
    """Call a function that refuses, and return the code and the message."""
    with pytest.raises(RefusedError) as refused:
        function(*arguments, **more)
    return refused.value.code, str(refused.value)


def test_only_given_values_are_read_and_the_model_is_added():
    assert read_values([MEASURES, LABELS], {"measures": True}, "a job") == {"measures": True}
    assert read_values([MEASURES, LABELS], {}, "a job") == {}
    assert read_options("hands", {}) == {"model": "full"}
    assert read_options("hands", {"model": "lite", "max_instances": 3}) == {"model": "lite", "max_instances": 3}
    assert read_options(
        "hands", {"mine": True}, more=(options.Option("", name="mine", type="boolean", default=False),)
    ) == {
        "model": "full",
        "mine": True,
    }


def test_values_of_a_query_are_texts_and_those_of_json_have_their_types():
    given = {"max_instances": "3"}
    assert read_options("hands", given, is_query=True)["max_instances"] == 3
    assert read_detector({"kind": "hands", **given}, is_query=True)[1]["max_instances"] == 3
    for read in (
        lambda: read_options("hands", given),
        lambda: read_values([MEASURES], {"measures": "true"}, "a job"),
        lambda: read_detector({"kind": "hands", **given}),
        lambda: read_detectors([{"kind": "hands", **given}]),
    ):
        assert refusal(read)[0] == "bad_option"


def test_jobs_have_other_options():
    explain, labels = {"explain": "presence"}, {"gesture_labels": False}
    assert read_options("hands", explain)["explain"] == "presence"
    assert read_detector({"kind": "hands", **explain})[1]["explain"] == "presence"
    assert read_detectors([{"kind": "hands", **explain}])[0][1]["explain"] == "presence"
    assert read_options("hands", labels, job=True)["gesture_labels"] is False
    assert read_detector({"kind": "hands", **labels}, job=True)[1]["gesture_labels"] is False
    assert read_detectors([{"kind": "hands", **labels}], job=True)[0][1]["gesture_labels"] is False
    assert "'explain' of a job of hands. Choose from model" in refusal(read_options, "hands", explain, job=True)[1]
    assert "'gesture_labels' of hands. Choose from model" in refusal(read_options, "hands", labels)[1]
    assert "'gesture_labels' of a job of face." in refusal(read_options, "face", labels, job=True)[1]


def test_defaults_are_for_each_detector_that_sets_no_other():
    listed = [{"kind": "hands"}, {"kind": "face", "measures": False}]
    read = read_detectors(listed, defaults={"measures": True})
    assert [(kind, values["measures"]) for kind, values in read] == [("hands", True), ("face", False)]
    assert read_detector({"kind": "face"}) == ("face", {"model": "attention"})


@pytest.mark.parametrize(
    ("detector", "says"),
    [
        (None, "each is an object"),
        ([], "each is an object"),
        ({}, "kind is missing. Choose from hands, face"),
        ({"kind": None}, "kind is missing"),
        ({"kind": ""}, "Unknown kind ''. Choose from hands, face"),
        ({"kind": 3}, "Unknown kind 3"),
        ({"kind": ["hands"]}, "Unknown kind ['hands']"),
        ({"kind": "tails"}, "Unknown kind 'tails'"),
        ({"kind": "hands", "distance": 3}, "distance=3: give true or false"),
        ({"kind": "hands", "explain": 3}, "explain=3: give none, handedness, presence, or x, y, z"),
        ({"kind": "hands", "gestures": 3}, "gestures=3: give one of none"),
        ({"kind": "hands", "max_instances": 51, "a": 1}, "max_instances=51: give"),
    ],
)
def test_an_unknown_detector_or_value_is_named(detector, says):
    code, message = refusal(read_detector, detector)
    assert (code, says in message) == ("bad_option", True), message


def test_each_kind_occurs_once():
    kinds = ["hands", "face", "body"]
    assert [kind for kind, _ in read_detectors([{"kind": kind} for kind in kinds])] == kinds
    for repeated in (["hands", "face", "hands"], ["body", "hands", "hands", "hands"]):
        assert "duplicate kind hands" in refusal(read_detectors, [{"kind": kind} for kind in repeated])[1]
    assert "give a list" in refusal(read_detectors, {"kind": "hands"})[1]
    assert read_detectors([]) == ()


def test_each_parameter_occurs_once():
    assert single_values(QueryParams("a=1&b=2")) == {"a": "1", "b": "2"}
    for query in ("a=1&b=2&b=2", "b=1&b=2&b=3"):
        assert refusal(single_values, QueryParams(query)) == ("bad_option", "'b' is given more than once")


@pytest.mark.parametrize(("count", "shown"), [(58, "'" + 58 * "x" + "'"), (59, "'" + 56 * "x" + "...")])
def test_a_long_value_is_shortened_to_60_characters(count, shown):
    assert len(shown) == 60
    assert f"model={shown}: give" in refusal(read_options, "hands", {"model": "x" * count})[1]


def test_options_of_one_detector_are_those_of_its_session():
    read = read_options("hands", {"measures": True, "explain": "presence", "gestures": "none", "max_instances": 3})
    for still, smoothing in ((True, "none"), (False, "one_euro")):
        made = SessionOptions.from_values("hands", read, still=still)
        assert (made.kind, made.name, made.measures, made.explain) == ("hands", "hands-full", True, "presence")
        assert (made.detector.static_image, made.detector.max_instances, made.gestures) == (still, 3, "canned")
        shown = made.to_dict()
        assert (shown["kind"], shown["measures"], shown["explain"]) == ("hands", True, "presence")
        assert (shown["gestures"], shown["max_instances"], shown["smoothing"]) == ("none", 3, smoothing)
        assert made.key == SessionOptions.from_values("hands", {"max_instances": 3, "gestures": "asl"}, still=still).key
        assert made.key != SessionOptions.from_values("hands", {"max_instances": 4}, still=still).key
    face = SessionOptions.from_values("face", {"measures": True}, still=False)
    assert (face.has_hands, face.gestures, made.has_hands) == (False, None, True)
    assert SessionOptions.from_values("face", {}, still=False) != face
    assert SessionOptions.from_values("face", {}, still=False).key == face.key


def test_an_image_has_so_many_pixels():
    check_pixels(4, 3, 12)
    for size in ((13, 1), (1, 13), (4, 4)):
        code, message = refusal(check_pixels, *size, 12, "a.png")
        assert (code, f"a.png has {size[0]} x {size[1]} pixels, more than 1.2e-05 million" in message) == (
            "too_many_pixels",
            True,
        )


@pytest.mark.parametrize("encode", [str, str.encode])
def test_a_text_of_json_has_half_a_million_lists_and_objects(encode):
    parts = ["[]", "{}"] * 250_000
    assert len(load_json(encode("[" + ",".join(parts[:-1]) + "]"), "text")) == 499_999
    assert refusal(load_json, encode("[" + ",".join(parts) + "]"), "the text") == (
        "too_large",
        "the text: 500001 lists and objects are more than 500000",
    )
    assert load_json(encode('"' + "손" * 3 + '"'), "text") == "손손손"


def test_a_text_of_json_may_have_half_of_a_character():
    with pytest.raises(json.JSONDecodeError):
        load_json("\ud800", "text")


def test_a_map_has_so_many_characters_and_nested_brackets():
    for text in ("#" * 64_000, "[" * 32, "{[" * 16, "[]{}" * 100, "[" * 32 + "]}" + "{["):
        require_short_map(text)
    assert refusal(require_short_map, "#" * 64_001)[0] == "too_large"
    for text in ("[" * 33, "{[" * 16 + "{", "[" * 32 + "]" + "[[" + "]" * 40):
        assert "nested more than 32 deep" in refusal(require_short_map, text)[1]
