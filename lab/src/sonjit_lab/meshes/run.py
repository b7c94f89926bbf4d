"""Turn the hands of an input into meshes, drawn over it and saved as JSON, OBJ, GLB or BVH."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from sonjit._util import Image, InputError, InputNote, json_from, pluralize
from sonjit._util.files import Output, atomic_file, write_bytes
from sonjit.detectors import create_detector
from sonjit.detectors.options import is_still
from sonjit.engines.devices import torch_device
from sonjit.geometry.cameras import camera_from_text
from sonjit.geometry.steps import row_times, time_notes
from sonjit.media import Anonymise, DrawingWriter, Source, SourceFrame
from sonjit.media.drawing.strokes import LEFT, RIGHT, Colour
from sonjit.media.sources.images import encode_image
from sonjit.media.tables.characters import BoneNames
from sonjit.results import Frame, Results
from sonjit.runs.task import Lift, Outputs, Summary, Task, Worker
from sonjit_lab.hand_models.drawing import draw_mesh
from sonjit_lab.hand_models.hand_mesh import HandMesh, MeshModel, RiggedHands, Sight
from sonjit_lab.hand_models.mesh_files import Mesh, bvh_from_motion, glb_from_meshes, glb_from_motions, obj_from_meshes
from sonjit_lab.lifting import create_lifter

if TYPE_CHECKING:
    from sonjit.media.sources.base import SourceKind
    from sonjit_lab.networks import Network  # requires PyTorch, which rigged hands do not

MESH_ENDINGS: Final = (".json", ".obj", ".glb", ".bvh")
_INDEX: Final = "{index}"
_BAR_SHARE = 0.02  # width of a bar in shares of the image's longer side


def check_save(path: str, source: Source, *, rigged: bool) -> None:
    """Check before any work whether meshes of a source can be saved to a file."""
    ending = Path(path).suffix.lower()
    if ending not in MESH_ENDINGS:
        raise InputError(f"{path}: Unknown file ending of a mesh. Choose from {', '.join(MESH_ENDINGS)}")
    moving = source.kind in ("video", "camera")
    if ending == ".bvh" and not (rigged and moving):
        raise InputError(f"{path}: BVH requires a video and the rigged hand. Save .glb or .obj")
    is_single = ending in (".json", ".bvh") or source.kind == "image" or (ending == ".glb" and rigged and moving)
    if _INDEX in path and ending in (".json", ".bvh"):
        raise InputError(f"{path}: {ending} stores all images in one file. Remove {_INDEX} from the name")
    if not is_single and _INDEX not in path:
        raise InputError(f"{path}: several images require {_INDEX} in the name, such as meshes/{_INDEX}{ending}")


def save_meshes(
    path: str,
    source: Source,
    model: MeshModel,
    indices: Iterable[tuple[int, float | None]],
    bones: BoneNames | None = None,
) -> list[str]:
    """Write the meshes of a finished model for the index and time of each image, and return the paths."""
    ending, frames = Path(path).suffix.lower(), list(indices)
    if ending == ".json":
        _write(path, _json_lines(source, model, frames))
        return [path]
    if ending == ".bvh":
        return _save_bvh(path, source, model, frames, bones)
    if _INDEX in path:
        written: list[str] = []
        for index, _ in frames:
            if meshes := model.meshes(index):
                written.append(path.replace(_INDEX, f"{index:06d}"))
                _write(written[-1], [_encode_meshes(ending, meshes)])
        return written
    if ending == ".glb" and model.motions is not None:
        _write(path, [glb_from_motions(model.motions, bones)])
    else:
        _write(path, [_encode_meshes(ending, [mesh for index, _ in frames for mesh in model.meshes(index)])])
    return [path]


def _encode_meshes(ending: str, meshes: list[HandMesh]) -> str | bytes:
    """Encode meshes as OBJ or GLB."""
    plain = [Mesh(mesh.name, mesh.vertices, mesh.faces) for mesh in meshes]
    return obj_from_meshes(plain) if ending == ".obj" else glb_from_meshes(plain)


def _save_bvh(
    path: str, source: Source, model: MeshModel, frames: list[tuple[int, float | None]], bones: BoneNames | None
) -> list[str]:
    """Write one BVH file per hand, since a BVH file contains one skeleton."""
    motions = model.motions or []
    times = np.array([time for _, time in frames if time is not None])
    measured = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    frame_time = 1 / source.fps if source.fps else measured
    times = np.unique(np.append(times, 0.0))
    rows = row_times(times, frame_time)
    for note in time_notes(times, rows):
        warnings.warn(f"{path}: {note}", InputNote, stacklevel=2)
    base, written = Path(path), list[str]()
    for motion in motions:
        name = base if len(motions) == 1 else base.with_stem(f"{base.stem}-{motion.name}")
        _write(str(name), [bvh_from_motion(motion, rows=rows, bones=bones)])
        written.append(str(name))
    return written


def _json_lines(source: Source, model: MeshModel, frames: list[tuple[int, float | None]]) -> Iterator[str]:
    header: dict[str, object] = {
        "source": source.name,
        "width": source.width,
        "height": source.height,
        "fps": source.fps,
        "model": model.model,
    }
    yield json_from(header | model.about())[:-1] + ',"frames":[\n'
    for number, (index, time) in enumerate(frames):
        name = source.frame_source(index)
        frame = {"index": index, "time": time} | ({"source": name} if name else {})
        record = json_from(frame | {"hands": [mesh.record for mesh in model.meshes(index)]})
        yield (",\n" if number else "") + record
    yield "\n]}\n"


def _write(path: str, chunks: Iterable[str | bytes]) -> None:
    with atomic_file(Path(path)) as draft, draft.open("wb") as file:
        for part in chunks:
            file.write(part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape"))


@Parameter(name="*")
@dataclass(frozen=True)
class MeshHands(Task):
    """Turn hands into meshes.

    Attributes:
        model: rig needs no licence. handoccnet and deformer need their checkpoint and your MANO files.
        weights: Checkpoint of the network.
        mano: MANO's right hand: MANO_RIGHT.pkl or .npz.
        mano_left: MANO's left hand, for deformer.
        variant: Data set of deformer's checkpoint, if the checkpoint does not contain it.
        anonymise: In pictures: black draws on black, blur blurs all heads that a search finds,
            persons all people. Each removes the sound.
        bones: Bone names of the rig in .bvh and .glb files, as in characters. Default: those of WebXR Hand Input.
        max_instances: Maximum number of hands.
        mirrored: Treat the input as a selfie view.
        models_dir: Folder with the published weight files.
        device: Device of the networks: for the rig cpu, gpu, npu or auto; for the others cpu, gpu, cuda:1, mps or auto.
        camera: fx,fy,cx,cy in pixels; None assumes a camera for each image size.
        lift: Settings for lifting hands into the camera's space before the rig is posed, or None. Hands of unknown
            position are dropped.
    """

    model: Literal["rig", "handoccnet", "deformer"] = "rig"
    weights: str | None = None
    mano: str | None = None
    mano_left: str | None = None
    variant: Literal["ho3d", "dexycb"] | None = None
    max_instances: int = 2
    mirrored: Annotated[bool, Parameter(negative="")] = False
    models_dir: str | None = None
    camera: Annotated[str | None, Parameter(parse=False)] = None
    lift: Annotated[Lift | None, Parameter(parse=False)] = None
    device: str = "cpu"
    anonymise: Anonymise = "none"
    bones: BoneNames | None = None

    save_ending = ".glb"
    figures_ending = ".png"

    def count_text(self, count: int) -> str:
        """Return a number of hands with their noun."""
        return pluralize(count, "hand")

    @property
    def files(self) -> tuple[str, ...]:
        """Networks, MANO's files and folders of networks."""
        paths = [self.weights, self.mano, self.mano_left, self.models_dir]
        paths += [] if self.lift is None else [self.lift.weights, self.lift.root_weights]
        return tuple(path for path in paths if path)

    def open(self, source: SourceKind) -> MeshWorker:
        """Load the networks."""
        return MeshWorker(self, source)

    def network(self) -> Network | None:
        """Load the network that predicts meshes; None for the rig."""
        if self.model == "rig":
            return None
        if self.model == "deformer":
            from sonjit_lab.papers.deformer.meshes import load_deformer

            network = load_deformer(self.weights, self.mano, self.mano_left, self.variant)
        else:
            from sonjit_lab.papers.handoccnet.meshes import load_handoccnet

            network = load_handoccnet(self.weights, self.mano)
        return network.to(torch_device(self.device))

    def mesh_model(self, network: Network | None, *, features: bool = False) -> MeshModel:
        """Create the model that turns the hands of one input into meshes; with `features`, keep HandOccNet's maps."""
        sight = Sight.of(None if self.camera is None else camera_from_text(self.camera))
        if network is None:
            lifted_by = None if self.lift is None else self.lift.network
            return RiggedHands(sight, self.models_dir, mirrored=self.mirrored, lifted_by=lifted_by)
        from sonjit_lab.papers.deformer.meshes import DeformerHands
        from sonjit_lab.papers.deformer.network import DeformerNetwork
        from sonjit_lab.papers.handoccnet.meshes import HandOccHands
        from sonjit_lab.papers.handoccnet.network import HandOccNetwork

        if isinstance(network, DeformerNetwork):
            return DeformerHands(network, sight, mirrored=self.mirrored)
        assert isinstance(network, HandOccNetwork)
        return HandOccHands(network, sight, mirrored=self.mirrored, features=features)


