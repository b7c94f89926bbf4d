"""The site builds without warnings, contacts no other host, and its search works offline."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sonjit

pytest.importorskip("mkdocs", reason="the extra docs is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
PROJECT = Path(__file__).parents[2]
_LOADED = re.compile(
    r'<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\ssrc="([^"]*)"'
    r'|<link\b[^>]*?rel="(?:stylesheet|preload|icon|modulepreload|manifest|preconnect|dns-prefetch)"[^>]*?href="([^"]*)"'
    r'|<link\b[^>]*?href="([^"]*)"[^>]*?rel="(?:stylesheet|preload|icon|modulepreload|manifest|preconnect|dns-prefetch)"'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_no_other_host_is_contacted(site):
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]  # which a server gives, from its root
    assert len(pages) > 40
    for page in pages:
        loaded = [one for found in _LOADED.findall(page.read_text("utf-8")) for one in found if one]
        assert loaded
        for place in loaded:
            assert not re.match(r"(\w+:)?//", place) or place.startswith("data:"), f"{page.name} loads {place}"
            if not place.startswith("data:"):
                assert (page.parent / place.partition("?")[0]).exists(), (
                    f"{page.name} loads {place}, which is not there"
                )
    for style in site.rglob("*.css"):
        outside = re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^)\"']+)", style.read_text("utf-8"))
        assert not outside, f"{style.name} loads {outside}"


def test_the_search_index_is_next_to_the_pages_in_both_languages(site):
    """Check the search index as a script, because pages opened as files can only read scripts."""
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    assert index["config"]["lang"] == ["en", "ko"]
    assert (site / "search" / "search_index.js").is_file()
    titles = {entry["title"] for entry in index["docs"]}
    assert {"Measures", "create_detector"} <= titles


def test_each_language_has_its_own_search_index(site):
    english, korean = (
        json.loads((site / folder / "search" / "search_index.json").read_text("utf-8"))["docs"] for folder in ("", "ko")
    )
    assert not [entry["location"] for entry in english if entry["location"].startswith("ko/")]
    assert len(korean) > 100
    for folder, entries in ((site, english), (site / "ko", korean)):
        pages = {folder / entry["location"].partition("#")[0] for entry in entries}
        assert [page for page in pages if not page.is_file()] == []
        assert (folder / "search" / "search_index.js").stat().st_size > 10_000
    hangul = [bool(re.search("[가-힣]", entry["title"] + entry["text"])) for entry in korean]
    assert sum(hangul) > 0.9 * len(hangul)


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome"))):
        pytest.skip("no chromium and chromedriver")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        yield driver


@pytest.mark.browser
@pytest.mark.parametrize(
    ("page", "query", "first"),
    [
        ("index", "pinch", "measures"),
        ("index", "create_detector", "create_detector"),
        ("tutorials/maker", "resume", "many files"),
        ("ko/index", "손가락", "손가락"),
        ("ko/coach", "Python", "python"),
    ],
)
def test_a_page_opened_as_a_file_can_be_searched_in_its_language(site, browser, page, query, first):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get("about:blank")
    browser.get((site / f"{page}.html").as_uri())
    browser.find_element("css selector", "label[for=__search]").click()
    browser.find_element("css selector", "[data-md-component=search-query]").send_keys(query)
    found = WebDriverWait(browser, 60).until(
        lambda b: [
            element.text for element in b.find_elements("css selector", ".md-search-result__item") if element.text
        ]
    )
    assert any(first.lower() in text.lower() for text in found), found
    links = [link.get_attribute("href") for link in browser.find_elements("css selector", ".md-search-result__link")]
    assert {"/ko/" in link for link in links} == {page.startswith("ko/")}
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.browser
@pytest.mark.parametrize(
    ("english", "korean"), [("index", "index"), ("install", "install"), ("tutorials/maker", "maker")]
)
def test_header_links_a_page_opened_as_a_file_to_its_translation_and_to_the_changelog(site, browser, english, korean):
    english_page, korean_page = ((site / f"{name}.html").as_uri() for name in (english, f"ko/{korean}"))
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(english_page)
    for language, address in (("ko", korean_page), ("en", english_page)):
        browser.find_element("css selector", f".site-switch [hreflang={language}]").click()
        assert browser.current_url == address
        assert browser.find_element("css selector", "html").get_attribute("lang") == language
    assert browser.find_element("css selector", ".site-switch").text.split()[0] == sonjit.__version__
    browser.find_element("css selector", ".site-switch a").click()
    assert browser.current_url == (site / "changelog.html").as_uri()
    assert sonjit.__version__ in browser.find_element("css selector", "h2").text
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_every_public_name_is_in_the_reference(site):
    text = (site / "api" / "index.html").read_text("utf-8")
    assert [name for name in sonjit.__all__ if name != "__version__" and f'id="sonjit.{name}"' not in text] == []
    assert 'id="sonjit.Results.show"' in text
