"""Functions of the lab leave the objects of their callers unchanged: networks, random generators and arrays."""

import importlib
import inspect
import pkgutil
import random
import typing
from functools import partial
from importlib.util import find_spec
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn

import sonjit_lab
from sonjit.geometry.cameras import Intrinsics
from sonjit.results import Frame, Hand
from sonjit_lab import metrics
from sonjit_lab.hand_models.hand_mesh import Sight
from sonjit_lab.networks import Network, create_network, export, modes, network_entry, save_checkpoint
from sonjit_lab.networks.checkpoints import placeholder_state_dict
from sonjit_lab.papers.cam import maps as classes
from sonjit_lab.papers.cam import recipe as cam
from sonjit_lab.papers.cam.class_images import Crop
from sonjit_lab.papers.cam.network import Classifier
from sonjit_lab.papers.deformer.meshes import DeformerHands
from sonjit_lab.papers.handoccnet.meshes import HandOccHands
from sonjit_lab.papers.interhand.lifter import Lifter
from sonjit_lab.papers.mask_rcnn.finders import HandMaskFinder
from sonjit_lab.papers.mediapipe_hands import palms
from sonjit_lab.training import building_blocks, faces_and_bodies, loop
from sonjit_lab.training.hands import landmark_data

RANDOM = np.random.default_rng(0)
PHOTOGRAPH = RANDOM.integers(0, 255, (40, 56, 3), np.uint8)
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
HANDS = [
    landmark_data.LandmarkCrop(
        RANDOM.integers(0, 255, (96, 96, 3), np.uint8), RANDOM.random((21, 2), np.float32), np.ones(21, np.bool_),
        RANDOM.random((21, 3), np.float32),
    )
]  # fmt: skip
CAMERA = Intrinsics(60, 60, 28, 20)
HAND = Hand(
    "Right", 0.9, np.c_[RANDOM.uniform(5, 35, (21, 2)), np.zeros(21)].astype(np.float32),
    RANDOM.normal(0, 0.05, (21, 3)).astype(np.float32), id=1,
)  # fmt: skip
PALMS = [palms.PalmSample(np.zeros((64, 64, 3), np.uint8), RANDOM.random((1, 7, 2), np.float32), np.zeros((0, 4)))]


