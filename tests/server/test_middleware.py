"""The middleware around an app of the test: callers, bodies that are too large or too slow, and headers."""

import asyncio
from itertools import product

import pytest
from starlette.requests import Request
from starlette.responses import Response

from sonjit.server.errors import RefusedError
from sonjit.server.middleware import Middleware, check_caller, limited, set_token, shows_token
from sonjit.server.settings import Settings


def scope_of(path="/v1/kinds", type="http", method="GET", subprotocols=(), **headers):
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": type,
        "path": path,
        "method": method,
        "headers": encoded,
        "subprotocols": list(subprotocols),
        "client": ("10.0.0.1", 5),
        "server": ("127.0.0.1", 8765),
    }


def is_allowed(settings, **scope):
    try:
        check_caller(scope_of(**{"host": "localhost"} | scope), settings)
    except RefusedError as refusal:
        return refusal.code not in ("bad_origin", "no_token")
    return True


@pytest.mark.parametrize(
    ("host", "own", "names"),
    [
        ("127.0.0.1", {"localhost", "LOCALHOST:1", "10.1.2.3", "[::1]:80"}, {"laptop.local", "", "zoo"}),
        ("Laptop.local", {"laptop.LOCAL:80", "localhost"}, {"a.local", "laptop.loca", "laptop.locals", "z.local", ""}),
        ("0.0.0.0", {"laptop.local", "a:80"}, {"", ":80", "[", "::x"}),
        ("::", {"laptop.local", "[::1]"}, {"", "["}),
    ],
)
def test_a_host_is_a_name_of_this_machine(host, own, names):
    settings = Settings(host=host, token="secret")
    for name in own | names:
        assert is_allowed(settings, path="/", host=name) == (name in own), name


def test_a_refused_host_and_origin_are_shortened():
    for headers in ({"host": "h" * 90}, {"host": "localhost", "origin": "h" * 90}):
        with pytest.raises(RefusedError) as refused:
            check_caller(scope_of(**headers), Settings())
        assert "h" * 80 in str(refused.value)
        assert "h" * 81 not in str(refused.value)


def test_pages_of_other_sites_may_only_link_here():
    settings = Settings(allow_origins=("http://friend.example",))
    for origin in ("http://localhost", "https://localhost", "http://friend.example"):
        assert is_allowed(settings, origin=origin)
    for origin in ("http://friend.example:81", "http://a", "null"):
        assert not is_allowed(settings, origin=origin)
    for site in ("same-origin", "none", "another"):
        assert is_allowed(settings, sec_fetch_site=site, method="POST")
    for mode, method in product(("cors", "navigate", "no-cors"), ("GET", "HEAD", "POST")):
        is_link = mode == "navigate" and method != "POST"
        assert is_allowed(settings, sec_fetch_site="cross-site", sec_fetch_mode=mode, method=method) == is_link


def test_only_endpoints_require_the_token():
    settings = Settings(token="secret")
    for path, shown in (("/", {}), ("/v2", {}), ("/v1/x", {"authorization": "bearer secret"})):
        assert is_allowed(settings, path=path, **shown)
    for path, shown in (("/v1/x", {}), ("/healthz", {}), ("/healthz", {"authorization": "Bearer other"})):
        assert not is_allowed(settings, path=path, **shown)
    assert is_allowed(Settings(), path="/v1/x")


def test_a_token_is_in_a_header_a_subprotocol_or_a_cookie_of_its_port():
    cookie = set_token(Response(), scope_of(), Settings(token="secret")).headers["set-cookie"]
    assert "Max-Age=34560000;" in cookie  # 400 days
    assert "HttpOnly" in cookie
    kept = cookie.partition(";")[0]
    assert kept.startswith("sonjit_token_8765=")
    assert shows_token(scope_of(cookie=kept), "secret")
    for other in (kept.replace("8765", "8766"), kept[:-1], "sonjit_token_8765=secret"):
        assert not shows_token(scope_of(cookie=other), "secret")
    for scheme, is_shown in (("Bearer", True), ("BEARER", True), ("Basic", False), ("Digest", False)):
        assert shows_token(scope_of(authorization=f"{scheme} secret"), "secret") == is_shown
    for offered, is_shown in (
        (["sonjit", "sonjit.token.c2VjcmV0"], True),
        (["sonjit.token.c2VjcmV0"], True),
        (["sonjit.token.c2VjcmV"], False),
        (["c2VjcmV0"], False),
    ):
        assert shows_token(scope_of(subprotocols=offered), "secret") == is_shown
    assert "set-cookie" not in set_token(Response(), scope_of(), Settings()).headers


class Body:
    """Client that sends pieces of a body, or waits where a piece is None."""

    def __init__(self, *pieces, ends=True):
        self.pieces, self.ends, self.count, self.sent = list(pieces), ends, len(pieces), []

    async def receive(self):
        if not self.pieces:
            return {"type": "http.disconnect"}
        piece = self.pieces.pop(0)
        if piece is None:
            await asyncio.sleep(30)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or not self.ends}

    async def send(self, message):
        self.sent.append(message)


def read_limited(body, max_bytes, **headers):
    """Return what is read of a limited body, and the counts of its pieces."""
    counts = []
    request = Request(scope_of(**headers), body.receive)
    read = asyncio.run(limited(request, max_bytes, "--max-body-mb", counts.append).body())
    return read, counts


