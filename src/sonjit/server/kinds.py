"""Describe kinds of detectors, their options and their results: `GET /v1/kinds`, and models for `/openapi.json`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

from pydantic import BaseModel, Field, create_model

from sonjit._util import Json, JsonObject
from sonjit.detectors.kinds import KINDS, KindEntry, Model
from sonjit.media.tables.layout import COLUMNS
from sonjit.results import RESULT_TYPES, Handedness, Points, Result, Value
from sonjit.results.measures import measure_names
from sonjit.results.schema import VIEW_KEYS
from sonjit.results.skeletons import Skeleton, load_skeleton
from sonjit.server.errors import STATUS
from sonjit.server.options import known_options, option_schemas
from sonjit.server.service import missing_weights
from sonjit.weights.catalog import find_record

FACE_BUNDLE = "face_landmarker.task"  # MediaPipe bundle that blendshapes and poses of faces require in web pages
_PLAIN = {form for plain in (float, int, str, Handedness) for form in (plain, plain | None)}
_BOX = create_model("Box", **dict.fromkeys(("xMin", "yMin", "xMax", "yMax", "width", "height"), float))
_GESTURE = create_model("Gesture", name=str, score=float)
_MASK = create_model("Mask", width=int, height=int, png=(str, Field(description="PNG in base64")))


def kinds_answer(engine: Path) -> JsonObject:
    """Return the answer of `GET /v1/kinds`.

    `engine`: output folder of `make web`. Pages run detectors only if it exists and contains networks.
    """
    return {
        "kinds": {name: kind_answer(entry) for name, entry in KINDS.items()},
        "in_page": _kinds_in_page(engine),
        "results": {result.kind: _result(result) for result in RESULT_TYPES.values()},
        "columns": list(COLUMNS),
    }


def kind_answer(entry: KindEntry) -> JsonObject:
    """Return the description of a kind. The first of its models is the default."""
    return {
        "list": entry.list_name,
        "plural": entry.plural,
        "summary": entry.summary,
        "models": list(entry.models),
        "missing": {name: [*missing] for name in entry.models if (missing := missing_weights(entry.name, name))},
        "max_instances": entry.options.max_instances,
        "options": {**option_schemas(known_options(entry.name).values())},
        "job_options": list(known_options(entry.name, job=True)),
        "instances": list(entry.instances),
    }


def _result(kind: type[Result]) -> JsonObject:
    """Return the description of a type of result with its JSON members and table columns."""
    return {
        "list": kind.list_name,
        "fields": [_field(item) for item in kind.schema],
        "members": {key: part.kind for key, part in kind.members.values()},
        "skeletons": dict(map(_skeleton, getattr(kind, "skeletons", {}).values())),
    }


def _field(item: Value | Points) -> JsonObject:
    if isinstance(item, Value):
        return {"key": item.key, "type": "box" if item.is_box else "value"}
    scores: dict[str, Json] = {score.key: score.column for score in item.scores}
    return {"key": item.key, "type": "points", "columns": list(item.columns), "scores": scores}


def _skeleton(definition: str | Skeleton) -> tuple[str, JsonObject]:
    skeleton = load_skeleton(definition) if isinstance(definition, str) else definition
    return skeleton.name, {
        "keypoints": list(skeleton.keypoints),
        "connections": [list(pair) for pair in skeleton.connections],
        "groups": {group: list(members) for group, members in skeleton.groups.items()},
    }


def _kinds_in_page(engine: Path) -> JsonObject:
    """Return the kinds, models and options that a page supports without a server."""
    kinds: dict[str, Json] = {}
    has_bundle = (engine / "models" / FACE_BUNDLE).is_file()
    if not (engine / "sonjit-web.js").is_file():
        return kinds
    for name in kinds_in_pages():
        entry = KINDS[name]
        models = _models_in_page(entry, engine)
        if models:
            left_out = () if entry.pages is None else entry.pages.without
            options = option_schemas(
                option
                for option in known_options(name).values()
                if not (option.requires_server or option.name in left_out or (option.from_bundle and not has_bundle))
            )
            if missing_for_stills(entry, engine):  # then thorough would fail
                options["search"]["enum"] = ["fast", "auto"]
            kinds[name] = {**kind_answer(entry), "models": [*models], "missing": {}, "options": {**options}}
    return kinds


class PageNetworks(NamedTuple):
    """Names of the weights that the module for web pages uses for a model, by their role."""

    needed: Mapping[str, str]  # weights of the model
    # further weights for the search of still images, which is fast without them. `search` detects faces in windows,
    # `people` proposes people. For hands `guide` detects the bodies below faces, for people `palms` further hands.
    for_stills: Mapping[str, str]


def networks_in_pages(entry: KindEntry, model: Model) -> PageNetworks:
    """Return the weights that pages use for a model."""
    assert entry.pages is not None
    # boxes do not use the network that proposes people
    stills = {role: name for role, name in entry.pages.networks.items() if not (model.is_box and role == "people")}
    return PageNetworks(model.weights, stills)


def kinds_in_pages() -> list[str]:
    """Return the names of the kinds that the module for web pages detects."""
    return [name for name, entry in KINDS.items() if entry.pages is not None]


def names_in_pages() -> list[str]:
    """Return the names of all weights that pages use."""
    entries = [(KINDS[name], model) for name in kinds_in_pages() for model in KINDS[name].models.values()]
    return sorted({weight for entry in entries for role in networks_in_pages(*entry) for weight in role.values()})


def missing_for_stills(entry: KindEntry, engine: Path) -> list[str]:
    """Return the missing files for the thorough search of still images in pages."""
    folder, models = engine / "models", [entry.models[name] for name in _models_in_page(entry, engine)]
    names = {name for model in models for name in networks_in_pages(entry, model).for_stills.values()}
    further = entry.pages.files if models and entry.pages is not None else ()
    required = [*(find_record(name).file for name in sorted(names)), *further]
    return [name for name in required if not (folder / name).is_file()]


def _models_in_page(entry: KindEntry, engine: Path) -> list[str]:
    """Return the models whose files are there. They are packed, so that only the module checks their content."""
    needed = {name: networks_in_pages(entry, model).needed.values() for name, model in entry.models.items()}
    there = {path.name for path in (engine / "models").glob("*")}
    return [
        name for name, weights in needed.items() if there.issuperset(find_record(weight).file for weight in weights)
    ]


class _ErrorCode(BaseModel):
    code: Literal[tuple(STATUS)]  # pyright: ignore[reportInvalidTypeForm]
    message: str


class Refusal(BaseModel):
    """Body of a response that refuses a request. The message has the remedy."""

    error: _ErrorCode


class ImageClass(BaseModel):
    """A class of ImageNet with its map: `values` by rows, and `size` in rows and columns."""

    name: str
    label: int
    probability: float
    box: tuple[float, float, float, float] | None  # x_min, y_min, x_max, y_max
    size: tuple[int, int]
    values: list[float]


class ClassesAnswer(BaseModel):
    """Answer of `POST /v1/classes`, with the width and height of the image."""

    width: int
    height: int
    classes: list[ImageClass]


def responses(model: Any, description: str, status: int = 200) -> dict[int | str, dict[str, object]]:  # noqa: ANN401
    """Return the `responses` of an endpoint that answers JSON, including refusals."""
    return {
        status: {"description": description, "model": model},
        "4XX": {"description": "Refused. The message has the remedy.", "model": Refusal},
    }


def upload_body() -> JsonObject:
    """Describe a request body: a file, or a form with files."""
    binary: JsonObject = {"type": "string", "format": "binary"}
    form: JsonObject = {"type": "object", "properties": {"file": {"type": "array", "items": binary}}}
    content: JsonObject = {"application/octet-stream": {"schema": binary}, "multipart/form-data": {"schema": form}}
    return {"required": True, "content": content}


def image_answer(kind: str) -> type[BaseModel]:
    """Return the model of the answer of `POST /v1/KIND`."""
    entry = KINDS[kind]
    results: Any = {entry.list_name: list[_result_model(entry.result)]}
    head: Any = {"width": int, "height": int, "model": str, "hidden": (int, 0)}
    return create_model(f"{kind.capitalize()}Answer", **head, **results)


@cache
def _result_model(kind: type[Result]) -> Any:  # noqa: ANN401  # a model made at run time
    """Return the model of a result, including the fields of `full=true` and other options."""
    fields: dict[str, Any] = {}
    try:
        hints = get_type_hints(kind)
    except NameError:  # an extension imports a type only for type checkers
        hints = {}
    for item in kind.schema:
        if isinstance(item, Points):
            hint, is_required = list[_point_model(kind, item)], item.key == "keypoints"
        else:
            hint = _BOX if item.is_box else hints.get(item.name)
            hint, is_required = hint if item.is_box or hint in _PLAIN else Any, not (item.full or item.is_optional)
        fields[item.key] = (hint, ... if is_required else Field(None))
    fields |= {key: (_result_model(part) | None, ...) for key, part in kind.members.values()}
    if kind.members:
        fields["id"] = (int | None, None)
    else:
        texts = ("The keypoints show the mirror image of the person.", "x was mirrored in the image.")
        for name, text in zip(VIEW_KEYS, texts, strict=True):
            fields[name] = (bool, Field(None, description=f"{text} Absent if false."))
        fields["skeleton"] = (str, Field(None, description="Names and bones are in GET /v1/kinds."))
        if names := measure_names(kind.kind):
            columns: dict[str, Any] = dict.fromkeys(names, (float | None, ...))
            measures = create_model(f"{kind.__name__}Measures", **columns)
            fields["measures"] = (measures, Field(None, description="With measures=true."))
    if kind.kind == "hand":
        description = "With gestures or measures=true; null or absent for none that is known."
        fields["gesture"] = (_GESTURE | None, Field(None, description=description))
        fields["map"] = (dict[str, Any], Field(None, description="With explain: a saliency map."))
    if kind.kind == "body":
        fields["segmentation"] = (_MASK, Field(None, description="With segmentation=true."))
    return create_model(kind.__name__, **fields)


def _point_model(kind: type[Result], item: Points) -> type[BaseModel]:
    axes = "xyz" if item.columns else "xy"
    fields: dict[str, Any] = {axis: (float | None, ... if axis in "xy" else None) for axis in axes}
    fields.update((score.key, (float, None)) for score in item.scores)
    if item.named:
        fields["name"] = (str, None)
    return create_model(f"{kind.__name__}{item.key[0].upper()}{item.key[1:]}", **fields)
