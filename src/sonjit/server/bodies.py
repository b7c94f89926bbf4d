"""Bodies of requests, read no further than their limits: of each one, and of all that are held in memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.requests import Request

from sonjit.server.errors import RefusedError
from sonjit.server.settings import MB

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from starlette.types import Message


class Room:
    """Memory for bodies, shared by all requests.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    @contextmanager
    def body(self) -> Generator[Callable[[int], None]]:
        """What takes room for so many bytes more, until the block ends; RefusedError `busy` where there is none."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.held + count > self._most:
                raise RefusedError(
                    "busy", f"{self.held / MB:.0f} MB of pictures are coming in already: send this one again later"
                )
            self.held += count
            own += count

        try:
            yield take
        finally:
            self.held -= own


def limited(request: Request, max_bytes: int, option: str, take: Callable[[int], None] = lambda _: None) -> Request:
    """The same request, whose body raises a RefusedError as soon as it is known to be too large.

    Args:
        request: not read yet.
        max_bytes: of the whole body.
        option: of `sonjit serve` that sets the limit, for the message.
        take: is told of every piece before it is given on.
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
