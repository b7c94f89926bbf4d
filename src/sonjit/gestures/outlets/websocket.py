"""Messages by WebSocket."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from sonjit._util import InputError, optional_import
from sonjit.gestures.control import Rule
from sonjit.gestures.outlets.sender import Sender, in_thread
from sonjit.gestures.targets import TIMEOUT_S

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection


_SILENT: Final = logging.Logger("websockets", logging.CRITICAL)  # its errors are raised, too, and reported by `Target`


class WebSocketClient:
    """Connection to a WebSocket address that is opened again after it was lost."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()

    def connect(self) -> ClientConnection:
        """Open the connection. Raise OSError if no WebSocket answers."""
        with optional_import("websocket", "control"):
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect
        try:
            opened = connect(self._target, open_timeout=TIMEOUT_S, close_timeout=TIMEOUT_S, proxy=None, logger=_SILENT)
            self._connection = self._stack.enter_context(opened)
        except (WebSocketException, AssertionError) as error:  # websockets asserts if the port closes while it writes
            raise OSError(error or "the port closed the connection") from error
        return self._connection

    def send(self, text: str) -> None:
        """Send a message. Raise OSError if the connection is lost; the next message opens another one."""
        from websockets.exceptions import WebSocketException

        try:
            (self._connection or self.connect()).send(text)
        except (OSError, WebSocketException) as error:
            self.close()
            raise OSError(error) from error

    def abort(self) -> None:
        """Let a `send` in another thread fail, whose receiver does not read."""
        if (connection := self._connection) is not None:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, within the time limit also if its receiver does not read."""
        connection, self._connection = self._connection, None
        with suppress(OSError):
            if connection is not None:
                connection.socket.settimeout(TIMEOUT_S)
            self._stack.close()


def open_websocket(rule: Rule, stack: ExitStack) -> Sender:
    """Open the outlet of an address. Raise InputError if no WebSocket answers."""
    client = WebSocketClient(rule.target)
    try:
        client.connect()
    except (OSError, UnicodeError) as error:
        raise InputError(f"websocket {rule.target}: {error}") from error
    stack.callback(client.close)
    return in_thread(f"websocket {rule.target}", lambda command: client.send(command.text), stack, client.abort)
