"""Access control: hosts, origins, the token, and security headers."""

import pytest
from starlette.testclient import TestClient

from sonjit import InputError
from sonjit.server.app import create_app
from sonjit.server.errors import RefusedError
from sonjit.server.options import load_json
from sonjit.server.settings import Settings

from .conftest import LITE, configure, open_stream, refusal


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST:1", "192.168.0.7"])
def test_hosts_that_are_this_machine(host, ask):
    assert ask().get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "[", "a b"])
def test_other_names_that_lead_here_are_refused(host, ask):
    client = ask()
    refusal(client.get("/healthz", headers={"host": host}), 403, "bad_origin")
    refusal(client.get("/", headers={"host": host}), 403, "bad_origin")


def test_a_server_on_all_addresses_accepts_any_host_name_and_requires_the_token(ask):
    client = ask(host="0.0.0.0", token="secret")
    named = {"host": "laptop.local:8765", "origin": "http://laptop.local:8765"}
    refusal(client.get("/healthz", headers=named), 401, "no_token")
    named["authorization"] = "Bearer secret"
    assert client.get("/healthz", headers=named).status_code == 200
    refusal(client.get("/healthz", headers=named | {"origin": "http://evil.example"}), 403, "bad_origin")


@pytest.mark.slow
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9", "http://127.0.0.1.evil.example", ""]
)
def test_pages_of_other_origins_are_refused(origin, ask, listen):
    client = ask(allow_origins=("http://friend.example:3000",))
    for call in ("GET /healthz", "POST /v1/hands", "POST /v1/jobs", "DELETE /v1/jobs/1"):
        refusal(client.request(*call.split(), headers={"origin": origin}), 403, "bad_origin")
    with open_stream(listen(), origin=origin) as socket:
        closed = socket.end()
    assert closed.code == 1008
    assert "--allow-origin" in closed.reason


def test_a_image_or_form_on_another_site_is_refused_and_a_link_is_not(ask):
    client = ask()
    refusal(
        client.get("/healthz", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}), 403, "bad_origin"
    )
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/healthz", headers=link).status_code == 200
    refusal(client.post("/v1/jobs", headers=link), 403, "bad_origin")  # some browsers name no origin
    refusal(client.post("/v1/jobs", headers=link | {"origin": "https://evil.example"}), 403, "bad_origin")


def test_allowed_origins_get_cors_headers(ask):
    friend = "http://friend.example:3000"
    client = ask(allow_origins=(friend,), token="secret")
    headers = {
        "origin": friend,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    preflight = client.options("/v1/hands", headers=headers)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == friend
    refused = client.get("/healthz", headers={"origin": friend})
    refusal(refused, 401, "no_token")
    assert refused.headers["access-control-allow-origin"] == friend  # else the page could not read why
    assert "access-control-allow-origin" not in client.get("/healthz").headers


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost", "ionic://localhost", "tauri://localhost", "null", "http://localhost:5173",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://12345678-1234-1234-1234-123456789abc",
    ],
)  # fmt: skip
def test_apps_and_extensions_can_be_allowed(origin, ask, listen):
    client, headers = ask(allow_origins=(origin,), token="secret"), {"origin": origin, "authorization": "Bearer secret"}
    asked = {"origin": origin, "access-control-request-method": "POST"}
    assert client.options("/v1/hands", headers=asked).headers["access-control-allow-origin"] == origin
    assert client.get("/v1/kinds", headers=headers).headers["access-control-allow-origin"] == origin
    refusal(client.get("/v1/kinds", headers={"origin": origin}), 401, "no_token")
    refusal(client.get("/v1/kinds", headers=headers | {"origin": origin + "x"}), 403, "bad_origin")
    with open_stream(listen(allow_origins=(origin,)), origin=origin) as socket:
        assert configure(socket)[-1]["type"] == "ready"


def test_frames_of_any_site_without_a_token_are_a_warning(caplog):
    Settings(allow_origins=("null",), token="secret")
    assert caplog.text == ""
    Settings(allow_origins=("null",))
    assert "--allow-origin null allows frames of any site" in caplog.text


