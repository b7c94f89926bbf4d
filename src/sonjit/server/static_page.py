"""The live app as a folder of files for any web host: everything is computed in the page, by the module of `web/`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from sonjit.detectors.kinds import KINDS
from sonjit.errors import InputError, SonjitError
from sonjit.files import atomic_folder
from sonjit.json_text import Json, json_from
from sonjit.server.app import PAGE, app_files, kind_answer, kinds_answer
from sonjit.server.options import known_options, value_schema
from sonjit.weights import find_weight

_PACKAGE = Path(str(files("sonjit")))
BUILT_ENGINE = _PACKAGE.parents[1] / "web" / "dist"
"""Where `make web` puts the module in a checkout."""
_KINDS = ("hands", "face", "body")
"""What the module finds."""
_ON_A_SERVER = ("explain", "visibility", "measures", "blendshapes", "transform")
"""Options that the page cannot compute itself."""


def write_page(folder: Path, engine: Path = BUILT_ENGINE) -> list[str]:
    """Write the live app so that it needs no server of Sonjit's.

    Args:
        folder: new, or empty.
        engine: what `make web` builds: the module, its worker, `wasm/` and `models/`.

    Returns:
        The files, relative to the folder.

    Raises:
        InputError: the folder cannot be written to, or the module is not there or lacks its networks.
        JobError: the disk refuses it.
    """
    if not (engine / "sonjit-web.js").is_file():
        raise InputError(f"no sonjit-web.js in {engine}: type make web in a checkout, or name the folder with --engine")
    kinds = _kinds_of(engine / "models")
    if not kinds:
        raise InputError(f"no networks in {engine / 'models'}: type make web once more")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: choose a new folder")
    with atomic_folder(folder) as draft:
        for name in (*app_files(), "sw.js", "manifest.webmanifest"):
            _copy(PAGE / name, draft / name)
        page = (PAGE / "index.html").read_text("utf-8")
        (draft / "index.html").write_text(page.replace("<html ", '<html data-computes="here" ', 1), "utf-8")
        (draft / "kinds.json").write_text(json_from({**kinds_answer(), "kinds": kinds}), "utf-8")
        _copy(_PACKAGE / "assets" / "demo.mp4", draft / "sample.mp4")
        for path in (_PACKAGE / "skeletons").glob("*.json"):
            _copy(path, draft / "skeletons" / path.name)
        for path in engine.rglob("*"):
            if path.is_file() and path.suffix in (".js", ".wasm", ".tflite"):
                _copy(path, draft / "engine" / path.relative_to(engine))
        names = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        kept = [
            "./",
            *(name for name in names if name not in ("index.html", "sw.js") and not name.startswith("engine/")),
        ]
        (draft / "files.json").write_text(json.dumps({"files": kept}), "utf-8")
    return [*names, "files.json"]


def _kinds_of(models: Path) -> dict[str, Json]:
    """The kinds of `GET /v1/kinds` with those models whose networks lie in a folder."""
    kinds: dict[str, Json] = {}
    for name in _KINDS:
        entry = KINDS[name]
        there = [model for model, spec in entry.models.items() if _are_there(spec.weights.values(), models)]
        if there:
            options = {key: value_schema(one) for key, one in known_options(name).items() if key not in _ON_A_SERVER}
            if name == "hands":
                options["search"]["enum"] = ["fast", "auto"]
            else:  # the whole image is all that the module searches
                del options["search"]
            kinds[name] = {**kind_answer(entry), "models": [*there], "missing": {}, "options": {**options}}
    return kinds


def _are_there(names: Iterable[str], folder: Path) -> bool:
    try:
        for name in names:
            find_weight(name, folder)
    except SonjitError:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
