"""Bodies of requests, read no further than their limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from sonjit.server.errors import RefusedError
from sonjit.server.settings import MB

if TYPE_CHECKING:
    from starlette.types import Message


def limited(request: Request, max_bytes: int, option: str) -> Request:
    """The same request, whose body raises a RefusedError as soon as it is known to be too large.

    Args:
        request: not read yet.
        max_bytes: of the whole body.
        option: of `sonjit serve` that sets the limit, for the message.
    """
    too_large = RefusedError("too_large", f"the body is larger than {max_bytes / MB:g} MB; send less or raise {option}")
    stated = request.headers.get("content-length", "0")
    if not stated.isdecimal() or int(stated) > max_bytes:
        raise too_large
    receive, left = request.receive, max_bytes

    async def receive_limited() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_large
        return message

    return Request(request.scope, receive_limited)
