"""Messages by MQTT, with paho."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from sonjit._util import InputError
from sonjit.gestures.control import Broker, Command, Rule
from sonjit.gestures.outlets.sender import Sender, in_thread, module_for, with_environment
from sonjit.gestures.targets import TIMEOUT_S

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.reasoncodes import ReasonCode

_RECONNECT_S: Final = (1, 30)  # first and longest time between two attempts to reach a broker again


class Brokers:
    """Connections to brokers, one for each HOST:PORT. paho opens a lost connection again."""

    def __init__(self, settings: Broker) -> None:
        self._settings = settings
        self._connections: dict[str, _Connection] = {}

    def open(self, rule: Rule, stack: ExitStack) -> Sender:
        """Open the outlet of a target HOST:PORT/TOPIC. Raise InputError if no broker answers."""
        paho = module_for("mqtt", "paho.mqtt.client")
        address = urlsplit(f"mqtt://{rule.target}")
        if address.netloc not in self._connections:
            self._connections[address.netloc] = connection = _Connection(paho, address, self._settings)
            stack.callback(connection.close)
        connection = self._connections[address.netloc]
        return in_thread(f"mqtt {rule.target}", connection.publish, stack, connection.abort)


class _Connection:
    def __init__(self, paho: ModuleType, address: SplitResult, settings: Broker) -> None:
        self._paho, self._settings = paho, settings
        self._host, self._port = str(address.hostname), address.port or 0
        password = settings.password
        self._password = None if password is None else with_environment(password, "mqtt: password")
        self._answer: ReasonCode | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._client = self._new_client()
        try:
            self._client.connect(self._host, self._port)
        except (OSError, UnicodeError) as error:
            raise InputError(f"mqtt {address.netloc}: {error}") from error
        self._client.loop_start()  # a thread that also reconnects

    def publish(self, command: Command) -> None:
        """Send a message. Raise OSError if the broker is away, or does not confirm it."""
        if not self._client.is_connected() and self._answer is not None and self._answer.is_failure:
            raise RuntimeError(f"the broker refuses the connection: {self._answer}")
        rule = command.rule
        topic = urlsplit(f"mqtt://{rule.target}").path[1:]
        sent = self._client.publish(topic, command.text, qos=rule.qos, retain=rule.retain)
        with suppress(RuntimeError):  # paho lost the message with its connection
            sent.wait_for_publish(TIMEOUT_S)
            if sent.rc == self._paho.MQTT_ERR_SUCCESS and sent.is_published():
                return
        self._renew()  # otherwise paho would keep this message and send it after newer ones
        raise OSError("it does not receive")

    def abort(self) -> None:
        """Let a `publish` in another thread fail, whose broker does not read."""
        if isinstance(connection := self._client.socket(), socket.socket):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Send that the program is offline, and end the connection."""
        with self._lock:
            self._is_closed = True
        if self._settings.status is not None and self._client.is_connected():
            with suppress(RuntimeError, ValueError):
                self._client.publish(self._settings.status, "offline", qos=1, retain=True).wait_for_publish(TIMEOUT_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _new_client(self) -> Client:
        client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2)
        client.connect_timeout = TIMEOUT_S
        client.reconnect_delay_set(*_RECONNECT_S)
        settings = self._settings
        if settings.user is not None:
            client.username_pw_set(settings.user, self._password)
        if settings.tls:
            try:
                client.tls_set(ca_certs=settings.tls if isinstance(settings.tls, str) else None)
            except (OSError, ValueError) as error:
                raise InputError(f"mqtt: tls = {settings.tls!r}: {error}") from error
        if settings.status is not None:
            client.will_set(settings.status, "offline", qos=1, retain=True)
        client.on_connect = self._connected
        return client

    def _connected(
        self, client: Client, _userdata: object, _flags: object, answer: ReasonCode, _properties: object
    ) -> None:
        self._answer = answer
        if self._settings.status is not None and not answer.is_failure:
            client.publish(self._settings.status, "online", qos=1, retain=True)

    def _renew(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self.abort()
            self._client.disconnect()
            self._client.loop_stop()
            self._client = self._new_client()
            self._client.connect_async(self._host, self._port)
            self._client.loop_start()