@pytest.mark.parametrize("path", ["/healthz", "/v1/jobs"])
def test_every_call_has_the_token(path, ask):
    client = ask(token="s&cret 1")
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s&cret 1"}):
        refusal(client.get(path, headers=headers), 401, "no_token")
    assert client.get(path, headers={"authorization": "Bearer s&cret 1"}).status_code == 200
    refusal(client.get(path, params={"token": "s&cret 1"}), 401, "no_token")  # logs keep addresses
    assert client.get("/skeletons/hand_mediapipe21.json").status_code == 200  # the same in every installation


def test_the_token_of_a_stream(listen):
    live = listen(token="secret", allow_origins=("http://friend.example:3000",))
    for shown in ({}, {"headers": {"authorization": "Bearer wrong"}}, {"subprotocols": ["sonjit", "sonjit.token.c2"]}):
        with open_stream(live, **shown) as socket:
            closed = socket.end()
        assert closed.code == 1008
        assert "token" in closed.reason
    for origin in (f"http://127.0.0.1:{live.port}", "http://friend.example:3000", None):
        with open_stream(live, origin=origin, headers={"authorization": "Bearer secret"}) as socket:
            assert configure(socket)[-1]["type"] == "ready"
    with open_stream(live, subprotocols=["sonjit", "sonjit.token.c2VjcmV0"]) as socket:  # as pages show it
        assert configure(socket)[-1]["type"] == "ready"


