"""Who may call: hosts, origins and the token, before any door is reached.

A page of another site may send requests to this machine. So a request must name this machine as its host (a foreign
name that leads here would be DNS rebinding), and what a browser says of the page that it comes from must fit.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, QueryParams

from sonjit.server.errors import RefusedError
from sonjit.server.settings import is_loopback

if TYPE_CHECKING:
    from starlette.types import Scope

    from sonjit.server.settings import Settings

_DOORS = ("/v1/", "/healthz")
"""What the token guards; the page's own files are the same in every installation."""


def check_caller(scope: Scope, settings: Settings) -> None:
    """RefusedError where a request may not pass.

    Args:
        scope: of an HTTP request or a WebSocket.
        settings: which host, origins and token there are.
    """
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not _is_own_host(host, settings):
        raise RefusedError(
            "bad_origin", f"host {host[:80]!r} is not this server: call it as {settings.host} or localhost"
        )
    if not _is_own_page(headers, host, settings):
        origin = headers.get("origin", "another site")[:80]
        raise RefusedError(
            "bad_origin", f"pages of {origin} may not call this server: allow them with --allow-origin {origin}"
        )
    if settings.token is not None and scope["path"].startswith(_DOORS) and not _shows(scope, headers, settings.token):
        raise RefusedError(
            "no_token", "this server wants its token: send the header Authorization: Bearer TOKEN, or ?token=TOKEN"
        )


def _is_own_host(host: str, settings: Settings) -> bool:
    """Whether a Host header names this machine. An address does in any case: only names can be made to lead here.

    A server on all addresses has names that it does not know; there the token, which it must have, keeps others out.
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


def _is_own_page(headers: Headers, host: str, settings: Settings) -> bool:
    origin = headers.get("origin")
    if origin is None:  # no browser, the address line, or a plain picture or link on a page
        return headers.get("sec-fetch-site") != "cross-site" or headers.get("sec-fetch-mode") == "navigate"
    return origin in (f"http://{host}", f"https://{host}", *settings.allow_origins)


def _shows(scope: Scope, headers: Headers, token: str) -> bool:
    """Whether a request has the token."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        shown = QueryParams(scope["query_string"]).get("token", "")
    return hmac.compare_digest(shown.encode(), token.encode())
