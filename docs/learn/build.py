"""Put the lessons' numbers into their pages: `<page>.md.in` and `numbers/*.json` become `<page>.md`.

    python docs/learn/build.py           # write the pages
    python docs/learn/build.py --check   # say which are not what the numbers make of them

`{{losses.steps_newton}}` in a page is that number of `numbers/losses.json`; a format may follow, `{{losses.loss:.3f}}`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
_PLACE = re.compile(r"\{\{(\w+)\.([\w.]+)(?::([^}]+))?\}\}")


def page(template: str, numbers: Path = HERE / "numbers") -> str:
    """The page's text.

    Raises:
        KeyError: there is no such number.
        FileNotFoundError: no such lesson.
    """

    def value(place: re.Match[str]) -> str:
        lesson, names, form = place.groups()
        found = json.loads((numbers / f"{lesson}.json").read_text("utf-8"))
        for name in names.split("."):
            found = found[name]
        return format(found, form or "")

    return _PLACE.sub(value, template)


def main(arguments: list[str]) -> int:
    """Write the pages or, with --check, compare them; 1 where one differs."""
    stale: list[str] = []
    for template in sorted(HERE.glob("*.md.in")):
        target, text = template.with_suffix(""), page(template.read_text("utf-8"))
        if arguments == ["--check"]:
            stale += [] if target.is_file() and target.read_text("utf-8") == text else [target.name]
        else:
            target.write_text(text, "utf-8")
    if stale:
        sys.stderr.write(f"{', '.join(stale)}: not what the numbers say; type: python docs/learn/build.py\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
