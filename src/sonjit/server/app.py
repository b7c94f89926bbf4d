"""The ASGI app: all endpoints, and the installed files of the page, the skeletons and the sample clip."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike, stat_result
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket

from sonjit._util.extensions import load_extensions
from sonjit._util.extras import load_function
from sonjit._util.version import __version__
from sonjit.detectors.kinds import KINDS
from sonjit.server.addresses import address_router
from sonjit.server.detector_pool import missing_models
from sonjit.server.errors import RefusedError, answer_errors
from sonjit.server.gestures import gesture_router
from sonjit.server.images import image_router
from sonjit.server.jobs import job_router
from sonjit.server.kinds import kind_router
from sonjit.server.middleware import Middleware
from sonjit.server.service import Service
from sonjit.server.settings import Settings
from sonjit.server.stream import Stream
from sonjit.server.tokens import shows_token, token_router

PAGE = Path(__file__).parent / "page"
_PACKAGE = Path(str(files("sonjit")))
DATA_FOLDERS = {"skeletons": _PACKAGE / "results" / "skeletons", "spec": _PACKAGE / "spec"}
"""Folders of JSON files that the page reads, by their name in its addresses."""
_MEDIA_TYPES = {  # the system's table may differ, and browsers run modules only with the right type
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
BUILT_ENGINE = _PACKAGE.parents[1] / "web" / "dist"
"""Output folder of `make web` in a checkout."""


class PageFiles(StaticFiles):
    """Files of a page. Default: `page/`."""

    def __init__(self, folder: Path = PAGE) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file with its type, or 304 if the browser has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        media_type = _MEDIA_TYPES.get(Path(full_path).suffix)
        if media_type is not None and response.status_code == 200:
            is_text = not media_type.startswith(("image/", "application/wasm"))
            response.headers["content-type"] = media_type + ("; charset=utf-8" if is_text else "")
        return response


class EngineFiles(PageFiles):
    """Output of `make web`, if it exists. Its workers may compile WebAssembly; the page may not."""

    async def check_config(self) -> None:
        """Raise HTTPException 404 if it does not exist."""
        if self.directory is None or not Path(self.directory).is_dir():
            raise HTTPException(404)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file with its type and policy."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["content-security-policy"] = (
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"
        )
        return response


def app_files() -> list[str]:
    """Return the files of the live app in `page/`. A device stores them to open the app without the server."""
    others = ("annotate/", "api.", "sw.js", "index.html", "manifest.", "sonjit-client.", "tfjs-")
    names = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith(others)]


def file_router(settings: Settings) -> APIRouter:
    """Return the endpoints for files of other packages."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs() -> Response:
        return FileResponse(PAGE / "api.html")

    @router.get("/files.json")
    def page_files() -> dict[str, list[str]]:
        specs = sorted(f"spec/{path.name}" for path in DATA_FOLDERS["spec"].glob("*.json"))
        return {"files": ["./", *app_files(), *specs]}

    @router.get("/manifest.webmanifest")
    def manifest(request: Request) -> Response:
        content = json.loads((PAGE / "manifest.webmanifest").read_text("utf-8"))
        if settings.token is not None and shows_token(request.scope, settings.token):
            # some systems pass no cookies to the installed app
            content["start_url"] = f"./#token={quote(settings.token, safe='')}"
        return JSONResponse(content, media_type=_MEDIA_TYPES[".webmanifest"])

    @router.get("/sample.mp4")
    def sample() -> Response:
        return FileResponse(_PACKAGE / "_util" / "assets" / "demo.mp4", media_type="video/mp4")

    @router.get("/skeletons/{name}.json")
    def skeleton(name: str) -> Response:
        return _data_file("skeletons", name)

    @router.get("/spec/{name}.json")
    def spec(name: str) -> Response:
        return _data_file("spec", name)

    return router


def _data_file(folder: str, name: str) -> Response:
    known = {path.stem: path for path in DATA_FOLDERS[folder].glob("*.json")}
    if name not in known:
        raise RefusedError("not_found", f"no {folder}/{name[:60]}.json. Choose from {', '.join(sorted(known))}")
    return FileResponse(known[name], media_type="application/json")


@dataclass(frozen=True)
class Health:
    """Answer of `GET /healthz`.

    Attributes:
        status: "ok".
        version: Version of Sonjit.
        clients: Number of open streams.
        jobs: Number of jobs that upload, wait or run.
        kinds: Models of each kind of detector, the default first.
        missing: Models whose weights are missing.
        limits: Limits of the server by name.
    """

    status: str
    version: str
    clients: int
    jobs: int
    kinds: dict[str, list[str]]
    missing: list[str]
    limits: dict[str, int | float]


def create_app(settings: Settings | None = None, folder: Path | None = None, engine: Path = BUILT_ENGINE) -> FastAPI:
    """Return the server as an ASGI app. Its parts are in `app.state.service`.

    Args:
        settings: Options of `sonjit serve`. Default: no options.
        folder: Annotation project to serve in addition.
        engine: Output folder of `make web`. If it exists, the page can run detectors itself.

    Raises:
        InputError: The folder is not an annotation project.
    """
    load_extensions()
    settings = settings or Settings()
    service = Service(settings)
    project = None if folder is None else load_function("project_router")(folder, service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await service.stop()
        if project is not None:
            _, close_project = project
            close_project()

    app = FastAPI(
        title="Sonjit",
        version=__version__,
        docs_url=None,  # FastAPI's own page loads scripts from another host
        redoc_url=None,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.service = service
    app.add_middleware(Middleware, service=service)
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
            allow_private_network=True,
        )
    answer_errors(app)

    @app.get("/healthz", tags=["server"])
    async def health() -> Health:
        """State and limits of the server."""
        return Health(
            status="ok",
            version=__version__,
            clients=len(service.streams),
            jobs=service.jobs.active,
            kinds={kind: list(entry.models) for kind, entry in KINDS.items()},
            missing=missing_models(),
            limits=settings.limits(),
        )

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await Stream(socket, service).run()

    app.include_router(job_router(service.jobs))
    if project is not None:
        app.include_router(project[0])
    app.include_router(kind_router(engine, annotates=project is not None))
    app.include_router(address_router(settings))
    app.include_router(token_router(settings))
    app.include_router(gesture_router(service))
    app.include_router(image_router(service))
    app.include_router(file_router(settings))
    app.mount("/engine", EngineFiles(engine))
    app.mount("/", PageFiles())
    return app