def test_a_browser_that_showed_the_token_keeps_a_cookie_that_does_not_hold_it(ask):
    client = ask(token="s&cret 1")
    refusal(client.post("/v1/token"), 401, "no_token")
    kept = client.post("/v1/token", headers={"authorization": "Bearer s&cret 1"})
    assert kept.status_code == 204
    cookie = kept.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "sonjit_token_80="))
    assert "cret" not in cookie
    assert client.get("/healthz").status_code == 200
    assert client.get("/manifest.webmanifest").json()["start_url"] == "./#token=s%26cret%201"
    other = ask(token="another")
    other.cookies = client.cookies
    refusal(other.get("/healthz"), 401, "no_token")
    assert "token" not in ask().get("/manifest.webmanifest").text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "--token"), ({"host": "192.168.0.7"}, "--token"), ({"token": ""}, "--token"),
        ({"token": "손"}, "--token"), ({"allow_origins": ("friend.example",)}, "friend.example"),
        ({"allow_origins": ("http://friend.example/",)}, "friend.example"),
        ({"allow_origins": ("http://friend.example:port",)}, "--allow-origin"), ({"max_clients": 0}, "--max-clients 0"),
        ({"read_timeout_s": -1.0}, "--read-timeout -1"), ({"max_megapixels": float("nan")}, "--max-megapixels"),
        ({"max_megapixels": float("inf")}, "--max-megapixels inf: give more than 0 and at most"),
        ({"max_body_mb": float("inf")}, "give more than 0 and at most"),
        ({"workers": 100_000}, "give more than 0 and at most"),
        ({"idle_minutes": 0}, "give more than 0 and at most"), ({"queue": 10**10}, "give more than 0 and at most"),
        ({"max_models": -1}, "--max-models"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


@pytest.mark.parametrize("name", ["workers", *Settings().limits()])
def test_limits_are_taken_up_to_their_maximum(name):
    most = 1024 if name == "workers" else 1_000_000_000
    for value in (1, most):
        assert getattr(Settings(**{name: value}), name) == value
    for value in (0, most + 1):
        with pytest.raises(InputError, match=f"--{name.removesuffix('_s').replace('_', '-')} {value}: give more than"):
            Settings(**{name: value})


def test_sizes_of_settings_are_in_bytes_and_pixels_and_origins_have_a_scheme_and_a_name():
    settings = Settings(max_body_mb=1.5, max_megapixels=0.25, max_models=0, allow_origins=("http://a:80", "https://b"))
    assert (settings.max_body_bytes, settings.max_pixels) == (1_500_000, 250_000)
    assert {"workers", "max_models"}.isdisjoint(settings.limits())
    for origin in (
        "http://",
        "a",
        "ftp://a",
        "file:///a",
        "http://a/b",
        "https://a?b",
        "https://b@a",
        "https://*.a",
        "*",
        "Null",
        "",
    ):
        with pytest.raises(InputError, match="give scheme, name and port"):
            Settings(allow_origins=(origin,))


def test_every_answer_is_strict_with_browsers(ask):
    client = ask()
    for path in ("/healthz", "/nothing-here", "/skeletons/hand_mediapipe21.json", "/openapi.json"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "connect-src 'self' ws://127.0.0.1 wss://127.0.0.1;" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_host_is_no_way_into_the_policy(ask):
    client = ask(host="0.0.0.0", token="secret")
    policy = client.get("/", headers={"host": "a;script-src *"}).headers["content-security-policy"]
    assert "*" not in policy


def test_endpoints_that_are_not_there_are_reported(ask, tmp_path):
    client = ask()
    for method, path in (("GET", "/v1/hands"), ("POST", "/v1/tails"), ("GET", "/../settings.py"), ("PUT", "/healthz")):
        refusal(client.request(method, path), 404, "not_found")
    refusal(client.get("/skeletons/tail.json"), 404, "not_found")
    for path in ("/skeletons/..%2F__init__.json", "/%2e%2e/app.py", "/..%2f..%2fapp.py", "/engine/%2e%2e/package.json"):
        assert client.get(path).status_code == 404
    with TestClient(create_app(engine=tmp_path / "dist"), "http://127.0.0.1", raise_server_exceptions=False) as unbuilt:
        refusal(unbuilt.get("/engine/sonjit-web.js"), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/sonjit-client.js", "text/javascript"), ("/docs", "text/html"), ("/sample.mp4", "video/mp4"),
     ("/api.js", "text/javascript"), ("/skeletons/hand_mediapipe21.json", "application/json")],
)  # fmt: skip
def test_files_have_their_type_and_are_kept_by_browsers_only_while_they_are_the_same(path, kind, ask):
    client = ask()
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["etag"]


RULE = '[[rule]]\non = "Clap"\nkey = "right"\n'


@pytest.mark.parametrize(
    ("text", "status", "code", "says"),
    [
        (".".join(["a"] * 20_000) + "=1", 400, "bad_option", "more than 32 parts (at line 1)"),
        (RULE + "[" + ".".join(['"a b"'] * 100) + "]", 400, "bad_option", "more than 32 parts (at line 4)"),
        ("x = " + "[" * 50_000, 400, "bad_option", "more than 32 deep"),
        ("x = " + "{a=" * 20_000, 400, "bad_option", "more than 32 deep"),
        ("#" * 70_000, 413, "too_large", "more than 64000 characters"),
    ],
)
def test_a_map_is_bounded(ask, text, status, code, says):
    assert says in refusal(ask().post("/v1/control", content=text), status, code)


def test_a_number_of_many_digits_is_refused_in_one_line(ask):
    message = refusal(ask().post("/v1/control", content=f"{RULE}x = {'9' * 5000}"), 400, "bad_option")
    assert "damaged or not TOML" in message


def test_the_map_of_a_stream_is_bounded_as_well(weights, listen):
    with open_stream(listen()) as socket:
        error = configure(socket, LITE, control=".".join(["a"] * 20_000) + "=1")[-1]
    assert (error["type"], "more than 32 parts" in error["message"]) == ("error", True)


def test_json_of_many_small_values_is_refused(ask):
    body = b'{"recordings":[' + b"{}," * 600_000 + b"{}]}"
    assert "lists and objects" in refusal(ask().post("/v1/gestures/train", content=body), 413, "too_large")
    with pytest.raises(RefusedError, match="lists and objects"):
        load_json("[]" * 500_001, "text")
