"""The Korean pages have the sections, commands and programs of their originals, and use the words of the glossary."""

import re

import pytest

from .test_blocks import translated_from
from .test_pages import DOCS, blocks_of, links_of

KOREAN = sorted((DOCS / "ko").glob("*.md"))
_COMMENT = {"sh": r"\s+#.*", "python": r"\s+#.*", "js": r"\s*// .*"}


def code_of(page):
    """Return the code blocks of a page without comments, which are translated."""
    return [
        (block.language, re.sub(_COMMENT.get(block.language, r"\Z"), "", block.code).rstrip())
        for block in blocks_of(page)
    ]


def levels_of(page):
    """Return the levels of the headings of a page in order."""
    prose = re.sub(r"^([ ]*)```.*?^\1```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]


@pytest.mark.parametrize("page", KOREAN, ids=lambda page: page.stem)
def test_sections_and_code_are_those_of_the_english_page(page):
    original = translated_from(page)
    assert code_of(page) == code_of(original)
    assert levels_of(page) == levels_of(original)


@pytest.mark.parametrize("page", KOREAN, ids=lambda page: page.stem)
def test_images_are_those_of_the_english_page(page):
    def images(one):
        return [link.rpartition("/")[2] for link in links_of(one) if "images/" in link]

    assert images(page) == images(translated_from(page))


def test_start_and_all_tutorials_are_translated():
    names = [page.name for page in (DOCS / "tutorials").glob("*.md")]
    names += ["index.md", "install.md", "gallery.md", "comparison.md", "troubleshooting.md"]
    assert sorted(names) == sorted(page.name for page in KOREAN)


@pytest.mark.parametrize("page", KOREAN, ids=lambda page: page.stem)
def test_words_are_those_of_the_glossary(page):
    """Gestures are 제스처, as 손짓 is the product; keypoints are 키포인트; instructions end in -세요."""
    text = page.read_text("utf-8")
    assert re.findall(r"관절점|랜드마크|주석을|십시오|손짓을? (?:인식|학습|분류)", text) == []
