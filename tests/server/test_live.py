"""A real port: endless bodies, silent connections, flooding clients, and a server that stops."""

import json
import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection

import numpy as np
import pytest

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import configure, frame_message, jpeg_of, open_stream


def answer_of(connection):
    """Return status and body of the answer on a raw connection, or 0 if it is closed without an answer."""
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            if not (piece := connection.recv(65_536)):
                return 0, b""
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += connection.recv(65_536)
    except ConnectionError:
        return 0, b""
    return int(head.split()[1]), body


def get(live, path="/healthz"):
    with live.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return answer_of(connection)


def head_of_post(*lines):
    return "\r\n".join(["POST /v1/hands HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)])
def test_a_stated_gigabyte_is_refused_before_it_is_read(more, weights, listen):
    with listen().connect() as connection:
        connection.sendall(head_of_post("Content-Length: 1000000000", *more))
        status, body = answer_of(connection)
    assert (status, json.loads(body)["error"]["code"]) == (413, "too_large")


def test_a_gigabyte_of_unknown_length_is_cut_off(weights, listen):
    live, sent = listen(max_body_mb=1), 0
    piece = b"%x\r\n" % 65_536 + bytes(65_536) + b"\r\n"
    with live.connect() as connection:
        connection.sendall(head_of_post("Transfer-Encoding: chunked"))
        try:
            while sent < 1_000_000_000:
                connection.sendall(piece)
                sent += 65_536
                connection.setblocking(False)
                try:
                    first = connection.recv(4096)
                except BlockingIOError:
                    first = b""
                finally:
                    connection.setblocking(True)
                if first:
                    break
        except ConnectionError:
            first = b"HTTP/1.1 413"  # closed on a sender that does not read
    assert first.startswith(b"HTTP/1.1 413")
    assert sent < 100_000_000


def test_a_image_that_is_a_little_too_large_gets_its_answer(weights, listen):
    """Send the complete request first, because many clients read only afterwards."""
    body = bytes(3_000_000)
    with listen(max_body_mb=1).connect() as connection:
        connection.sendall(head_of_post(f"Content-Length: {len(body)}"))
        connection.sendall(body)
        assert answer_of(connection)[0] == 413


@pytest.mark.slow
def test_half_open_connections_do_not_block_others_and_pauses_of_bodies_end(weights, listen):
    live = listen(read_timeout_s=1.5)
    idle = [live.connect() for _ in range(100)]
    for number, connection in enumerate(idle):
        connection.sendall(
            [b"", b"GET /healthz HTTP/1.1\r\nHost: loc", head_of_post("Content-Length: 100") + b"x"][number % 3]
        )
    assert get(live)[0] == 200
    with open_stream(live) as stream:
        assert configure(stream)[-1]["type"] == "ready"
    assert [answer_of(connection)[0] for connection in idle[2::3]] == [408] * 33  # a proxy limits slow headers
    for connection in idle:
        connection.close()


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: +5", "Content-Length: -1", "Content-Length : 5",
        "Content-Length: 0x5", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nHost: elsewhere",
    ],
)  # fmt: skip
def test_no_request_follows_one_of_unclear_length(listen, lengths):
    with listen().connect() as connection:
        connection.sendall(head_of_post(lengths) + b"0\r\n\r\n" + SMUGGLED)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received.count(b"HTTP/1.1 ") == 1
    assert b" 200 " not in received


def send_until_closed(connection, piece):
    """Return whether the server closes the connection while a client keeps sending."""
    try:
        for _ in range(10_000):
            connection.sendall(piece)
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nHost: localhost\r\n", head_of_post("Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n"]
)
def test_headers_without_end_before_or_behind_a_body_are_cut_off(weights, listen, start):
    with listen().connect() as connection:
        connection.sendall(start)
        assert send_until_closed(connection, b"x: " + b"y" * 4000 + b"\r\n")


def test_any_bytes_leave_the_server_standing(listen):
    live = listen()
    for number in range(40):
        with live.connect() as connection:
            connection.sendall(
                np.random.default_rng(number).bytes(50 * number)
                if number % 2
                else head_of_post("Content-Length: -5", "x" * number)
            )
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while connection.recv(4096):
                    pass
    assert get(live)[0] == 200


