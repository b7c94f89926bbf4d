"""Compare the speed of Mask R-CNN with torchvision's, and measure the average precision of a training run.

`python benchmarks/mask_rcnn.py --run runs/hands --write` puts both tables into docs/mask-rcnn.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from sonjit.lab.networks import create_network
from sonjit.lab.networks.mask_rcnn.mask_rcnn import paste_masks

PAGE = Path(__file__).parents[1] / "docs" / "mask-rcnn.md"
BEGIN, END = "<!-- python benchmarks/mask_rcnn.py --run RUN --write -->", "<!-- end -->"
OFFICIAL = {"mask-rcnn": maskrcnn_resnet50_fpn, "mask-rcnn-v2": maskrcnn_resnet50_fpn_v2}


def seconds(function, device):
    """Return seconds of a call: processor time of all cores on a CPU, wall time on a GPU."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    start = clock()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def speed_rows(side, batches, repeats, device):
    """Yield rows with the shortest times of torchvision and Sonjit by network and batch, with masks on the image."""
    for name, make in OFFICIAL.items():
        torch.manual_seed(0)
        official = make(weights=None, weights_backbone=None, min_size=side, max_size=2 * side).eval()
        ours = create_network(name, min_side=side, max_side=2 * side).eval()
        ours.load_official(official.state_dict())
        official.to(device), ours.to(device)
        for batch in batches:
            images = [torch.rand(3, side, side * 4 // 3, device=device) for _ in range(batch)]

            def segment(network=ours, images=images):
                for instances, image in zip(network.find(images), images, strict=True):
                    paste_masks(instances.masks, instances.boxes, image.shape[-2:])

            calls = (lambda network=official, images=images: network(images)), segment
            turns = [[seconds(call, device) for call in calls] for _ in range(repeats + 1)]
            theirs, own = (min(times) for times in zip(*turns[1:], strict=True))  # the first turn warms up
            yield f"| {name} | {batch} | {theirs:.2f} | {own:.2f} | {own / theirs:.2f} |"


def tables(options):
    """Return both tables as Markdown."""
    lines: list[str] = []
    if options.run:
        figures = json.loads((options.run / "metrics.json").read_text("utf-8"))
        settings = json.loads((options.run / "settings.json").read_text("utf-8"))
        lines += [
            "| training images | steps | held-out images | box AP | box AP50 | mask AP | mask AP50 |",
            "|---:|---:|---:|---:|---:|---:|---:|",
            f"| {settings['images']} | {settings['steps']} | {figures['held_out']} | "
            + " | ".join(f"{figures[key]:.3f}" for key in ("box_ap", "box_ap50", "mask_ap", "mask_ap50"))
            + " |",
            "",
        ]
    where = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"CPU seconds with torch.set_num_threads({torch.get_num_threads()})"
    )
    lines += [
        f"Seconds per batch, short side {options.side} px ({where}):",
        "",
        "| network | batch | torchvision | Sonjit | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    with torch.inference_mode():
        lines += speed_rows(options.side, options.batch, options.repeats, options.device)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="run folder of sonjit train mask-rcnn")
    parser.add_argument("--side", type=int, default=320, help="short side of the images in pixels")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/mask-rcnn.md")
    options = parser.parse_args()
    text = tables(options)
    if options.write:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", "utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
