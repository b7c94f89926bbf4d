"""Answers of the server to bare requests are those stored, so that no client meets another one without notice."""

import re

import pytest

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

KEPT = ("cache-control", "content-type", "retry-after", "www-authenticate", "allow", "vary", "set-cookie")
CHANGING = ("version", "id", "ended", "missing", "kinds", "in_page")  # differ between runs and installations
BOUNDS = (
    "name",
    "default",
    "type",
    "required",
    "$ref",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
)


def plain_answer(response):
    """Return status, headers and content of a response, of errors their code."""
    headers = {name: response.headers[name] for name in KEPT if name in response.headers}
    headers = {name: re.sub("[0-9a-f]{32}", "ID", text) for name, text in headers.items()}
    is_json = headers.get("content-type", "").startswith("application/json")
    content = response.json() if is_json else None
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name not in CHANGING}
        content = content["error"]["code"] if "error" in content else content
    return {"status": response.status_code, "headers": headers, "content": content}


@pytest.fixture
def schema(ask):
    return ask().get("/openapi.json").json()


def bounds_of(value):
    """Return the names, types, defaults and bounds in a part of the schema, without words that its library adds."""
    if isinstance(value, list):
        return [bounds_of(one) for one in value]
    if not isinstance(value, dict):
        return None
    own = {name: value[name] for name in BOUNDS if name in value}
    inner = {name: bounds_of(one) for name, one in value.items() if isinstance(one, dict | list) and name not in own}
    return own | {name: one for name, one in inner.items() if one}


def test_the_schema_is_as_stored(schema):
    assert_as_stored("server.schema", {"addresses": sorted(schema["paths"]), "bounds": bounds_of(schema)})


def test_each_endpoint_answers_a_bare_request_as_stored(ask, schema):
    client, answers = ask(), {}
    for path, methods in sorted(schema["paths"].items()):
        for method in sorted(set(methods) & {"get", "post", "put", "delete", "patch", "head"}):
            address = re.sub(r"\{\w+\}", "hands" if "detect" in path else "0", path)
            answers[f"{method} {path}"] = plain_answer(client.request(method, address))
    assert_as_stored("server.bare", answers)
