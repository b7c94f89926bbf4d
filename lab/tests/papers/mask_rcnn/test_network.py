"""Each step compared with torchvision's Mask R-CNN with the same weights, and operators with their references."""

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from sonjit._util.errors import InputError
from sonjit_lab.networks import create_network, network_entry
from sonjit_lab.papers.mask_rcnn.network import Target, paste_masks

pytestmark = pytest.mark.nightly

TOLERANCE = 1e-4
OURS = {"min_side": 96, "max_side": 150, "before_nms": 40, "after_nms": 60}
CLASSES = 7


def tiny(**options):
    torch.manual_seed(0)
    return create_network("mask-rcnn", **{**network_entry("mask-rcnn").tiny, **options}).eval()


def random_images(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


def truth(size, count=3, seed=0):
    """Return boxes with a filled ellipse each."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    corners = torch.rand(count, 4, generator=generator)
    x0, y0 = corners[:, 0] * width * 0.5, corners[:, 1] * height * 0.5
    x1, y1 = x0 + 8 + corners[:, 2] * width * 0.3, y0 + 8 + corners[:, 3] * height * 0.3
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = [
        ((x - (a + c) / 2) / (c - a) * 2) ** 2 + ((y - (b + d) / 2) / (d - b) * 2) ** 2 < 1
        for a, b, c, d in zip(x0, y0, x1, y1, strict=True)
    ]
    labels = torch.randint(1, 3, (count,), generator=generator)
    return Target(torch.stack([x0, y0, x1, y1], 1), labels, torch.stack(inside).to(torch.uint8))


@pytest.fixture(scope="module", params=["mask-rcnn", "mask-rcnn-v2"])
def pair(request):
    """Return torchvision's network with random weights and activations near 1, and Sonjit's with the same weights."""
    torch.manual_seed(1)
    make = maskrcnn_resnet50_fpn if request.param == "mask-rcnn" else maskrcnn_resnet50_fpn_v2
    options = {
        "min_size": 96, "max_size": 150, "rpn_pre_nms_top_n_test": 40, "rpn_post_nms_top_n_test": 60,
        "rpn_pre_nms_top_n_train": 80, "rpn_post_nms_top_n_train": 120, "rpn_batch_size_per_image": 10**6,
        "box_batch_size_per_image": 10**6,
    }  # fmt: skip
    official = make(weights=None, weights_backbone=None, num_classes=CLASSES, **options)
    norms = [module for module in official.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    official.train()
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
        official.backbone(torch.randn(2, 3, 96, 128))
        for layer in (official.rpn.head.cls_logits, official.rpn.head.bbox_pred):
            layer.weight *= 20
        official.roi_heads.box_predictor.cls_score.weight *= 8
    official.eval()
    ours = create_network(request.param, classes=CLASSES, **OURS).eval()
    ours.load_official(official.state_dict())
    return official, ours


def close(a, b):
    assert a.shape == b.shape
    if a.numel():
        scale = max(float(b.abs().max()), 1.0)
        assert float((a - b).abs().max()) <= TOLERANCE * scale


def official_steps(network, images):
    """Return each intermediate tensor of torchvision's network."""
    kept = {}

    def keep(name):
        def hook(_module, _inputs, output):
            kept.setdefault(name, output)

        return hook

    heads = network.roi_heads
    parts = {
        "transform": network.transform, "backbone": network.backbone, "rpn_head": network.rpn.head,
        "anchors": network.rpn.anchor_generator, "rpn": network.rpn, "box_maps": heads.box_roi_pool,
        "box": heads.box_predictor, "mask_maps": heads.mask_roi_pool, "masks": heads.mask_predictor,
    }  # fmt: skip
    handles = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
    with torch.no_grad():
        results = network(images)
    for handle in handles:
        handle.remove()
    return results, kept


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[(120, 90)], [(64, 200)], [(96, 128), (101, 77), (60, 64)]], ids=str)
def test_every_step_equals_torchvision(pair, sizes):
    official, ours = pair
    images = random_images(*sizes)
    results, kept = official_steps(official, images)
    with torch.no_grad():
        found, steps = ours.find_with_steps(images)
    close(steps.images, kept["transform"][0].tensors)
    assert steps.sizes == kept["transform"][0].image_sizes
    for level, expected in zip(steps.pyramid, kept["backbone"].values(), strict=True):
        close(level, expected)
    close(torch.cat(steps.rpn.anchors), kept["anchors"][0])
    for level, logits, deltas in zip(range(5), *kept["rpn_head"], strict=True):
        close(steps.rpn.objectness[level], logits.permute(0, 2, 3, 1).flatten(1))
        close(steps.rpn.deltas[level].flatten(1), deltas.permute(0, 2, 3, 1).flatten(1))
    for one, expected in zip(steps.rpn.proposals, kept["rpn"][0], strict=True):
        close(one.boxes, expected)
    close(steps.box_maps, kept["box_maps"])
    close(steps.logits, kept["box"][0])
    close(steps.deltas.flatten(1), kept["box"][1])
    close(steps.mask_maps, kept["mask_maps"])
    close(steps.mask_logits, kept["masks"])
    for one, expected, image in zip(found, results, images, strict=True):
        assert len(one.boxes), "random weights that find nothing compare nothing"
        close(one.boxes, expected["boxes"])
        close(one.scores, expected["scores"])
        assert torch.equal(one.labels, expected["labels"])
        close(paste_masks(one.masks, one.boxes, image.shape[-2:])[:, None], expected["masks"])


