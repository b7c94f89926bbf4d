"""Compare class activation maps and backpropagation on hand classifiers: accuracy, and overlap with the hand box.

The benchmark trains the small classifier on crops of the bundled clip, with mean and with maximum pooling. It evaluates
on held-out crops. `--write` updates research/cam.md and its images.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import torch
from sections import write_section

import sonjit
from sonjit.lab.documents import Table, markdown_of
from sonjit.lab.evaluation.published import load_table, table_block
from sonjit.lab.explain import (
    box_from_map,
    box_iou,
    boxes_from_maps,
    classification_error,
    draw_boxes,
    enlarge,
    grid,
    load_hand_explainer,
    localization_error,
    overlay,
)
from sonjit.lab.explain.classes import backprop_saliency
from sonjit.lab.explain.run import HandSaliency
from sonjit.lab.networks.classifiers import class_activation_map
from sonjit.lab.training.cam import CamSettings, accuracy, train_classifier
from sonjit.lab.training.class_images import CLASSES, HandCrops, images_from
from sonjit.media import open_source
from sonjit.media.sources.images import encode_image

DOCS = Path(__file__).parents[1] / "docs"
RESEARCH = Path(__file__).parents[1] / "research"
BEGIN, END = "<!-- python benchmarks/cam.py --write -->", "<!-- end -->"
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Candidate thresholds relative to the maximum, from which the best of each method is chosen."""
BLUR = 1 / 32  # relative to the side of a crop, because raw gradients have no large connected component


def maps_of(network, crops):
    """Return scores (N, C), maps (size, size) of the predicted class by method and crop, and all maps of each crop."""
    images = images_from(crops)
    with torch.inference_mode():
        out = network(images)
        maps = class_activation_map(out["features"], network.head.weight).numpy()  # (N, C, h, w)
    found = out["scores"].argmax(1)
    saliency = backprop_saliency(network, images, found).numpy()
    size = images.shape[-1]
    cams = [[enlarge(cam, size, size) for cam in of_crop] for of_crop in maps]
    methods = {
        "CAM": [of_crop[label] for of_crop, label in zip(cams, found.tolist(), strict=True)],
        "backprop": list(saliency),
        "backprop, blurred": [cv2.GaussianBlur(heat_map, (0, 0), size * BLUR) for heat_map in saliency],
    }
    return out["scores"].numpy(), methods, cams


def boxes(maps, share):
    return [box_from_map(cam, share) or (0, 0, 1, 1) for cam in maps]


def mean_iou(found, crops):
    return float(np.mean([box_iou(box, crop.box) for box, crop in zip(found, crops, strict=True)]))


def best_share(maps, crops):
    """Return the threshold with the highest mean IoU on training crops."""
    return max(SHARES, key=lambda share: mean_iou(boxes(maps, share), crops))


def evaluate(network, learnt, held_out):
    """Return (mean IoU at 20 %, best share, its mean IoU) by method, and rows with the errors of each method."""
    scores, methods, cams = maps_of(network, held_out)
    labels = [crop.label for crop in held_out]
    truth = [(crop.label, [crop.box]) for crop in held_out]
    found, learnt_maps = scores.argmax(1).tolist(), maps_of(network, learnt)[1]
    rows, overlaps = [], {}
    for method, maps in methods.items():
        share = best_share(learnt_maps[method], learnt)
        chosen = boxes(maps, share)
        overlaps[method] = (mean_iou(boxes(maps, 0.2), held_out), share, mean_iou(chosen, held_out))
        guesses = [[(label, box)] for label, box in zip(found, chosen, strict=True)]
        rows.append((method, (100 * classification_error(scores, labels), 100 * localization_error(guesses, truth))))
    guesses = []
    for row, of_crop in zip(scores, cams, strict=True):
        order = np.argsort(-row).tolist()
        guesses.append([(order[rank], box) for rank, box in boxes_from_maps([of_crop[label] for label in order])])
    rows.append(
        (
            "CAM, heuristics (5 boxes)",
            (100 * classification_error(scores, labels), 100 * localization_error(guesses, truth, 5)),
        )
    )
    return overlaps, rows


