"""`sonjit synth`: rendered hands with exact labels."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit._util import InputError, pluralize, pools
from sonjit.cli.options import TO_EITHER
from sonjit.cli.progress import print_table, progress_bar
from sonjit_lab.synthesis.hand_meshes import HandFiles
from sonjit_lab.synthesis.layouts import Extra

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Images are small: `--jobs` uses the cores; more threads within each process would only wait for each other."""

_SIZES = {"interhand": "512x334", "video": "640x480"}


def synth(
    out: Annotated[Path | None, Parameter(name="OUT"), TO_EITHER] = None,
    /,
    *,
    count: int | None = None,
    seed: int = 0,
    factor: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    size: str | None = None,
    views: int | None = None,
    rig: Literal["webcam", "glasses", "dome"] | None = None,
    format: Literal["coco", "interhand", "video"] = "coco",  # the option's name
    depth: Annotated[bool, Parameter(negative="")] = False,
    normals: Annotated[bool, Parameter(negative="")] = False,
    masks: Annotated[bool, Parameter(negative="")] = False,
    backgrounds: str | None = None,
    sequence: str | None = None,
    fps: float = 30.0,
    poses: str | None = None,
    hand_rig: str | None = None,
    mano: str | None = None,
    jobs: int = 1,
    workers: str = "pool",
    list_factors: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Render hands with exact labels into a folder.

    `sonjit synth out --count 2000 --seed 1` writes images and `coco.json`, which `sonjit train` and
    `open_dataset("folder", ...)` read. The same seed gives the same bytes. An interrupted run continues.

    `sonjit synth out --set tone=8..10 --set hands=1 --set yaw_deg=-30..30` sets factors. `--list-factors` prints all.

    Args:
        out: Folder to write. It must be new, empty, or from a run with the same settings.
        count: Number of stills or sequences. Default: 1000 stills or 1 sequence.
        seed: Seed of all random numbers.
        factor: Factor as name=value, name=a..b or name=a,b. Can be repeated.
        size: Width x height of each image in pixels. Default: 256x256, 512x334 for interhand, 640x480 for video,
            with --poses that of the video.
        views: Number of cameras per scene. Default: 1, or 2 on glasses.
        rig: Arrangement of the cameras: webcam (1), glasses (2) or dome (1 to 140). Default: dome for several cameras.
        format: Format of the folder.
        depth: Also write depth as 16-bit PNG, in tenths of a millimetre.
        normals: Also write normals as PNG.
        masks: Also write instance masks as PNG.
        backgrounds: Folder of images for backgrounds. Default: procedural backgrounds.
        sequence: Motions to render: peak, rom, any, or names separated by commas.
        fps: Frames per second of a sequence.
        poses: JSON file of `sonjit hands VIDEO --save`, whose motion is rendered.
        hand_rig: Your own rigged hand, a GLB with WebXR's 25 joints. For both sides left.glb,right.glb.
        mano: Your MANO_RIGHT.pkl, or MANO_RIGHT.pkl,MANO_LEFT.pkl.
        jobs: Number of processes.
        workers: A pool of processes here; or ray, or ray:ADDRESS, a cluster whose machines see OUT under the same path.
        list_factors: Print the factors instead.
    """
    for variable in _THREADS:
        os.environ.setdefault(variable, "1")
    from sonjit_lab.synthesis.job import synthesize
    from sonjit_lab.synthesis.layouts import SynthSettings

    if list_factors:
        from sonjit_lab.synthesis.factors import FACTORS

        rows = ((factor.name, str(factor.values), factor.about) for factor in FACTORS)
        print_table(("factor", "values", "effect"), rows, wrapped=("values", "effect"))
        return 0
    if out is None:
        raise InputError("sonjit synth requires an output folder, such as: sonjit synth out --count 100")
    pools.check_workers(workers, jobs)
    wanted: tuple[tuple[Extra, bool], ...] = (("depth", depth), ("normals", normals), ("masks", masks))
    moves = sequence is not None or poses is not None
    count = (1 if moves else 1000) if count is None else count
    hands = _hands(hand_rig, mano)
    views = (2 if rig == "glasses" else 1) if views is None else views
    settings = SynthSettings(
        count=count,
        seed=seed,
        factors=tuple(factor or ()),
        rig=rig or ("webcam" if views == 1 else "dome"),
        views=views,
        size=_size(size, format, poses, hands),
        format=format,
        extras=tuple(name for name, asked in wanted if asked),
        backgrounds=backgrounds,
        sequence=sequence,
        fps=fps,
        poses=poses,
        hands=hands,
    )
    began = time.monotonic()
    with progress_bar(count, "sequences" if moves else "scenes") as bar:
        summary = synthesize(out, settings, jobs=jobs, workers=workers, progress=bar)
    seconds = time.monotonic() - began
    before = f", {summary.reused} from before" if summary.reused else ""
    speed = f" in {seconds:.1f} s ({summary.images / seconds:.2g} a second)" if summary.images else ""
    sys.stderr.write(f"{pluralize(summary.images, 'image')}{speed}{before}; wrote {out}\n")
    return 0


def _hands(rig: str | None, mano: str | None) -> HandFiles | None:
    if rig is not None and mano is not None:
        raise InputError("--hand-rig cannot be combined with --mano")
    if rig is not None:
        return HandFiles.from_text("hand-rig", rig)
    return None if mano is None else HandFiles.from_text("mano", mano)


def _size(text: str | None, form: str, poses: str | None, hands: HandFiles | None) -> tuple[int, int]:
    """Return the requested width and height, those of the video with the motion, or the default of the format."""
    if text is None and poses is not None:
        from sonjit_lab.synthesis.motions import load_motion

        camera = load_motion(poses, hands).camera
        assert camera is not None
        return round(2 * camera.cx), round(2 * camera.cy)
    width, by, height = (_SIZES.get(form, "256x256") if text is None else text).lower().partition("x")
    try:
        return int(width), int(height if by else width)
    except ValueError:
        raise InputError(f"--size {text}: write width x height in pixels, such as 640x480") from None
