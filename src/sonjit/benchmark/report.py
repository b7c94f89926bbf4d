"""A benchmark's outcome as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.benchmark.run import BenchmarkReport, MeasuredCase, Side

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


_COLUMNS = {
    "p50_ms": ("p50 ms", 2),
    "p90_ms": ("p90 ms", 2),
    "mean_ms": ("mean ms", 2),
    "cpu_ms": ("CPU ms", 2),
    "rss_mb": ("RSS MB", 0),
    "import_s": ("import s", 2),
    "cold_s": ("cold s", 2),
}


def draw_report(report: BenchmarkReport) -> Group:
    """The outcome of `benchmark` for a rich console: metrics per frame, ratios (below 1: Sonjit needs less), sizes."""
    from rich.console import Group

    machine, settings = report["machine"], report["settings"]
    media = ", ".join(f"{subject}: {name}" for subject, name in settings["media"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores ({' '.join(machine['flags'])}), "
        f"load {machine['load_before']} before and {machine.get('load_after')} after",
        f"{media}: {settings['frames']} frames, the first {settings['warm_up']} left out; "
        f"median of {settings['repeat']} processes a side, taking turns",
    ]
    return Group(*lines, "", _metrics(report), "", _sizes(report))


def ratios(side: Side, other: Side) -> dict[str, float]:
    """One side's metrics divided by another's, where both have one."""
    ours, theirs = side["median"], other["median"]
    return {key: ours[key] / theirs[key] for key in _COLUMNS if key in ours and theirs.get(key)}


def mean_found(found: dict[str, int]) -> float:
    """Hands, faces, bodies or parts of a person per frame."""
    return sum(int(number) * frames for number, frames in found.items()) / max(sum(found.values()), 1)


def _metrics(report: BenchmarkReport) -> Table:
    table = _table("case", "library", *(heading for heading, _ in _COLUMNS.values()), "found", "bare ms", "x bare")
    by_name = {case["case"]["name"]: case for case in report["cases"]}
    for case in report["cases"]:
        title = case["case"]["name"]
        for name in report["libraries"]:
            side = case.get(name)
            if side is None:
                table.add_row("", name, *("-" for _ in _COLUMNS), "-", "-", "-")
                continue
            median = side["median"]
            cells = [f"{median[key]:.{digits}f}" if key in median else "-" for key, (_, digits) in _COLUMNS.items()]
            found = f"{mean_found(side['found']):.2f}"
            table.add_row(title, f"{name} {side['precision']}", *cells, found, *_bare(case, side))
            title = ""
        if "mediapipe" in case:
            _add_ratios(table, "ratio", ratios(case["sonjit"], case["mediapipe"]))
        against = case["case"]["against"]
        if against in by_name:
            _add_ratios(table, f"to {against}", ratios(case["sonjit"], by_name[against]["sonjit"]))
        table.add_section()
    return table


def _add_ratios(table: Table, label: str, ratio: dict[str, float]) -> None:
    cells = [f"{ratio[key]:.2f}" if key in ratio else "-" for key in _COLUMNS]
    table.add_row("", label, *cells, style="bold")


def _bare(case: MeasuredCase, side: Side) -> tuple[str, str]:
    """The landmark network alone, and how many times that a frame takes; only where a frame runs it just once."""
    median = side["median"]
    if "bare_ms" not in median:
        return "-", "-"
    bare = median["bare_ms"]
    single = case["case"]["max_instances"] == 1 and not case["case"]["static_image"]
    return f"{bare:.2f}", f"{median['p50_ms'] / bare:.2f}" if single else "-"


def _sizes(report: BenchmarkReport) -> Table:
    table = _table("library", "version", "python", "installed MB", "packages", "largest")
    for name, closure in report["libraries"].items():
        parts = closure["distributions"]
        largest = ", ".join(f"{part} {entry['bytes'] / 1e6:.0f}" for part, entry in list(parts.items())[:4])
        version = parts[name]["version"] if name in parts else "-"
        size = f"{closure['bytes'] / 1e6:.0f}"
        table.add_row(name, version, closure["python"], size, str(len(parts)), largest)
    weights = report["weights"]
    table.add_row("sonjit's weights", "", "", f"{sum(weights.values()) / 1e6:.0f}", "", ", ".join(weights))
    return table


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        is_text = heading in ("case", "library", "version", "python", "largest")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading != "largest")
    return table
