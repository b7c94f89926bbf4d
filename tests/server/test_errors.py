"""Errors of endpoints: their status, their one line, and what closes the connection."""

import asyncio

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from sonjit._util.errors import InputError, JobError
from sonjit.server.errors import STATUS, RefusedError, answer_errors, refusal_from

STATUSES = {
    400: {"bad_option"},
    401: {"no_token"},
    403: {"bad_origin"},
    404: {"not_found"},
    408: {"too_slow"},
    409: {"conflict"},
    413: {"too_large", "too_many_pixels"},
    422: {"bad_image"},
    500: {"failed"},
    503: {"busy", "missing_weights"},
}
CLOSING = {"too_large", "too_slow", "busy"}


@pytest.mark.parametrize("status", STATUSES)
def test_each_code_has_a_status_and_some_close_the_connection(status):
    assert {code for code in STATUS if STATUS[code] == status} == STATUSES[status]
    for code in STATUSES[status]:
        response = RefusedError(code, "two\n  lines").response()
        assert response.status_code == status
        assert response.body == b'{"error":{"code":"%s","message":"two lines"}}' % code.encode()
        assert (response.headers.get("connection") == "close") == (code in CLOSING)


@pytest.mark.parametrize(
    ("error", "code", "found"),
    [
        (RefusedError("busy", "wait"), None, ("busy", "wait")),
        (RefusedError("busy", "wait"), "bad_image", ("busy", "wait")),
        (InputError("wrong"), None, ("bad_option", "wrong")),
        (InputError("wrong"), "bad_image", ("bad_image", "wrong")),
        (JobError("broken"), None, ("failed", "broken")),
        (JobError("broken"), "bad_image", ("bad_image", "broken")),
        (ValueError("secret"), None, ("failed", "the server failed (ValueError). See its output for details")),
        (ValueError("secret"), "bad_image", ("failed", "the server failed (ValueError). See its output for details")),
    ],
)
def test_any_error_is_a_refusal_and_only_those_of_the_server_are_logged(caplog, error, code, found):
    refused = refusal_from(error, code)
    assert (refused.code, str(refused)) == found
    assert ("ValueError: secret" in caplog.text) == (type(error) is ValueError)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (HTTPException(400, "no form"), 400, "no form"),
        (HTTPException(403, "no form"), 400, "no form"),
        (HTTPException(404, "x"), 404, "no endpoint GET /x; /docs lists them"),
        (HTTPException(405, "x"), 404, "no endpoint GET /x; /docs lists them"),
        (HTTPException(406, "no form"), 400, "no form"),
        (RefusedError("busy", "wait"), 503, "wait"),
        (ValueError("secret"), 500, "the server failed (ValueError)"),
        (ClientDisconnect(), 400, None),
    ],
)
def test_an_endpoint_answers_any_error_in_one_form(error, status, says):
    app = FastAPI()
    answer_errors(app)

    @app.get("/x")
    async def fail():
        await asyncio.sleep(0)
        raise error

    response = TestClient(app, raise_server_exceptions=False).get("/x")
    assert response.status_code == status
    if says is None:
        assert response.content == b""
    else:
        assert says in response.json()["error"]["message"]
