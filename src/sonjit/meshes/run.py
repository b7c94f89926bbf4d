"""The hands of an input as meshes: drawn over it, and saved for animation programs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonjit.arrays import Image
from sonjit.detectors import create_detector
from sonjit.engines.devices import torch_device
from sonjit.errors import InputError
from sonjit.extras import require
from sonjit.files import Output, write_bytes
from sonjit.geometry.cameras import camera_from_text
from sonjit.lifting import create_lifter
from sonjit.media import open_drawing_writer
from sonjit.media.drawing.meshes import draw_mesh
from sonjit.media.drawing.strokes import LEFT, RIGHT, Colour
from sonjit.meshes.hand_mesh import Sight, check_save, save_meshes
from sonjit.meshes.rigged import RiggedHands
from sonjit.results import Frame
from sonjit.runs.processor import Outputs, Pass, Processor, StillAndStream, Summary, counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.lifting import Lift
    from sonjit.media import DrawingWriter, Source, SourceFrame
    from sonjit.meshes.hand_mesh import HandMesh, MeshModel
    from sonjit.networks import Network
    from sonjit.results import Hand


@dataclass(frozen=True)
class MeshHands(Processor):
    """Turn hands into meshes.

    Attributes:
        model: `rig`, `handoccnet` or `deformer`.
        weights: checkpoint of the network.
        mano, mano_left: files of MANO's hands.
        variant: which data set Deformer's checkpoint was trained on, where it does not say so itself.
        max_instances: how many hands to look for.
        mirrored: the images are selfie views.
        models_dir: folder with the published weight files.
        camera: fx,fy,cx,cy in pixels; None assumes one for each size of image.
        lift: puts the hands into the camera's space before the rig is posed, or None; hands of unknown place are left
            out.
        device: of the rig's hand detector, see `create_detector`; of the other networks, see `torch_device`. Their
            hands are found on the CPU.
    """

    model: str = "rig"
    weights: str | None = None
    mano: str | None = None
    mano_left: str | None = None
    variant: str | None = None
    max_instances: int = 2
    mirrored: bool = False
    models_dir: str | None = None
    camera: str | None = None
    lift: Lift | None = None
    device: str = "cpu"

    save_ending = ".glb"
    figures_ending = ".png"

    def found(self, count: int) -> str:
        """So many hands."""
        return counted(count, "hand", "hands")

    def load(self) -> _Meshing:
        """What lifts; detectors and networks follow with the first input."""
        return _Meshing(self)

    def network(self) -> Network | None:
        """The network that sees meshes; None of the rig."""
        if self.model == "rig":
            return None
        require("torch", f"--model {self.model}")
        from sonjit.meshes import mano_networks

        if self.model == "deformer":
            network = mano_networks.load_deformer(self.weights, self.mano, self.mano_left, self.variant)
        else:
            network = mano_networks.load_handoccnet(self.weights, self.mano)
        return network.to(torch_device(self.device))

    def mesh_model(self, network: Network | None, *, features: bool = False) -> MeshModel:
        """What turns the hands of one input into meshes.

        Args:
            network: that of `network()`.
            features: keep the maps of HandOccNet.
        """
        sight = Sight.of(None if self.camera is None else camera_from_text(self.camera))
        if network is None:
            lifted_by = None if self.lift is None else self.lift.network
            return RiggedHands(sight, self.models_dir, mirrored=self.mirrored, lifted_by=lifted_by)
        from sonjit.meshes import mano_networks

        if isinstance(network, mano_networks.DeformerNetwork):
            return mano_networks.DeformerHands(network, sight, mirrored=self.mirrored)
        assert isinstance(network, mano_networks.HandOccNetwork)
        return mano_networks.HandOccHands(network, sight, mirrored=self.mirrored, features=features)


class _Meshing(StillAndStream["Detector[Any]"]):
    def __init__(self, processor: MeshHands) -> None:
        super().__init__()
        self._processor = processor
        self._lift = None if processor.lift is None else create_lifter(processor.lift).lift
        self._network: Network | None = None

    def open(self, *, still: bool) -> Detector[Any]:
        asked = self._processor
        self._network = self._network or asked.network()
        asked.mesh_model(self._network)  # finds the rig's files
        return create_detector(
            "hands", max_instances=asked.max_instances, static_image=still, models_dir=asked.models_dir,
            mirrored=asked.mirrored, smoothing=None if still else "one_euro",
            device=asked.device if asked.model == "rig" else "cpu",
        )  # fmt: skip

    def begin(self, source: Source, outputs: Outputs) -> MeshPass:
        model = self._processor.mesh_model(self._network, features=outputs.figures is not None)
        return MeshPass(source, self.fresh(source), model, outputs, self._lift)


class MeshPass(Pass[Frame]):
    """Find the hands of every image of an input, make meshes of them, write and draw these.

    All images are processed first, for a hand's size comes out of the whole video; drawing reads them once more.
    Ctrl-C ends the first reading: what was seen is written.

    Args:
        source: an open source.
        detector: of hands.
        model: turns what was found into meshes.
        outputs: files for meshes or their parameters (see `check_save`), annotated output, and maps.
        lift: puts the hands of an image into the camera's space before the model sees them, or None; hands of
            unknown place are left out.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector[Any],
        model: MeshModel,
        outputs: Outputs,
        lift: Callable[[NDArray[np.uint8], list[Hand]], list[Hand]] | None = None,
    ) -> None:
        super().__init__()
        self._source, self._detector, self._model, self._lift = source, detector, model, lift
        self._unplaced = 0
        if outputs.save is not None:
            check_save(outputs.save, source, rigged=isinstance(model, RiggedHands))
        if outputs.draw is not None and source.kind in ("video", "camera") and not source.files:
            name = source.name
            raise InputError(f"{name}: drawing reads a source twice; record it first: sonjit hands {name} --draw F")
        with ExitStack() as stack:
            drawing = None
            if outputs.draw is not None:
                drawing = self.beside_others(open_drawing_writer(outputs.draw, source), outputs.draw, outputs)
                stack.enter_context(drawing)
            self._files = stack.enter_context(_MeshFiles(source, model, outputs, drawing))
            self.outputs = stack.pop_all()

    def process(self, frame: SourceFrame) -> Frame:
        """The hands of an image, which the model has seen then."""
        found = self._detector.detect(frame.rgb, time=frame.time)
        result = Frame.holding(frame.index, frame.time, found, self._source.frame_source(frame.index))
        if self._lift is not None:
            lifted = self._lift(frame.rgb, result.hands)
            result.hands = [hand for hand in lifted if (hand.keypoints_3d[:, 2] > 0).all()]  # NaN is not
            self._unplaced += len(lifted) - len(result.hands)
        self._model.add_frame(result, frame.rgb)
        self._files.seen.append((frame.index, frame.time))
        return result

    def count(self, result: Frame) -> int:
        """Its hands."""
        return len(result.hands)

    def report(self, summary: Summary) -> None:
        """How well each hand fits."""
        for hand in self._model.about().get("hands", []):
            frames = counted(hand["frames"], "frame", "frames")
            error = f"{hand['fit_error_mm']:.1f} mm from its keypoints on average"
            summary.lines.append(f"{hand['name']}: {frames}, {error}")
        if self._unplaced:
            hands = counted(self._unplaced, "hand", "hands")
            summary.notes.append(f"{hands} left out: lifting could not determine where they are")
        summary.written = self._files.written


