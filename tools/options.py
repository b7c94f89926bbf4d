"""Put tables into the documentation: kinds and options from the program's records, speed from `benchmarks/results`.

python tools/options.py           # write the pages
python tools/options.py --check   # say whether they are what the records make of them
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit.detectors.kinds import KINDS, options_of
from sonjit.detectors.options import OPTIONS
from sonjit.server.options import known_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sonjit.detectors.options import Option

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / name for name in ("docs/options.md", "docs/measured.md", "README.md")]
RESULTS = PROJECT / "benchmarks" / "results"
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


def speed() -> str:
    """What `make bench` measured, beside MediaPipe."""
    return _bench("epyc-2cores.json")


def speed_short() -> str:
    """Of that a row for each kind and use."""
    wanted = ("hands: tracked, 1 of max 2, full", "hands: stills, max 2, full", "face: tracked, attention",
              "body: tracked, full", "holistic: tracked, full")  # fmt: skip
    cases = {case["case"]["name"]: case for case in _result("epyc-2cores.json")["cases"]}
    rows: list[tuple[str, ...]] = []
    for name in wanted:
        ours, peer = (cases[name][side]["median"] for side in ("sonjit", "mediapipe"))
        numbers = [ours["p50_ms"], peer["p50_ms"], peer["p50_ms"] / ours["p50_ms"]]
        rows.append((name, *(f"{number:.1f}" for number in numbers)))
    return _table(("case", "Sonjit, ms", "MediaPipe, ms", "times as fast"), rows)


def speed_f32() -> str:
    """The same in f32."""
    return _bench("epyc-2cores-f32.json")


def app_speed() -> str:
    """The live app in a browser, and the server alone."""
    page, alone = (_result(f"{name}-epyc-2cores.json") for name in ("page", "server"))
    shares, memory = alone["shares"], alone["memory"]
    rows = [
        ("frames a second of a camera of 30, browser and server on two cores", f"{page['fps']:.1f}"),
        ("ms from image to drawing, mean", f"{page['latency_ms']['mean']:.1f}"),
        ("the same, p95", f"{page['latency_ms']['p95']:.1f}"),
    ]
    rows += [(f"{part}, ms of the mean", f"{ms:.1f}") for part, ms in page["split_ms"].items()]
    rows += [(f"server alone, {form}: frames a second", f"{rate['fps']:.0f}") for form, rate in alone["rates"].items()]
    rows += [
        (
            f"{shares['clients']} clients at once: all, least, most",
            f"{shares['fps']:.0f}, {shares['least']}, {shares['most']}",
        ),
        (f"MB more after {memory['cycles']} clients", f"{memory['cycles_mb']:.1f}"),
    ]
    return _table(("what", "measured"), rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "kinds": kinds,
    "detectors": detectors,
    "server": server,
    "speed": speed,
    "speed_short": speed_short,
    "speed_f32": speed_f32,
    "app_speed": app_speed,
}


def page(text: str) -> str:
    """The page's text with its marked sections made anew."""
    return _SECTION.sub(lambda found: found[1] + SECTIONS[found[2]]() + found[3], text)


def _result(name: str) -> Any:  # noqa: ANN401  # JSON
    return json.loads((RESULTS / name).read_text("utf-8"))


def _bench(name: str) -> str:
    spec = importlib.util.spec_from_file_location("sonjit_bench_table", PROJECT / "benchmarks" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return "\n".join([*module.lines_of(_result(name)), ""])


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
    if option.remote_choices:
        return ", ".join(f"`{choice}`" for choice in option.remote_choices)
    return "yes" if option.remote_maximum is None else f"to {option.remote_maximum:,.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Write the pages or, with --check, compare them; 1 where one differs."""
    stale = 0
    for path in PAGES:
        old = path.read_text("utf-8")
        new = page(old)
        if new == old:
            continue
        stale = 1
        if arguments == ["--check"]:
            sys.stderr.write(f"{path.name}: not what the records say; type: make docs\n")
        else:
            path.write_text(new, "utf-8")
    return stale if arguments == ["--check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
