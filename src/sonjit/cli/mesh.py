"""`sonjit mesh`: hands as meshes, over the image and as files for animation programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit.cli.lifting import Lifting, lift_from, tell_notes
from sonjit.cli.options import SEVERAL, Input, Several
from sonjit.errors import InputError

_LIFTING = Lifting()


def mesh(
    *sources: Input,
    model: Literal["rig", "handoccnet", "deformer"] = "rig",
    weights: str | None = None,
    mano: str | None = None,
    mano_left: str | None = None,
    variant: Literal["ho3d", "dexycb"] | None = None,
    save: str | None = None,
    draw: str | None = None,
    figure: str | None = None,
    max_instances: int = 2,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    models_dir: str | None = None,
    device: str = "cpu",
    lifting: Lifting = _LIFTING,
    running: Several = SEVERAL,
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
        sources: Images, folders, globs and videos; or camera:0, rtsp://host/stream, or - for standard input.
        model: rig needs no licence; handoccnet and deformer need their checkpoint and your MANO files.
        weights: Checkpoint of the network.
        mano: MANO's right hand: MANO_RIGHT.pkl or .npz.
        mano_left: MANO's left hand, for deformer.
        variant: Which data set deformer's checkpoint was trained on, where it does not say so itself.
        save: .json with the parameters, .obj, .glb (animated for the rig) or .bvh (the rig in a video); for many files
            a folder of .glb, or a name with {name} in it.
        draw: Image or video to write with the meshes over it; for many files a folder.
        figure: Image to write of the maps inside handoccnet: the visible parts of the first hand, and the attention.
        max_instances: How many hands to look for.
        mirrored: The input is a selfie view.
        models_dir: Folder with the published weight files.
        device: Where the networks run: for the rig cpu, gpu, npu or auto; for the others cpu, gpu, cuda:1, mps or auto.
    """
    from sonjit.cli.report import report_job
    from sonjit.media import ANNOTATED_IMAGE_ENDINGS
    from sonjit.meshes.run import MeshHands
    from sonjit.runs import Outputs

    if max_instances < 1:
        raise InputError(f"--max-instances {max_instances}: give at least 1")
    given = {"--weights": weights, "--mano": mano, "--mano-left": mano_left}
    if model == "rig" and (needless := [option for option, value in given.items() if value]):
        raise InputError(f"{', '.join(needless)}: the rigged hand needs none; name --model handoccnet or deformer")
    if model != "deformer" and variant is not None:
        raise InputError(f"--variant {variant}: only of --model deformer; leave it out")
    if figure is not None and (model != "handoccnet" or Path(figure).suffix.lower() not in ANNOTATED_IMAGE_ENDINGS):
        raise InputError(f"--figure {figure}: an image such as maps.png, of --model handoccnet")
    if model != "rig" and lifting.lift is not None:
        raise InputError(f"--lift {lifting.lift}: for the rigged hand; {model} sees the joints itself, leave one out")
    lift = lift_from(lifting, mirrored=mirrored, alone=("camera",))
    processor = MeshHands(
        model, weights, mano, mano_left, variant, max_instances, mirrored, models_dir, lifting.camera, lift, device
    )
    status = report_job(sources, processor, Outputs(save, draw, figures=figure), running)
    tell_notes(lift)
    return status
