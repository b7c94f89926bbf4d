"""The live app below a path of a reverse proxy."""

import socket

import pytest

from ..server.test_root_path import PREFIX, Proxy  # noqa: TID252  # one proxy for all packages
from .driver import Page

pytestmark = pytest.mark.browser


class Local:
    """Server of the tests of pages, to which a proxy connects."""

    port = None

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


def test_the_app_works_below_a_path(browser, new_server):
    local = Local()
    proxy = Proxy(local, strips=True)
    site = f"http://127.0.0.1:{proxy.port}"
    server = new_server("--root-path", PREFIX, "--allow-origin", site, "--token", "secret")
    local.port = server.port
    try:
        page = Page(browser, f"{site}{PREFIX}/#token=secret")
        page.click("source-sample")
        page.wait(lambda: page.latest.get("hands") and page.ink, "drawn hands")
        page.stop()
        for other in ("docs", "annotate/"):
            browser.get(f"{site}{PREFIX}/{other}")
            loaded = browser.execute_script("return performance.getEntriesByType('resource').map(({name}) => name)")
            assert loaded
            assert all(name.startswith(f"{site}{PREFIX}/") for name in loaded)
    finally:
        browser.get("about:blank")  # the annotation page would ask the closed proxy
        proxy.close()
