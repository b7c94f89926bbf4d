"""The middleware around all endpoints: it checks callers, limits bodies and adds headers.

Hosts, origins and the token are checked before any endpoint. Pages of other sites can send requests to this machine, so
a request must contain this machine's name as its host. A foreign name that resolves to this machine would be DNS
rebinding. The browser's headers about the calling page must match, too.

The token never appears in an address, because logs store addresses. The page gets the token after the `#` of its
address, which browsers do not send. It sends the token once in a header and removes it from the address. The cookie
contains a digest of the token, so that it is valid as long as the token and does not reveal it.
"""

import asyncio
import base64
import hmac
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from sonjit.server.errors import RefusedError
from sonjit.server.settings import MB, Settings, is_loopback

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'{streams}; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Only the page's own files; `data:` is for the QR code. In some browsers 'self' does not include WebSockets."""
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",  # with the line above, networks in the page get threads
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
}
_PLAIN_HOST = re.compile(r"[a-zA-Z0-9.:\[\]-]+")
_LINGER_S = 2.0  # time for which the rest of a refused body is read
_REFUSED = 1008  # close code of a refused WebSocket
_ENDPOINTS = ("/v1/", "/healthz")
"""Paths that require the token. The page's own files are the same in every installation."""
_KEPT_S = 400 * 86_400  # lifetime of a cookie in seconds, the longest that browsers allow
_SUBPROTOCOL, _BEARER = "sonjit", "sonjit.token."


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add endpoints to an app. Those of GET also answer HEAD, with the same headers and no body."""
    app.include_router(router)
    for route in router.routes:
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            app.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


def limited(request: Request, max_bytes: int, option: str, take: Callable[[int], None]) -> Request:
    """Return a request whose body raises RefusedError as soon as it is known to be too large.

    The message names the option of `sonjit serve` that sets the limit. `take` is called with the size of each piece.
    """
    too_large = RefusedError("too_large", f"the body is larger than {max_bytes / MB:g} MB; send less or raise {option}")
    stated = request.headers.get("content-length", "0")
    if not stated.isdecimal() or int(stated) > max_bytes:
        raise too_large
    receive, left = request.receive, max_bytes

    async def receive_limited() -> Message:
        nonlocal left
        message = await receive()
        count = len(message.get("body", b""))
        left -= count
        if left < 0:
            raise too_large
        take(count)
        return message

    return Request(request.scope, receive_limited)


class Middleware:
    """Checks and limits around all endpoints."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a WebSocket."""
        if scope["type"] in ("http", "websocket"):
            root = self._settings.root_path
            if (
                root and scope["path"] == root and scope["type"] == "http"
            ):  # the addresses in the page are relative to a folder
                await RedirectResponse(f"{root}/")(scope, receive, send)
                return
            scope = _below_root(scope, root)
        if scope["type"] == "http":
            receive, send = self._guarded(scope, receive, send)
        try:
            if scope["type"] in ("http", "websocket"):
                check_caller(scope, self._settings)
        except RefusedError as refusal:
            if scope["type"] == "http":
                await refusal.response()(scope, receive, send)
            else:
                socket = WebSocket(scope, receive, send)
                await accept(socket)  # a browser reports the reason to its page only after the connection is open
                await socket.close(_REFUSED, str(refusal).encode()[:120].decode(errors="ignore"))
            return
        await self._app(scope, receive, send)

    def _guarded(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """Return functions that limit the pauses of a request's body, and add headers to the response."""
        body = _Body(receive, self._settings.read_timeout_s)
        asked = Headers(scope=scope)
        host = asked.get("host", "")
        streams = f" ws://{host} wss://{host}" if _PLAIN_HOST.fullmatch(host) else ""
        for origin in self._settings.allow_origins:  # that of a proxy, which sends another host
            streams += f" ws{origin.removeprefix('http')}" if origin.startswith("http") else ""

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                policy = {"content-security-policy": _POLICY.format(streams=streams), "cache-control": "no-cache"}
                for name, value in (_HEADERS | policy).items():
                    headers.setdefault(name, value)
                if "content-length" in asked and "transfer-encoding" in asked:
                    # a proxy may have used the other length: what follows would be a request that it did not check
                    headers["connection"] = "close"
            elif not (message.get("more_body", False) or body.is_read or b"expect" in dict(scope["headers"])):
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body"}
            await send(message)

        return body.receive, send_more


def _below_root(scope: Scope, root: str) -> Scope:
    """Return a request whose path begins with that of the proxy, which may have removed it."""
    path: str = scope["path"]
    return {**scope, "root_path": root, "path": path if path.startswith(f"{root}/") else root + path}


def _path_below_proxy(scope: Scope, settings: Settings) -> str:
    """Return the path of a request below that of the proxy."""
    path: str = scope["path"]
    return path.removeprefix(settings.root_path)


class _Body:
    """Incoming body of a request."""

    def __init__(self, receive: Receive, timeout_s: float) -> None:
        self._receive, self._timeout_s = receive, timeout_s
        self.is_read = False  # True if the body is read to its end

    async def receive(self) -> Message:
        """Return the next message. Raise RefusedError if the client pauses for too long before the end of its body."""
        if self.is_read:
            return await self._receive()
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._receive()
        except TimeoutError:
            self.is_read = True  # do not wait for the rest
            raise RefusedError(
                "too_slow", f"no byte came for {self._timeout_s:g} s: send without pauses or raise --read-timeout"
            ) from None
        self.is_read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read the rest of the body for a moment: many clients read no answer before they have sent all."""
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self.is_read:
                    await self.receive()
        except (TimeoutError, RefusedError):
            pass


def check_caller(scope: Scope, settings: Settings) -> None:
    """Raise RefusedError if a request is not allowed."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not _has_own_host(host, settings):
        raise RefusedError(
            "bad_origin",
            f"host {host[:80]!r} is not this server: call it as {settings.host} or localhost. A proxy sends the header "
            "Host: localhost",
        )
    if not _has_allowed_origin(scope, headers, host, settings):
        origin = headers.get("origin", "another site")[:80]
        raise RefusedError(
            "bad_origin", f"pages of {origin} may not call this server: allow them with --allow-origin {origin}"
        )
    is_endpoint = _path_below_proxy(scope, settings).startswith(_ENDPOINTS)
    if settings.token is not None and is_endpoint and not shows_token(scope, settings.token):
        raise RefusedError(
            "no_token",
            "this server requires a token: send the header Authorization: Bearer TOKEN or open the page by its address",
        )


def _has_own_host(host: str, settings: Settings) -> bool:
    """Check whether a Host header names this machine. Addresses always pass, because only names can be rebound.

    A server on all addresses has names that it does not know. It requires a token, so any name passes.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    on_all = settings.token is not None and settings.host in ("0.0.0.0", "::")
    return _is_address(name) or is_loopback(name) or name == settings.host.lower() or (on_all and bool(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _has_allowed_origin(scope: Scope, headers: Headers, host: str, settings: Settings) -> bool:
    origin = headers.get("origin")
    if origin is None:  # not a browser, the address bar, or a plain image or link of a page
        is_link = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") in ("GET", "HEAD")
        return headers.get("sec-fetch-site") != "cross-site" or is_link
    return origin in (f"http://{host}", f"https://{host}", *settings.allow_origins)


def shows_token(scope: Scope, token: str) -> bool:
    """Check whether a request contains the token in a header or its cookie.

    Pages can set only the subprotocols of a WebSocket. There the token is in base64url without padding.
    """
    headers = Headers(scope=scope)
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _same(shown, token)
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(_BEARER):
            wanted = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
            return _same(offered.removeprefix(_BEARER), wanted)
    return _same(cookie_parser(headers.get("cookie", "")).get(_cookie_name(scope), ""), _digest(token))


async def accept(socket: WebSocket) -> None:
    """Open a WebSocket. A client that offers subprotocols requires one of them in the answer."""
    await socket.accept(_SUBPROTOCOL if _SUBPROTOCOL in socket.scope["subprotocols"] else None)


def set_token(response: Response, scope: Scope, settings: Settings) -> Response:
    """Set the cookie with the digest of the token, if there is a token."""
    if settings.token is not None:
        is_secure = settings.tls_cert is not None
        response.set_cookie(
            _cookie_name(scope),
            _digest(settings.token),
            max_age=_KEPT_S,
            path=settings.root_path or "/",
            httponly=True,
            samesite="strict",
            secure=is_secure,
        )
    return response


def _cookie_name(scope: Scope) -> str:
    """Return the cookie's name with the port, because browsers share cookies between all ports of a host."""
    return f"sonjit_token_{scope['server'][1]}"


def _digest(token: str) -> str:
    return hmac.digest(token.encode(), b"sonjit cookie", "sha256").hex()


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())
