"""`GET /v1/kinds`: what can be found here and how it is asked for, for the page and other clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter
from starlette.responses import Response

from sonjit.detectors.kinds import KINDS, KindEntry, Model
from sonjit.errors import SonjitError
from sonjit.json_text import Json, JsonObject, json_from
from sonjit.media.tables.rows import COLUMNS
from sonjit.results import RESULT_TYPES, Points, Result, Value
from sonjit.server.detector_pool import missing_weights
from sonjit.server.options import known_options, value_schema
from sonjit.skeletons import load_skeleton
from sonjit.weights import find_weight
from sonjit.weights.catalog import find_record

IN_PAGES = ("hands", "face", "body", "holistic")
"""What the module for web pages finds."""
FACE_BUNDLE = "face_landmarker.task"
"""Of MediaPipe's, beside the networks of the module for web pages: what blendshapes and poses of faces need."""
_ON_A_SERVER = ("explain", "visibility", "measures")
"""Options that pages cannot compute themselves."""
_OF_BUNDLE = ("blendshapes", "transform")


def kind_router(engine: Path, *, annotates: bool = False) -> APIRouter:
    """The endpoint; `engine` as for `kinds_answer`; whether the page of a project is served too."""
    router = APIRouter(prefix="/v1", tags=["server"])

    @router.get("/kinds")
    def kinds() -> Response:
        """Every kind of detector with its models and options, and every type of result with fields and skeletons."""
        answer = kinds_answer(engine) | {"annotates": annotates}
        return Response(json_from(answer), media_type="application/json")

    return router


def kinds_answer(engine: Path, *, has_bundle: bool | None = None) -> JsonObject:
    """What `GET /v1/kinds` answers.

    Args:
        engine: what `make web` builds; where it is not there, or without networks, pages compute nothing themselves.
        has_bundle: pages have a `FACE_BUNDLE`; by default where it lies beside the networks.
    """
    there = (engine / "models" / FACE_BUNDLE).is_file() if has_bundle is None else has_bundle
    return {
        "kinds": {name: kind_answer(entry) for name, entry in KINDS.items()},
        "in_page": _kinds_in_page(engine, has_bundle=there),
        "results": {one.kind: _result(one) for one in RESULT_TYPES.values()},
        "columns": list(COLUMNS),
    }


def kind_answer(entry: KindEntry) -> JsonObject:
    """One kind of detector; the first of its models is the default."""
    return {
        "list": entry.list_name,
        "plural": entry.plural,
        "summary": entry.summary,
        "models": list(entry.models),
        "missing": {name: [*missing] for name in entry.models if (missing := missing_weights(entry.name, name))},
        "max_instances": entry.max_instances,
        "options": {name: value_schema(one) for name, one in known_options(entry.name).items()},
        "job_options": list(known_options(entry.name, job=True)),
        "instances": list(entry.instances),
    }


def _result(kind: type[Result]) -> JsonObject:
    """One type of result as answers hold it, with the columns of row tables that its fields fill."""
    return {
        "list": kind.list_name,
        "fields": [_field(item) for item in kind.schema],
        "members": {key: part.kind for key, part in kind.members.values()},
        "skeletons": {name: _skeleton(name) for name in getattr(kind, "skeletons", {}).values()},
    }


def _field(item: Value | Points) -> JsonObject:
    if isinstance(item, Value):
        return {"key": item.key, "type": "box" if item.is_box else "value"}
    scores: dict[str, Json] = {score.key: score.column for score in item.scores}
    return {"key": item.key, "type": "points", "columns": list(item.columns), "scores": scores}


def _skeleton(name: str) -> JsonObject:
    skeleton = load_skeleton(name)
    return {
        "keypoints": list(skeleton.keypoints),
        "connections": [list(pair) for pair in skeleton.connections],
        "groups": {group: list(members) for group, members in skeleton.groups.items()},
    }


def _kinds_in_page(engine: Path, *, has_bundle: bool) -> JsonObject:
    """The kinds that a page finds itself, with the models and options that it can compute."""
    kinds: dict[str, Json] = {}
    if not (engine / "sonjit-web.js").is_file():
        return kinds
    for name in IN_PAGES:
        entry = KINDS[name]
        there = _models_in_page(entry, engine)
        if there:
            left_out = _ON_A_SERVER if name == "face" and has_bundle else (*_ON_A_SERVER, *_OF_BUNDLE)
            options = {key: value_schema(one) for key, one in known_options(name).items() if key not in left_out}
            if name == "holistic" or missing_for_stills(entry, engine):  # streams of people are not searched thoroughly
                options["search"]["enum"] = ["fast", "auto"]
            kinds[name] = {**kind_answer(entry), "models": [*there], "missing": {}, "options": {**options}}
    return kinds


class PageNetworks(NamedTuple):
    """Names of the weights that the module for web pages runs for a model, by what they are for.

    Attributes:
        needed: `search` sees the faces in a stream's windows.
        for_stills: what else a thorough search of images on their own runs; without it they are searched fast. Of hands
            `guide` sees the bodies below faces, of bodies `face` and `face_detector` the faces that lead to them.
    """

    needed: Mapping[str, str]
    for_stills: Mapping[str, str]


_HAND_HEADS = "hand_heads.npz"


def networks_in_pages(entry: KindEntry, model: Model) -> PageNetworks:
    """What pages run for a model."""
    search = {"search": "face-full"}
    if entry.name == "hands":
        return PageNetworks(model.weights, {**search, "guide": KINDS["body"].models["full"].weights["landmark"]})
    if model.is_box:
        return PageNetworks(model.weights, search)
    mesh = KINDS["face"].models["attention"].weights
    for_stills = {
        "body": {"face_detector": mesh["detector"], "face": mesh["landmark"]},
        "holistic": {"palms": KINDS["hands"].models["full"].weights["detector"]},
    }
    return PageNetworks({**model.weights, **search}, for_stills.get(entry.name, {}))


def missing_for_stills(entry: KindEntry, engine: Path) -> list[str]:
    """Files that a page lacks to search images on their own thoroughly."""
    folder, models = engine / "models", [entry.models[name] for name in _models_in_page(entry, engine)]
    names = {name for model in models for name in networks_in_pages(entry, model).for_stills.values()}
    missing = [find_record(name).file for name in sorted(names) if not _are_there([name], folder)]
    lacks_heads = entry.name == "hands" and models and not (folder / _HAND_HEADS).is_file()
    return [*missing, _HAND_HEADS] if lacks_heads else missing


def _models_in_page(entry: KindEntry, engine: Path) -> list[str]:
    models = entry.models.values()
    return [one.name for one in models if _are_there(networks_in_pages(entry, one).needed.values(), engine / "models")]


def _are_there(names: Iterable[str], folder: Path) -> bool:
    try:
        for name in names:
            find_weight(name, folder)
    except SonjitError:
        return False
    return True
