"""Descriptions of kinds: models of answers, networks in pages, and what a page with some files offers."""

from types import SimpleNamespace

from sonjit.detectors.kinds import KINDS
from sonjit.results import Value
from sonjit.server.kinds import (
    image_answer,
    kinds_answer,
    responses,
    upload_body,
)

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

BUILT_IN = tuple(KINDS)  # tests of extensions register more


def structure(schema):
    """Return names, types and defaults of a schema, without words that its library adds."""
    if isinstance(schema, list):
        return [structure(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    words = ("title", "description", "additionalProperties")
    return {name: structure(one) for name, one in schema.items() if name not in words or isinstance(one, dict)}


def test_answers_to_images_have_the_stored_members():
    assert_as_stored("server.answers", {kind: structure(image_answer(kind).model_json_schema()) for kind in BUILT_IN})


def test_a_result_with_types_for_type_checkers_has_its_members(monkeypatch):
    class Mine:
        __annotations__ = {"score": "Missing"}
        kind, members, schema = "mine", {}, (Value("score", "score"), Value("more", "more", full=True))

    monkeypatch.setitem(KINDS, "mine", SimpleNamespace(list_name="mine", result=Mine))
    (model,) = [one for name, one in image_answer("mine").model_json_schema()["$defs"].items() if name == "Mine"]
    assert (model["required"], sorted(model["properties"])) == (
        ["score"],
        ["flipped", "mirrored", "more", "score", "skeleton"],
    )


def test_refusals_are_described_for_every_answer():
    assert list(responses(dict, "x")) == [200, "4XX"]
    assert list(responses(dict, "x", 202)) == [202, "4XX"]
    assert upload_body()["required"] is True


def test_the_description_of_everything_is_as_stored(tmp_path):
    answer = kinds_answer(tmp_path)
    brief = {
        name: {
            key: sorted(value) if key == "options" else value
            for key, value in one.items()
            if key not in ("summary", "missing")
        }
        for name, one in answer["kinds"].items()
    }
    assert_as_stored("server.kinds", {"kinds": brief, "results": answer["results"], "columns": answer["columns"]})
