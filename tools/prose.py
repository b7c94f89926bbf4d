"""Measure the prose of the documentation, and list sentences that break the style guide of CONTRIBUTING.md.

python tools/prose.py                # a table of all pages
python tools/prose.py docs/search.md # its long sentences and banned phrases
python tools/prose.py --check        # fail where a page exceeds its limits
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[1]
MAX_MEAN_WORDS = 18
MAX_P90_WORDS = 30
MAX_SEMICOLONS = 3.0
"""Semicolons per 1,000 words."""

MIN_WORDS = 300
"""Words from which semicolons are counted."""

BANNED = (
    "told", "tells", "doubled", "beside", "at hand", "of one's own", "whoever", "alone", "says",
    "whole", "too well", "cannot be had", "goes on", "lies in", "by itself", "what is held", "holds",
)  # fmt: skip
"""Words and phrases of the style guide that a page does not use."""

_CODE = re.compile(
    r"\A---\n.*?^---$|^:::[^\n]*(?:\n    [^\n]*)*$|"
    r"^(?P<indent>[ ]*)```.*?^(?P=indent)```$|<!-- made: .*?<!-- end -->|<!--.*?-->",
    re.DOTALL | re.MULTILINE,
)
_MARKS = re.compile(r"!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|[*_\[]")
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z0-9`(])")
_BANNED = re.compile(r"\b(" + "|".join(BANNED) + r")\b|, was \d", re.IGNORECASE)


class Prose(NamedTuple):
    """Measurements of the sentences of a page.

    Attributes:
        words: Number of words in sentences.
        mean: Mean sentence length in words.
        p90: 90th percentile of the sentence length in words.
        semicolons: Semicolons per 1,000 words.
        banned: Sentences with a banned phrase.
        long: Sentences above the limit of the 90th percentile.
    """

    words: int
    mean: float
    p90: float
    semicolons: float
    banned: list[str]
    long: list[str]


def sentences(text: str) -> list[str]:
    """Return the sentences of a Markdown page, without code blocks, headings, tables and link targets."""
    text = _CODE.sub("", text)
    found: list[str] = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )", text):
        if block.lstrip().startswith(("#", "|", "!", "<", "???", "!!!", "---")):
            continue
        plain = _MARKS.sub("", re.sub(r"^\s*(?:[*-]|\d+\.) ", "", block))
        plain = re.sub(r"`[^`]*`", "Code", " ".join(plain.split()))
        found += [sentence for sentence in _SENTENCE_END.split(plain) if len(sentence.split()) > 1]
    return found


def measure(text: str) -> Prose:
    """Measure the prose of a Markdown page."""
    found = sentences(text)
    lengths = sorted(len(sentence.split()) for sentence in found) or [0]
    words = sum(lengths)
    return Prose(
        words,
        statistics.fmean(lengths),
        lengths[min(len(lengths) - 1, int(0.9 * len(lengths)))],
        1000 * sum(sentence.count(";") for sentence in found) / max(words, 1),
        [sentence for sentence in found if _BANNED.search(sentence)],
        [sentence for sentence in found if len(sentence.split()) > MAX_P90_WORDS],
    )


def pages() -> list[Path]:
    """Return the English pages of the site, of the studies and of the repository."""
    site = [page for page in (PROJECT / "docs").rglob("*.md") if "ko" not in page.parts]
    studies = (PROJECT / "research").glob("*.md")
    return sorted([*site, *studies, PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "SECURITY.md"])


def faults(prose: Prose) -> list[str]:
    """Return the limits that a page exceeds, with its values."""
    found: list[str] = []
    if prose.mean >= MAX_MEAN_WORDS:
        found.append(f"mean sentence of {prose.mean:.1f} words; maximum {MAX_MEAN_WORDS}")
    if prose.p90 >= MAX_P90_WORDS:
        found.append(f"90th percentile of {prose.p90:.0f} words; maximum {MAX_P90_WORDS}")
    if prose.semicolons > MAX_SEMICOLONS and prose.words >= MIN_WORDS:
        found.append(f"{prose.semicolons:.1f} semicolons per 1,000 words; maximum {MAX_SEMICOLONS:.0f}")
    return found + [f"banned phrase: {sentence}" for sentence in prose.banned]


def main() -> int:
    """Print a table, the sentences of single pages, or the exceeded limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="*", type=Path, help="Pages to list in detail.")
    parser.add_argument("--check", action="store_true", help="Fail where a page exceeds a limit.")
    arguments = parser.parse_args()
    exceeded = 0
    for page in arguments.page or pages():
        name, prose = page.resolve().relative_to(PROJECT).as_posix(), measure(page.read_text("utf-8"))
        if arguments.page:
            print(*faults(prose), *(f"long sentence: {sentence}" for sentence in prose.long), sep="\n")
        elif not arguments.check:
            counts = f"{prose.words:6} {prose.mean:5.1f} {prose.p90:4.0f} {prose.semicolons:5.1f} {len(prose.banned):4}"
            print(f"{name:36} {counts}")
        elif found := faults(prose):
            exceeded += len(found)
            print(*(f"{name}: {fault}" for fault in found), sep="\n")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
