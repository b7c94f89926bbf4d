"""`sonjit mesh`: the hands of images and videos as meshes."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from sonjit._util.errors import InputError
from sonjit.cli.options import TO_EITHER, BatchOptions, Input, Lifting, lift_from, print_notes
from sonjit.cli.progress import run_and_report
from sonjit.media import ANNOTATED_IMAGE_ENDINGS
from sonjit.runs import Inputs, Outputs
from sonjit.runs.inputs import is_many
from sonjit_lab.meshes.run import MeshHands

_MESHES, _LIFTING = MeshHands(), Lifting()


def mesh(
    *sources: Input,
    task: MeshHands = _MESHES,
    save: Annotated[str | None, TO_EITHER] = None,
    draw: Annotated[str | None, TO_EITHER] = None,
    figure: Annotated[str | None, TO_EITHER] = None,
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
        save: .json with the parameters, .obj, .glb (animated for the rig) or .bvh (the rig in a video). For many files
            a folder of .glb, or a name with {name} in it.
        draw: Image or video to write with the meshes over it. For many files a folder.
        figure: Image to write of the maps in handoccnet: the visible parts of the first hand, and the attention. For
            many files a folder.
    """
    if task.max_instances < 1:
        raise InputError(f"--max-instances {task.max_instances}: must be at least 1")
    network_options = {"--weights": task.weights, "--mano": task.mano, "--mano-left": task.mano_left}
    if task.model == "rig" and (unused := [option for option, value in network_options.items() if value]):
        raise InputError(f"{', '.join(unused)} applies only to --model handoccnet or deformer")
    if task.model != "deformer" and task.variant is not None:
        raise InputError(f"--variant {task.variant} applies only to --model deformer")
    if figure is not None and (task.model != "handoccnet" or task.anonymise != "none"):
        raise InputError(f"--figure {figure} applies only to --model handoccnet without --anonymise")
    if figure is not None and not is_many(figure) and Path(figure).suffix.lower() not in ANNOTATED_IMAGE_ENDINGS:
        raise InputError(f"--figure {figure}: name an image such as maps.png")
    if task.model != "rig" and lifting.lift is not None:
        raise InputError(f"--lift {lifting.lift} applies only to --model rig")
    if task.bones is not None and (task.model != "rig" or Path(save or "").suffix.lower() not in (".bvh", ".glb")):
        raise InputError(f"--bones {task.bones} requires --save with a .bvh or .glb file of the rig")
    lift = lift_from(lifting, mirrored=task.mirrored, independent=("camera",))
    inputs, outputs = Inputs.find(map(str, sources)), Outputs(save, draw, figures=figure)
    status = run_and_report(replace(task, camera=lifting.camera, lift=lift), inputs, outputs, batch)
    print_notes(lift)
    return status
