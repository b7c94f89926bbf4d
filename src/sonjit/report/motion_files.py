"""Write the angles of a report as .mot and its points as .trc, as OpenSim reads them.

Source: OpenSim documentation, "Motion (.mot) Files" and "Marker (.trc) Files".
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from sonjit._util import FloatArray, files
from sonjit.geometry.steps import points_at, rows_of_frames
from sonjit.report.angles import track_points
from sonjit.report.recording import WRISTS, Recording, words_of
from sonjit.results import Body
from sonjit.results.skeletons import load_skeleton

ENDINGS: Final = (".mot", ".trc")
_NAMES = load_skeleton("body_blazepose33").keypoints


def write_motion(path: Path, recording: Recording, bodies: Sequence[Body | None]) -> None:
    """Write angles in degrees in the convention of the report (.mot), or points in metres (.trc).

    Unknown values are NaN in .mot and empty in .trc.

    Args:
        path: File to write.
        recording: Angles of one person.
        bodies: The person in each frame, or None.
    """
    times = np.array(recording.times)
    text = mot_text(recording, times) if path.suffix.lower() == ".mot" else trc_text(track_points(bodies), times)
    files.write_bytes(path, text.encode())


def mot_text(recording: Recording, times: FloatArray) -> str:
    """Return angles in degrees over times (N,) in seconds as .mot."""
    shown = {words_of(name).replace(" ", "_"): recording.shown(name) for name in recording.angles if name not in WRISTS}
    head = ["sonjit_angles", "version=1", f"nRows={len(times)}", f"nColumns={len(shown) + 1}", "inDegrees=yes"]
    rows = [
        "\t".join([f"{time:.5f}", *(f"{values[k]:.4f}" for values in shown.values())]) for k, time in enumerate(times)
    ]
    return "\n".join([*head, "endheader", "\t".join(["time", *shown]), *rows]) + "\n"


def trc_text(points_m: FloatArray, times: FloatArray) -> str:
    """Return points (N, 33, 3) in metres over times (N,) in seconds as .trc: y up, z towards the camera.

    The middle of the hips is the origin. The format has one rate, so that the rows of a video with a variable rate are
    between its frames.
    """
    hips = points_m[:, [_NAMES.index("left_hip"), _NAMES.index("right_hip")]].mean(1, keepdims=True)
    rows_at = rows_of_frames(times, omits=False)  # times of rows hold; those of a pause are empty
    places = points_at((points_m - hips) * (1, -1, -1), times, rows_at)
    times, rate = times[0] + rows_at.step_s * np.arange(len(places)), 1 / rows_at.step_s
    count, size = len(places), len(_NAMES)
    head = [
        "PathFileType\t4\t(X/Y/Z)\tpoints.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate:.3f}\t{rate:.3f}\t{count}\t{size}\tm\t{rate:.3f}\t1\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(_NAMES) + "\t\t",
        "\t\t" + "\t".join(f"X{k}\tY{k}\tZ{k}" for k in range(1, size + 1)),
        "",
    ]
    rows = [
        "\t".join([str(k + 1), f"{times[k]:.5f}", *(f"{v:.5f}" if np.isfinite(v) else "" for v in places[k].ravel())])
        for k in range(count)
    ]
    return "\n".join([*head, *rows]) + "\n"
