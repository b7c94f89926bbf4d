"""Write the tables of benchmarks into the pages of the documentation."""

import re
from datetime import date
from pathlib import Path

from sonjit.engines.devices import processor_name

DOCS = Path(__file__).parents[1] / "docs"


def read_section(page: str, command: str) -> str:
    """Return the text between the mark of a command and the next end mark of a page of `docs/`."""
    return _split(page, command)[1]


def write_section(page: str, command: str, text: str) -> None:
    """Replace the text between the mark of a command and the next end mark of a page of `docs/`."""
    before, _, after = _split(page, command)
    (DOCS / page).write_text(f"{before}\n\n{text.strip()}\n\n{after}", "utf-8")


def measured_with(command: str, threads: str = "one thread") -> str:
    """Return the line below a table: processor, threads, day and command."""
    return f"{processor_name()}, {threads}, {date.today()}; `{command}`."


def _split(page: str, command: str) -> tuple[str, str, str]:
    begin = f"<!-- {command} -->"
    before, mark, rest = (DOCS / page).read_text("utf-8").partition(begin)
    end = re.search(r"<!-- end[^>]*-->", rest)
    if not mark or end is None:
        raise SystemExit(f"docs/{page} has no section {begin}")
    return before + mark, rest[: end.start()], rest[end.start() :]
