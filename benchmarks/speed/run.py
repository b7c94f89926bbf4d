"""Run the workers of both sides alternately, each in a fresh process, on the same frames, and report the result.

The layers of a detector's networks are measured separately, to see which operations take the time. The frames of the
cases are decoded once into a file that workers read frame by frame.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from sonjit._util import InputError, JobError, data_files, files
from sonjit.detectors.create import create_detector
from sonjit.detectors.kinds import KINDS
from sonjit.engines import Precision, check_threads, profiled_networks
from sonjit.engines.devices import Machine, describe_machine, load_average
from sonjit.media import Source, open_source
from sonjit.weights import find_weight, load_bundle
from speed.worker import WARM_UP, Closure, Timed, engines_of

if TYPE_CHECKING:
    from sonjit.engines.openvino import OpenVinoEngine


@dataclass(frozen=True)
class Case:
    """One configuration to measure."""

    name: str  # name in the table
    kind: str  # option of `create_detector`, as the next four and `segmentation`
    model: str
    max_instances: int
    static_image: bool
    clip_frames: int | None = None  # number of frames of the bundled clip, played forwards and backwards; None for all
    segmentation: bool = False
    copies: int = 1  # number of copies of each image in the frame, placed in a row
    # True if MediaPipe can run the case: its wheel contains only the full body model and finds one body
    peer: bool = True
    against: str | None = None  # name of an earlier case whose cost is compared with this one's
    # name of the task bundle if both sides run `mediapipe.tasks`; None compares Sonjit's own interface with
    # `mediapipe.solutions`
    bundle: str | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """Return the names of the published files that the case loads."""
        if self.kind == "face" and self.bundle is not None:
            return ()  # a face landmarker's are in no package
        return tuple(KINDS[self.kind].models[self.model].weights.values())

    @property
    def subject(self) -> str:
        """Return the subject of the images: "hands", "face" or "body"."""
        return "body" if self.kind == "holistic" else self.kind


ONE_HAND_FRAMES = 75  # frames at the start of the bundled clip with exactly one hand. A second hand enters after them.

_HANDS, _MESHES, _BOXES = ("full", "lite"), ("mesh", "attention"), ("box", "box-full")
_FULL = "body: tracked, full"
_HAND_BUNDLE = "hand_landmarker.task"
DRIFT_FRAMES = 60  # distinct frames made from a single image
_DRIFT = 1 / 25  # maximum drift of an image either way, as a share of its shorter side: about 1/240 of it per frame
_MAX_CLIP_BYTES = 1_000_000_000

CASES = (
    *(Case(f"hands: tracked, 1 of max 1, {m}", "hands", m, 1, False, ONE_HAND_FRAMES) for m in _HANDS),
    *(Case(f"hands: tracked, 1 of max 2, {m}", "hands", m, 2, False, ONE_HAND_FRAMES) for m in _HANDS),
    *(Case(f"hands: stills, max 2, {m}", "hands", m, 2, True) for m in _HANDS),
    *(Case(f"face: tracked, {m}", "face", m, 1, False) for m in _MESHES),
    *(Case(f"face: stills, {m}", "face", m, 1, True) for m in _MESHES),
    *(Case(f"face: {m}", "face", m, 1, False) for m in _BOXES),
    Case(_FULL, "body", "full", 1, False),
    Case("body: stills, full", "body", "full", 1, True),
    Case("body: tracked, full, masks", "body", "full", 1, False, segmentation=True),
    *(Case(f"body: tracked, {m}", "body", m, 1, False, peer=False) for m in ("lite", "heavy")),
    Case("body: tracked, 2 of max 2, full", "body", "full", 2, False, copies=2, peer=False, against=_FULL),
    Case("holistic: tracked, full", "holistic", "full", 1, False),
)

TASK_CASES = (
    *(
        Case(f"hands: VIDEO, num_hands={n}", "hands", "full", n, False, ONE_HAND_FRAMES, bundle=_HAND_BUNDLE)
        for n in (1, 2)
    ),
    Case("face: VIDEO, blendshapes, matrices", "face", "attention", 1, False, bundle="face_landmarker.task"),
)
"""Cases of `mediapipe.tasks`."""


def save_bundle(name: str, path: Path) -> None:
    """Write a task bundle as a file that MediaPipe reads: a registered one, or one made of the published networks."""
    bundle = load_bundle(name)
    with zipfile.ZipFile(path, "w") as file:  # not compressed, as MediaPipe wants them
        for member in bundle.members:
            file.writestr(member, bundle.read(member))


def save_clip(media: str | Path | None, path: Path, max_frames: int, *, copies: int = 1) -> None:
    """Decode the first frames of a video, the bundled clip by default, into arrays (H, W, 3) of one `.npy` file.

    An image becomes a drifting clip. `copies` copies of each image are placed in a row.
    """
    with open_media(media) as source, path.open("wb") as file:
        images = (frame.rgb for frame in source)
        first = list(islice(images, 2))
        if not first:
            raise InputError(f"{media} contains no frames: choose a video")
        frames = drifting(first[0]) if len(first) == 1 else chain(first, images)
        same = (image for image in frames if len(first) == 1 or image.shape == first[0].shape)
        most = min(max_frames, max(_MAX_CLIP_BYTES // (first[0].nbytes * copies), 1))
        for image in islice(same, most):
            np.save(file, np.concatenate([image] * copies, axis=1))


def open_media(media: str | Path | None) -> Source:
    """Open the media of a case; None opens the bundled clip."""
    return open_source(data_files.ASSETS / "demo.mp4" if media is None else media)


def check_media(case: Case, media: Mapping[str, str | Path]) -> None:
    """Raise InputError if a case has no medium. Only hands have a bundled clip."""
    if case.subject != "hands" and case.subject not in media:
        who = {"face": "one face", "body": "one person"}[case.subject]
        raise InputError(f"{case.kind}: no clip is bundled; give --{case.subject}-media a video or image of {who}")


def drifting(rgb: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield frames from one image: crops by whole pixels along a figure of eight, so that nothing is resampled.

    >>> [frame.shape for frame in islice(drifting(np.zeros((50, 100, 3), np.uint8)), 2)]
    [(46, 96, 3), (46, 96, 3)]
    """
    height, width = rgb.shape[:2]
    reach = int(min(height, width) * _DRIFT)
    for i in range(DRIFT_FRAMES):
        angle = 2 * math.pi * i / DRIFT_FRAMES
        left, top = (reach + round(reach * math.sin(turns * angle)) for turns in (1, 2))
        yield rgb[top : top + height - 2 * reach, left : left + width - 2 * reach]


