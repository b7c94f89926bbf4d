"""The server below a path of a reverse proxy, which removes the path or not."""

import contextlib
import json
import re
import socket
import threading
from http.client import HTTPConnection
from urllib.parse import urljoin

import pytest
from websockets.sync.client import connect

from sonjit._util.errors import InputError
from sonjit.server.settings import Settings

from .conftest import LITE, Socket, configure

PREFIX = "/lab/hands"
TOKEN = "secret"
AUTHORISED = {"authorization": f"Bearer {TOKEN}"}


def pass_on(source, target):
    """Send what one connection receives to the other, until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Proxy:
    """Proxy that shows a server below a path, and sends it another host, as the documented one does."""

    def __init__(self, live, *, strips):
        self._live, self._strips = live, strips
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # until the listener is closed
            while True:
                threading.Thread(target=self._serve, args=self._listener.accept()[:1], daemon=True).start()

    def _serve(self, client):
        with client, self._live.connect() as server:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65_536)
            line, rest = head.split(b"\r\n", 1)
            method, path, version = line.split(b" ")
            if not path.startswith(PREFIX.encode()):
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            path = path.removeprefix(PREFIX.encode()) if self._strips else path
            rest = re.sub(rb"(?im)^host:[^\r]*", b"Host: localhost", rest)
            if b"pgrade: websocket" not in rest:
                rest = b"Connection: close\r\n" + re.sub(rb"(?im)^connection:[^\r]*\r\n", b"", rest)
            server.sendall(b" ".join([method, path or b"/", version]) + b"\r\n" + rest)
            back = threading.Thread(target=pass_on, args=(server, client))
            back.start()
            pass_on(client, server)
            back.join()


@pytest.fixture(params=[True, False], ids=["strips", "keeps"])
def proxy(request, listen):
    live = listen(root_path=PREFIX, token=TOKEN, allow_origins=("http://hands.example",))
    proxy = Proxy(live, strips=request.param)
    yield proxy
    proxy.close()


def ask(proxy, path, method="GET", body=None, **headers):
    connection = HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    connection.request(method, path, body, AUTHORISED | headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def test_all_addresses_of_pages_stay_below_the_path(proxy):
    seen = set()
    for page in (f"{PREFIX}/", f"{PREFIX}/docs", f"{PREFIX}/annotate/"):
        status, headers, content = ask(proxy, page)
        assert (status, headers["content-type"].split(";")[0]) == (200, "text/html")
        seen |= {urljoin(page, found) for found in re.findall(r'(?:href|src)="([^"#:]+)', content.decode())}
    assert len(seen) > 20
    for address in sorted(seen):
        assert address.startswith(f"{PREFIX}/")
        assert ask(proxy, address)[0] == 200, address
    status, _, content = ask(proxy, f"{PREFIX}/files.json")
    for name in json.loads(content)["files"]:
        assert ask(proxy, urljoin(f"{PREFIX}/", name))[0] == 200, name


def test_the_path_itself_leads_to_its_folder(proxy):
    status, headers, _ = ask(proxy, PREFIX)
    if status != 200:  # a proxy that removes the path asks for the folder
        assert (status, headers["location"]) == (307, f"{PREFIX}/")


def test_endpoints_and_their_token_below_the_path(proxy):
    assert ask(proxy, f"{PREFIX}/healthz")[0] == 200
    assert ask(proxy, f"{PREFIX}/healthz", "HEAD")[0] == 200
    for path in ("/healthz", "/v1/kinds"):
        assert ask(proxy, PREFIX + path, authorization="Bearer other")[0] == 401
    status, headers, _ = ask(proxy, f"{PREFIX}/v1/token", "POST")
    assert (status, f"Path={PREFIX};" in f"{headers['set-cookie']};") == (204, True)
    cookie = headers["set-cookie"].partition(";")[0]
    assert ask(proxy, f"{PREFIX}/v1/kinds", authorization="", cookie=cookie)[0] == 200
    assert json.loads(ask(proxy, f"{PREFIX}/openapi.json")[2])["servers"] == [{"url": PREFIX}]
    policy = ask(proxy, f"{PREFIX}/")[1]["content-security-policy"]
    assert " ws://hands.example" in policy


def test_a_stream_below_the_path(proxy, weights):
    address = f"ws://127.0.0.1:{proxy.port}{PREFIX}/v1/stream"
    with connect(address, additional_headers=AUTHORISED, compression=None) as socket:
        assert configure(Socket(socket), LITE)[-1]["type"] == "ready"


def test_jobs_name_addresses_below_the_path(proxy, weights, media):
    status, headers, content = ask(proxy, f"{PREFIX}/v1/jobs?kind=hands", "POST", (media / "photo.jpg").read_bytes())
    job = json.loads(content)
    assert (status, headers["location"]) == (202, f"{PREFIX}/v1/jobs/{job['id']}")
    lines = ask(proxy, f"{headers['location']}/events")[2].decode().split("\n")
    job = json.loads([line for line in lines if line.startswith("data: ")][-1].removeprefix("data: "))
    assert job["state"] == "done"
    assert job == json.loads(ask(proxy, headers["location"])[2])
    assert [job] == json.loads(ask(proxy, f"{PREFIX}/v1/jobs")[2])
    for address in job["downloads"].values():
        assert ask(proxy, address)[0] == 200


def test_paths_that_cannot_be_are_refused():
    for path in ("hands", "/", "/hands/", "//hands", "/a b", "/손", "/a?b", "/../a/"):
        with pytest.raises(InputError, match="--root-path"):
            Settings(root_path=path)