class MeshWorker(Worker[Frame]):
    """Loaded networks that find the hands of every image of an input and make meshes of them.

    Meshes are written at the end, because the size of a hand comes from the full video. Drawing reads the input a
    second time. Ctrl-C ends the first reading, and the meshes up to there are written.
    """

    def __init__(self, task: MeshHands, source: SourceKind) -> None:
        super().__init__(task.anonymise, task.models_dir)
        self._task = task
        self.bones: BoneNames | None = task.bones
        self._lifter = None if task.lift is None else create_lifter(task.lift)
        self._network = task.network()
        self._model = task.mesh_model(self._network)  # a missing file of the rig ends the run before any work
        self._detector = create_detector(
            "hands",
            max_instances=task.max_instances,
            static_image=is_still(source),
            models_dir=task.models_dir,
            mirrored=task.mirrored,
            device=task.device if task.model == "rig" else "cpu",
        )

    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Open drawing and files of meshes."""
        self._detector.reset()
        self._source, self._without_position = source, 0
        self._model = self._task.mesh_model(self._network, features=outputs.figures is not None)
        if outputs.save is not None:
            check_save(outputs.save, source, rigged=isinstance(self._model, RiggedHands))
        drawing = None
        if outputs.draw is not None:
            if source.kind in ("video", "camera") and not source.files:
                name = source.name
                raise InputError(f"{name}: drawing reads a source twice. First record it: sonjit hands {name} --draw F")
            drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))
        self._files = files.enter_context(_MeshFiles(source, self._model, outputs, drawing, self))

    def process(self, frame: SourceFrame) -> Frame:
        """Find the hands in an image and give them to the model."""
        hands = self._detector.detect(frame.rgb, time=frame.time)
        result = Frame.from_results(frame.index, frame.time, hands, self._source.frame_source(frame.index))
        if self._lifter is not None:
            lifted = self._lifter.lift(frame.rgb, result.hands)
            before = (hand for hand in lifted if (hand.keypoints_3d[:, 2] > 0).all())  # false for NaN
            result.hands = Results(before, keypoint_count=21)
            self._without_position += len(lifted) - len(result.hands)
        self._model.add_frame(result, frame.rgb)
        self._files.frames.append((frame.index, frame.time))
        return result

    def count(self, item: Frame) -> int:
        """Return the number of hands."""
        return len(item.hands)

    def report(self, summary: Summary) -> None:
        """Add how well each hand fits."""
        for hand in self._model.about().get("hands", []):
            frames = pluralize(hand["frames"], "frame")
            error = f"{hand['fit_error_mm']:.1f} mm from its keypoints on average"
            summary.lines.append(f"{hand['name']}: {frames}, {error}")
        if self._without_position:
            hands = pluralize(self._without_position, "hand")
            summary.notes.append(f"{hands} left out: lifting could not determine where they are")
        summary.written = self._files.written

    def close(self) -> None:
        """Free the detector."""
        self._detector.close()


class _MeshFiles(Output):
    """Files that are written after the last image; `written` are their paths."""

    def __init__(
        self, source: Source, model: MeshModel, outputs: Outputs, drawing: DrawingWriter | None, by: MeshWorker
    ) -> None:
        super().__init__()
        self._by = by
        self._source = source
        self._model = model
        self._outputs = outputs
        self._drawing = drawing
        self.frames: list[tuple[int, float | None]] = []
        self.written: list[str] = []

    def _finish(self) -> None:
        self._model.finish()
        if self._outputs.save is not None:
            self.written += save_meshes(self._outputs.save, self._source, self._model, self.frames, self._by.bones)
        if self._drawing is not None and self._outputs.draw is not None and self.frames:
            problems, last = list(self._source.problems), self.frames[-1][0]
            for frame in self._source:
                if frame.index > last:
                    break
                drawn = draw_meshes(self._by.hidden.below(frame), self._model.meshes(frame.index))
                self._drawing.write(drawn, frame.time, index=frame.index, under=frame)
            self._source.problems[:] = problems  # the second reading reports them again
            self.written.append(self._outputs.draw)
        if self._outputs.figures is not None and _draw_maps(Path(self._outputs.figures), self._model):
            self.written.append(self._outputs.figures)

    def _abort(self) -> None: ...


def _draw_maps(path: Path, model: MeshModel) -> bool:
    """Draw the maps of the first hand. Returns false if there is no hand."""
    from sonjit.media.drawing.heat_maps import draw_feature_maps
    from sonjit_lab.papers.handoccnet.meshes import HandOccHands, occlusion_maps

    assert isinstance(model, HandOccHands)
    if model.first_hand is None:
        return False
    crop, outputs = model.first_hand
    data = encode_image(draw_feature_maps(occlusion_maps(outputs), crop), path.suffix.lower())
    write_bytes(path, data)
    return True


def draw_meshes(rgb: Image, meshes: list[HandMesh]) -> Image:
    """Return a new image (H, W, 3) with shaded hands, far ones first. Left hands are warm, right hands blue."""
    canvas = rgb.copy()
    for mesh in sorted(meshes, key=lambda mesh: -float(mesh.vertices[:, 2].mean())):
        colour = RIGHT if mesh.handedness == "Right" else LEFT
        draw_mesh(canvas, mesh.pixels, mesh.faces, colour, normals=mesh.normals)
    for mesh in meshes:
        if weights := mesh.record.get("frame_weights"):
            _draw_weights(canvas, mesh.pixels, weights, RIGHT if mesh.handedness == "Right" else LEFT)
    return canvas


def _draw_weights(canvas: Image, pixels: NDArray[np.floating], weights: list[float], colour: Colour) -> None:
    """Draw a bar below a hand for the weight of each fused frame, with the frame of the hand outlined."""
    import cv2

    height, width = canvas.shape[:2]
    step = max(4, round(_BAR_SHARE * max(height, width)))
    low, high = pixels[:, :2].min(0), pixels[:, :2].max(0)
    left = round(min(max((low[0] + high[0] - step * len(weights)) / 2, 0), max(width - step * len(weights), 0)))
    bottom = round(min(high[1] + 4 * step, height - 1))
    for index, weight in enumerate(weights):
        x = left + index * step
        top = bottom - max(1, round(3 * step * weight))
        cv2.rectangle(canvas, (x, bottom - 3 * step), (x + step - 2, bottom), (32, 32, 32), -1)
        cv2.rectangle(canvas, (x, top), (x + step - 2, bottom), colour, -1)
        if index == len(weights) // 2:
            cv2.rectangle(canvas, (x, bottom - 3 * step), (x + step - 2, bottom), (255, 255, 255), 1)
