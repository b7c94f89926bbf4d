"""A broker of MQTT 3.1.1 that can stop reading, lose its clients, and start again on its port."""

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass


@dataclass
class Message:
    """Message that a client published."""

    topic: str
    text: str
    retain: bool
    qos: int


class Broker:
    """Broker that reads only while `reads` is set. `got` has the messages, also last wills, and `users` the logins."""

    def __init__(self):
        self.port = 0
        self.got, self.users = [], []
        self.confirms = True
        self.reads = threading.Event()
        self.reads.set()
        self.start()

    def start(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.listen()
        self.port, self._open = self._socket.getsockname()[1], []
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def _serve(self, listening):
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                self._open.append(connection)
                threading.Thread(target=self._client, args=(connection,), daemon=True).start()

    def _client(self, connection):
        will = None
        stream = connection.makefile("rb")
        with suppress(OSError, EOFError):
            while True:
                self.reads.wait()
                head = self._bytes(stream, 1)[0]
                length = shift = 0
                while True:
                    byte = self._bytes(stream, 1)[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body = self._bytes(stream, length)
                if head >> 4 == 1:  # CONNECT
                    will = self._login(body)
                    connection.sendall(b"\x20\x02\0\0")
                elif head >> 4 == 3:  # PUBLISH
                    end = 2 + int.from_bytes(body[:2], "big")
                    qos = head >> 1 & 3
                    text = body[end + 2 * (qos > 0) :].decode()
                    if self.confirms:
                        self.got.append(Message(body[2:end].decode(), text, bool(head & 1), qos))
                    if qos and self.confirms:
                        connection.sendall(b"\x40\x02" + body[end : end + 2])
                elif head >> 4 == 12:  # PINGREQ
                    connection.sendall(b"\xd0\0")
                elif head >> 4 == 14:  # DISCONNECT
                    will = None
                    return
        if will is not None:
            self.got.append(will)

    def _login(self, body):
        flags, rest = body[7], body[10:]
        fields = []
        while rest:
            size = int.from_bytes(rest[:2], "big")
            fields.append(rest[2 : 2 + size].decode())
            rest = rest[2 + size :]
        will = Message(fields[1], fields[2], bool(flags & 32), flags >> 3 & 3) if flags & 4 else None
        if flags & 128:
            self.users.append(tuple(fields[-2:]) if flags & 64 else (fields[-1],))
        return will

    def _bytes(self, stream, count):
        data = stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def lose(self):
        """End the connections of all clients."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self):
        self.reads.set()
        with suppress(OSError):  # wakes `accept`
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.lose()