LibraryName = Literal["sonjit", "mediapipe"]
_MODULES: dict[LibraryName, str] = {"sonjit": "sonjit.compat.mediapipe", "mediapipe": "mediapipe"}
Sides = dict[LibraryName, tuple[str, str]]
FRAMES = 300  # frames that a worker processes. The clip is played forwards and backwards to fill them.
METRICS = (
    *("p50_ms", "p90_ms", "mean_ms", "cpu_ms", "rss_mb"),
    *("import_s", "create_s", "first_s", "cold_s", "networks_ms", "outside"),
)
_TIMEOUT_S = 300  # time limit of a worker, which usually takes a few seconds
_WORKER = Path(__file__).with_name("worker.py")
_LAYER_FRAMES = 10  # frames that are processed before layers are measured, for real inputs
_LAYER_RUNS = 20  # runs of each network per turn

_COLUMNS = {
    "p50_ms": ("p50 ms", 2), "p90_ms": ("p90 ms", 2), "mean_ms": ("mean ms", 2), "cpu_ms": ("CPU ms", 2),
    "rss_mb": ("RSS MB", 0), "import_s": ("import s", 2), "cold_s": ("cold s", 2),
}  # fmt: skip


class Side(TypedDict):
    """Results of one library on one case: the median of each of `METRICS`, what was found, and all runs."""

    median: dict[str, float]
    precision: str
    found: dict[str, int]
    runs: list[Timed]


