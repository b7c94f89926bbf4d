"""A server with a token, whose page was opened by its plain address."""

import pytest

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .driver import Page, clear_storage

pytestmark = pytest.mark.browser


def find(browser, name):
    return next(iter(browser.find_elements("id", name)), None)


def give_token(browser, token):
    """Type a token into the field, when there is one, and send it."""
    field = wait_until(lambda: find(browser, "token"), 30, lambda: "no field for the token")
    field.clear()
    field.send_keys(token)
    find(browser, "token-send").click()


def test_the_page_asks_for_the_token_checks_it_and_keeps_it(browser, new_server):
    server = new_server("--token", "secret")
    browser.expected += ["/v1/kinds", "/v1/token"]  # refusals
    clear_storage(browser, server.url)
    browser.get(server.url)

    field = wait_until(lambda: find(browser, "token"), 30, lambda: "no field for the token")
    assert browser.switch_to.active_element == field
    seen = browser.find_element("tag name", "body").text
    assert not any(word in seen for word in ("Authorization", "Bearer", "#token"))
    give_token(browser, "guess")
    wait_until(lambda: "not the token" in find(browser, "token-problem").text, 10, lambda: "a guess was accepted")
    give_token(browser, "secret")
    wait_until(lambda: find(browser, "token") is None, 10, lambda: "the token was refused")
    browser.refresh()
    wait_until(lambda: find(browser, "detector-hands"), 30, lambda: "the page forgot the token")
    page = Page.__new__(Page)
    page.browser = browser
    page.wait_until_ready()
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.stop()


@pytest.mark.nightly
def test_the_page_of_the_endpoints_asks_for_the_token_and_speaks_korean(browser, new_server, images):
    server = new_server("--token", "secret")
    browser.expected += ["/v1/kinds"]  # a refusal
    clear_storage(browser, server.url)
    browser.get(f"{server.url}/docs")
    give_token(browser, "secret")
    wait_until(lambda: find(browser, "token") is None, 10, lambda: "the token was refused")
    page = Page.__new__(Page)
    page.browser = browser
    page.wait_until_ready()
    page.choose("language", "ko")
    page["image"].send_keys(str(images / "1.png"))
    browser.find_element("css selector", "#try button").click()
    page.wait(lambda: "handedness" in page["answer"].text, "an answer")
    assert "ms 만에 응답했습니다" in page["state"].text
    page.choose("language", "en")
