"""Raise errors for names of MediaPipe that this package does not cover."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Final

from sonjit._util.lazy_names import add_lazy_names

_OTHER_OBJECTS: Final = "its networks find other things than hands, faces and bodies"
_NO_NETWORKS: Final = "no package publishes its networks, so results cannot be compared"
_NO_IMAGES: Final = "its input is not an image"
_NO_GRAPH: Final = "no graph of MediaPipe computes the results"
REASONS: Final[Mapping[str, str]] = {
    "ObjectDetector": f"{_OTHER_OBJECTS}, and end in an operator that OpenVINO and ONNX Runtime lack",
    "ImageClassifier": _OTHER_OBJECTS,
    "ImageEmbedder": _OTHER_OBJECTS,
    "InteractiveSegmenter": _NO_NETWORKS,
    "FaceStylizer": _NO_NETWORKS,
    "FaceAligner": _NO_NETWORKS,
    "objectron": "it finds boxes of shoes, chairs, cups and cameras",
    "audio": _NO_IMAGES,
    "text": _NO_IMAGES,
    "genai": _NO_IMAGES,
    "decision": _NO_IMAGES,
    "retrieval": _NO_IMAGES,
    "CalculatorGraph": _NO_GRAPH,
    "Matrix": _NO_GRAPH,
    "Packet": _NO_GRAPH,
    "packet_creator": _NO_GRAPH,
    "packet_getter": _NO_GRAPH,
    "solution_base": _NO_GRAPH,
    "matrix_data_pb2": _NO_GRAPH,
    "optional_dependencies": _NO_GRAPH,
}
"""Why a name of MediaPipe is not covered."""


def reason_of(name: str) -> str | None:
    """Return why a name of MediaPipe is not covered, or None for other names."""
    return REASONS.get(name.removesuffix("Options").removesuffix("Result"))


def not_covered(module: str, name: str, covered: Iterable[str]) -> AttributeError:
    """Return an error that names the reason, if it is known, and lists the available names.

    >>> not_covered("solutions", "pose", ["hands"])
    AttributeError("solutions has no 'pose'; covered: hands")
    """
    names = ", ".join(sorted(entry for entry in covered if not entry.startswith("_")))
    reason = reason_of(name)
    why = "" if reason is None else f", because {reason}"
    return AttributeError(f"{module} has no {name!r}{why}; covered: {names}", name=name)


def add_covered_names(package: dict[str, Any], homes: Mapping[str, str] | None = None) -> None:
    """Call `add_lazy_names` and let unknown names list the available ones.

    Args:
        package: `globals()` of the package.
        homes: The module that defines each name, as in `add_lazy_names`.
    """

    def refuse(name: str) -> AttributeError:
        return not_covered(package["__name__"], name, package["__all__"])

    add_lazy_names(package, homes, refuse=refuse)


def install_attribute_errors(module: dict[str, Any]) -> None:
    """Make unknown names of a module, given by its `globals()`, list the available ones."""
    module["__getattr__"] = _refusal(module)


def _refusal(module: dict[str, Any]) -> Callable[[str], object]:
    def refuse(name: str) -> object:
        own = (
            key
            for key, value in module.items()
            if not isinstance(value, ModuleType)
            and getattr(value, "__module__", module["__name__"]) == module["__name__"]
        )
        raise not_covered(module["__name__"], name, module.get("__all__", own))

    return refuse
