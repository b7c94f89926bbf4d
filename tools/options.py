"""Put the tables of kinds and options into `docs/options.md`, from the records that the program itself reads.

python tools/options.py           # write the page
python tools/options.py --check   # say whether it is what the records make of it
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.detectors.kinds import KINDS, options_of
from sonjit.detectors.options import OPTIONS
from sonjit.server.options import known_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sonjit.detectors.options import Option

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
_SECTION = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def kinds() -> str:
    """A row per kind."""
    rows = [
        (
            f"`{entry.name}`",
            ", ".join(f"`{model}`" for model in entry.models),
            str(entry.max_instances),
            f"`{entry.stream_smoothing}`",
            ", ".join(f"`{group}`" for group in entry.weight_groups),
            entry.model_help,
        )
        for entry in KINDS.values()
    ]
    return _table(("kind", "models, default first", "instances", "smoothing of streams", "weights to pull", ""), rows)


def detectors() -> str:
    """A row per option of detectors."""
    rows = [
        (
            f"`{one.name}`",
            one.type,
            _default(one),
            _values(one),
            "all" if one.kinds is None else ", ".join(one.kinds),
            f"`--{one.name.replace('_', '-')}`" if one.command_line else "",
            _server(one),
            one.help,
        )
        for one in OPTIONS
    ]
    return _table(("option", "type", "default", "values", "kinds", "command line", "server", "what it does"), rows)


def server() -> str:
    """A row per option that the server has besides those of detectors."""
    found: dict[str, Option] = {}
    for kind, entry in KINDS.items():
        found |= {name: one for name, one in known_options(kind).items() if name not in options_of(entry)}
    rows = [
        (f"`{one.name}`", one.type, _default(one), "all" if one.kinds is None else ", ".join(one.kinds), one.help)
        for one in found.values()
    ]
    return _table(("option", "type", "default", "kinds", "what it does"), rows)


SECTIONS: dict[str, Callable[[], str]] = {"kinds": kinds, "detectors": detectors, "server": server}


def page(text: str) -> str:
    """The page's text with its marked sections made anew."""
    return _SECTION.sub(lambda found: found[1] + SECTIONS[found[2]]() + found[3], text)


def _default(option: Option) -> str:
    if option.default is not None:
        return f"`{str(option.default).lower() if option.type == 'boolean' else option.default}`"
    return "by kind" if option.name in ("model", "max_instances") else ""


def _values(option: Option) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.minimum is None:
        return ""
    return f"{option.minimum:g} to {option.maximum:g}" if option.maximum is not None else f"{option.minimum:g} or more"


def _server(option: Option) -> str:
    if not option.remote:
        return ""
    return "yes" if option.remote_maximum is None else f"to {option.remote_maximum:,.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Write the page or, with --check, compare it; 1 where it differs."""
    old = PAGE.read_text("utf-8")
    new = page(old)
    if arguments == ["--check"]:
        if new != old:
            sys.stderr.write("docs/options.md: not what the records of options say; type: make docs\n")
        return int(new != old)
    PAGE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