@pytest.mark.slow
def test_losses_equal_torchvisions(pair):
    """Use samples so large that random sampling has no effect."""
    official, ours = pair
    sizes = [(96, 128), (110, 90)]
    images, targets = random_images(*sizes), [truth(size, seed=i) for i, size in enumerate(sizes)]
    official.train(), ours.train()
    try:
        for network in (official, ours):
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        ours.set_samples(10**6)
        with torch.no_grad():
            expected = official(images, [target._asdict() for target in targets])
            losses = ours.losses(images, targets)
    finally:
        official.eval(), ours.eval()
    names = {
        "rpn_objectness": "loss_objectness", "rpn_boxes": "loss_rpn_box_reg", "classes": "loss_classifier",
        "boxes": "loss_box_reg", "masks": "loss_mask",
    }  # fmt: skip
    assert losses.keys() == names.keys()
    for name, theirs in names.items():
        assert losses[name].item() == pytest.approx(expected[theirs].item(), rel=1e-4), name


@pytest.mark.slow
def test_a_checkpoint_of_other_classes_names_the_keys(pair):
    official, ours = pair
    other = create_network(ours.name, classes=CLASSES + 1)
    with pytest.raises(InputError, match=r"box_predictor\.cls_score\.weight"):
        other.load_official(official.state_dict())


def test_old_names_of_files_load_as_new_ones():
    old = ["rpn.head.conv.weight", "backbone.fpn.inner_blocks.2.bias", "roi_heads.mask_head.mask_fcn3.weight"]
    new = ["rpn.head.conv.0.0.weight", "backbone.fpn.inner_blocks.2.0.bias", "roi_heads.mask_head.2.0.weight"]
    network = tiny(norm="frozen")
    assert set(network.from_official(dict.fromkeys(old, torch.zeros(1)))) == set(new) <= set(network.state_dict())


def test_the_forward_of_the_registry_is_find_in_tensors_of_one_size():
    network = tiny(min_score=0.0)
    images = torch.stack(random_images((64, 96), (64, 96)))
    with torch.no_grad():
        outputs, found = network(images, steps=True), network.find(list(images))
    assert outputs["steps"].mask_logits.shape[-2:] == (28, 28)
    for i, one in enumerate(found):
        count = len(one.boxes)
        assert 0 < count <= 10
        for name, values in one._asdict().items():
            assert torch.equal(outputs[name][i, :count], values)
            assert not outputs[name][i, count:].any()


@pytest.mark.parametrize("depth", [10, 0])
@pytest.mark.parametrize("crowds", [[], [[0.0, 0, 96, 64]]], ids=["nothing", "a crowd everywhere"])
def test_an_image_without_objects_has_losses_too(crowds, depth):
    network = tiny(depth=depth).train()
    labels, masks = torch.zeros(len(crowds), dtype=torch.int64), torch.ones(len(crowds), 64, 96)
    losses = network.losses(random_images((64, 96)), [Target(torch.tensor(crowds).reshape(-1, 4), labels, masks)])
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["masks"] == losses["boxes"] == losses["rpn_boxes"] == 0
