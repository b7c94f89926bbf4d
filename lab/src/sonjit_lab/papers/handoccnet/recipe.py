"""Train HandOccNet (recipe `handoccnet`) on images with MANO parameters, and prepare data of all recipes on MANO.

Source: Park et al. 2022, HandOccNet, section 3.5 and the authors' code. Synthetic clips replace HO-3D and DexYCB at the
smoke size: a moving hand of shaded tubes (`placeholder_mano`), which a coloured bar hides in the middle frames.
"""

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError
from sonjit._util.settings import Range
from sonjit.geometry.boxes import clamped_box, crop, points_into_crop, rotated_box_around, square_box
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Instance, ManoParameters, Sample, reading
from sonjit_lab.datasets.sample import HAND_SKELETON, fit_with_mean
from sonjit_lab.hand_models import Mano, load_mano
from sonjit_lab.hand_models.mano import Side, matrix_from_6d, matrix_from_axis_angle, turned_pose
from sonjit_lab.hand_models.placeholders import PLACEHOLDER, placeholder_mano
from sonjit_lab.metrics import joint_errors, pck_auc, similarity_aligned
from sonjit_lab.networks import create_network, load_checkpoint, modes
from sonjit_lab.networks.checkpoints import without_prefixes
from sonjit_lab.papers.handoccnet import network as handoccnet
from sonjit_lab.training.augment import UNCHANGED, Augmentation, AugmentationSettings, draw_augmentation
from sonjit_lab.training.batches import to_device
from sonjit_lab.training.building_blocks import export_trained
from sonjit_lab.training.hands.samples import (
    HandData,
    HandSettings,
    complete_hands,
    draw_batch,
    hand_data,
    report_split,
)
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.recipes import TrainingRequest, settings_from

_OPENGL_TO_CAMERA = np.diag([1.0, -1.0, -1.0])

SIDE_PX: Final = 96
STEP: Final = 10  # difference of the indices of neighbouring frames, which is the gap of Deformer's windows
_FOCAL_PX, _DISTANCE_M = 190.0, (0.42, 0.55)
_FINGERS: Final = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))  # MANO's joints, thumb first
_MAX_BEND_RAD: Final = (1.3, 1.5, 1.0)
_RADII_M: Final = (0.011, 0.009)  # of palm and fingers
_SKIN: Final = np.array([214.0, 168.0, 142.0])

_Clips: TypeAlias = Annotated[int, Range(1, 100_000)]
_CROP_SCALE = 1.5  # sides of a crop relative to the box around the joints
_MM = 1000.0


@dataclass(frozen=True)
class ManoSettings(HandSettings):
    """Settings of all recipes on MANO."""

    mano: str = ""  # MANO_RIGHT.pkl; or stand-in, a hand of tubes that needs no licence
    clips: _Clips = 300  # number of synthetic training clips of the placeholder if there are no data
    held_out_clips: _Clips = 40  # number of synthetic clips to evaluate on
    clip_frames: Annotated[int, Range(1, 1000)] = 7  # number of frames in a clip


