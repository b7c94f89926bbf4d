"""The server's token: shown in a header, or by a browser that has shown it once in a cookie; never in an address.

What stands in an address is kept by logs, histories and proxies. The page gets the token after the `#` of its address,
which browsers do not send, hands it in once and takes it off there. The cookie holds no token but what is made of it,
so that it stays good for as long as the token does and tells it to nobody.
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
"""How long a cookie is kept: the longest that browsers grant."""
_SUBPROTOCOL, _BEARER = "sonjit", "sonjit.token."


def shows_token(scope: Scope, token: str) -> bool:
    """Whether a request has the token, in the header of an HTTP request or a WebSocket, or in its cookie.

    Pages cannot set headers of a WebSocket but for its subprotocols: there the token is in base64url without padding.
    """
    headers = Headers(scope=scope)
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _same(shown, token)
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(_BEARER):
            wanted = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
            return _same(offered.removeprefix(_BEARER), wanted)
    return _same(cookie_parser(headers.get("cookie", "")).get(_cookie_name(scope), ""), _made_of(token))


async def accept(socket: WebSocket) -> None:
    """Open a WebSocket, with the subprotocol that its client must see where it offered any."""
    await socket.accept(_SUBPROTOCOL if _SUBPROTOCOL in socket.scope["subprotocols"] else None)


def token_router(settings: Settings) -> APIRouter:
    """`POST /v1/token`."""
    router = APIRouter(tags=["server"])

    @router.post("/v1/token", status_code=204)
    def keep(request: Request) -> Response:
        """Let a browser that shows the token in a header keep a cookie in its place."""
        response = Response(status_code=204)
        if settings.token is not None:
            is_secure = settings.tls_cert is not None
            response.set_cookie(
                _cookie_name(request.scope), _made_of(settings.token),
                max_age=KEPT_S, httponly=True, samesite="strict", secure=is_secure,
            )  # fmt: skip
        return response

    return router


def _cookie_name(scope: Scope) -> str:
    """With the port: browsers share cookies between all ports of a host."""
    return f"sonjit_token_{scope['server'][1]}"


def _made_of(token: str) -> str:
    return hmac.digest(token.encode(), b"sonjit cookie", "sha256").hex()


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())