class Points(Network):
    """Network of points with every kind of layer that changes in training."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.points = nn.Linear(4, 63)
        self.scores = nn.Linear(4, 8)
        self.boxes = nn.Linear(4, 8 * 18)

    def forward(self, images):
        pooled = self.drop(self.norm(self.conv(images))).mean((2, 3))
        scores, boxes = self.scores(pooled)[..., None], self.boxes(pooled).unflatten(1, (8, 18))
        return {"keypoints": self.points(pooled), "scores": scores, "boxes": boxes}


def classifier():
    torch.manual_seed(0)
    network = create_network("cam-small", "demo", classes=4)
    loop.add_batch_norms(network)
    return network


def as_classifier(network):
    return Classifier(network, 32, tuple("abcd"), tuple(range(4)))


def tiny(name, **options):
    torch.manual_seed(0)
    network = create_network(name, "demo", **network_entry(name).tiny, **options)
    loop.add_batch_norms(network)
    return network


def lifted(network, _):
    lifter = Lifter(network, camera=CAMERA)
    assert len(lifter.lift(PHOTOGRAPH, [HAND])) == 1
    lifter.find(PHOTOGRAPH, (0, 0, 50, 40))


def lifted_by_rootnet(network, _):
    with torch.random.fork_rng():
        internet = tiny("internet", layout="rhd")
    lifter = Lifter(internet, network, camera=CAMERA)
    assert len(lifter.lift(PHOTOGRAPH, [HAND])) == 1


def masks_of_hands(network, _):
    finder = HandMaskFinder(network, min_score=0.0)
    finder._detector = Mock(detect=Mock(return_value=[HAND]))
    finder.find(PHOTOGRAPH)
    assert finder._detector.detect.called


def meshes(kind, network, _):
    model = kind(network, lambda *_: Sight(CAMERA, assumed=True))
    for index in range(3):
        model.add_frame(Frame(index, index / 30, [HAND]), PHOTOGRAPH)
    model.finish()
    assert model.meshes(2)


def exported(network, folder):
    return export.export_network(network, network.inputs, folder / "network.onnx")


NETWORKS = {
    "explain_classes": (classifier, lambda network, _: classes.explain_classes(network, PHOTOGRAPH, 32)),
    "saliency_of_classes": (classifier, lambda network, _: classes.saliency_of_classes(network, PHOTOGRAPH, 32)),
    "backprop_saliency": (classifier, lambda network, _: classes.backprop_saliency(network, IMAGES, [0, 1])),
    "cam_network": (classifier, lambda network, _: classes.cam_network(network)),
    "localize_classes": (classifier, lambda network, _: classes.localize_classes(as_classifier(network), PHOTOGRAPH)),
    "crop_box": (classifier, lambda network, _: classes.crop_box(as_classifier(network), PHOTOGRAPH)),
    "export_network": (classifier, exported),
    "median_run_ms": (
        classifier,
        lambda network, folder: building_blocks.median_run_ms(network, network.inputs, folder),
    ),
    "save_checkpoint": (classifier, lambda network, folder: save_checkpoint(network, folder / "x.safetensors")),
    "placeholder_state_dict": (classifier, lambda network, _: placeholder_state_dict(network)),
    "layer_gradients": (classifier, lambda network, _: loop.layer_gradients(network)),
    "accuracy": (classifier, lambda network, _: cam.accuracy(network, [Crop(PHOTOGRAPH[:32, :32], 1)])),
    "landmark_metrics": (Points, lambda network, _: landmark_data.landmark_metrics(network, HANDS)),
    "predicted_points": (Points, lambda network, _: landmark_data.predicted_points(network, HANDS)),
    "palm_precision": (Points, lambda network, _: palms.palm_precision(network, PALMS, np.zeros((8, 4)))),
    "point_error": (
        Points,
        lambda network, _: faces_and_bodies.point_error(
            network, [faces_and_bodies.LabelledCrop(HANDS[0], "hand_mediapipe21", 10.0)]
        ),
    ),
}
OBJECTS = {
    "Lifter": (partial(tiny, "internet", layout="rhd"), lifted),
    "Lifter of RootNet": (partial(tiny, "rootnet", input_scale=1.0), lifted_by_rootnet),
    "DeformerHands": (partial(tiny, "deformer"), partial(meshes, DeformerHands)),
    "HandMaskFinder": (partial(tiny, "hand-masks"), masks_of_hands),
    "HandOccHands": (partial(tiny, "handoccnet"), partial(meshes, HandOccHands)),
}
"""Objects that run a network of the caller."""
NETWORKS |= OBJECTS
if find_spec("pytorch_grad_cam"):
    for method in ("GradCAM", "AblationCAM", "RandomCAM", "EigenGradCAM"):
        explain = partial(
            classes.grad_cam, images=IMAGES, layers=["backbone"], target=1, method=method, output="scores"
        )
        NETWORKS["grad_cam" if method == "GradCAM" else method] = (classifier, lambda network, _, f=explain: f(network))
CHANGED = {
    "train", "fit", "fit_landmarks", "fit_palms", "freeze", "fold", "add_batch_norms", "scale_head", "remove_mano",
    "start_pretrained", "start_from_nearest", "init_small_weights", "fill_from_tflite",
    "fit_state_dict", "export_trained", "create_optimizer", "average_statistics", "same_everywhere",
}  # fmt: skip
"""Functions that prepare or train the network, as their names and docstrings state."""
PASSES = {
    "refinement_losses",
    "losses",
    "plan_training",
    "point_losses",
    "landmark_losses",
    "predicted_hands",
    "targets_from_mano",
    "window_from_samples",
}
"""Functions that run in the mode of the network, for a step of a training."""

READS = {"check_inputs", "interleaved_layers", "synthetic_clips", "mean_pose_error"}
"""Functions that run no layer of the network."""
HOLDERS = {"Answerer", "Classifier", "DeformerStream"}
"""Objects that run no network themselves, or that an object or a function that is tried uses."""
HELPERS = {"eval_mode", "unchanged", "axes_of_layers"}
"""Helpers of the functions that are tried."""


def state_of(network):
    """Return all that a caller can notice: values, modes, gradients, choices and random generators."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = [(weight.grad, None if weight.grad is None else weight.grad.clone()) for weight in network.parameters()]
    training = [module.training for module in network.modules()]
    hooks = [len(module._forward_hooks) for module in network.modules()]
    return state, weights, gradients, training, hooks, [weight.requires_grad for weight in network.parameters()]