class _MeshFiles(Output):
    """What is written once all images were seen.

    Attributes:
        seen: index and time of each image.
        written: files.
    """

    def __init__(self, source: Source, model: MeshModel, outputs: Outputs, drawing: DrawingWriter | None) -> None:
        super().__init__()
        self._source, self._model, self._outputs, self._drawing = source, model, outputs, drawing
        self.seen: list[tuple[int, float | None]] = []
        self.written: list[str] = []

    def _finish(self) -> None:
        self._model.finish()
        if self._outputs.save is not None:
            self.written += save_meshes(self._outputs.save, self._source, self._model, self.seen)
        if self._drawing is not None and self._outputs.draw is not None and self.seen:
            problems, last = list(self._source.problems), self.seen[-1][0]
            for frame in self._source:
                if frame.index > last:
                    break
                drawn = draw_meshes(frame.rgb, self._model.meshes(frame.index))
                self._drawing.write(drawn, frame.time, index=frame.index, under=frame)
            self._source.problems[:] = problems  # the second reading finds them again
            self.written.append(self._outputs.draw)
        if self._outputs.figures is not None and _draw_maps(Path(self._outputs.figures), self._model):
            self.written.append(self._outputs.figures)

    def _abort(self) -> None: ...


def _draw_maps(path: Path, model: MeshModel) -> bool:
    """The maps of the first hand; none where no hand was seen."""
    from sonjit.explain.overlay import draw_feature_maps, occlusion_maps
    from sonjit.media.annotated.writers import encode_image
    from sonjit.meshes.mano_networks import HandOccHands

    assert isinstance(model, HandOccHands)
    if model.seen is None:
        return False
    crop, outputs = model.seen
    data = encode_image(draw_feature_maps(occlusion_maps(outputs), crop), path.suffix.lower())
    write_bytes(path, data)
    return True


def draw_meshes(rgb: Image, meshes: list[HandMesh]) -> Image:
    """A new image (H, W, 3) with shaded hands over it, far ones first; a person's left is warm, their right blue."""
    canvas = rgb.copy()
    for mesh in sorted(meshes, key=lambda mesh: -float(mesh.vertices[:, 2].mean())):
        colour = RIGHT if mesh.handedness == "Right" else LEFT
        draw_mesh(canvas, mesh.pixels, mesh.faces, colour, normals=mesh.normals)
    for mesh in meshes:
        if weights := mesh.record.get("frame_weights"):
            _draw_weights(canvas, mesh.pixels, weights, RIGHT if mesh.handedness == "Right" else LEFT)
    return canvas


_BAR_PX = 0.02  # a bar's width in the image's longer side


def _draw_weights(canvas: Image, pixels: NDArray[np.floating], weights: list[float], colour: Colour) -> None:
    """Below a hand a bar for each frame that it was fused from, as high as its weight; the hand's own is outlined."""
    import cv2

    height, width = canvas.shape[:2]
    step = max(4, round(_BAR_PX * max(height, width)))
    low, high = pixels[:, :2].min(0), pixels[:, :2].max(0)
    left = round(min(max((low[0] + high[0] - step * len(weights)) / 2, 0), max(width - step * len(weights), 0)))
    bottom = round(min(high[1] + 4 * step, height - 1))
    for place, weight in enumerate(weights):
        x = left + place * step
        top = bottom - max(1, round(3 * step * weight))
        cv2.rectangle(canvas, (x, bottom - 3 * step), (x + step - 2, bottom), (32, 32, 32), -1)
        cv2.rectangle(canvas, (x, top), (x + step - 2, bottom), colour, -1)
        if place == len(weights) // 2:
            cv2.rectangle(canvas, (x, bottom - 3 * step), (x + step - 2, bottom), (255, 255, 255), 1)
