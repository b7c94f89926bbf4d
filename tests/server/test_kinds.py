"""Descriptions of kinds: models of answers, networks in pages, and what a page with some files offers."""

from types import SimpleNamespace

import pytest

from sonjit.detectors.kinds import KINDS
from sonjit.results import Value
from sonjit.server import kinds
from sonjit.server.kinds import (
    FACE_BUNDLE,
    IN_PAGES,
    image_answer,
    kinds_answer,
    missing_for_stills,
    names_in_pages,
    networks_in_pages,
    responses,
    upload_body,
)
from sonjit.weights.catalog import find_record

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

FURTHER = ("hand_heads.npz", "hand_refinement.npz", "proposals.tflite")
STILL = ("person-detector", "body-full", "palm-full")


def structure(schema):
    """Return names, types and defaults of a schema, without words that its library adds."""
    if isinstance(schema, list):
        return [structure(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    words = ("title", "description", "additionalProperties")
    return {name: structure(one) for name, one in schema.items() if name not in words or isinstance(one, dict)}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_to_images_have_the_stored_members(kind):
    assert_as_stored(f"server.answers.{kind}", structure(image_answer(kind).model_json_schema()))


def test_a_result_with_types_for_type_checkers_has_its_members(monkeypatch):
    class Mine:
        __annotations__ = {"score": "Missing"}
        kind, members, schema = "mine", {}, (Value("score", "score"), Value("more", "more", full=True))

    monkeypatch.setitem(KINDS, "mine", SimpleNamespace(list_name="mine", result=Mine))
    (model,) = [one for name, one in image_answer("mine").model_json_schema()["$defs"].items() if name == "Mine"]
    assert (model["required"], sorted(model["properties"])) == (["score"], ["more", "score", "skeleton"])


def test_refusals_are_described_for_every_answer():
    assert list(responses(dict, "x")) == [200, "4XX"]
    assert list(responses(dict, "x", 202)) == [202, "4XX"]
    assert upload_body()["required"] is True


def test_networks_in_pages_are_as_stored():
    names = {
        name: {model: networks_in_pages(KINDS[name], one) for model, one in KINDS[name].models.items()}
        for name in IN_PAGES
    }
    assert_as_stored("server.networks", {"kinds": names, "all": names_in_pages()})


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Return a function that makes a folder of the module for pages with empty files."""
    monkeypatch.setattr(kinds, "missing_weights", lambda *_: [])
    made = iter(range(99))

    def make(names, *, bundle=False, module=True):
        folder = tmp_path / str(next(made))
        (folder / "models").mkdir(parents=True)
        files = [name if "." in name else find_record(name).file for name in names]
        for name in files + [FACE_BUNDLE] * bundle:
            (folder / "models" / name).touch()
        if module:
            (folder / "sonjit-web.js").touch()
        return folder

    return make


def offered(folder):
    """Return by kind in pages the models, the searches and the names of options."""
    found = kinds_answer(folder)["in_page"]
    return {
        name: {"models": one["models"], "search": one["options"]["search"]["enum"], "options": sorted(one["options"])}
        for name, one in found.items()
    }


def test_pages_offer_what_their_files_can_find(engine):
    every = names_in_pages()
    without = [name for name in every if name not in STILL]
    cases = {
        "all": engine([*every, *FURTHER]),
        "bundle": engine([*every, *FURTHER], bundle=True),
        "nothing further": engine(every),
        "no search of stills": engine([*without, *FURTHER]),
        "no faces": engine([name for name in [*every, *FURTHER] if "face" not in name], bundle=True),
        "no networks": engine(FURTHER, bundle=True),
    }
    assert_as_stored("server.pages", {name: offered(folder) for name, folder in cases.items()})
    assert offered(engine([*every, *FURTHER], module=False)) == {}
    assert offered(cases["no networks"]) == {}


@pytest.mark.parametrize("missing", [*STILL, *FURTHER])
def test_a_file_that_stills_need_is_named(engine, missing):
    folder = engine([name for name in [*names_in_pages(), *FURTHER] if name != missing])
    file = missing if "." in missing else find_record(missing).file
    named = {name for name in IN_PAGES if file in missing_for_stills(KINDS[name], folder)}
    wanted = {
        "person-detector": {"hands", "face"},
        "body-full": {"hands"},
        "palm-full": {"holistic"},
        "proposals.tflite": {"hands", "face", "body"},
    }
    assert named == wanted.get(missing, {"hands"})


def test_no_file_is_missing_without_a_model(engine):
    folder = engine([])
    assert [missing_for_stills(KINDS[name], folder) for name in IN_PAGES] == [[]] * 4


def test_the_description_of_everything_is_as_stored(engine):
    answer = kinds_answer(engine([], module=False))
    brief = {
        name: {
            key: sorted(value) if key == "options" else value for key, value in one.items() if key not in ("summary",)
        }
        for name, one in answer["kinds"].items()
    }
    assert_as_stored("server.kinds", {"kinds": brief, "results": answer["results"], "columns": answer["columns"]})
