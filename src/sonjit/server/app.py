"""The app: every endpoint in one place, with the files that it gives out.

The page, the skeletons and the sample clip all come from this installation.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike, stat_result
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket

from sonjit._version import __version__
from sonjit.detectors.kinds import KINDS
from sonjit.extensions import load_extensions
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

if TYPE_CHECKING:
    from sonjit.multiview.annotation.project import Project


PAGE = Path(__file__).parent / "page"
_PACKAGE = Path(str(files("sonjit")))
_MEDIA_TYPES = {  # a machine's own table may say otherwise, and browsers run no module of another type
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
"""Where `make web` puts the module for web pages in a checkout."""


class PageFiles(StaticFiles):
    """A folder of a page's files; by default `page/`."""

    def __init__(self, folder: Path = PAGE) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """One file with its type; 304 where the browser has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        media_type = _MEDIA_TYPES.get(Path(full_path).suffix)
        if media_type is not None and response.status_code == 200:
            is_text = not media_type.startswith(("image/", "application/wasm"))
            response.headers["content-type"] = media_type + ("; charset=utf-8" if is_text else "")
        return response


class EngineFiles(PageFiles):
    """What `make web` builds, where it is there: its workers may compile WebAssembly, the page may not."""

    async def check_config(self) -> None:
        """HTTPException 404 where it was not built."""
        if self.directory is None or not Path(self.directory).is_dir():
            raise HTTPException(404)

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """One file with its type and policy."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["content-security-policy"] = (
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"
        )
        return response


def app_files() -> list[str]:
    """The files of the live app, below `page/`: what a device keeps to open it without the server."""
    others = ("annotate/", "api.", "sw.js", "index.html", "manifest.", "sonjit-client.", "tfjs-")
    names = sorted(path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith(others)]


def file_router(settings: Settings) -> APIRouter:
    """Files that lie in other packages."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs() -> Response:
        return FileResponse(PAGE / "api.html")

    @router.get("/files.json")
    def page_files() -> dict[str, list[str]]:
        return {"files": ["./", *app_files()]}

    @router.get("/manifest.webmanifest")
    def manifest(request: Request) -> Response:
        content = json.loads((PAGE / "manifest.webmanifest").read_text("utf-8"))
        if settings.token is not None and shows_token(request.scope, settings.token):
            # some systems give the installed app no cookies
            content["start_url"] = f"./#token={quote(settings.token, safe='')}"
        return JSONResponse(content, media_type=_MEDIA_TYPES[".webmanifest"])

    @router.get("/sample.mp4")
    def sample() -> Response:
        return FileResponse(_PACKAGE / "assets" / "demo.mp4", media_type="video/mp4")

    @router.get("/skeletons/{name}.json")
    def skeleton(name: str) -> Response:
        known = {path.stem: path for path in (_PACKAGE / "skeletons").glob("*.json")}
        if name not in known:
            raise RefusedError("not_found", f"no skeleton {name[:60]!r}; known: {', '.join(sorted(known))}")
        return FileResponse(known[name], media_type="application/json")

    return router


@dataclass(frozen=True)
class Health:
    """What `GET /healthz` answers.

    Attributes:
        clients: streams that are open.
        jobs: that are coming in, waiting or running.
        kinds: the models of each kind of detector, the default first.
        missing: models that cannot run, for want of weights.
    """

    status: str
    version: str
    clients: int
    jobs: int
    kinds: dict[str, list[str]]
    missing: list[str]
    limits: dict[str, int | float]


def create_app(settings: Settings | None = None, folder: Path | None = None, engine: Path = BUILT_ENGINE) -> FastAPI:
    """The whole server as an ASGI app; its parts are in `app.state.service`.

    Args:
        settings: by default those of `sonjit serve` without options.
        folder: of an annotation project to serve as well.
        engine: what `make web` builds; where it is there, the page can compute itself.

    Raises:
        InputError: the folder holds no project that can be opened.
    """
    load_extensions()
    settings = settings or Settings()
    project = None if folder is None else _project(folder)
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await service.stop()
        if project is not None:
            project.close()

    app = FastAPI(
        title="Sonjit",
        version=__version__,
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
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
        """What the server is and does."""
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
        from sonjit.server.annotation import Studio, annotation_router

        app.include_router(annotation_router(Studio(project, service), service))
    app.include_router(kind_router(engine, annotates=project is not None))
    app.include_router(address_router(settings))
    app.include_router(token_router(settings))
    app.include_router(gesture_router(service))
    app.include_router(image_router(service))
    app.include_router(file_router(settings))
    app.mount("/engine", EngineFiles(engine))
    app.mount("/", PageFiles())
    return app


def _project(folder: Path) -> Project:
    from sonjit.multiview.annotation.project import open_project  # slow to import, and most servers have none

    return open_project(folder)
