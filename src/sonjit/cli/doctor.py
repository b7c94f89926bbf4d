"""`sonjit doctor`: installed parts, missing parts, and the commands that add them."""

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import av
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sonjit import __version__
from sonjit._util import extensions, extras
from sonjit._util.errors import SonjitError
from sonjit.cli.checks import CHECKS, Finding
from sonjit.detectors.kinds import KINDS
from sonjit.weights import models_folder, verify_weights

_BASE = ("numpy", "openvino", "opencv-python-headless", "pillow", "av", "rich", "cyclopts")
_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]", "optional": "[dim]-[/]"}


def doctor(*, precision: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check this installation: versions, weights, extras, cameras.

    The exit status is 1 if something is missing.

    Example: `sonjit doctor`

    Args:
        precision: Also measure how far the faster arithmetic of this processor moves keypoints. Takes some seconds.
    """
    table = Table(box=None, show_header=False, pad_edge=False)
    findings = [*examine(), *(_precision() if precision else ())]
    for finding in findings:
        table.add_row(_MARKS[finding.state], escape(finding.what), escape(finding.detail))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """Yield every finding about this machine."""
    from sonjit.engines.openvino import devices

    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("ok", f"sonjit {__version__}", where)
    yield from map(_package, _BASE)
    for device, name in devices().items():
        yield Finding("ok", f"device {device}", name)
    yield Finding("ok", "telemetry", "none: OpenVINO's usage reports are disabled")
    yield from map(_weights, dict.fromkeys(group for entry in KINDS.values() for group in entry.weight_groups))
    for codec, job in (("libx264", ".mp4, .mov, .mkv"), ("libvpx-vp9", ".webm")):
        has_codec = codec in av.codecs_available
        yield _note(has_codec, f"encoder {codec}", f"annotated {job}{'' if has_codec else ' cannot be written'}")
    installed = [name for name in extras.EXTRAS if extras.is_installed(name)]
    yield Finding("ok", "extras", ", ".join(installed) or "none")
    absent = [name for name in extras.EXTRAS if name not in installed]
    yield from (Finding("optional", f"extra [{name}]", extras.EXTRAS[name].purpose) for name in absent)
    if absent:
        yield Finding("optional", "to add an extra", extras.install_command(absent[0]))
    for extension in extensions.load_extensions(extensions.EXTENSIONS, extensions.NETWORKS):
        detail = extension.problem or f"{extension.package}: {extension.target}"
        yield _note(not extension.problem, f"extension {extension.name}", detail)
    for check in CHECKS.values():
        yield from check()
    yield _cameras()


def _note(is_well: bool, what: str, detail: str) -> Finding:
    return Finding("ok" if is_well else "note", what, detail)


def _package(name: str) -> Finding:
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        if name == "opencv-python-headless" and importlib.util.find_spec("cv2"):
            return Finding("note", name, "another OpenCV package is installed; on a server it may require libGL.so.1")
        return Finding("missing", name, f"pip install {name}")


def _weights(group: str) -> Finding:
    problems = verify_weights([group])
    if not problems:
        return Finding("ok", f"weights for {group}", str(models_folder()))
    names = ", ".join(problem.name for problem in problems)
    is_first = group == next(iter(KINDS))  # the kind that most users need
    pull = "sonjit models pull" if is_first else f"sonjit models pull {group}"
    return Finding("missing" if is_first else "note", f"weights for {group}", f"{names}; type: {pull}")


def _precision() -> Iterator[Finding]:
    """Yield whether the networks that `precision="auto"` runs in bf16 keep the rule for low precisions here."""
    from sonjit.detectors.quantization import measure_agreement, record_crops
    from sonjit.engines.openvino import has_bf16

    if not has_bf16():
        yield Finding("ok", "precision auto", "f32, as the CPU has no bf16")
        return
    for name in ("hand-full", "hand-lite"):
        try:
            even, odd = record_crops(name, search="fast")
            measured = measure_agreement(name, [*even, *odd])
        except SonjitError as error:
            yield Finding("note", f"precision of {name}", str(error))
            continue
        detail = (
            f"{measured.precision} is faster than f32, and moves keypoints by {measured.shift_px:.2f} px on average in "
            f"{measured.crops} images of hands. It finds the same hands and sides in "
            f"{100 * min(measured.presence, measured.side):.1f} % of them"
        )
        yield _note(measured.keeps_rule, f"precision of {name}", detail)


def _cameras() -> Finding:
    if sys.platform != "linux":
        return Finding("note", "cameras", "try: sonjit hands camera:0 --limit 30 --json")
    numbers = sorted(int(p.name.removeprefix("video")) for p in Path("/dev").glob("video*") if p.name[5:].isdecimal())
    listed = ", ".join(f"camera:{number}" for number in numbers)
    return _note(bool(numbers), "cameras", listed or "none at /dev/video*")
