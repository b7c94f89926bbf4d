"""The live app as a folder of files for any web host: everything is computed in the page, by the module of `web/`."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

from sonjit.errors import InputError
from sonjit.files import atomic_folder
from sonjit.json_text import json_from
from sonjit.server.app import BUILT_ENGINE, PAGE, app_files
from sonjit.server.kinds import FACE_BUNDLE, kinds_answer
from sonjit.weights import load_bundle

_PACKAGE = Path(str(files("sonjit")))


def write_page(folder: Path, engine: Path = BUILT_ENGINE, *, bundle: Path | None = None) -> list[str]:
    """Write the live app so that it needs no server of Sonjit's.

    Args:
        folder: new, or empty.
        engine: what `make web` builds: the module, its worker, `wasm/` and `models/`.
        bundle: MediaPipe's `face_landmarker.task`, for blendshapes and poses of faces; by default the engine's.

    Returns:
        The files, relative to the folder.

    Raises:
        InputError: the folder cannot be written to, or the module is not there or lacks its networks, or the
            bundle is none of faces.
        JobError: the disk refuses it.
    """
    if not (engine / "sonjit-web.js").is_file():
        raise InputError(f"no sonjit-web.js in {engine}: type make web in a checkout, or name the folder with --engine")
    if bundle is not None and (task := load_bundle(bundle).task) != "face_landmarker":
        raise InputError(f"{bundle}: a {task} bundle; pages take MediaPipe's {FACE_BUNDLE}")
    answer = kinds_answer(engine, has_bundle=None if bundle is None else True)
    if not answer["in_page"]:
        raise InputError(f"no networks in {engine / 'models'}: type make web once more")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: choose a new folder")
    with atomic_folder(folder) as draft:
        for name in (*app_files(), "sw.js", "manifest.webmanifest"):
            _copy(PAGE / name, draft / name)
        page = (PAGE / "index.html").read_text("utf-8")
        (draft / "index.html").write_text(page.replace("<html ", '<html data-computes="here" ', 1), "utf-8")
        (draft / "kinds.json").write_text(json_from({**answer, "kinds": answer["in_page"]}), "utf-8")
        _copy(_PACKAGE / "assets" / "demo.mp4", draft / "sample.mp4")
        for path in (_PACKAGE / "skeletons").glob("*.json"):
            _copy(path, draft / "skeletons" / path.name)
        for path in engine.rglob("*"):
            if path.is_file() and path.suffix in (".js", ".wasm", ".tflite", ".npz", ".task"):
                _copy(path, draft / "engine" / path.relative_to(engine))
        if bundle is not None:
            _copy(bundle, draft / "engine" / "models" / FACE_BUNDLE)
        names = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        kept = [
            "./",
            *(name for name in names if name not in ("index.html", "sw.js") and not name.startswith("engine/")),
        ]
        (draft / "files.json").write_text(json.dumps({"files": kept}), "utf-8")
    return [*names, "files.json"]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
