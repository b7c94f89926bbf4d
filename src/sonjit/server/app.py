"""The ASGI app with all endpoints, and the server that runs it until it is stopped."""

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.websockets import WebSocket

from sonjit._util import InputError, JobError, extensions, json_from
from sonjit._util.version import __version__
from sonjit.detectors.kinds import KINDS
from sonjit.server import errors, gestures, images, jobs, middleware
from sonjit.server.job import downloads_answer
from sonjit.server.kinds import kinds_answer
from sonjit.server.pages import BUILT_ENGINE, add_files
from sonjit.server.service import Service, missing_weights
from sonjit.server.settings import (
    QUIET_ZONE,
    Settings,
    fingerprint,
    for_other_devices,
    page_addresses,
    qr_code,
    renew_certificate,
)
from sonjit.server.stream import Stream

_FRAME_HEADER_BYTES = 24  # header of a stream's image
_MAX_HEADER_BYTES = 65_536  # maximum size of the headers of a request
_RENEW_S = 3600  # interval between checks of the certificate
_STOP_S = 2  # time in which open connections end when the server stops


@dataclass(frozen=True)
class Health:
    """Answer of `GET /healthz`."""

    status: str
    version: str
    clients: int
    jobs: int  # that upload, wait or run
    jobs_mb: float  # size of the files of all jobs
    keeps_jobs: bool  # True if they outlive the server
    kinds: dict[str, list[str]]  # models of each kind of detector, the default first
    missing: list[str]
    limits: dict[str, int | float]


@dataclass(frozen=True)
class PageAddress:
    """Address of the page that other devices can open."""

    url: str
    qr: str | None  # QR code as a `data:` URL of an SVG; None if the address is too long


@dataclass(frozen=True)
class Addresses:
    """Answer of `GET /v1/addresses`."""

    https: bool  # True if the server uses https. Browsers of other devices require it for the camera.
    addresses: list[PageAddress]  # addresses that other devices can open; empty for a server on loopback
    fingerprint: str | None  # SHA-256 of the certificate; None without https


@dataclass(frozen=True)
class ProjectRoutes:
    """Routes of an annotation project, and the function that closes it when the server stops."""

    router: APIRouter
    close: Callable[[], None]


ProjectOpener: TypeAlias = Callable[[Service], ProjectRoutes]
"""Function that opens an annotation project for the service of a server."""