def examples(network, crops, share):
    """Draw the maps of CAM and backprop over a few crops: true boxes green, predicted boxes red."""
    chosen = crops[:: max(len(crops) // 6, 1)][:6]
    scores, methods, _ = maps_of(network, chosen)
    rows = []
    for method in ("CAM", "backprop, blurred"):
        row = []
        for crop, heat_map, values in zip(chosen, methods[method], scores, strict=True):
            canvas = cv2.resize(overlay(crop.image, heat_map), (192, 192), interpolation=cv2.INTER_LINEAR)
            zoom = 192 / crop.image.shape[0]
            box = box_from_map(heat_map, share[method])
            draw_boxes(
                canvas,
                true=[tuple(zoom * edge for edge in crop.box)],
                predicted=[] if box is None else [tuple(zoom * edge for edge in box)],
            )
            cv2.putText(canvas, CLASSES[values.argmax()], (6, 186), 0, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
            row.append(canvas)
        rows.append(row)
    return grid(rows)


def hand_image():
    """Return a frame of the bundled clip with the evidence for handedness and for a coordinate."""
    with open_source(str(files("sonjit") / "_util" / "assets" / "demo.mp4")) as source:
        rgb = next(frame.rgb for frame in source if frame.index == 190)
    with sonjit.create_detector("hands", static_image=True, search="fast", precision="f32") as detector:
        saliency = HandSaliency(detector, load_hand_explainer(), ["handedness", "presence"]).explain(
            rgb, None, draw=True
        )
    return cv2.resize(saliency.drawn, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def report(seeds, steps):
    """Return the tables as Markdown, and the image."""
    assets = Path(str(files("sonjit") / "_util" / "assets"))
    lines = ["| pooling | seed | accuracy % | method | mean IoU at 20 % | best share | mean IoU at best share |"]
    lines += ["| --- | ---: | ---: | --- | ---: | ---: | ---: |"]
    tables, image = [], None
    for pooling in ("gap", "gmp"):
        for seed in range(seeds):
            settings = CamSettings(pooling=pooling, seed=seed, **({} if steps is None else {"steps": steps}))
            crops = HandCrops(
                assets / "demo.mp4", assets / "demo.json",
                size=settings.size or 96, context=settings.context, segment=settings.segment,
            )  # fmt: skip
            held_out = crops.test()
            drawn = crops.draw(np.random.default_rng(1), 200)
            network = train_classifier(crops, settings)
            overlaps, rows = evaluate(network, [crop for crop in drawn if crop.box], held_out)
            score = 100 * accuracy(network, held_out)
            for method, (at_20, share, best) in overlaps.items():
                lines.append(
                    f"| {pooling} | {seed} | {score:.1f} | {method} | {at_20:.3f} | {share:.0%} | {best:.3f} |"
                )
            if seed == 0:
                named = [
                    (f"{pooling.upper()}: {method}", "weak", *(f"{error:.2f}" for error in errors))
                    for method, errors in rows
                ]
                tables += named
            if image is None:
                image = examples(network, held_out, {method: overlap[1] for method, overlap in overlaps.items()})
            sys.stderr.write(f"{pooling} {seed}: {score:.1f} %, {overlaps}\n")
    own = Table(("method", "supervision", "classification %", "localization %"), tuple(tables), text_columns=2)
    text = [
        f"{len(held_out)} held-out crops (every hand in the last quarter of each 2 s, and its mirror image), "
        f"{settings.steps} steps of {settings.batch} crops of 96 px.",
        "", *lines, "", "**Left or right hand, held-out crops** (seed 0, boxes at each method's best share)", "",
        markdown_of(own),
    ]  # fmt: skip
    for table in map(load_table, ("ilsvrc-loc", "ilsvrc-loc-test")):
        text += ["", f"**{table.title}**", "", markdown_of(table_block(table))]
    return "\n".join(text), image


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--write", action="store_true", help="write research/cam.md and its images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text, image = report(arguments.seeds, arguments.steps)
    if not arguments.write:
        sys.stdout.write(text + "\n")
        return
    write_section(RESEARCH / "cam.md", BEGIN, text, END)
    (RESEARCH / "images" / "cam_crops.jpg").write_bytes(encode_image(image, ".jpg"))
    (DOCS / "images" / "cam_hands.jpg").write_bytes(encode_image(hand_image(), ".jpg"))


if __name__ == "__main__":
    main()
