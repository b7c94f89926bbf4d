"""Convert a result of `sonjit bench --save RESULT.json` to a Markdown table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sonjit.lab.benchmark.run import mean_instances, ratios

HEADINGS = (
    "case", "precision", "p50 ms", "× by p50", "× by mean", "CPU ms", "RSS MB", "× RSS", "cold s", "× cold", "found"
)  # fmt: skip


def lines_of(report):
    """Return lines of Markdown: machine, table, ratios between cases, and sizes."""
    machine, settings, libraries = report["machine"], report["settings"], report["libraries"]
    versions = ", ".join(
        f"{part} {libraries[name]['distributions'][part]['version']}"
        for name, part in (("sonjit", "sonjit"), ("sonjit", "openvino"), ("mediapipe", "mediapipe"))
        if part in libraries.get(name, {}).get("distributions", {})
    )
    media = ", ".join(f"{subject} {name}" for subject, name in settings["media"].items())
    flags = " ".join(machine["flags"])
    yield f"{machine['cpu']}, {machine['cores']} cores ({flags}), {machine['date'][:10]}; {versions}."
    yield (
        f"{settings['frames']} frames of {media}; median of {settings['repeat']} processes a side; "
        f"load {machine['load_before']} before, {machine['load_after']} after."
    )
    yield "Two numbers are Sonjit's / MediaPipe's; × is MediaPipe's divided by Sonjit's."
    yield ""
    yield row(HEADINGS)
    yield row("---" if i < 2 else "---:" for i in range(len(HEADINGS)))
    for case in report["cases"]:
        yield row(cells(case))
    by_name = {case["case"]["name"]: case for case in report["cases"]}
    for case in report["cases"]:
        other = by_name.get(case["case"]["against"])
        if other:
            more = ratios(case["sonjit"], other["sonjit"])
            yield ""
            yield (
                f'"{case["case"]["name"]}" takes {more["p50_ms"]:.2f} times the p50 '
                f'and {more["mean_ms"]:.2f} times the mean of "{other["case"]["name"]}".'
            )
    yield ""
    installed = (f"{name} {side['bytes'] / 1e6:.0f} MB" for name, side in libraries.items() if side["bytes"])
    yield f"Installed: {', '.join(installed)}; Sonjit's networks {sum(report['weights'].values()) / 1e6:.0f} MB."


def cells(case):
    """Return one row. Cells without a peer or value are empty."""
    ours, peer = case["sonjit"], case.get("mediapipe", {"median": {}})
    less = ratios(peer, ours)

    def both(key, digits):
        values = (side["median"].get(key) for side in (ours, peer))
        return " / ".join(f"{value:.{digits}f}" for value in values if value is not None)

    def times(key):
        return f"{less[key]:.2f}" if key in less else ""

    found = " / ".join(f"{mean_instances(side['found']):.2f}" for side in (ours, peer) if "found" in side)
    return (
        case["case"]["name"], ours["precision"],
        both("p50_ms", 2), times("p50_ms"), times("mean_ms"),
        both("cpu_ms", 2), both("rss_mb", 0), times("rss_mb"), both("cold_s", 2), times("cold_s"), found,
    )  # fmt: skip


def row(cells):
    return f"| {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, help="result of `sonjit bench --save`")
    path = parser.parse_args().result
    try:
        report = json.loads(path.read_text("utf-8"))
        lines = list(lines_of(report))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"table.py: {path}: not a result of `sonjit bench --save` ({type(error).__name__}: {error})")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
