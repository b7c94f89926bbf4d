"""The recipe `hand-masks`: its crops, a short run, and masks in complete images."""

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; type: pip install torch")

from sonjit import InputError  # noqa: E402
from sonjit.cli import main  # noqa: E402
from sonjit.geometry.boxes import RotatedBox, crop_matrix  # noqa: E402
from sonjit_lab.networks import create_network, save_checkpoint  # noqa: E402
from sonjit_lab.papers.mask_rcnn.finders import is_hand_masks, mask_in_image  # noqa: E402
from sonjit_lab.papers.mask_rcnn.network import paste_masks  # noqa: E402
from sonjit_lab.papers.mediapipe_hands import network as mediapipe_hands  # noqa: E402
from sonjit_lab.papers.mediapipe_hands.masks import HandMaskSettings, cut_hand, read_hands  # noqa: E402
from sonjit_lab.training.augment import Augmentation  # noqa: E402

SIZE = 64
HAND, OBJECT, ARM, INSIDE = range(4)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered") / "hands"
    factors = [
        f"--set={one}" for one in ("hands=1", "held=bottle", "occluders=0", "sleeve=knit", "cut=0", "distance=0.4")
    ]
    assert main(["synth", str(folder), "--count", "3", "--seed", "5", "--size", "96x96", "--masks", *factors]) == 0
    return folder


def test_crops_show_the_hand_its_object_and_its_arm(rendered):
    for hand in read_hands(rendered):
        image, masks = cut_hand(hand, SIZE)
        assert image.shape == (SIZE, SIZE, 3)
        assert masks.shape == (len(mediapipe_hands.PARTS) + 1, SIZE // 4, SIZE // 4)
        middle = masks[HAND, 6:10, 6:10].max() + masks[OBJECT, 6:10, 6:10].max()
        assert middle > 0.9
        assert masks[OBJECT].max() > 0.9
        rows = np.arange(SIZE // 4)[:, None]
        heights = [(masks[part] * rows).sum() / masks[part].sum() for part in (HAND, ARM)]
        assert heights[0] < heights[1]  # crops are upright: the arm is below the hand
        assert masks[:INSIDE].sum(0).max() < 1.1
        assert (masks[:INSIDE].max(0) <= masks[INSIDE] + 1e-6).all()
        _, mirrored = cut_hand(hand, SIZE, Augmentation(mirror=True))
        np.testing.assert_allclose(mirrored, masks[..., ::-1], atol=0.1)


def test_masks_of_a_turned_crop_are_pasted_where_they_are():
    """Compare a disc and a bar in a rotated crop, pasted by OpenCV and by the instance."""
    mask = np.zeros((64, 64), np.float32)
    cv2.circle(mask, (24, 30), 12, 1.0, -1)
    cv2.rectangle(mask, (20, 30), (27, 62), 1.0, -1)
    box = RotatedBox(150, 110, 200, 200, 0.7)
    found = mask_in_image(mask, box, (240, 300))
    assert found is not None
    bounds, inside = found
    pasted = paste_masks(torch.tensor(inside)[None], torch.tensor(bounds)[None].float(), (240, 300))[0].numpy() >= 0.5
    matrix = crop_matrix(box, 64, 64)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # centres of pixels
    truth = cv2.warpAffine(mask, matrix, (300, 240), flags=cv2.INTER_LINEAR) >= 0.5
    assert (pasted & truth).sum() / (pasted | truth).sum() > 0.95


def test_a_short_run_segments_images(rendered, demo_clip, weights, tmp_path, capfd):
    start = tmp_path / "start.safetensors"
    save_checkpoint(create_network("hand-masks", "demo", trunk="tiny", channels=8, size=SIZE), start)
    run = tmp_path / "run"
    settings = [f"--set={one}" for one in ("trunk=tiny", "channels=8", f"size={SIZE}", "batch=2", "workers=0")]
    words = ["train", "hand-masks", "--data", str(rendered), "--weights", str(start), "--steps", "2", *settings]
    assert main([*words, "--set=evaluate_every=0", "--set=held_out=0.3", "--out", str(run)]) == 0
    assert {"hand_iou"} <= json.loads((run / "result.json").read_text())["results"].keys()
    assert cv2.imread(str(next((run / "images").glob("*.png")))).shape[0] >= SIZE
    assert is_hand_masks(str(run))
    assert not is_hand_masks(str(tmp_path))
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), demo_clip[1][60][..., ::-1])
    saved = tmp_path / "found.json"
    assert main(["segment", str(photo), "--weights", str(run), "--min-score", "0", "--save", str(saved)]) == 0
    assert all(entry["category_id"] in (1, 2, 3, 4) for entry in json.loads(saved.read_text()))
    capfd.readouterr()
    assert main(["segment", str(photo), "--weights", str(run), "--steps", str(tmp_path / "steps")]) == 2
    assert "--steps applies only to Mask R-CNN" in capfd.readouterr().err
    data = ["--data", "folder", "--root", str(rendered / "masks")]
    words = ["eval", "--protocol", "coco-instances", "--model", "hand-masks", "--weights", str(run), *data]
    assert main([*words, "--out", str(tmp_path / "eval")]) == 0
    assert main(["card", str(tmp_path / "eval" / "eval.json"), "--name", "mine", "--out", str(tmp_path / "cards")]) == 0
    card = (tmp_path / "cards" / "mine.md").read_text("utf-8")
    assert "pipeline_tag: image-segmentation" in card
    assert "mask AP" in card


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"contains no masks/instances\.json\. Render it with sonjit synth --masks"):
        read_hands(tmp_path)


def test_crops_of_one_pixel_at_the_deepest_level_are_refused():
    with pytest.raises(InputError, match="size=32: must be a multiple of 32 from 64 up to"):
        HandMaskSettings(size=32)
