"""Errors of endpoints: a code, an HTTP status and one line with the reason and the remedy."""

import logging
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from sonjit._util import InputError, SonjitError
from sonjit._util.extras import without_command

STATUS = {
    "bad_option": 400,
    "no_token": 401,
    "bad_origin": 403,
    "not_found": 404,
    "too_slow": 408,
    "conflict": 409,
    "too_large": 413,
    "too_many_pixels": 413,
    "bad_image": 422,
    "failed": 500,
    "busy": 503,
    "missing_weights": 503,
}
"""The HTTP status of each code."""
_LOG = logging.getLogger("sonjit.server")


class RefusedError(SonjitError):
    """A request that an endpoint refuses. The client reads its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(without_command(" ".join(message.split())))
        self.code = code

    def to_dict(self) -> dict[str, str]:
        """Return `{"code", "message"}`."""
        return {"code": self.code, "message": str(self)}

    def response(self) -> JSONResponse:
        """Return the HTTP response. It does not wait for the rest of the request."""
        headers = {"connection": "close"} if self.code in ("too_large", "too_slow", "busy") else None
        return JSONResponse({"error": self.to_dict()}, STATUS[self.code], headers)


def refusal_from(error: Exception, code: str | None = None) -> RefusedError:
    """Convert any error to a refusal: Sonjit's with the code, or by default `bad_option` for an InputError or `failed`.

    Other errors are logged as failures of the server.
    """
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, SonjitError):
        return RefusedError(code or ("bad_option" if isinstance(error, InputError) else "failed"), str(error))
    _LOG.error("%s: %s", type(error).__name__, error, exc_info=error)
    return RefusedError("failed", f"the server failed ({type(error).__name__}). See its output for details")


def answer_errors(app: FastAPI) -> None:
    """Register handlers so that all errors of an app have the same form."""

    async def refuse(_: Request, error: Exception) -> Response:
        return refusal_from(error).response()

    async def no_endpoint(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code not in (404, 405):
            return RefusedError("bad_option", str(error.detail)).response()
        return RefusedError(
            "not_found", f"no endpoint {request.method} {request.url.path}; /docs lists them"
        ).response()

    async def wrong_parameter(_: Request, error: Exception) -> Response:
        first = cast("RequestValidationError", error).errors()[0]
        return RefusedError("bad_option", f"{first['loc'][-1]}: {first['msg']}").response()

    async def left(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # the client has left

    app.add_exception_handler(SonjitError, refuse)
    app.add_exception_handler(HTTPException, no_endpoint)
    app.add_exception_handler(RequestValidationError, wrong_parameter)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, refuse)
