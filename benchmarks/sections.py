"""Write a benchmark's tables into a page, between the marks of the benchmark."""

from pathlib import Path


def write_section(page: Path, begin: str, text: str, end: str) -> None:
    """Replace the text of a page between two marks. A page without the first mark gets both at its end."""
    before, _, rest = page.read_text("utf-8").partition(begin)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", "utf-8")
