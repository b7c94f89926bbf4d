"""Complete the documentation site while MkDocs builds it: references, header, examples, and options in one line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from griffe import Extension, Object

import sonjit

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.nav import Navigation
    from mkdocs.structure.pages import Page

_SHELL = re.compile(r'(<div class="language-(?:sh|bash)\b.*?</div>)', re.DOTALL)
_OPTION = re.compile(r"(?<=[>\s])(--[a-z][\w-]*)(?=[<\s=])")
_EXAMPLE = re.compile(r"^(?P<indent>[ ]*)>>> .*?(?=\n[ ]*\n(?![ ]*>>>)|\Z)", re.DOTALL | re.MULTILINE)

_KOREAN = "ko/"
_INDEX = "search/search_index.json"


class Reference(Extension):
    """Enclose examples in docstrings in fences without directives of doctest."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrite the object's docstring."""
        if obj.docstring is not None:
            plain = re.sub(r"[ \t]*# doctest: .*", "", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(r"\g<indent>```pycon\n\g<0>\n\g<indent>```", plain)


def on_config(config: MkDocsConfig) -> None:
    """Set the version that the header shows."""
    config.extra["release"] = sonjit.__version__


def on_page_markdown(markdown: str, /, *, page: Page, **_: object) -> str:
    """Add the reference of all commands to the page of the command line."""
    if page.file.src_uri != "cli.md":
        return markdown
    sys.path.append(str(Path(__file__).parent))
    from options import cli

    return f"{markdown}\n{cli()}"


def on_page_context(context: dict[str, Any], /, *, page: Page, nav: Navigation, **_: object) -> dict[str, Any]:
    """Add the language of a page, and its address in the other language."""
    urls = {page.url for page in nav.pages}
    korean = page.url.startswith("ko/")
    context["page_language"] = "ko" if korean else "en"
    context["translation"] = twin(page.url, urls) or ("index.html" if korean else "ko/index.html")
    return context


def on_page_content(html: str, /, **_: object) -> str:
    """Keep each option in a shell block in one line, where a narrow screen wraps the command."""
    parts = _SHELL.split(html)
    parts[1::2] = [_OPTION.sub(r'<span class="option">\1</span>', part) for part in parts[1::2]]
    return "".join(parts)


def on_post_page(output: str, /, *, page: Page, **_: object) -> str:
    """Make Korean pages search the index of their own folder."""
    return output.replace('"base": ".."', '"base": "."', 1) if page.url.startswith(_KOREAN) else output


def on_post_build(*, config: MkDocsConfig) -> None:
    """Split the search index by language. Addresses of results are relative to the folder of an index."""
    folder = Path(config.site_dir)
    index = json.loads((folder / _INDEX).read_text("utf-8"))
    korean = [entry for entry in index["docs"] if entry["location"].startswith(_KOREAN)]
    _write_index(folder, index | {"docs": [entry for entry in index["docs"] if entry not in korean]})
    docs = [entry | {"location": entry["location"].removeprefix(_KOREAN)} for entry in korean]
    _write_index(folder / _KOREAN, index | {"docs": docs})


def _write_index(folder: Path, index: dict[str, Any]) -> None:
    """Write a search index, also as a script for pages that are opened as files."""
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    (folder / _INDEX).parent.mkdir(exist_ok=True)
    (folder / _INDEX).write_text(text, "utf-8")
    (folder / _INDEX).with_suffix(".js").write_text(f"var __index = {text}", "utf-8")


def twin(url: str, urls: set[str]) -> str | None:
    """Return the address of a page in the other language: of ko/x.md that of x.md or tutorials/x.md; None if none."""
    name = url.removeprefix("ko/") if url.startswith("ko/") else url.removeprefix("tutorials/")
    choices = [name, f"tutorials/{name}"] if url.startswith("ko/") else [f"ko/{name}"]
    return next((choice for choice in choices if choice in urls), None)
