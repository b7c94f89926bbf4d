"""Convert examples in docstrings, lines that begin with `>>>`, to code blocks for the documentation site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from griffe import Extension

if TYPE_CHECKING:
    from griffe import Object

_EXAMPLE = re.compile(r"^(?P<indent>[ ]*)>>> .*?(?=\n[ ]*\n(?![ ]*>>>)|\Z)", re.DOTALL | re.MULTILINE)


class DocstringExamples(Extension):
    """Extension that encloses each example in fences and removes doctest directives."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrite the object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(example: re.Match[str]) -> str:
    indent, code = example["indent"], re.sub(r"\s*# doctest: .*", "", example[0])
    return f"{indent}```pycon\n{code.rstrip()}\n{indent}```"
