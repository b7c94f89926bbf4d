"""Which models' weights are on this machine."""

from __future__ import annotations

from sonjit.detectors.create import KINDS
from sonjit.errors import SonjitError
from sonjit.server.errors import RefusedError
from sonjit.weights import find_weight

_BODY = ("pose-detector", "body-{}")
_MESH = ("face-short", "face-{}")
_PARTS = {"lite": ("hand-lite", "face-mesh"), "full": ("hand-full", "face-attention")}
_FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "hands": dict.fromkeys(("full", "lite"), ("palm-{}", "hand-{}")),
    "face": {"attention": _MESH, "mesh": _MESH, "box": ("face-short",), "box-full": ("face-full",)},
    "body": dict.fromkeys(("full", "lite", "heavy"), _BODY),
    "holistic": {
        model: (*_BODY, *_PARTS.get(model, _PARTS["full"]), "face-short", "hand-recrop")
        for model in ("full", "lite", "heavy")
    },
}


def needed_weights(kind: str, model: str) -> list[str]:
    """Names in the catalogue of the files that a model is made of."""
    return [name.format(model) for name in _FILES[kind][model]]


def missing_models() -> list[str]:
    """Models (`<kind>-<model>`) that cannot run here, for want of weights."""
    models = [(kind, model) for kind, entry in KINDS.items() for model in entry.models]
    return [f"{kind}-{model}" for kind, model in models if _missing(kind, model)]


def require_weights(kind: str, model: str) -> None:
    """RefusedError `missing_weights` that says what to type, where a file is missing or damaged."""
    if missing := _missing(kind, model):
        groups = "hands face body holistic" if kind == "holistic" else kind
        raise RefusedError(
            "missing_weights",
            f"{kind}-{model} needs weights that are not on this machine ({', '.join(missing)}); "
            f"type: sonjit models pull {groups}",
        )


def _missing(kind: str, model: str) -> list[str]:
    return [name for name in needed_weights(kind, model) if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        find_weight(name)
    except SonjitError:
        return False
    return True
