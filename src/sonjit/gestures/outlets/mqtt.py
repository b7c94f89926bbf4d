"""Messages by MQTT, with paho."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

from sonjit._util import InputError
from sonjit.gestures.control import Command
from sonjit.gestures.outlets.sender import Sender, content_of, in_thread, module_for
from sonjit.gestures.targets import TIMEOUT_S


def open_mqtt(target: str, stack: ExitStack) -> Sender:
    """Open the outlet of a target HOST:PORT/TOPIC. Raise InputError if no broker answers."""
    paho = module_for("mqtt", "paho.mqtt.client")
    address = urlsplit(f"mqtt://{target}")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect_timeout = TIMEOUT_S
    try:
        client.connect(address.hostname, address.port)
    except (OSError, UnicodeError) as error:
        raise InputError(f"mqtt {target}: {error}") from error
    client.loop_start()  # a thread that also reconnects
    last: Any = None

    def is_free() -> bool:
        try:
            return last is None or last.is_published()
        except RuntimeError:  # paho lost the message with its connection
            return True

    def publish(command: Command) -> None:
        nonlocal last
        if is_free():  # paho keeps all messages that wait
            last = client.publish(address.path[1:], content_of(command))
            if (code := last.rc) != paho.MQTT_ERR_SUCCESS:
                last = None
                raise OSError(paho.error_string(code))
        last.wait_for_publish(TIMEOUT_S)
        if not last.is_published():
            raise OSError("it does not receive")

    def abort() -> None:
        if (connection := client.socket()) is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def end() -> None:
        client.disconnect()
        client.loop_stop()  # waits until the broker has received the last message

    return in_thread(f"mqtt {target}", publish, stack, abort, end)
