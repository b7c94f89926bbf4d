"""Write the tables of benchmarks into the pages of the documentation."""

import re
from datetime import date
from pathlib import Path

from sonjit.engines.devices import processor_name

DOCS = Path(__file__).parents[1] / "docs"


def write_section(page: str, command: str, text: str) -> None:
    """Replace the text between the mark of a command and the next end mark of a page of `docs/`."""
    path, begin = DOCS / page, f"<!-- {command} -->"
    before, mark, rest = path.read_text("utf-8").partition(begin)
    end = re.search(r"<!-- end[^>]*-->", rest)
    if not mark or end is None:
        raise SystemExit(f"{path} has no section {begin}")
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{rest[end.start() :]}", "utf-8")


def measured_with(command: str, threads: str = "one thread") -> str:
    """Return the line below a table: processor, threads, day and command."""
    return f"{processor_name()}, {threads}, {date.today()}; `{command}`."