@pytest.mark.nightly_after(4)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_training_stays_as_it_is(name, tmp_path):
    build, call = NETWORKS[name]
    torch.manual_seed(1)
    network = build().train()
    sum(weight.square().sum() for weight in network.parameters()).backward()
    next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d)).eval()  # one frozen norm
    list(network.parameters())[-1].requires_grad_(False)
    if name == "save_checkpoint":
        network.requires_grad_(False)
    before = state_of(network)
    call(network, tmp_path)
    after = state_of(network)
    for old, new in zip(before[0][:1] + before[0][1][1:], after[0][:1] + after[0][1][1:], strict=True):
        np.testing.assert_equal(new, old)
    assert torch.equal(before[0][2], after[0][2])
    assert all(torch.equal(value, after[1][key]) for key, value in before[1].items())
    for (gradient, values), (other, others) in zip(before[2], after[2], strict=True):
        assert gradient is other
        assert gradient is None or torch.equal(values, others)
    assert before[3:] == after[3:]


def takes_network(function):
    """Return whether the first parameter of a function is a network."""
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else inspect.unwrap(function))
    except NameError:  # of an import that only type checkers see
        return False
    first = hints.get(next(iter(inspect.signature(function).parameters), ""))
    first = first.__bound__ if isinstance(first, typing.TypeVar) else first
    return any(inspect.isclass(kind) and issubclass(kind, nn.Module) for kind in (first, *typing.get_args(first)))


def test_every_function_with_a_network_is_tried():
    modules = [
        importlib.import_module(found.name) for found in pkgutil.walk_packages(sonjit_lab.__path__, "sonjit_lab.")
    ]
    names = {
        name
        for module in modules
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and takes_network(function)
        if not name.startswith("_") and function.__code__.co_filename != modes.__file__
    }
    tried = {*NETWORKS, *CHANGED, *PASSES, *READS, *HELPERS, "grad_cam"}
    assert names - tried == set()
    assert len(names) > 20


def test_every_object_with_a_network_is_tried():
    modules = [
        importlib.import_module(found.name) for found in pkgutil.walk_packages(sonjit_lab.__path__, "sonjit_lab.")
    ]
    names = {
        name
        for module in modules
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and not issubclass(kind, nn.Module)
        if not name.startswith("_") and inspect.isfunction(kind.__init__) and takes_network(kind)
    }
    assert names - {*OBJECTS, *HOLDERS} == set()
    assert len(names) > 5


def frozen(*shape):
    values = RANDOM.random(shape)
    values.setflags(write=False)
    return values


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, (frozen(4, 21, 3), frozen(4, 21, 3))) for name in (
            "joint_errors", "mpjpe", "pa_mpjpe", "end_point_error", "root_relative", "bone_aligned",
            "similarity_aligned", "scale_translation_aligned", "acceleration_error", "mnae",
        )),
        *((name, (frozen(4, 21),)) for name in ("missing_count", "joint_means", "joint_medians", "mean_error")),
        ("pck", (frozen(4, 21), 0.5)), ("pck_curve", (frozen(4, 21), [0.1, 0.5])), ("pck_auc", (frozen(4, 21), 0, 1)),
        ("jitter", (frozen(9, 21, 3),)), ("f_score", (frozen(9, 3), frozen(8, 3), 0.1)),
        ("two_hand_mpjpe", (frozen(4, 42), [1, 0, 1, 1])), ("root_relative", (frozen(4, 42, 3), frozen(4, 42, 3))),
        ("handedness_accuracy", (frozen(4, 2), np.ones((4, 2)))), ("average_precision", (frozen(4), [1, 0, 1, 0])),
        ("box_from_map", (frozen(7, 7),)), ("classification_error", (frozen(3, 5), [1, 4, 2])),
        ("mean_interval", (frozen(4, 21),)), ("by_joints", (frozen(4, 21), {"thumb": [1]})),
    ],
)  # fmt: skip
def test_metrics_read_arrays_and_draw_no_random_numbers(name, arguments):
    state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    getattr(metrics, name)(*arguments)
    assert torch.equal(torch.get_rng_state(), state[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])
    assert random.getstate() == state[2]