def aligned_errors(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the errors (N, 21) in millimetres of joints (N, 21, 3) in metres after Procrustes alignment."""
    points = (joints.double().cpu().numpy() for joints in (predicted, truth))
    return torch.from_numpy(1000 * joint_errors(*similarity_aligned(*points)))


def area_under_pck(errors: Tensor) -> float:
    """Return the area under the PCK curve of errors (N, 21) in millimetres, up to 50 mm, in per cent."""
    return 100 * pck_auc(errors.numpy(), 0, 50)


def mano_from_setting(recipe: str, name: str, file: str, side: Side = "right") -> Mano:
    """Load the MANO model that a setting names."""
    if not file:
        raise InputError(
            f"{recipe} requires MANO's {side} hand, --set {name}=FILE: MANO_{side.upper()}.pkl, after registration, "
            f"from https://mano.is.tue.mpg.de; {name}={PLACEHOLDER} uses a hand of tubes"
        )
    return placeholder_mano(side) if file == PLACEHOLDER else load_mano(file, side)


def mano_data(request: TrainingRequest, settings: ManoSettings) -> HandData:
    """Return a data set's images, or synthetic clips of the placeholder."""
    if request.data is not None:
        return hand_data(request, settings, lambda sample: bool(fitted_hands(sample)))
    if settings.mano != PLACEHOLDER:
        raise InputError(f"{request.recipe} requires --data, or --set mano={PLACEHOLDER} for clips of a hand of tubes")
    mano, frames = placeholder_mano(), settings.clip_frames
    training = synthetic_clips(mano, settings.clips, frames, seed=1)
    held_out = synthetic_clips(mano, settings.held_out_clips, frames, seed=2)
    return HandData(training, held_out, "synthetic clips of the placeholder for MANO", report_split(training, held_out))


def fitted_hands(sample: Sample) -> list[Instance]:
    """Return the complete hands of an image that have MANO parameters."""
    return [hand for hand in complete_hands(sample) if hand.mesh is not None]


def pose_in_camera(fit: ManoParameters, camera: CalibratedCamera | None, mano: Mano, *, flat_mean: bool) -> FloatArray:
    """Return a fit's pose (48,), axis-angles in the camera's axes, relative to the flat hand or MANO's mean pose."""
    if fit.flat_mean is None:
        raise InputError("The data set does not define the mean pose of its MANO fits. Choose another data set.")
    fingers = torch.tensor(fit.pose[3:]).to(mano.components)
    if fit.pca:
        fingers = mano.axis_angles(fingers[None])[0]
    if fit.flat_mean != flat_mean:
        fingers = fingers - mano.mean_pose if fit.flat_mean else fingers + mano.mean_pose
    root = fit.pose[:3]
    if fit.frame == "world" and (camera is None or camera.R is None):
        raise InputError("MANO fits in world space require the pose of the camera, which the data set lacks")
    if fit.frame != "camera":
        turn = _OPENGL_TO_CAMERA if fit.frame == "opengl" or camera is None or camera.R is None else camera.R
        root = turned_pose(torch.tensor(root)[None], torch.tensor(turn))[0].numpy()
    return np.concatenate([root, fingers.double().cpu().numpy()])


def synthetic_clips(mano: Mano, clips: int, frames: int, seed: int) -> list[Sample]:
    """Return synthetic clips, frame by frame in steps of ten, which depend only on the seed.

    Samples have one right hand with keypoints, `visible`, and MANO parameters in the camera's axes, relative to the
    flat hand.
    """
    samples: list[Sample] = []
    for clip in range(clips):
        rng = np.random.default_rng((seed, clip))
        pose, betas, translation = _motion(rng, frames)
        with torch.no_grad():
            tensors = (torch.from_numpy(values).float() for values in (pose, betas, translation))
            joints = mano(*tensors, tips="deformer_ho3d")[1].double().numpy()  # (T, 21, 3)
        camera = CalibratedCamera(reading.camera_matrix((_FOCAL_PX, _FOCAL_PX), (SIDE_PX / 2, SIDE_PX / 2)))
        pixels = camera.project(joints)
        bars = _bars(rng, pixels)
        background = rng.integers(30, 200, (6, 6, 3), np.uint8)
        for number in range(frames):
            rgb, hidden = _image(rng, joints[number], pixels[number], bars[number], background)
            hand = Instance(
                kind="hand",
                side="Right",
                skeleton=HAND_SKELETON,
                keypoints_px=pixels[number],
                valid_px=np.ones(len(hidden), np.bool_),
                visible=~hidden,
                keypoints_m=joints[number],
                valid_m=np.ones(len(hidden), np.bool_),
                mesh=ManoParameters(pose[number], betas[number], translation[number], "camera", flat_mean=True),
            )
            samples.append(
                Sample(
                    dataset="synthetic-clips",
                    id=f"clip{clip}/{number}",
                    image=rgb,
                    width=SIDE_PX,
                    height=SIDE_PX,
                    instances=(hand,),
                    camera=camera,
                    sequence=f"clip{seed}-{clip}",
                    frame=number * STEP,
                )
            )
    return samples


def _motion(rng: np.random.Generator, frames: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return poses (T, 48), shapes (T, 10) and translations (T, 3) of a smooth motion between two poses."""
    part = (1 - np.cos(np.pi * np.linspace(0, 1, frames)))[:, None] / 2  # (T, 1)
    first, last = _pose(rng), _pose(rng)
    last[:3] = first[:3] + rng.normal(0, 0.05, 3)
    pose = (1 - part) * first + part * last
    start = np.array([0.0, 0.08, rng.uniform(*_DISTANCE_M)])
    translations = start + (1 - part) * rng.normal(0, 0.01, 3) + part * rng.normal(0, 0.01, 3)
    return pose, np.tile(rng.normal(0, 0.7, 10), (frames, 1)), translations


def _pose(rng: np.random.Generator) -> FloatArray:
    """Return (48,) axis-angles of a hand that is partly closed, with small variations of each finger and the wrist."""
    pose = np.zeros((16, 3))
    pose[0] = rng.normal(0, (0.1, 0.1, 0.2))
    closed = rng.uniform(0, 1)
    for joints in _FINGERS:
        bent, spread = np.clip(closed + rng.normal(0, 0.15), 0, 1), rng.normal(0, 0.08)
        for joint, limit in zip(joints, _MAX_BEND_RAD, strict=True):
            pose[joint, 0] = bent * limit * rng.uniform(0.8, 1.0)
        pose[joints[0], 2] = spread
    return pose.reshape(-1)


def _bars(rng: np.random.Generator, pixels: FloatArray) -> list[FloatArray]:
    """Return the corners (4, 2) of a bar in each frame, which crosses the hand from one side to the other."""
    middle = pixels.mean((0, 1))
    turn = rng.uniform(0, 2 * np.pi)
    across, along = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    half = rng.uniform(5, 11)
    corners = np.array([[-half, -60], [half, -60], [half, 60], [-half, 60]])
    shape = corners @ np.stack([across, along])  # (4, 2)
    return [middle + across * offset + shape for offset in np.linspace(-40, 40, len(pixels)) + rng.uniform(-10, 10)]


def _image(
    rng: np.random.Generator, joints: FloatArray, pixels: FloatArray, bar: FloatArray, background: Image
) -> tuple[NDArray[np.uint8], BoolArray]:
    """Render a hand (S, S, 3) and return which of its keypoints (21,) the bar hides."""
    rgb = np.asarray(cv2.resize(background, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC), np.uint8)
    middle = joints[:, 2].mean()
    bones = sorted(load_skeleton(HAND_SKELETON).bones, key=lambda bone: -joints[list(bone), 2].mean())
    for first, last in bones:
        depth = joints[[first, last], 2].mean()
        light = np.clip(1 - 6 * (depth - middle), 0.35, 1.3)  # nearer is lighter
        width = max(1, round(2 * _RADII_M[first != 0] * _FOCAL_PX / depth))
        ends = [tuple(np.rint(pixels[joint]).astype(int).tolist()) for joint in (first, last)]
        cv2.line(rgb, ends[0], ends[1], np.clip(_SKIN * light, 0, 255).tolist(), width, cv2.LINE_AA)
    corners = np.rint(bar).astype(np.int32)
    cv2.fillConvexPoly(rgb, corners, (70, 90, 160))
    hidden = [cv2.pointPolygonTest(corners, (float(x), float(y)), measureDist=False) >= 0 for x, y in pixels]
    noisy = rgb + rng.normal(0, 4, rgb.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), np.array(hidden)


class HandOccTargets(NamedTuple):
    """Ground truth of a batch; metres."""

    vertices: Tensor  # (B, 778, 3)
    joints: Tensor  # (B, 21, 3)
    rotations: Tensor  # (B, 16, 3, 3), without MANO's mean pose, as the network returns them
    shape: Tensor  # (B, 10)
    joints_img: Tensor  # (B, 21, 2) in 0..1 of the crop


def targets_from_mano(mano: Mano, pose: Tensor, shape: Tensor, joints_img: Tensor) -> HandOccTargets:
    """Compute the ground truth from MANO's parameters: poses (B, 48) in radians and shapes (B, 10).

    The joints (B, 21, 2) are in 0..1 of the crop.
    """
    with torch.no_grad():
        vertices, joints = mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        rotations = matrix_from_axis_angle(pose.unflatten(1, (-1, 3)))
    return HandOccTargets(vertices, joints, rotations, shape, joints_img)


def handoccnet_losses(outputs: Mapping[str, Tensor], targets: HandOccTargets) -> dict[str, Tensor]:
    """Return the mean squared errors times the published weights, by name; their sum is minimised."""
    rotations = matrix_from_6d(outputs["pose6d"].unflatten(1, (-1, 6)))
    return {
        "vertices": 1e4 * F.mse_loss(outputs["mesh_coord_cam"], targets.vertices),
        "joints": 1e4 * F.mse_loss(outputs["joints_coord_cam"], targets.joints),
        "pose": 10 * F.mse_loss(rotations, targets.rotations),
        "shape": 0.1 * F.mse_loss(outputs["mano_shape"], targets.shape),
        "joints_img": 100 * F.mse_loss(outputs["joints_coord_img"], targets.joints_img),
    }


def rotate_poses(pose: Tensor, rotation_deg: float) -> Tensor:
    """Return poses (B, 48) in radians of hands in a rotated crop.

    The wrist rotates the other way about the optical axis.
    """
    around = matrix_from_axis_angle(pose.new_tensor([0.0, 0.0, -math.radians(rotation_deg)]))
    return turned_pose(pose, around)


def mirror_poses(pose: Tensor) -> Tensor:
    """Convert poses (B, 48) of left hands to those of right hands in the mirrored image, and back."""
    return pose * pose.new_tensor([1.0, -1.0, -1.0]).repeat(pose.shape[1] // 3)


@dataclass(frozen=True)
class HandOccSettings(ManoSettings):
    """Settings of the recipe."""

    UNSUPPORTED: ClassVar[tuple[str, ...]] = ("mirror", "reverse")  # the network sees only right hands

    size: Literal["full", "small", "tiny"] = "full"  # network size: full, small for a trial on a CPU, or tiny for tests
    trunk_weights: str = ""  # file of torchvision's ResNet-50 for ImageNet; "" starts with random weights
    # handling of hidden regions: full, as published; softmax, without the sigmoid; gate, only spatial attention; none
    fit: Literal["full", "softmax", "gate", "none"] = "full"
    refine: bool = True  # True for a network with SET


class OccludedHand(NamedTuple):
    """One crop and its ground truth."""

    image: Float32Array  # (S, S, 3) in 0..1
    pose: FloatArray  # (48,) relative to MANO's mean pose, of the right hand in the crop
    shape: FloatArray  # (10,)
    joints: FloatArray  # (21, 2) in 0..1 of the crop
    hidden: FloatArray  # (21,) 1 for joints that are labelled as hidden, else 0


def train_handoccnet(request: TrainingRequest) -> Mapping[str, object]:
    """Train HandOccNet.

    Returns:
        "weights", and metrics on held-out hands: `mpjpe_mm`, joints by MANO relative to the wrist; `pa_mpjpe_mm`, the
        same Procrustes aligned, as published, and `hidden_mm` of hidden joints, if there are any;
        `mean_pose_mpjpe_mm`, the error of the training set's mean hand.
    """
    settings = settings_from(HandOccSettings, request.settings)
    mano = mano_from_setting("handoccnet", "mano", settings.mano)
    data = mano_data(request, settings)
    torch.manual_seed(settings.seed)
    own_mano = copy.deepcopy(mano)  # moves to the network's device; the other one makes examples on the CPU
    network = create_network(
        "handoccnet", request.weights, mano=own_mano, size=settings.size, fit=settings.fit, refine=settings.refine
    )
    assert isinstance(network, handoccnet.HandOccNetwork)
    if settings.trunk_weights:
        network.backbone.load_imagenet(without_prefixes(load_checkpoint(settings.trunk_weights), ("conv1.weight",)))
    network.to(request.device).train()
    side = handoccnet.SIZES[settings.size].image
    make_example = partial(example_from_sample, mano=mano, side=side, augmentation=settings.augmentation)
    batch = partial(draw_batch, samples=data.training, make_example=make_example, join=_tensors, count=settings.batch)

    def losses(model: handoccnet.HandOccNetwork, batch: HandOccBatch) -> Mapping[str, Tensor]:
        return handoccnet_losses(model(batch.images), _targets(model, batch))

    metrics = fit(
        request,
        network,
        batch,
        losses,
        settings,
        inputs=data.inputs(request),
        evaluate=partial(evaluate, held_out=data.held_out, mano=mano, side=side),
    )
    counts = {"training_images": len(data.training), "split": data.split.text}
    results: dict[str, object] = {"weights": request.out / WEIGHTS, **counts, **metrics}
    results["mean_pose_mpjpe_mm"] = mean_pose_error(data.training, data.held_out, mano, side)
    return results | export_trained(network, request)


def example_from_sample(
    sample: Sample, rng: np.random.Generator, mano: Mano, side: int, augmentation: AugmentationSettings
) -> OccludedHand | None:
    """Return a hand of an image, augmented, or None if no hand has MANO parameters."""
    hands = fitted_hands(sample)
    if not hands:
        return None
    hand = hands[int(rng.integers(len(hands)))]
    return _example(sample, hand, mano, side, draw_augmentation(augmentation, rng))


def _example(sample: Sample, hand: Instance, mano: Mano, side: int, change: Augmentation) -> OccludedHand | None:
    """Return a hand as input of the network, or None if it is outside the image."""
    assert hand.mesh is not None
    assert hand.keypoints_px is not None
    rgb, joints = sample.rgb(), hand.keypoints_px.copy()
    fit = fit_with_mean(hand, sample.camera, mano)
    pose = torch.from_numpy(pose_in_camera(fit, sample.camera, mano, flat_mean=False))[None]
    betas = hand.mesh.betas
    if hand.side == "Left":
        rgb, pose = np.ascontiguousarray(rgb[:, ::-1]), mirror_poses(pose)
        if hand.mesh.left_shapes == "distributed":  # the mirror image has other numbers
            betas = mano.nearest_shape(torch.tensor(betas[None]).to(mano.blend_shapes))[0].double().cpu().numpy()
        joints[:, 0] = sample.width - 1 - joints[:, 0]
    around = rotated_box_around(joints, 0.0)
    wide = around._replace(width=around.width * _CROP_SCALE, height=around.height * _CROP_SCALE)
    clamped = clamped_box(wide, sample.width, sample.height)
    if clamped is None or min(clamped.width, clamped.height) < 1:
        return None
    area = change.box(square_box(clamped, scale=1.0))
    image = change.change_colours(crop(rgb, area, side, side, border="zero").astype(np.float32)) / np.float32(255)
    pose = rotate_poses(pose, math.degrees(change.rotation_rad))
    return OccludedHand(
        image,
        pose[0].numpy(),
        betas,
        points_into_crop(joints, area, side) / side,
        np.zeros(len(joints)) if hand.visible is None else np.asarray(~hand.visible, np.float64),
    )


class HandOccBatch(NamedTuple):
    """The batch of a step; see `OccludedHand`."""

    images: Tensor  # (B, 3, S, S)
    pose: Tensor  # (B, 48)
    shape: Tensor  # (B, 10)
    joints: Tensor  # (B, 21, 2)
    hidden: Tensor  # (B, 21)


def _tensors(examples: Sequence[OccludedHand]) -> HandOccBatch:
    image, *others = (torch.from_numpy(np.stack(values)).float() for values in zip(*examples, strict=True))
    return HandOccBatch(image.permute(0, 3, 1, 2), *others)


def _targets(network: handoccnet.HandOccNetwork, batch: HandOccBatch) -> HandOccTargets:
    """Compute the ground truth of a batch on the device of the network."""
    assert network.mano is not None
    return targets_from_mano(network.mano, batch.pose, batch.shape, batch.joints)


@modes.evaluates
def evaluate(network: handoccnet.HandOccNetwork, held_out: Sequence[Sample], mano: Mano, side: int) -> dict[str, float]:
    """Return metrics on held-out hands; see `train_handoccnet`.

    `side`: side of the crops in pixels.
    """
    rows: list[tuple[Tensor, ...]] = []
    for examples in _chunks(held_out, mano, side):
        batch = to_device(_tensors(examples), network.device)
        joints = network(batch.images)["joints_coord_cam"], _targets(network, batch).joints
        rows.append((*map(from_wrist, joints), batch.hidden))
    if not rows:
        raise InputError("No hand with MANO parameters to evaluate on. Choose another data set.")
    predicted, truth, hidden = (torch.cat(column) for column in zip(*rows, strict=True))
    aligned, behind = aligned_errors(predicted, truth), hidden.cpu() > 0
    return {
        "mpjpe_mm": _MM * float((predicted - truth).norm(dim=2).mean()),
        "pa_mpjpe_mm": float(aligned.mean()),
        **({"hidden_mm": float(aligned[behind].mean())} if behind.any() else {}),
    }


def mean_pose_error(training: Sequence[Sample], held_out: Sequence[Sample], mano: Mano, side: int) -> float:
    """Return the MPJPE in mm of the training set's mean hand on held-out hands."""
    chosen = [training[index] for index in range(0, len(training), max(len(training) // 500, 1))]

    def joints(samples: Sequence[Sample]) -> list[Tensor]:
        batches = (_tensors(examples) for examples in _chunks(samples, mano, side))
        return [from_wrist(targets_from_mano(mano, batch.pose, batch.shape, batch.joints).joints) for batch in batches]

    training_joints, truth = joints(chosen), joints(held_out)
    if not training_joints:
        raise InputError("No hand with MANO parameters to train on. Choose another data set.")
    return _MM * float((torch.cat(training_joints).mean(0) - torch.cat(truth)).norm(dim=2).mean())


def _chunks(samples: Sequence[Sample], mano: Mano, side: int) -> Generator[list[OccludedHand]]:
    """Yield the first hand of each image without augmentation in chunks of ten."""
    first_hands = ((sample, hand) for sample in samples for hand in fitted_hands(sample)[:1])
    examples = (_example(sample, hand, mano, side, UNCHANGED) for sample, hand in first_hands)
    inside = (example for example in examples if example is not None)
    while chunk := list(islice(inside, 10)):
        yield chunk


def from_wrist(joints: Tensor) -> Tensor:
    """Return joints (..., 21, 3), in their unit, relative to the wrist, which is the first joint."""
    return joints - joints[..., :1, :]
