"""The server's token. Clients send it in a header; browsers send a cookie instead. It never occurs in an address.

Logs, histories and proxies store addresses. The page gets the token after the `#` of its address, which browsers do not
send. It sends the token once in a header and removes it from the address. The cookie contains a digest of the token, so
that it is valid as long as the token and does not reveal it.
"""

from __future__ import annotations

import base64
import hmac

from fastapi import APIRouter, Request
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope
from starlette.websockets import WebSocket

from sonjit.server.settings import Settings

KEPT_S = 400 * 86_400
"""Lifetime of a cookie in seconds, the longest that browsers allow."""
_SUBPROTOCOL, _BEARER = "sonjit", "sonjit.token."


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


def token_router(settings: Settings) -> APIRouter:
    """Return the endpoint `POST /v1/token`."""
    router = APIRouter(tags=["server"])

    @router.post("/v1/token", status_code=204)
    def keep(request: Request) -> Response:
        """Set a cookie in a browser that sends the token in a header."""
        response = Response(status_code=204)
        if settings.token is not None:
            is_secure = settings.tls_cert is not None
            response.set_cookie(
                _cookie_name(request.scope), _digest(settings.token),
                max_age=KEPT_S, httponly=True, samesite="strict", secure=is_secure,
            )  # fmt: skip
        return response

    return router


def _cookie_name(scope: Scope) -> str:
    """Return the cookie's name with the port, because browsers share cookies between all ports of a host."""
    return f"sonjit_token_{scope['server'][1]}"


def _digest(token: str) -> str:
    return hmac.digest(token.encode(), b"sonjit cookie", "sha256").hex()


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())