@pytest.mark.slow
def test_a_message_that_is_too_large_closes_only_its_stream(weights, listen, photo):
    live = listen(max_body_mb=1)
    with open_stream(live) as other, open_stream(live) as stream:
        configure(other, {"kind": "hands", "model": "lite"})
        stream.send(frame_message(1, bytes(3_000_000)))
        assert stream.end().code == 1009
        other.send(frame_message(1, jpeg_of(photo)))
        assert other.receive()["type"] == "frame"
    wait_until(lambda: not live.service.streams)


def test_a_client_that_vanishes_is_forgotten(weights, listen, photo):
    live = listen()
    with open_stream(live) as stream:
        configure(stream, {"kind": "hands", "model": "lite"})
        stream.send(frame_message(1, jpeg_of(photo)))
        stream._socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stream._socket.socket.close()  # a reset, without a word
        wait_until(lambda: not live.service.streams and not live.service.detectors.in_use)


def raw_stream(live):
    """Open a connection and upgrade it to a WebSocket."""
    connection = live.connect()
    connection.sendall(
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in connection.recv(4096)
    return connection


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_an_answer_waits_only_so_long_for_its_reader(listen):
    live = listen(idle_minutes=0.01)
    with live.connect() as deaf:
        deaf.sendall(b"GET /sample.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 60)
        wait_until(lambda: live.connections)
        wait_until(lambda: not live.connections)


@pytest.mark.nightly
@pytest.mark.slow
def test_a_client_that_reads_nothing_blocks_only_itself(weights, listen, photo):
    live, data = listen(), jpeg_of(photo)
    stop = threading.Event()

    def flood():
        with raw_stream(live) as deaf:
            text = json.dumps({"type": "configure", "detectors": [{"kind": "hands", "model": "lite"}]}).encode()
            deaf.sendall(b"\x81" + bytes([128 + len(text)]) + bytes(4) + text)
            message = frame_message(1, data)
            masked = b"\x82\xff" + len(message).to_bytes(8) + bytes(4) + message
            deaf.settimeout(0.5)
            try:
                while not stop.is_set():
                    deaf.sendall(masked)
            except OSError:  # its time is over, or the server has ended a stream that answers no ping
                stop.wait()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        with open_stream(live) as stream:
            configure(stream, {"kind": "hands", "model": "lite"})
            for number in range(40):
                stream.send(frame_message(number, data))
                assert stream.receive()["frame"] == number
        assert max((len(stream._waiting) for stream in live.service.streams), default=0) <= 2
    finally:
        stop.set()
        thread.join()


def test_a_stream_that_is_silent_is_closed_with_the_reason(listen):
    with open_stream(listen(idle_minutes=0.001)) as silent:
        closed = silent.end()
    assert (closed.code, "--idle-minutes" in closed.reason) == (4408, True)


def test_the_server_stops_though_clients_stay(weights, listen, photo):
    live = listen()
    with open_stream(live) as stream, live.connect() as idle, live.connect() as half:
        configure(stream, {"kind": "hands", "model": "lite"})
        half.sendall(head_of_post("Content-Length: 100") + b"x")
        idle.sendall(b"GET")
        live.stop()
        assert stream.end().code == 1001
    with pytest.raises(ConnectionError):
        live.connect()


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/v1/kinds", "/v1/jobs", "/sample.mp4", "/nothing-here"])
def test_head_answers_as_get_without_the_body(listen, path):
    live, answers = listen(), {}
    for method in ("GET", "HEAD"):
        connection = HTTPConnection("127.0.0.1", live.port, timeout=20)
        connection.request(method, path)
        answer = connection.getresponse()
        headers = {name: value for name, value in answer.getheaders() if name not in ("date", "set-cookie")}
        answers[method] = answer.status, headers, answer.read()
        connection.close()
    (status, headers, body), (head_status, head_headers, head_body) = answers["GET"], answers["HEAD"]
    assert head_status == status
    assert body
    assert head_body == b""
    if status == 200:
        assert head_headers == headers
