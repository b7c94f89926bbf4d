"""Write the cards of hands, face and body in docs/cards from photographs, data-set samples and synthetic images.

    python benchmarks/cards.py [--photographs ../shared/real/wild] [--datasets ../shared/real/datasets] [--kinds ...]

docs/datasets.md describes the folder of photographs. The folder of data sets has the names of the protocol
detection-datasets. Neither is part of this repository. Evaluations are written to --out, and `--resume` continues them.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sonjit.detectors.kinds import KINDS

REPOSITORY = Path(__file__).parents[1]
BENCH = REPOSITORY / "benchmarks" / "results" / "epyc-2cores.json"
SINGLE = [name for name, entry in KINDS.items() if len(entry.instances) == 1]


def sonjit(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "sonjit", *map(str, arguments)], check=True)


def evaluations(kind: str, options: argparse.Namespace, renders: Path) -> Iterator[tuple[str, list[str]]]:
    """Return the name and arguments of each evaluation."""
    photographs = ["--protocol", "detection", "--root", options.photographs]
    yield "photographs", photographs
    yield "photographs-fast", [*photographs, "--search", "fast"]
    yield "datasets", ["--protocol", "detection-datasets", "--root", options.datasets]
    if kind == "hands":  # settings of the synthetic images
        yield "renders", ["--protocol", "detection-renders", "--root", str(renders)]
        yield "renders-landmarks", ["--protocol", "mediapipe-card", "--root", str(renders), "--data", "folder"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", default="../shared/real/wild")
    parser.add_argument("--datasets", default="../shared/real/datasets")
    parser.add_argument("--kinds", default=",".join(SINGLE))
    parser.add_argument("--renders", type=int, default=300, help="number of synthetic images")
    parser.add_argument("--out", type=Path, default=Path("evaluation"))
    parser.add_argument("--cards", type=Path, default=REPOSITORY / "docs" / "cards")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    renders = options.out / "renders"
    if "hands" in options.kinds.split(","):
        sonjit("synth", renders, "--count", str(options.renders), "--size", "320x240", "--seed", "2026")
    found: list[Path] = []
    for kind in options.kinds.split(","):
        for name, arguments in evaluations(kind, options, renders):
            out = options.out / f"{kind}-{name}"
            resume = ["--resume"] if options.resume else []
            sonjit("eval", "--model", kind, *arguments, "--out", out, *resume)
            found.append(out / "eval.json")
    sonjit("card", *found, "--out", options.out / "cards", "--bench", BENCH)
    for file in (options.out / "cards").iterdir():
        if file.suffix in (".md", ".svg"):
            shutil.copy(file, options.cards)


if __name__ == "__main__":
    main()