def create_app(
    settings: Settings | None = None, open_project: ProjectOpener | None = None, engine: Path = BUILT_ENGINE
) -> FastAPI:
    """Return the server as an ASGI app. Its parts are in `app.state.service`.

    Args:
        settings: Settings of the server.
        open_project: Function that opens an annotation project for the service, such as that of `sonjit_studio.page`.
        engine: Output folder of `make web`. If it exists, the page can run detectors itself.
    """
    extensions.load_extensions()
    settings = settings or Settings()
    service = Service(settings)
    project = None if open_project is None else open_project(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await service.stop()
        if project is not None:
            project.close()

    app = FastAPI(
        title="Sonjit",
        version=__version__,
        docs_url=None,  # FastAPI's own page loads scripts from another host
        redoc_url=None,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.service = service
    _add_middleware(app, settings)
    errors.answer_errors(app)
    middleware.add_routes(app, _server_router(service, engine, annotates=project is not None))
    middleware.add_routes(app, jobs.job_router(service.jobs))
    if project is not None:
        middleware.add_routes(app, project.router)
    middleware.add_routes(app, gestures.gesture_router(service))
    middleware.add_routes(app, images.image_router(service))
    add_files(app, settings, engine)
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add the checks of all requests, and the answers to pages of allowed origins."""
    app.add_middleware(middleware.Middleware, settings=settings)
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type"],
            allow_private_network=True,
        )


def _server_router(service: Service, engine: Path, *, annotates: bool) -> APIRouter:
    """Return the endpoints about the server itself, and the stream of a client."""
    router, settings = APIRouter(tags=["server"]), service.settings

    @router.get("/healthz")
    async def health() -> Health:
        """Return the state and limits of the server."""
        return Health(
            status="ok",
            version=__version__,
            clients=len(service.streams),
            jobs=service.jobs.active,
            jobs_mb=service.jobs.disk_mb,
            keeps_jobs=settings.jobs_folder is not None,
            kinds={kind: list(entry.models) for kind, entry in KINDS.items()},
            missing=[
                f"{kind}-{model}" for kind in KINDS for model in KINDS[kind].models if missing_weights(kind, model)
            ],
            limits=settings.limits(),
        )

    @router.get("/v1/addresses")
    def addresses(request: Request) -> Addresses:
        """Return the addresses of the page for other devices."""
        server: Any = request.scope["server"]
        cert = settings.tls_cert
        pages = [
            PageAddress(url, code and code.svg_data_uri(border=QUIET_ZONE, light="#fff"))
            for url in for_other_devices(page_addresses(settings, server[1]))
            for code in [qr_code(url)]
        ]
        return Addresses(cert is not None, pages, cert and fingerprint(cert))

    @router.get("/v1/kinds")
    def kinds() -> Response:
        """Return kinds of detectors with models and options, types of results, and the files that jobs offer."""
        answer = kinds_answer(engine) | {"annotates": annotates, "downloads": downloads_answer()}
        return Response(json_from(answer), media_type="application/json")

    @router.post("/v1/token", status_code=204)
    def keep(request: Request) -> Response:
        """Set a cookie in a browser that sends the token in a header."""
        return middleware.set_token(Response(status_code=204), request.scope, settings)

    @router.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await Stream(socket, service).run()

    return router


class _Server(uvicorn.Server):
    """Uvicorn server that lets the service close its connections first."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close streams and cancel or suspend jobs at once."""
        await cast("FastAPI", self.config.app).state.service.stop()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    port: int,
    *,
    verbose: bool = False,
    started: Callable[[list[str]], None] = lambda _: None,
    open_project: ProjectOpener | None = None,
) -> None:
    """Serve until Ctrl-C. Port 0 is any free port; `open_project` opens an annotation project, see `create_app`.

    `started` is called with the page's addresses when the server listens, first the one for this machine. Raise
    InputError if the host or port cannot be used, or the folder is not a project, and JobError if the port is in use or
    not allowed.
    """
    with _listen(settings.host, port) as listener:
        server = make_server(settings, listener, verbose=verbose, open_project=open_project)
        started(page_addresses(settings, listener.getsockname()[1]))  # calls wait in the socket until the server runs
        # Uvicorn raises KeyboardInterrupt again when everything is closed.
        with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve([listener]))


def make_server(
    settings: Settings, listener: socket.socket, *, verbose: bool = False, open_project: ProjectOpener | None = None
) -> uvicorn.Server:
    """Return a server for a socket that already listens."""
    app = create_app(settings, open_project)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: close connections whose client reads nothing
        idle_ms = min(60_000 * settings.idle_minutes, 1e9)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(idle_ms)))

    async def renew() -> None:
        if config.ssl is not None and settings.tls_cert is not None and settings.tls_key is not None:
            renew_certificate(config.ssl, settings.tls_cert, settings.tls_key)

    config = uvicorn.Config(
        app,
        http="h11",
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        ws="websockets-sansio",
        ws_max_size=settings.max_body_bytes + _FRAME_HEADER_BYTES,
        ws_per_message_deflate=False,  # images are already compressed, and answers stay in the local network
        log_config=None,
        access_log=verbose,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_S,
        timeout_notify=_RENEW_S,
        callback_notify=renew,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    return _Server(config)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise InputError(f"--port {port}: give a number from 0 to 65535")
    try:
        (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise InputError(
            f"--host {host}: no address is known for it; give 127.0.0.1 or an address of this machine"
        ) from None
    try:
        return socket.create_server(address[:2], family=family, backlog=512)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        reasons: dict[int | None, str] = {
            errno.EADDRINUSE: f"port {port} of {host} is taken: stop what uses it, or give another --port",
            errno.EACCES: f"port {port} may not be used by this account: give a --port above 1023",
            errno.EADDRNOTAVAIL: f"{host} is not an address of this machine: give another --host",
        }
        raise JobError(reasons.get(error.errno, f"cannot listen on {host}:{port}: {error.strerror}")) from None