@pytest.mark.parametrize("stated", [{}, {"content_length": "5"}, {"content_length": "0"}])
def test_a_body_has_as_many_bytes_as_its_limit(stated):
    assert read_limited(Body(b"ab", b"", b"cde"), 5, **stated) == (b"abcde", [2, 0, 3])
    body = Body(b"ab", b"cde", b"f")
    with pytest.raises(RefusedError, match=r"larger than 5e-06 MB; send less or raise --max-body-mb") as refused:
        read_limited(body, 5, **stated)
    assert (refused.value.code, body.pieces) == ("too_large", [])


@pytest.mark.parametrize("stated", ["6", "+5", "-1", "1.5", "x", ""])
def test_a_stated_length_beyond_the_limit_is_refused_before_the_body(stated):
    body = Body(b"ab")
    with pytest.raises(RefusedError, match="the body is larger"):
        read_limited(body, 5, content_length=stated)
    assert len(body.pieces) == 1


def answer(body, scope, settings=None, *, reads=0, status=200):
    """Send a request through the middleware to an app that reads some pieces, and return what the app got."""
    got = []

    async def app(scope, receive, send):
        got.append((receive, send))
        got.extend([await receive() for _ in range(reads)])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": [(b"x-frame", b"1")]})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await send({"type": "http.response.body", "body": b"b"})

    asyncio.run(Middleware(app, settings or Settings())(scope, body.receive, body.send))
    return got


def test_other_scopes_pass_as_they_are():
    for scope in (scope_of(type="lifespan", host="evil.example"), scope_of(type="websocket", host="localhost")):
        body = Body()
        assert answer(body, scope) == [(body.receive, body.send)]


def test_a_refused_websocket_is_opened_and_closed_with_a_short_reason():
    body = Body()
    scope = scope_of(type="websocket", host="h" * 200, subprotocols=["other", "sonjit"])

    async def connect():
        return {"type": "websocket.connect"}

    body.receive = connect
    assert answer(body, scope) == []
    accepted, closed = body.sent
    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", "sonjit")
    assert (closed["type"], closed["code"], len(closed["reason"])) == ("websocket.close", 1008, 120)


def test_an_answer_has_headers_of_the_middleware_and_keeps_its_own():
    body = Body(b"")
    answer(body, scope_of(host="localhost:8765"), reads=1)
    start, *rest = body.sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert (headers["x-frame"], headers["cache-control"], headers["referrer-policy"]) == (
        "1",
        "no-cache",
        "no-referrer",
    )
    assert "connect-src 'self' ws://localhost:8765 wss://localhost:8765;" in headers["content-security-policy"]
    assert [message.get("more_body", False) for message in rest] == [True, False]
    refused = Body(b"")
    assert answer(refused, scope_of(host="evil.example")) == []
    assert (refused.sent[0]["status"], b"nosniff" in dict(refused.sent[0]["headers"]).values()) == (403, True)


def test_messages_behind_an_answer_pass_as_they_are():
    body, trailers = Body(b""), {"type": "http.response.trailers", "headers": [], "more_trailers": False}

    async def app(scope, receive, send):
        await receive()
        await send(trailers)

    asyncio.run(Middleware(app, Settings())(scope_of(host="localhost"), body.receive, body.send))
    assert body.sent == [trailers]


@pytest.mark.parametrize(
    ("pieces", "ends", "reads", "headers", "drained"),
    [
        ([b"a", b"b", b"c"], True, 0, {}, True),
        ([b"a", b"b", b"c"], True, 2, {}, True),
        ([b"a", b"b", b"c"], True, 3, {}, False),
        ([b"a", b"b", b"c"], False, 1, {}, True),  # the client leaves
        ([b"a", b"b"], True, 0, {"expect": "100-continue"}, None),
        ([b""], True, 0, {}, True),
    ],
)
def test_the_rest_of_a_body_is_read_before_the_answer_ends(pieces, ends, reads, headers, drained):
    body = Body(*pieces, ends=ends)
    got = answer(body, scope_of(host="localhost", **headers), reads=reads)
    assert [message["body"] for message in got[1:]] == pieces[:reads]
    assert [message["type"] for message in body.sent] == [
        "http.response.start",
        *["http.response.body"] * (2 + bool(drained)),
    ]
    assert b"".join(message.get("body", b"") for message in body.sent) == b"ab"
    assert [message.get("more_body", False) for message in body.sent[1:]] == [True, *[True] * bool(drained), False]
    assert len(body.pieces) == (2 if drained is None else 0)


def test_a_client_that_pauses_is_refused_and_not_waited_for_again():
    body = Body(b"a", None, b"c")
    with pytest.raises(RefusedError, match=r"no byte came for 0.01 s: send without pauses") as refused:
        answer(body, scope_of(host="localhost"), Settings(read_timeout_s=0.01), reads=2)
    assert refused.value.code == "too_slow"


def test_a_request_after_its_body_waits_for_the_client_to_leave():
    body = Body(b"a")
    _, first, second = answer(body, scope_of(host="localhost"), Settings(read_timeout_s=0.01), reads=2)
    assert (first["type"], second["type"]) == ("http.request", "http.disconnect")
