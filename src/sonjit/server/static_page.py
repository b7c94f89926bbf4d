"""The live app as a folder for any web host. The module of `web/` runs the detectors in the page."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

from sonjit._util.errors import InputError
from sonjit._util.files import atomic_folder
from sonjit._util.json_text import json_from
from sonjit.server.app import BUILT_ENGINE, DATA_FOLDERS, PAGE, app_files
from sonjit.server.kinds import FACE_BUNDLE, kinds_answer
from sonjit.weights import load_bundle

_PACKAGE = Path(str(files("sonjit")))


def write_page(folder: Path, engine: Path = BUILT_ENGINE, *, bundle: Path | None = None) -> list[str]:
    """Write the live app as files that need no server of Sonjit.

    Args:
        folder: New or empty folder.
        engine: Output folder of `make web`: the module, its worker, `wasm/` and `models/`.
        bundle: MediaPipe's `face_landmarker.task`, for blendshapes and poses of faces. Default: the engine's.

    Returns:
        Paths of the files, relative to the folder.

    Raises:
        InputError: The folder cannot be written to, the module or its networks are missing, or the bundle is not for
            faces.
        JobError: The disk refuses a file.
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
        _copy(_PACKAGE / "_util" / "assets" / "demo.mp4", draft / "sample.mp4")
        for name, data in DATA_FOLDERS.items():
            for path in data.glob("*.json"):
                _copy(path, draft / name / path.name)
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
        (draft / "files.json").write_text(json_from({"files": kept}, spaced=True), "utf-8")
    return [*names, "files.json"]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
