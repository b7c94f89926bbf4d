"""A page about a calibration: how far off every camera and frame set is, where in the image, and the worst images."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from sonjit.multiview.calibration.ambiguity import two_solutions
from sonjit.multiview.calibration.calibrate import rms_of
from sonjit.multiview.cameras.records import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.multiview.calibration.calibrate import Calibration
    from sonjit.multiview.calibration.sightings import Sighting

_ARROWS = 300
_WORST = 6
_LENGTHENED = 60
_STYLE = """
:root { color-scheme: light dark; --line: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; }
svg { background: #8881; border: 1px solid var(--line); max-width: 100%; height: auto; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; } img { max-width: 22rem; }
.wide { overflow-x: auto; } line { stroke: #d33; stroke-width: 1.5; } text { font-size: 11px; fill: currentColor; }
.bad { color: #c22; font-weight: 600; }
"""


def reprojection_line(calibration: Calibration) -> str:
    """One line of the whole, beside what InterHand2.6M's rigs reached."""
    views = calibration.rms_by_view()
    worst = max(views, key=lambda name: np.nan_to_num(views[name], nan=np.inf))
    points = sum(len(errors) for errors in calibration.errors_px)
    return (
        f"RMS reprojection error {calibration.rms_px:.3f} px over {len(views)} cameras, "
        f"{len(calibration.target_places)} frame sets and {points} points; worst camera {worst} {views[worst]:.3f} px "
        "(InterHand2.6M's rigs: 0.42 to 0.48 px)"
    )


def save_report(
    calibration: Calibration,
    path: Path,
    *,
    warnings: Sequence[str] = (),
    image: Callable[[str, int], NDArray[np.uint8] | None] = lambda view, frame: None,
) -> None:
    """Write the page: one HTML file that needs no other.

    Args:
        calibration: what it is about.
        path: file to write.
        warnings: what else was found, one line each.
        image: gives (H, W, 3) of a camera's frame set, for the worst ones; None where there is none.
    """
    told = two_solutions(calibration) if calibration.target.is_flat else None
    bad = told is not None and (told.is_mirrored or told.is_open)
    parts = [
        "<h1>Calibration</h1>",
        f"<p>{escape(reprojection_line(calibration))}</p>",
        f"<p{' class=bad' if bad else ''}>{escape(str(told))}</p>" if told else "",
        *(f"<p class=bad>{escape(line)}</p>" for line in (*warnings, *calibration.problems)),
        "<h2>Cameras</h2>",
        _table(calibration),
        "<h2>Every camera, every frame set</h2><p>Pixels; empty where the board was not seen.</p>",
        f"<div class=wide>{_heat_map(calibration)}</div>",
        f"<h2>Where in the image</h2><p>Arrows from where a point was seen to where the rig sees it, {_LENGTHENED} "
        "times as long. A pattern is a lens that the model does not fit; single long arrows are wrong corners.</p>",
        *(_arrows(calibration, name) for name in calibration.rig.names),
        "<h2>The worst images</h2>",
        *_worst(calibration, image),
    ]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>Calibration</title><style>{_STYLE}</style>"
    write_text(path, f"{head}<body>{''.join(parts)}</body></html>\n")


def _table(calibration: Calibration) -> str:
    rows: list[str] = []
    for view in calibration.rig:
        own = [e for s, e in zip(calibration.sightings, calibration.errors_px, strict=True) if s.view == view.name]
        far = max((float(np.linalg.norm(errors, axis=1).max()) for errors in own), default=float("nan"))
        lens = view.camera.distortion
        cells = [
            view.name,
            f"{view.width} x {view.height}",
            f"{view.camera.K[0, 0]:.1f}, {view.camera.K[1, 1]:.1f}",
            f"{view.camera.K[0, 2]:.1f}, {view.camera.K[1, 2]:.1f}",
            " ".join(f"{value:.4f}" for value in (lens if lens is not None else ())),
            " ".join(f"{value * 1000:.0f}" for value in view.centre_m),
            str(len(own)),
            f"{rms_of(own):.3f}",
            f"{far:.2f}",
        ]
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    names = ("camera", "size", "focal px", "middle px", "k1 k2 p1 p2 k3", "place mm", "images", "RMS px", "most px")
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>{''.join(rows)}</table>"


def _heat_map(calibration: Calibration) -> str:
    names, frames = calibration.rig.names, sorted(calibration.target_places)
    wide, high, left = max(4, min(18, 1000 // max(len(frames), 1))), 18, 120
    rows = {name: row for row, name in enumerate(names)}
    columns = {frame: column for column, frame in enumerate(frames)}
    cells = [f'<text x="0" y="{row * high + 13}">{escape(name[:16])}</text>' for name, row in rows.items()]
    for one, errors in zip(calibration.sightings, calibration.errors_px, strict=True):
        rms = rms_of([errors])
        cells.append(
            f'<rect x="{left + columns[one.frame] * wide}" y="{rows[one.view] * high}" width="{wide - 1}" '
            f'height="{high - 1}" fill="{_colour(rms)}"><title>{escape(one.view)}, frame {one.frame}: {rms:.3f} px, '
            f"{len(errors)} points</title></rect>"
        )
    size = f'width="{left + len(frames) * wide}" height="{len(names) * high}"'
    return f"<svg {size} role=img aria-label='error of every camera and frame set'>{''.join(cells)}</svg>"


def _colour(rms_px: float) -> str:
    """Green for 0, yellow for half a pixel, red for one and more."""
    return f"hsl({120 * (1 - min(rms_px, 1)):.0f} 70% 45%)"


def _arrows(calibration: Calibration, name: str) -> str:
    view = calibration.rig[name]
    both = [(s, e) for s, e in zip(calibration.sightings, calibration.errors_px, strict=True) if s.view == name]
    if not both:
        return ""
    seen, errors = (np.concatenate(parts) for parts in zip(*((s.pixels, e) for s, e in both), strict=True))
    step = -(-len(seen) // _ARROWS)
    lines = _lines(seen[::step], errors[::step])
    return (
        f'<figure><svg width="360" viewBox="0 0 {view.width} {view.height}" role=img '
        f"aria-label='errors of {escape(name, quote=True)}'>{lines}</svg>"
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )


def _lines(seen: NDArray[np.float64], errors: NDArray[np.float64]) -> str:
    ends = seen + _LENGTHENED * errors
    return "".join(
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{u:.1f}" y2="{v:.1f}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="#38c"/>'
        for (x, y), (u, v) in zip(seen, ends, strict=True)
    )


def _worst(calibration: Calibration, image: Callable[[str, int], NDArray[np.uint8] | None]) -> list[str]:
    both = sorted(zip(calibration.sightings, calibration.errors_px, strict=True), key=lambda pair: -rms_of([pair[1]]))
    return [_figure(calibration, one, errors, image(one.view, one.frame)) for one, errors in both[:_WORST]]


def _figure(calibration: Calibration, one: Sighting, errors: NDArray[np.float64], rgb: NDArray[np.uint8] | None) -> str:
    import cv2

    view = calibration.rig[one.view]
    behind = ""
    if rgb is not None:
        smaller = cv2.resize(rgb, None, fx=min(1.0, 720 / view.width), fy=min(1.0, 720 / view.width))
        encoded = cv2.imencode(".jpg", cv2.cvtColor(smaller, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        data = base64.b64encode(np.asarray(encoded).tobytes()).decode()
        behind = f'<image width="{view.width}" height="{view.height}" href="data:image/jpeg;base64,{data}"/>'
    caption = f"{one.view}, frame set {one.frame}: {rms_of([errors]):.3f} px"
    return (
        f'<figure><svg width="360" viewBox="0 0 {view.width} {view.height}" role=img '
        f"aria-label='{escape(caption, quote=True)}'>{behind}{_lines(one.pixels, errors)}</svg>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
