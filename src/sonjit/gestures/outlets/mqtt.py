"""Messages by MQTT, with paho."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from sonjit._util import InputError
from sonjit.gestures.control import Command
from sonjit.gestures.outlets.sender import Sender, content_of, in_thread, module_for
from sonjit.gestures.targets import TIMEOUT_S


def open_mqtt(target: str, stack: ExitStack) -> Sender:
    """Open the outlet of a target HOST:PORT/TOPIC. Raise InputError if no broker answers."""
    paho = module_for("mqtt", "paho.mqtt.client")
    parts = urlsplit(f"mqtt://{target}")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect_timeout = TIMEOUT_S
    try:
        client.connect(parts.hostname, parts.port)
    except OSError as error:
        raise InputError(f"mqtt {target}: {error}") from error
    client.loop_start()  # a thread that also reconnects
    stack.callback(client.loop_stop)
    stack.callback(client.disconnect)
    last: Any = None

    def publish(command: Command) -> None:
        nonlocal last
        if last is None or last.is_published():  # paho keeps all messages that wait
            last = client.publish(parts.path[1:], content_of(command))
            if (code := last.rc) != paho.MQTT_ERR_SUCCESS:
                last = None
                raise OSError(paho.error_string(code))
        last.wait_for_publish(TIMEOUT_S)
        if not last.is_published():
            raise OSError("it does not receive")

    return in_thread(f"mqtt {target}", publish, stack)
