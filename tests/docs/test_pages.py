"""Every page can be reached, every link has a target, and every code block runs."""

import ast
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

markdown = pytest.importorskip("markdown.extensions.toc", reason="the extra docs is not installed")

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md"))]
)
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.*::.*) \|$", (PROJECT / "SECURITY.md").read_text("utf-8"), re.MULTILINE)
TABLES = PROJECT.joinpath("SECURITY.md").read_text("utf-8").partition("## Server")[2].partition("## Removed files")[0]
LANGUAGES = {"sh", "python", "text", "json", "toml", "js", "html", "csv", "nginx", "{.python}"}
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?(?P<indent>^[ ]*)```(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)|<(?:img|source|video)[^>]* src=\"([^\"]+)\"")
_RECORD = """
command_not_found_handle() { printf '%s\\x1f' "$@"; printf '\\x1e'; }
cd() { :; }; export() { builtin export "$@"; }
"""


@dataclass(frozen=True)
class Block:
    """Code block of a page, with its position, and the reason if it is not run."""

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(PROJECT)}:{self.line}"

    def commands(self) -> list[list[str]]:
        """Return the commands of a block in order, with variables, quotes and continued lines as in a shell."""
        answer = subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-u", "-c", _RECORD + self.code],
            capture_output=True, text=True, check=False, env={"PATH": "/nowhere", "HOME": os.environ.get("HOME", "/")},
        )  # fmt: skip
        assert not answer.stderr, f"{self.place}: {answer.stderr}"
        return [call.split("\x1f")[:-1] for call in answer.stdout.split("\x1e")[:-1]]


def blocks_of(page: Path) -> list[Block]:
    """Return all blocks of a page in order."""
    text = page.read_text("utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        indent = len(match["indent"])
        code = "".join(line[indent:] for line in match["code"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(Block(page, line, match["language"].split(" ")[0], code, match["why"]))
    return found


def links_of(page: Path) -> list[str]:
    """Return the targets of the links and images of a page."""
    prose = _BLOCK.sub("", page.read_text("utf-8"))
    return [first or second for first, second in _LINK.findall(re.sub(r"`[^`\n]*`", "", prose))]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as Markdown's table of contents names them."""
    prose = _BLOCK.sub("", page.read_text("utf-8"))
    known: set[str] = set()
    for title, named in re.findall(r"^#+ (.*?)(?:\s*\{#([\w-]+)\})?$", prose, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        markdown.unique(named or markdown.slugify(plain, "-"), known)
    return known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere_and_blocks_name_their_language(page):
    for link in links_of(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), f"{page.name} leads to {link}, which is not there"
        if DOCS in page.parents:
            assert DOCS in target.parents, f"{page.name} leads to {link}, outside of the site"
        if anchor and not anchor.startswith("sonjit"):  # anchors of the API are checked by the build
            assert anchor in anchors_of(target), f"{page.name} leads to {link}: no such heading"
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"{block.place}: {block.language or 'no language'}"


def test_every_page_is_in_the_navigation_and_every_image_is_shown():
    navigation = (PROJECT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"([\w/.-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents)
    linked = {(page.parent / link).resolve() for page in PAGES for link in links_of(page)}
    assert [image.name for image in (DOCS / "images").iterdir() if image not in linked] == []
    for image in linked:
        assert image.suffix not in (".png", ".jpg", ".webp") or image.stat().st_size < 500_000, image.name


def functions_of(name):
    """Return the names of the test functions in all test files of a name, including those of classes."""
    files = [path for folder in ("tests", "lab/tests", "studio/tests") for path in PROJECT.glob(f"{folder}/**/{name}")]
    trees = [ast.parse(path.read_text("utf-8")) for path in files]
    return [one.name for tree in trees for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]


def test_every_protection_has_a_test():
    rows = [line for line in TABLES.splitlines() if line.startswith("| ") and not line.startswith("| threat ")]
    assert len(rows) == len(ROWS) > 35


def test_every_named_test_exists():
    named = [re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", one) for *_, cell in ROWS for one in cell.split("<br>")]
    assert all(named)
    assert [one[0] for one in named if functions_of(one[1]).count(one[2]) != 1] == []