class MeasuredCase(TypedDict):
    """One case with its fields and the results of each library."""

    case: dict[str, Any]
    sonjit: Side
    mediapipe: NotRequired[Side]
    load_after: float | None


class BenchmarkReport(TypedDict):
    """All results; `weights` are bytes by file name, and `settings` those of `benchmark` with the media by subject."""

    machine: Machine
    settings: dict[str, Any]
    libraries: dict[LibraryName, Closure]
    weights: dict[str, int]
    cases: list[MeasuredCase]


def benchmark(
    *,
    cases: Iterable[Case],
    peer: str | None = None,
    media: Mapping[str, str | Path] | None = None,
    search: Literal["fast", "auto"] = "fast",
    precision: Precision = "auto",
    threads: int | None = None,
    repeat: int = 3,
    count: int = FRAMES,
    progress: Callable[[str], None] = lambda line: None,
    measured_case: Callable[[BenchmarkReport], object] = lambda report: None,
) -> BenchmarkReport:
    """Measure every case in `repeat` processes per side, and take the median of each metric.

    Args:
        cases: Cases to measure.
        peer: Python interpreter that has mediapipe; None measures only Sonjit.
        media: Video, or image to drift, by the `subject` of a case. Hands use the bundled clip by default.
        search: Search of Sonjit, see `create_detector`.
        precision: Precision of Sonjit's networks, see `create_detector`.
        threads: Threads of Sonjit's networks, see `create_detector`.
        repeat: Processes per case and side.
        count: Frames per process; the first 6 do not count.
        progress: Function called with a line before each case.
        measured_case: Function called with the report so far after each case.

    Raises:
        InputError: A case has no medium, a video, peer, weight file or bundle is missing, or cases of tasks are mixed
            with others.
        JobError: A worker crashed.
    """
    cases = tuple(cases)
    media = dict(media or {})
    if repeat < 1 or count <= WARM_UP:
        raise InputError(f"repeat={repeat}, count={count}: measure at least once and more than {WARM_UP} frames")
    check_threads(threads)
    for case in cases:
        check_media(case, media)
    tasks = any(case.bundle for case in cases)
    if tasks and not (all(case.bundle for case in cases) and (search, precision, threads) == ("fast", "auto", None)):
        raise InputError(
            "tasks have no search, precision and threads of their own, and are measured without other cases"
        )
    weights = {name: find_weight(name).stat().st_size for case in cases for name in case.weights}
    sides: Sides = {"sonjit": (sys.executable, "tasks" if tasks else "sonjit")}
    if peer is not None:
        check_peer(peer, "tasks.vision" if tasks else "solutions.hands")
        sides["mediapipe"] = (peer, "tasks" if tasks else "solutions")
    subjects = dict.fromkeys(case.subject for case in cases)
    report: BenchmarkReport = {
        "machine": describe_machine(),
        "settings": {
            "media": {subject: Path(media.get(subject, "bundled clip")).name for subject in subjects},
            "frames": count, "warm_up": WARM_UP, "repeat": repeat, "search": search, "precision": precision,
            "threads": threads,
        },
        "libraries": {name: run_worker(python, name) for name, (python, _) in sides.items()},
        "weights": weights,
        "cases": [],
    }  # fmt: skip
    with files.WorkFolder() as folder:
        for number, case in enumerate(cases, 1):
            progress(f"[{number}/{len(cases)}] {case.name}")
            job = {"task": "time", "search": search, "precision": precision, "threads": threads}
            job |= _save_inputs(case, media, count, Path(folder))
            case_sides: Sides = sides if case.peer else {"sonjit": sides["sonjit"]}
            metrics = _measure(job, case_sides, repeat, count)
            measured: MeasuredCase = {
                "case": asdict(case), "sonjit": metrics["sonjit"], "load_after": load_average()
            }  # fmt: skip
            if "mediapipe" in metrics:
                measured["mediapipe"] = metrics["mediapipe"]
            report["cases"].append(measured)
            report["machine"]["load_after"] = load_average()
            measured_case(report)
    return report


