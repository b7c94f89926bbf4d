"""Requests by HTTP."""

from __future__ import annotations

import urllib.request
from contextlib import ExitStack

from sonjit.gestures.control import Command
from sonjit.gestures.outlets.sender import Sender, content_of, in_thread
from sonjit.gestures.targets import TIMEOUT_S


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handler that refuses redirects, because only addresses in the control map receive data."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow no redirect."""


def open_post(target: str, stack: ExitStack) -> Sender:
    """Open the outlet of an address."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def post(command: Command) -> None:
        data = content_of(command).encode()
        request = urllib.request.Request(target, data, {"Content-Type": "application/json"})
        with opener.open(request, timeout=TIMEOUT_S):
            pass

    return in_thread(f"post {target}", post, stack)
