"""Requests by HTTP."""

from __future__ import annotations

import urllib.request
from contextlib import ExitStack
from urllib.error import HTTPError, URLError

from sonjit.gestures.control import Command, Rule
from sonjit.gestures.outlets.sender import Sender, in_thread, with_environment
from sonjit.gestures.targets import TIMEOUT_S


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handler that refuses redirects, because only addresses in the control map receive data."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow no redirect."""


def open_post(rule: Rule, stack: ExitStack) -> Sender:
    """Open the outlet of the addresses of one state."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def post(command: Command) -> None:
        rule = command.rule
        headers = {"Content-Type": "text/plain" if isinstance(rule.payload, str) else "application/json"}
        headers |= {name: with_environment(value, "headers") for name, value in rule.headers.items()}
        request = urllib.request.Request(rule.target, command.text.encode(), headers)
        try:
            with opener.open(request, timeout=TIMEOUT_S):
                pass
        except HTTPError as error:
            if error.code in (502, 503, 504):  # the server starts, and did nothing
                raise
            raise RuntimeError(f"HTTP Error {error.code}: {error.reason}") from None
        except URLError:
            raise
        except OSError as error:  # the request was sent, so that another one could switch twice
            raise RuntimeError(f"no answer: {error or type(error).__name__}") from None

    return in_thread(f"post {rule.target}", post, stack)