def _save_inputs(case: Case, media: Mapping[str, str | Path], count: int, folder: Path) -> dict[str, Any]:
    """Save the frames and the bundle of a case in a folder, and return its fields with their paths."""
    max_frames = count if case.subject in media else min(case.clip_frames or count, count)
    clip = folder / f"{case.subject}-{max_frames}-{case.copies}.npy"
    if not clip.exists():
        save_clip(media.get(case.subject), clip, max_frames, copies=case.copies)
    fields = asdict(case) | {"frames": str(clip)}
    if case.bundle is not None:
        save_bundle(case.bundle, folder / case.bundle)
        fields["bundle"] = str(folder / case.bundle)
    return fields


def _measure(job: Mapping[str, object], sides: Sides, repeat: int, count: int) -> dict[LibraryName, Side]:
    """Measure one case: a short run per side fills every cache, then both sides take turns."""
    runs: dict[LibraryName, list[Timed]] = {name: [] for name in sides}
    for turn in range(repeat + 1):
        for name, (python, library) in sides.items():
            more = {"library": library, "module": _MODULES[name], "count": count if turn else WARM_UP + 1}
            outcome = run_worker(python, json.dumps({**job, **more}))
            if turn:
                runs[name].append(outcome)
    result: dict[LibraryName, Side] = {}
    for name, outcomes in runs.items():
        metrics = {key: [value for item in outcomes if (value := item.get(key)) is not None] for key in METRICS}
        median = {key: statistics.median(values) for key, values in metrics.items() if values}
        first = outcomes[0]
        result[name] = {"median": median, "precision": first["precision"], "found": first["found"], "runs": outcomes}
    return result


