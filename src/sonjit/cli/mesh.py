"""`sonjit mesh`: hands as meshes, over the image and as files for animation programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sonjit.cli.lifting import Lifting, lift_from, tell_notes
from sonjit.errors import InputError
from sonjit.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonjit.detectors import Detector
    from sonjit.media import Source
    from sonjit.meshes.hand_mesh import MeshModel, Sight
    from sonjit.meshes.run import MeshSummary

_LIFTING = Lifting()


def mesh(
    source: Annotated[str, Parameter(name="INPUT")],
    /,
    *,
    model: Literal["rig", "handoccnet", "deformer"] = "rig",
    weights: str | None = None,
    mano: str | None = None,
    mano_left: str | None = None,
    variant: Literal["ho3d", "dexycb"] = "ho3d",
    save: str | None = None,
    draw: str | None = None,
    figure: str | None = None,
    max_instances: int = 2,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    models_dir: str | None = None,
    limit: int | None = None,
    lifting: Lifting = _LIFTING,
) -> int:
    """Turn the hands of an image or video into meshes.

    `sonjit mesh clip.mp4 --draw clip-meshes.mp4 --save hands.glb` poses a rigged hand to the found keypoints, with one
    length per bone over the whole video, and writes it animated. It needs `sonjit models pull rigs` once.

    `sonjit mesh clip.mp4 --save hands.bvh` writes the motion, a file for each hand.

    `sonjit mesh photo.jpg --save hands.obj` writes the mesh; `--save 'meshes/{index}.obj'` one file per image.

    `sonjit mesh photo.jpg --model handoccnet --weights snapshot.pth.tar --mano MANO_RIGHT.pkl --draw over.png` asks a
    network for MANO's mesh.

    `sonjit mesh clip.mp4 --lift internet --lift-weights snapshot_20.pth.tar --save hands.glb` poses the rigged hand to
    what InterNet sees, where it sees it.

    Files are in metres, y up, z towards the viewer, the camera at the origin. Without --camera a view of 60 degrees is
    assumed for them, and the overlay lays each mesh over its keypoints by weak perspective; a lifted one where the
    camera sees it.

    Args:
        source: An image, a folder, a glob in quotes, a video or camera:0.
        model: rig needs no licence; handoccnet and deformer need their checkpoint and your MANO files.
        weights: Checkpoint of the network.
        mano: MANO's right hand: MANO_RIGHT.pkl or .npz.
        mano_left: MANO's left hand, for deformer.
        variant: Which data set deformer's checkpoint was trained on.
        save: .json with the parameters, .obj, .glb (animated for the rig) or .bvh (the rig in a video).
        draw: Image, folder or video with the meshes over it.
        figure: Image to write of the maps inside handoccnet: where the first hand shows, where the network looks.
        max_instances: How many hands to look for.
        mirrored: The input is a selfie view.
        models_dir: Folder with the published weight files.
        limit: Stop after so many frames.
    """
    from sonjit.cli.report import progress
    from sonjit.lifting import create_lifter
    from sonjit.media import ANNOTATED_IMAGE_ENDINGS
    from sonjit.meshes.run import mesh_source

    for option, value in (("--max-instances", max_instances), ("--limit", limit)):
        if value is not None and value < 1:
            raise InputError(f"{option} {value}: give at least 1")
    given = {"--weights": weights, "--mano": mano, "--mano-left": mano_left}
    if model == "rig" and (needless := [option for option, value in given.items() if value]):
        raise InputError(f"{', '.join(needless)}: the rigged hand needs none; name --model handoccnet or deformer")
    if figure is not None and (model != "handoccnet" or Path(figure).suffix.lower() not in ANNOTATED_IMAGE_ENDINGS):
        raise InputError(f"--figure {figure}: an image such as maps.png, of --model handoccnet")
    if model != "rig" and lifting.lift is not None:
        raise InputError(f"--lift {lifting.lift}: for the rigged hand; {model} sees the joints itself, leave one out")
    sight = _sight(lifting.camera)
    lift = lift_from(lifting, mirrored=mirrored, alone=("camera",))
    made: list[MeshModel] = []

    def network() -> MeshModel:
        if model == "deformer":
            from sonjit.meshes.mano_networks import DeformerHands, load_deformer

            return DeformerHands(load_deformer(weights, mano, mano_left, variant), sight, mirrored=mirrored)
        from sonjit.meshes.mano_networks import HandOccHands, load_handoccnet

        features = figure is not None
        return HandOccHands(load_handoccnet(weights, mano), sight, mirrored=mirrored, features=features)

    def make(opened: Source) -> tuple[Detector[Any], MeshModel]:
        from sonjit.detectors import create_detector

        still = opened.kind in ("image", "folder")
        smoothing = None if still else "one_euro"
        options: dict[str, Any] = {"models_dir": models_dir, "mirrored": mirrored, "smoothing": smoothing}
        if model == "rig":
            from sonjit.meshes.rigged import RiggedHands

            lifted_by = None if lift is None else lift.network
            made.append(RiggedHands(sight, models_dir, mirrored=mirrored, lifted_by=lifted_by))
        else:
            require("torch", f"--model {model}")
            made.append(network())
        return create_detector("hands", max_instances=max_instances, static_image=still, **options), made[0]

    with progress(None, "frames") as advance:
        summary = mesh_source(
            source,
            make,
            rigged=model == "rig",
            lift=None if lift is None else create_lifter(lift).lift,
            save=save,
            draw=draw,
            limit=limit,
            opened=advance.expect,
            advance=advance,
        )
    if figure is not None and _draw_figure(Path(figure), made[0]):
        summary.written.append(figure)
    tell_notes(lift)
    return _tell(summary)


def _sight(camera: str | None) -> Callable[[int, int], Sight]:
    """The camera given, or one assumed for each size of image."""
    from sonjit.geometry.cameras import assumed_camera, camera_from_text
    from sonjit.meshes.hand_mesh import Sight

    if camera is None:
        return lambda width, height: Sight(assumed_camera(width, height), assumed=True)
    given = Sight(camera_from_text(camera), assumed=False)
    return lambda width, height: given


def _draw_figure(path: Path, model: MeshModel) -> bool:
    """The maps of the first hand; none where no hand was seen."""
    from sonjit.explain.overlay import draw_feature_maps, occlusion_maps
    from sonjit.files import write_bytes
    from sonjit.media.annotated.images import encode_image
    from sonjit.meshes.mano_networks import HandOccHands

    assert isinstance(model, HandOccHands)
    if model.seen is None:
        return False
    crop, outputs = model.seen
    data = encode_image(draw_feature_maps(occlusion_maps(outputs), crop), path.suffix.lower())
    write_bytes(path, data)
    return True


def _tell(summary: MeshSummary) -> int:
    for line in summary.problems:
        sys.stderr.write(f"sonjit: {line}\n")
    for hand in summary.about.get("hands", []):
        frames = "1 frame" if hand["frames"] == 1 else f"{hand['frames']} frames"
        sys.stdout.write(f"{hand['name']}: {frames}, {hand['fit_error_mm']:.1f} mm from its keypoints on average\n")
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    hands = "1 hand" if summary.hands == 1 else f"{summary.hands} hands"
    if summary.unplaced:
        hands += f" and {summary.unplaced} left out, for lifting could not tell where they are"
    wrote = f"; wrote {_few(summary.written)}" if summary.written else ""
    sys.stderr.write(f"{frames}, {hands}{wrote}\n")
    return 1 if summary.problems else 0


def _few(names: list[str]) -> str:
    return " and ".join(names) if len(names) <= 4 else f"{names[0]} and {len(names) - 1} more"
