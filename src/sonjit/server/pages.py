"""Files of the live app: installed ones for the server, and a folder of files for any web host."""

import gzip
import mimetypes
import shutil
from importlib.resources import files
from os import PathLike, stat_result
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from sonjit._util import InputError, data_files, is_installed, json_from
from sonjit._util.files import atomic_folder
from sonjit.explanations import tflite
from sonjit.media.tables import FORMATS
from sonjit.server import kinds, middleware
from sonjit.server.settings import Settings
from sonjit.weights import find_weight, load_bundle, models_folder
from sonjit.weights.catalog import has_weight

PAGE = Path(__file__).parent / "page"
_PACKAGE = Path(str(files("sonjit")))
DATA_FOLDERS = {"skeletons": _PACKAGE / "results" / "skeletons", "spec": _PACKAGE / "spec"}
"""Folders of JSON files that the page reads, by their name in its addresses."""
_TYPES = {  # of the page and of tables
    ".js": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".vrm": "model/gltf-binary",
    **{ending: table_format.media_type for ending, table_format in FORMATS.items() if table_format.media_type},
}
for _ending, _media_type in _TYPES.items():
    mimetypes.add_type(_media_type, _ending)  # the system's table may differ, and browsers require the right type
_CLASSIFIER = "efficientnet_lite0"
CLASSIFIER_FILE = "engine/models/classifier.tflite"  # path of the network that classifies photographs in a written page
_LATE = "avatar/"  # folder of files that a device stores after their first use
_IN_CHECKOUT = _PACKAGE.parents[1] / "web" / "dist"
BUILT_ENGINE = _IN_CHECKOUT if (_IN_CHECKOUT / "sonjit-web.js").is_file() else data_files.ASSETS / "web"
"""Output folder of `make web` in a checkout, otherwise the module in the installed package, without networks."""


class _DataFiles(StaticFiles):
    """The JSON files of a folder."""

    def lookup_path(self, path: str) -> tuple[str, stat_result | None]:
        """Return the full path of a file and its state; None for other files."""
        return super().lookup_path(path) if path.endswith(".json") else ("", None)


class _EngineFiles(StaticFiles):
    """Output of `make web`. Its workers may compile WebAssembly; the page may not."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file with its policy."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["content-security-policy"] = (
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"
        )
        return response


def app_files() -> list[str]:
    """Return the files of the live app in `page/`."""
    others = ("annotate/", "api.", "sw.js", "index.html", "manifest.", "sonjit-client.", "frames.")
    names = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith(others)]


def add_files(app: FastAPI, settings: Settings, engine: Path) -> None:
    """Add the files of the page, the skeletons, the sample clip and the output of `make web` to an app."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs() -> Response:
        return FileResponse(PAGE / "api.html")

    @router.get("/files.json")
    def page_files() -> dict[str, list[str]]:
        specs = sorted(f"spec/{path.name}" for path in DATA_FOLDERS["spec"].glob("*.json"))
        files = [name for name in app_files() if not name.startswith(_LATE)]
        return {"files": ["./", *files, *specs]}

    @router.get("/manifest.webmanifest")
    def manifest(request: Request) -> Response:
        content = data_files.read_json(PAGE / "manifest.webmanifest")
        if settings.token is not None and middleware.shows_token(request.scope, settings.token):
            # some systems pass no cookies to the installed app
            content["start_url"] = f"./#token={quote(settings.token, safe='')}"
        return JSONResponse(content, media_type="application/manifest+json")

    @router.get("/sample.mp4")
    def sample() -> Response:
        return FileResponse(data_files.ASSETS / "demo.mp4", media_type="video/mp4")

    @router.get("/squats.mp4")
    def squats() -> Response:
        return FileResponse(data_files.ASSETS / "squats.mp4", media_type="video/mp4")

    middleware.add_routes(app, router)
    for name, folder in DATA_FOLDERS.items():
        app.mount(f"/{name}", _DataFiles(directory=folder))
    if engine.is_dir():
        app.mount("/engine", _EngineFiles(directory=engine))
    app.mount("/", StaticFiles(directory=PAGE, html=True))


def write_page(folder: Path, engine: Path = BUILT_ENGINE, *, bundle: Path | None = None) -> list[str]:
    """Write the live app as files that need no server of Sonjit, and return their paths relative to the folder.

    `engine` has the module, its worker, `wasm/` and `models/`. Without `models/`, the page gets the networks that
    `sonjit models pull` fetched. `bundle` is MediaPipe's `face_landmarker.task`; by default the engine's. Raise
    InputError if the folder cannot be written to, the module or its networks are missing, or the bundle is not for
    faces, and JobError if the disk refuses a file.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: choose a new folder")
    if not (engine / "sonjit-web.js").is_file():
        raise InputError(f"no sonjit-web.js in {engine}: type make web in a clone, then add --engine web/dist")
    if bundle is not None and (task := load_bundle(bundle).task) != "face_landmarker":
        raise InputError(f"{bundle}: a {task} bundle; pages take MediaPipe's {kinds.FACE_BUNDLE}")
    with atomic_folder(folder) as draft:
        copies = {name: PAGE / name for name in (*app_files(), "sw.js", "manifest.webmanifest")}
        copies |= {"sample.mp4": data_files.ASSETS / "demo.mp4"}
        copies |= {f"{name}/{path.name}": path for name, data in DATA_FOLDERS.items() for path in data.glob("*.json")}
        for path in engine.rglob("*"):
            if path.is_file() and path.suffix in (".js", ".gz", ".tflite", ".npz", ".task"):
                copies[f"engine/{path.relative_to(engine).as_posix()}"] = path
        models = draft / "engine" / "models"
        models.mkdir(parents=True)
        if not (engine / "models").is_dir():
            _add_networks(models)
        if bundle is not None:
            copies[f"engine/models/{kinds.FACE_BUNDLE}"] = bundle
        for name, path in copies.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, draft / name)
        answer = kinds.kinds_answer(models.parent)
        if not answer["in_page"]:
            raise InputError("no networks for pages: type sonjit models pull hands; in a checkout, then type make web")
        page = (PAGE / "index.html").read_text("utf-8")
        page = page.replace("<html ", '<html data-computes="here" ')
        page = page.replace('data-i18n="foot"', 'data-i18n="foot.here"')
        (draft / "index.html").write_text(page, "utf-8")
        if has_weight(_CLASSIFIER) and is_installed("page"):
            content, classes = tflite.classifier_file(_CLASSIFIER)
            answer["classes"] = [*classes]
            (draft / CLASSIFIER_FILE).write_bytes(content)
        (draft / "kinds.json").write_text(json_from({**answer, "kinds": answer["in_page"]}), "utf-8")
        names = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        kept = [
            name for name in names if name not in ("index.html", "sw.js") and not name.startswith(("engine/", _LATE))
        ]
        (draft / "files.json").write_text(json_from({"files": ["./", *kept]}, spaced=True), "utf-8")
    return [*names, "files.json"]


def _add_networks(folder: Path) -> None:
    """Pack the networks of this machine for pages, as `make web` does: few hosts compress binary files."""
    for path in (*map(find_weight, filter(has_weight, kinds.names_in_pages())), data_files.ASSETS / "proposals.tflite"):
        (folder / path.name).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    for path in (*data_files.ASSETS.glob("*.npz"), models_folder() / kinds.FACE_BUNDLE):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