def check_peer(python: str, name: str = "solutions.hands") -> None:
    """Raise InputError unless the interpreter runs and its `mediapipe` has that attribute."""
    try:
        probe = ["-c", f"import mediapipe; mediapipe.{name}"]
        done = subprocess.run([python, *probe], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "does not answer"
        raise InputError(f"--peer {python}: {reason}; choose a Python interpreter with mediapipe") from None
    if done.returncode:
        advice = f"{python} -m pip install mediapipe==0.10.21"
        raise InputError(
            f"--peer {python} has no mediapipe.{name.split('.')[0]} ({_last_line(done.stderr)}); run: {advice}"
        )


def run_worker(python: str, argument: str) -> Any:  # JSON
    """Return the JSON that the worker prints in a fresh process; raise JobError if it crashes or hangs."""
    try:
        done = subprocess.run(
            [python, _WORKER, argument], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise JobError(
            f"{_WORKER.name} in {python} did not respond for {_TIMEOUT_S} s; try a quieter machine"
        ) from None
    if done.returncode:
        reason = _last_line(done.stderr) or f"exit status {done.returncode}"
        raise JobError(f"{_WORKER.name} in {python} crashed: {reason}")
    return json.loads(done.stdout)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def draw_report(report: BenchmarkReport) -> Group:
    """Draw the results for a rich console: metrics per frame, ratios (below 1: Sonjit needs less) and sizes."""
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
    """Return one side's metrics divided by another's, where both have one."""
    ours, theirs = side["median"], other["median"]
    return {key: ours[key] / theirs[key] for key in _COLUMNS if key in ours and theirs.get(key)}


def mean_instances(found: dict[str, int]) -> float:
    """Return the mean number of hands, faces, bodies or parts of a person per frame."""
    return sum(int(number) * frames for number, frames in found.items()) / max(sum(found.values()), 1)


def _metrics(report: BenchmarkReport) -> Table:
    table = _table(
        "case", "library", *(heading for heading, _ in _COLUMNS.values()), "found", "networks ms", "outside %"
    )
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
            found = f"{mean_instances(side['found']):.2f}"
            table.add_row(title, f"{name} {side['precision']}", *cells, found, *_network_time(median))
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


def _network_time(median: Mapping[str, float]) -> tuple[str, str]:
    """Return the mean time of the networks in milliseconds, and the share of a frame outside them in per cent."""
    if "outside" not in median:
        return "-", "-"
    return f"{median['networks_ms']:.2f}", f"{100 * median['outside']:.0f}"


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
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        is_text = heading in ("case", "library", "version", "python", "largest", "operation", "kernel")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading != "largest")
    return table


class LayerGroup(NamedTuple):
    """Layers with the same operation and kernel."""

    operation: str  # operation, such as "Convolution"
    kernel: str  # kernel of OpenVINO with its instruction set and number format
    layers: int  # number of layers
    ms: float  # sum of the shortest times of these layers, wall time in milliseconds


class NetworkLayers(NamedTuple):
    """Time of a network by its layers."""

    network: str  # file name of the network without its ending
    precision: str  # number format in which the network runs
    groups: list[LayerGroup]  # groups of layers, the slowest first

    @property
    def ms(self) -> float:
        """Return the time of all layers in milliseconds."""
        return sum(group.ms for group in self.groups)


def measure_layers(
    cases: Iterable[Case],
    *,
    media: Mapping[str, str | Path],
    precision: Precision = "auto",
    threads: int | None = None,
    repeat: int = 1,
) -> list[NetworkLayers]:
    """Measure every network of the cases' detectors on its last input.

    Args:
        cases: Cases whose kinds and models are measured.
        media: Video or image by the `subject` of a case. Hands use the bundled clip by default.
        precision: Precision of the networks, see `create_detector`.
        threads: Threads of the networks, see `create_detector`.
        repeat: Turns of 20 runs per network.

    Returns:
        Each network once, in the order of the cases.

    Raises:
        InputError: A case has no medium, or a video or weight file is missing.
    """
    measured: dict[tuple[str, str], NetworkLayers] = {}
    models = {(case.kind, case.model): case for case in cases}
    for case in models.values():
        check_media(case, media)
        with (
            open_media(media.get(case.subject)) as source,
            profiled_networks(),
            closing(
                create_detector(case.kind, model=case.model, search="fast", precision=precision, threads=threads)  # pyright: ignore[reportCallIssue, reportArgumentType]
            ) as detector,
        ):
            for frame in islice(source, _LAYER_FRAMES):
                detector.detect(frame.rgb, time=frame.time)
            for engine in engines_of(detector):
                key = engine.name, engine.precision
                if key not in measured:
                    measured[key] = _measure_network(engine, repeat * _LAYER_RUNS)
    return list(measured.values())


def _measure_network(engine: OpenVinoEngine, runs: int) -> NetworkLayers:
    times: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for _ in range(runs):
        engine.run()
        for layer in engine.layer_times():
            times[layer.operation, layer.kernel, layer.name].append(layer.ms)
    sums: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for (operation, kernel, _), values in times.items():
        sums[operation, kernel].append(min(values))
    groups = [LayerGroup(*key, len(values), sum(values)) for key, values in sums.items()]
    return NetworkLayers(engine.name, engine.precision, sorted(groups, key=lambda group: -group.ms))


def draw_layers(networks: Iterable[NetworkLayers]) -> Group:
    """Return a table per network, for a terminal."""
    tables: list[Table] = []
    for network in networks:
        table = _table("operation", "kernel", "layers", "ms", "share")
        table.title, table.title_justify = f"{network.network}, {network.precision}, {network.ms:.2f} ms", "left"
        for group in network.groups:
            share = f"{group.ms / network.ms:.0%}" if network.ms else "-"
            table.add_row(group.operation, group.kernel, str(group.layers), f"{group.ms:.2f}", share)
        tables.append(table)
    return Group(*tables)
