"""`sonjit mesh`: hands as meshes, over the image and as files for animation programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit.cli.lifting import Lifting, lift_from, print_notes
from sonjit.cli.options import BatchOptions, Input
from sonjit.cli.report import run_and_report
from sonjit.lab.meshes.run import MeshHands
from sonjit.media import ANNOTATED_IMAGE_ENDINGS
from sonjit.media.tables.characters.bones import BoneNames
from sonjit.runs import Inputs, Outputs
from sonjit.runs.inputs import is_many

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
    bones: BoneNames | None = None,
    max_instances: int = 2,
    mirrored: Annotated[bool, Parameter(negative="")] = False,
    models_dir: str | None = None,
    device: str = "cpu",
    lifting: Lifting = _LIFTING,
    batch: BatchOptions = BatchOptions(),
) -> int:
    """Turn the hands of an image or video into meshes.

    `sonjit mesh clip.mp4 --draw clip-meshes.mp4 --save hands.glb` poses a rigged hand to the keypoints, with one
    length per bone for the full video, and writes it animated. It needs `sonjit models pull rigs` once.

    `sonjit mesh clip.mp4 --save hands.bvh` writes the motion, a file for each hand.

    `sonjit mesh photo.jpg --save hands.obj` writes the mesh. `--save 'meshes/{index}.obj'` writes one file per image.

    `sonjit mesh photo.jpg --model handoccnet --weights snapshot.pth.tar --mano MANO_RIGHT.pkl --draw over.png` predicts
    MANO's mesh with a network.

    `sonjit mesh clip.mp4 --lift internet --lift-weights snapshot_20.pth.tar --save hands.glb` poses the rigged hand to
    the joints that InterNet predicts, in camera space.

    Files are in metres, y up, z towards the viewer, with the camera at the origin. Without --camera they assume a view
    of 60 degrees, and the overlay aligns each mesh with its keypoints by weak perspective. A lifted mesh is drawn where
    the camera sees it.

    Args:
        sources: Images, folders, globs and videos; or camera:0, rtsp://host/stream, or - for standard input.
        model: rig needs no licence. handoccnet and deformer need their checkpoint and your MANO files.
        weights: Checkpoint of the network.
        mano: MANO's right hand: MANO_RIGHT.pkl or .npz.
        mano_left: MANO's left hand, for deformer.
        variant: Data set of deformer's checkpoint, if the checkpoint does not contain it.
        save: .json with the parameters, .obj, .glb (animated for the rig) or .bvh (the rig in a video). For many files
            a folder of .glb, or a name with {name} in it.
        draw: Image or video to write with the meshes over it. For many files a folder.
        figure: Image to write of the maps in handoccnet: the visible parts of the first hand, and the attention. For
            many files a folder.
        bones: Bone names of the rig in .bvh and .glb files, as in characters. Default: those of WebXR Hand Input.
        max_instances: Maximum number of hands.
        mirrored: Treat the input as a selfie view.
        models_dir: Folder with the published weight files.
        device: Device of the networks: for the rig cpu, gpu, npu or auto; for the others cpu, gpu, cuda:1, mps or auto.
    """
    if max_instances < 1:
        raise InputError(f"--max-instances {max_instances}: must be at least 1")
    network_options = {"--weights": weights, "--mano": mano, "--mano-left": mano_left}
    if model == "rig" and (unused := [option for option, value in network_options.items() if value]):
        raise InputError(f"{', '.join(unused)} applies only to --model handoccnet or deformer")
    if model != "deformer" and variant is not None:
        raise InputError(f"--variant {variant} applies only to --model deformer")
    if figure is not None and model != "handoccnet":
        raise InputError(f"--figure {figure} applies only to --model handoccnet")
    if figure is not None and not is_many(figure) and Path(figure).suffix.lower() not in ANNOTATED_IMAGE_ENDINGS:
        raise InputError(f"--figure {figure}: name an image such as maps.png")
    if model != "rig" and lifting.lift is not None:
        raise InputError(f"--lift {lifting.lift} applies only to --model rig")
    if bones is not None and (model != "rig" or Path(save or "").suffix.lower() not in (".bvh", ".glb")):
        raise InputError(f"--bones {bones} requires --save with a .bvh or .glb file of the rig")
    lift = lift_from(lifting, mirrored=mirrored, independent=("camera",))
    task = MeshHands(
        model=model,
        weights=weights,
        mano=mano,
        mano_left=mano_left,
        variant=variant,
        max_instances=max_instances,
        mirrored=mirrored,
        models_dir=models_dir,
        camera=lifting.camera,
        lift=lift,
        device=device,
        bones=bones,
    )
    inputs, outputs = Inputs.find(map(str, sources)), Outputs(save, draw, figures=figure)
    status = run_and_report(task, inputs, outputs, batch)
    print_notes(lift)
    return status
