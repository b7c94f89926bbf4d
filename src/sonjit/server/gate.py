"""The middleware around all doors: who may come in, how long a body may take, what every answer says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.websockets import WebSocket

from sonjit.server.errors import RefusedError
from sonjit.server.security import check_caller

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sonjit.server.service import Service

_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' ws: wss:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_LINGER_S = 2.0
_REFUSED = 1008


class Gate:
    """See the module.

    Args:
        app: what is behind.
        service: the server's parts.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._settings = service.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_caller(scope, self._settings)
        except RefusedError as refusal:
            socket = WebSocket(scope, receive, send)
            await socket.accept()  # a browser tells its page nothing of a refusal before
            await socket.close(_REFUSED, str(refusal).encode()[:120].decode(errors="ignore"))
            return
        await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive, self._service)

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-cache")
            elif not message.get("more_body", False) and not body.is_read and not _expects(scope):
                await send({**message, "more_body": True})
                await body.throw_away()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            check_caller(scope, self._settings)
        except RefusedError as refusal:
            await refusal.response()(scope, body.receive, send_more)
            return
        await self._app(scope, body.receive, send_more)


class _Body:
    """A request's body as it comes in.

    Attributes:
        is_read: to its end.
    """

    def __init__(self, receive: Receive, service: Service) -> None:
        self._receive = receive
        self._service = service
        self.is_read = False

    async def receive(self) -> Message:
        """The next message; RefusedError where the client pauses for too long before the end of its body."""
        if self.is_read:
            return await self._receive()
        timeout_s = self._service.settings.read_timeout_s
        try:
            async with self._service.at_most(timeout_s):
                message = await self._receive()
        except TimeoutError:
            self.is_read = True  # nothing more is waited for
            raise RefusedError(
                "too_slow", f"no byte came for {timeout_s:g} s: send without pauses or raise --read-timeout"
            ) from None
        self.is_read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def throw_away(self) -> None:
        """Read what the client still sends, for a moment: many read no answer before they have sent everything."""
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self.is_read:
                    await self.receive()
        except (TimeoutError, RefusedError):
            pass


def _expects(scope: Scope) -> bool:
    """Whether the client waits for a word before it sends its body."""
    return any(name == b"expect" for name, _ in scope["headers"])
