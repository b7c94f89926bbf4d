"""A server with a token, whose page was opened by its plain address."""

import pytest

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .driver import Page, clear_storage

pytestmark = pytest.mark.browser


def test_the_page_asks_for_the_token_checks_it_and_keeps_it(browser, new_server):
    server = new_server("--token", "secret")
    browser.expected += ["/v1/kinds", "/v1/token"]  # refusals
    clear_storage(browser, server.url)
    browser.get(server.url)

    def find(name):
        return next(iter(browser.find_elements("id", name)), None)

    field = wait_until(lambda: find("token"), 30, lambda: "no field for the token")
    assert browser.switch_to.active_element == field
    seen = browser.find_element("tag name", "body").text
    assert not any(word in seen for word in ("Authorization", "Bearer", "#token"))
    field.send_keys("guess")
    find("token-send").click()
    wait_until(lambda: "not the token" in find("token-problem").text, 10, lambda: "a guess was accepted")
    field.clear()
    field.send_keys("secret")
    find("token-send").click()
    wait_until(lambda: find("token") is None, 10, lambda: "the token was refused")
    browser.refresh()
    wait_until(lambda: find("detector-hands"), 30, lambda: "the page forgot the token")
    page = Page.__new__(Page)
    page.browser = browser
    page.wait_until_ready()
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.stop()
