"""Run the workers of both sides alternately, each in a fresh process, on the same frames."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.benchmark.cases import CASES, Case
from sonjit.benchmark.machine import describe_machine, load_average
from sonjit.benchmark.worker import WARM_UP
from sonjit.errors import InputError, JobError
from sonjit.media import open_source
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sonjit.engines import Precision

FRAMES = 300
"""Frames that a worker looks at; the clip is played there and back until it has them."""
FIGURES = ("p50_ms", "p90_ms", "mean_ms", "cpu_ms", "rss_mb", "import_s", "create_s", "first_s", "cold_s", "bare_ms")
_MOST_CLIP_BYTES = 1_000_000_000
_PATIENCE_S = 300
"""A worker takes a few seconds; one that takes this long hangs."""
_HERE = Path(__file__).parent


def benchmark(
    *,
    peer: str | None = None,
    media: str | Path | None = None,
    cases: Iterable[Case] = CASES,
    precision: Precision = "auto",
    threads: int | None = None,
    repeat: int = 3,
    count: int = FRAMES,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure every case, `repeat` processes a side, and take the median of each figure.

    Args:
        peer: a Python interpreter that has mediapipe with `mediapipe.solutions`; None measures Sonjit alone.
        media: a video instead of the bundled clip.
        cases: what to measure.
        precision: of Sonjit, as `create_detector` takes it.
        threads: likewise.
        repeat: processes per case and side.
        count: frames per process; the first 6 do not count.
        progress: called with a line before each case.

    Returns:
        Plain JSON types: "machine", "settings", "libraries" (python, bytes and distributions of each side), "weights"
        (bytes by name) and "cases": per case its "case", then per library "median", "found" and all "runs".

    Raises:
        InputError: no such video, peer or weight file.
        JobError: a worker crashed.
    """
    cases = tuple(cases)
    if repeat < 1 or count <= WARM_UP:
        raise InputError(f"repeat={repeat}, count={count}: measure at least once and more than {WARM_UP} frames")
    if threads is not None and threads < 0:
        raise InputError(f"threads={threads}: give 0 for all cores or a positive number")
    weights = {name: find_weight(name).stat().st_size for case in cases for name in case.weights}
    sides = {"sonjit": (sys.executable, "worker.py")}
    if peer is not None:
        check_peer(peer)
        sides["mediapipe"] = (peer, "peer_mediapipe.py")
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "settings": {
            "media": str(media or "bundled clip"), "frames": count, "warm_up": WARM_UP, "repeat": repeat,
            "precision": precision, "threads": threads,
        },
        "libraries": {name: run_python(python, "installed.py", name) for name, (python, _) in sides.items()},
        "weights": weights,
        "cases": [],
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="sonjit-bench-") as folder:
        clips: dict[int | None, Path] = {}
        for number, case in enumerate(cases, 1):
            progress(f"[{number}/{len(cases)}] {case.name}")
            most = None if media else case.clip_frames
            if most not in clips:
                clips[most] = Path(folder) / f"{most}.npy"
                save_clip(media, clips[most], min(most or count, count))
            job = {
                **asdict(case), "task": "time", "frames": str(clips[most]), "precision": precision, "threads": threads
            }  # fmt: skip
            report["cases"].append({**_measure(job, sides, repeat, count), "load_after": load_average()})
    report["machine"]["load_after"] = load_average()
    return report


def _measure(job: dict[str, Any], sides: dict[str, tuple[str, str]], repeat: int, count: int) -> dict[str, Any]:
    """One case: a short warming process per side fills every cache, then both sides take turns."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for turn in range(repeat + 1):
        for name, (python, script) in sides.items():
            outcome = run_python(python, script, json.dumps({**job, "count": count if turn else WARM_UP + 1}))
            if turn:
                runs[name].append(outcome)
    result: dict[str, Any] = {"case": {key: job[key] for key in asdict(CASES[0])}}
    for name, outcomes in runs.items():
        figures = {key: [o[key] for o in outcomes if o.get(key) is not None] for key in FIGURES}
        result[name] = {
            "median": {key: statistics.median(values) for key, values in figures.items() if values},
            "precision": outcomes[0]["precision"],
            "found": outcomes[0]["found"],
            "runs": outcomes,
        }
    return result


def save_clip(media: str | Path | None, path: Path, most: int) -> None:
    """Decode the first frames of a video (None: the bundled clip) into one `.npy` (N, H, W, 3), never held whole."""
    with ExitStack() as stack:
        if media is None:
            media = stack.enter_context(as_file(files("sonjit") / "assets" / "demo.mp4"))
        source = stack.enter_context(open_source(media))
        file = stack.enter_context(path.open("wb"))
        shape: tuple[int, ...] = ()
        count = 0
        for frame in source:
            if count == 0:
                shape = frame.rgb.shape
                most = min(most, max(_MOST_CLIP_BYTES // frame.rgb.nbytes, 1))
                _write_header(file, (most, *shape))
            if frame.rgb.shape == shape:
                file.write(frame.rgb.data)
                count += 1
            if count == most:
                break
        if count == 0:
            raise InputError(f"{media} holds no frames: name a video")
        file.seek(0)
        _write_header(file, (count, *shape))


def _write_header(file: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401  # numpy wants a write method
    """The header of a uint8 array; numpy pads it, so that a later, smaller count fits in its place."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def check_peer(python: str) -> None:
    """Raise InputError unless the interpreter runs and has `mediapipe.solutions`."""
    try:
        probe = ["-c", "import mediapipe; mediapipe.solutions.hands"]
        done = subprocess.run([python, *probe], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "does not answer"
        raise InputError(f"--peer {python}: {reason}; name a Python interpreter that has mediapipe") from None
    if done.returncode:
        advice = f"{python} -m pip install mediapipe==0.10.21"
        raise InputError(f"--peer {python} has no mediapipe.solutions ({_last_line(done.stderr)}); run: {advice}")


def run_python(python: str, script: str, argument: str) -> dict[str, Any]:
    """The JSON that a script of this folder prints in a fresh process; JobError if it crashes or hangs."""
    command = [python, _HERE / script, argument]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise JobError(
            f"{script} in {python} gave nothing for {_PATIENCE_S} s; try again on a quieter machine"
        ) from None
    if done.returncode:
        reason = _last_line(done.stderr) or f"exit status {done.returncode}"
        raise JobError(f"{script} in {python} crashed: {reason}")
    return json.loads(done.stdout)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
