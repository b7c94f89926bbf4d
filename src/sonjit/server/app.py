"""The app: every door in one place."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.websockets import WebSocket

from sonjit._version import __version__
from sonjit.detectors.create import KINDS
from sonjit.server.available import missing_models
from sonjit.server.errors import answer_errors
from sonjit.server.gate import Gate
from sonjit.server.jobs import job_router
from sonjit.server.page_files import PageFiles, file_router
from sonjit.server.pictures import picture_router
from sonjit.server.service import Service
from sonjit.server.settings import Settings
from sonjit.server.stream import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from sonjit.multiview.project import Project


def create_app(settings: Settings | None = None, folder: Path | None = None) -> FastAPI:
    """The whole server as an ASGI app; its parts are in `app.state.service`.

    Args:
        settings: by default those of `sonjit serve` without options.
        folder: of an annotation project to serve as well.

    Raises:
        InputError: the folder holds no project that can be opened.
    """
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
    app.add_middleware(Gate, service=service)
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
    async def health() -> dict[str, Any]:
        """What the server is and does."""
        return {
            "status": "ok",
            "version": __version__,
            "clients": len(service.streams),
            "jobs": service.jobs.active,
            "kinds": {kind: entry.models for kind, entry in KINDS.items()},
            "missing": missing_models(),
            "limits": settings.limits(),
        }

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await Stream(socket, service).run()

    app.include_router(job_router(service.jobs))
    if project is not None:
        from sonjit.server.annotation import Studio, annotation_router

        app.include_router(annotation_router(Studio(project, service), service))
    app.include_router(picture_router(service))
    app.include_router(file_router())
    app.mount("/", PageFiles())
    return app


def _project(folder: Path) -> Project:
    from sonjit.multiview.project import open_project  # slow to import, and most servers have none

    return open_project(folder)
