"""Repeat the studies of Zhou et al. 2016 on drawn images, at a size for a CPU.

The images show birds whose species differ in bill and cap, and coloured shapes, one for each question and several in a
scene. They are written in the layouts of CUB-200-2011, COCO and visualqa.org and read from there. `--write` updates
research/cam.md and its images.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from sections import write_section

from sonjit.cli import main as sonjit
from sonjit.lab.datasets import open_dataset
from sonjit.lab.documents import Table, markdown_of
from sonjit.lab.explain import draw_boxes, enlarge, grid, panel
from sonjit.lab.explain.classes import crop_box, explain_classes
from sonjit.lab.networks.answers import load_answerer
from sonjit.lab.networks.classifiers import load_classifier
from sonjit.lab.training.ablation import mean_with_interval
from sonjit.lab.training.recipes import TrainingRequest, run_recipe
from sonjit.media.sources.images import encode_image

RESEARCH = Path(__file__).parents[1] / "research"
BEGIN, END = "<!-- python benchmarks/cam_studies.py --write -->", "<!-- end of studies -->"
WIDTH, HEIGHT = 160, 120
SIZE, SMALL, BATCH, STEPS = 64, 32, 24, {"birds": 200, "colours": 100, "things": 200, "scenes": 120}
COLOURS = {"red": (220, 50, 50), "green": (50, 180, 70), "blue": (60, 90, 230), "yellow": (235, 205, 50)}
SHAPES = ("disc", "square", "triangle", "cross")
SPECIES = [f"{bill} bill, {cap} cap" for bill in ("orange", "black") for cap in ("red", "blue")]
THINGS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
SCENES = {"kitchen": ("red", "disc"), "street": ("blue", "square"), "garden": ("green", "triangle")}


def clutter(rng):
    """Return a background of grey-green patches and strokes."""
    coarse = rng.integers(90, 150, (HEIGHT // 15, WIDTH // 16, 3), np.uint8)
    canvas = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(5):
        start, step = rng.integers(0, (WIDTH, HEIGHT)), rng.integers(-40, 41, 2)
        colour = tuple(map(int, rng.integers(50, 200, 3)))
        cv2.line(
            canvas, tuple(map(int, start)), tuple(map(int, start + step)), colour, int(rng.integers(1, 4)), cv2.LINE_AA
        )
    return canvas


def draw_bird(canvas, rng, species):
    """Draw a bird of a species (index in SPECIES), facing a random side, and return its box."""
    length = int(rng.integers(54, 84))
    side = 2 * length
    tile = np.zeros((side, side, 4), np.uint8)
    scale, body = length / 60, tuple(map(int, np.add((115, 95, 75), rng.integers(-15, 16, 3))))
    bill, cap = divmod(species, 2)

    def at(x, y):
        return round(length + x * scale), round(length + y * scale)

    def filled(colour, points):
        cv2.fillPoly(tile, [np.array([at(*point) for point in points])], (*colour, 255), cv2.LINE_AA)

    filled(body, [(-12, 2), (-34, -4), (-34, 4), (-14, 9)])  # tail
    cv2.ellipse(tile, at(-2, 3), (round(17 * scale), round(10 * scale)), -12, 0, 360, (*body, 255), -1, cv2.LINE_AA)
    cv2.circle(tile, at(14, -6), round(8 * scale), (*body, 255), -1, cv2.LINE_AA)
    dark = tuple(channel // 2 for channel in body)
    cv2.ellipse(tile, at(-6, 3), (round(12 * scale), round(5 * scale)), -15, 0, 360, (*dark, 255), -1, cv2.LINE_AA)
    filled(((240, 150, 30), (25, 25, 25))[bill], [(21, -8), (32, -4), (21, -3)])
    filled(((215, 40, 40), (60, 90, 220))[cap], [(8, -11), (14, -15), (20, -11)])
    filled((245, 245, 240), [(-10, 0), (-7, 0), (-3, 7), (-6, 7)])
    cv2.circle(tile, at(16, -7), max(round(1.4 * scale), 1), (10, 10, 10, 255), -1, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((length, length), float(rng.uniform(-20, 20)), 1)
    tile = cv2.warpAffine(tile, turn, (side, side))
    if rng.random() < 0.5:
        tile = tile[:, ::-1]
    return paste(canvas, rng, tile)


def draw_shape(canvas, rng, colour, shape, least=26, most=46):
    """Draw a shape in a colour at a random position, and return its box."""
    half = int(rng.integers(least, most)) // 2
    tile = np.zeros((4 * half, 4 * half, 4), np.uint8)
    ink, middle = (*COLOURS[colour], 255), 2 * half
    if shape == "disc":
        cv2.circle(tile, (middle, middle), half, ink, -1, cv2.LINE_AA)
    else:
        points = {
            "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            "triangle": [(0, -1), (1, 0.8), (-1, 0.8)],
            "cross": [(x, y) for x, y in (
                (-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3),
                (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3),
            )],
        }[shape]  # fmt: skip
        cv2.fillPoly(tile, [np.round(middle + half * np.array(points)).astype(int)], ink, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((middle, middle), float(rng.uniform(-25, 25)), 1)
    return paste(canvas, rng, cv2.warpAffine(tile, turn, tile.shape[1::-1]))


def paste(canvas, rng, tile):
    """Draw the opaque part of a tile at a random position on a canvas, and return its box."""
    rows, columns = (np.flatnonzero(tile[..., 3].max(axis)) for axis in (1, 0))
    tile = tile[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = tile.shape[:2]
    x, y = int(rng.integers(0, WIDTH - width + 1)), int(rng.integers(0, HEIGHT - height + 1))
    part, share = canvas[y : y + height, x : x + width], tile[..., 3:] / 255
    light = rng.uniform(0.8, 1.1)
    part[:] = np.clip(part * (1 - share) + light * tile[..., :3] * share, 0, 255)
    return x, y, x + width, y + height


def finish(canvas, rng):
    return np.clip(canvas + rng.normal(0, 7, canvas.shape), 0, 255).astype(np.uint8)


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])


def write_classes(root, names, draw, train, test):
    """Write images of `draw(canvas, rng, class)` in the layout of CUB-200-2011."""
    rng = np.random.default_rng(len(names) + train)
    rows = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for number in range(1, train + test + 1):
        kind = number % len(names)
        canvas = clutter(rng)
        x_min, y_min, x_max, y_max = draw(canvas, rng, kind)
        save(root / "images" / f"{kind}/{number}.png", finish(canvas, rng))
        rows["images"].append(f"{number} {kind}/{number}.png")
        rows["image_class_labels"].append(f"{number} {kind + 1}")
        rows["train_test_split"].append(f"{number} {int(number <= train)}")
        rows["bounding_boxes"].append(f"{number} {x_min} {y_min} {x_max - x_min} {y_max - y_min}")
    rows["classes"] = [f"{kind + 1} {name.replace(' ', '_')}" for kind, name in enumerate(names)]
    for name, lines in rows.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return root


def write_scenes(root, count):
    """Write scenes in COCO's layout. Each scene has an object of its own, and two objects are in all scenes."""
    rng = np.random.default_rng(2)
    shared = (("yellow", "cross"), ("red", "square"))
    names = [*SCENES.values(), *shared]
    images, annotations = [], []
    for number in range(count):
        scene = list(SCENES)[number % len(SCENES)]
        canvas = clutter(rng)
        for thing in (*shared, SCENES[scene]):
            x_min, y_min, x_max, y_max = draw_shape(canvas, rng, *thing)
            box = [x_min, y_min, x_max - x_min, y_max - y_min]
            own = {"id": len(annotations) + 1, "image_id": number, "category_id": names.index(thing) + 1}
            annotations.append({**own, "bbox": box})
        save(root / "images" / f"{number:03}.png", finish(canvas, rng))
        about = {"id": number, "file_name": f"{number:03}.png", "width": WIDTH, "height": HEIGHT}
        images.append({**about, "tags": {"class": scene}})
    categories = [{"id": number, "name": " ".join(thing)} for number, thing in enumerate(names, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "dataset.json").write_text(json.dumps(content), "utf-8")
    return root


def write_questions(root, counts):
    """Write the layout of visualqa.org: images of one shape, with questions about colour and shape."""
    rng = np.random.default_rng(3)
    image = 0
    for split, count in counts.items():
        questions, annotations = [], []
        for _ in range(count):
            image += 1
            canvas, colour, shape = clutter(rng), str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
            draw_shape(canvas, rng, colour, shape)
            save(root / split / f"COCO_{split}_{image:012}.jpg", finish(canvas, rng))
            for number, (text, answer) in enumerate((("What colour is it?", colour), ("What shape is it?", shape))):
                about = {"question_id": 2 * image + number, "image_id": image}
                questions.append({**about, "question": text})
                annotations.append({**about, "multiple_choice_answer": answer, "answers": [{"answer": answer}] * 10})
        (root / f"v2_OpenEnded_mscoco_{split}_questions.json").write_text(json.dumps({"questions": questions}), "utf-8")
        (root / f"v2_mscoco_{split}_annotations.json").write_text(json.dumps({"annotations": annotations}), "utf-8")
    return root


def train(out, data, seed, weights=None, **settings):
    """Run the recipe with its smallest network by default, and return the results."""
    own = {
        "dataset": "cub200",
        "size": SIZE,
        "batch": BATCH,
        "seed": seed,
        "steps": STEPS[data.name],
        "learning_rate": 8e-3,
        **settings,
    }
    request = TrainingRequest("cam", out, data=data, weights=None if weights is None else str(weights), settings=own)
    return run_recipe(request)


def shown(values):
    """Return a mean with its interval as text."""
    mean = mean_with_interval(values)
    if len(values) == 1:
        return f"{mean.value:.1f}"
    if len(values) == 2:
        return f"{mean.value:.1f} (" + "; ".join(f"{value:.1f}" for value in values) + ")"
    return f"{mean.value:.1f} ({mean.low:.1f} to {mean.high:.1f})"


def rows_of(table):
    """Return table rows from label -> [(classification error, localization error)] with a pair for each seed."""
    titles = "", "classification error, %", "localization error, %", "maximum outside the box, %"
    rows = [(label, *(shown(values) for values in zip(*found, strict=True))) for label, found in table.items()]
    return markdown_of(Table(titles[: len(rows[0])], tuple(rows), text_columns=1))


def errors(results):
    return results["classification_error_1"], results["localization_error_1"]


POOLING = {
    "mean (cam-small, gap)": {},
    "maximum (cam-small, gmp)": {"pooling": "gmp"},
    "fully connected layers (fc-small), boxes by backprop": {"network": "fc-small", "learning_rate": 1e-3},
}
SHOWN = {
    "whole image": {},
    "crop by the map, new linear layer as in the paper": {"view": "crop", "freeze": "backbone"},
    "crop by the map": {"view": "crop"},
    "the labelled box": {"view": "box"},
}


def one_seed(folder, seed):
    """Return three dictionaries: (classification error, localization error) by label."""
    birds, colours, base = folder / "birds", folder / "colours", folder / f"seed{seed}"
    pooling = {
        label: errors(train(base / f"pooling{number}", birds, seed, **options))
        for number, (label, options) in enumerate(POOLING.items())
    }
    small = {"size": SMALL, "steps": STEPS["birds"] // 2}
    shown = {
        label: errors(train(base / f"shown{number}", birds, seed, base / "pooling0", **small, **options))
        for number, (label, options) in enumerate(SHOWN.items())
    }
    frozen = {"freeze": "backbone"}
    carried = {}
    for label, name, weights, options in (
        ("features of birds, frozen", "carried", base / "pooling0", frozen),
        ("untrained features, frozen", "untrained", None, frozen),
        ("all layers trained on the colours", "colours", None, {}),
    ):
        found = errors(train(base / name, colours, seed, weights, **options))
        carried[label] = *found, missed(load_classifier("cam-small", base / name), colours)
    sys.stderr.write(f"seed {seed}: {pooling}\n{shown}\n{carried}\n")
    return pooling, shown, carried


def missed(classifier, data):
    """Return the percentage of images in which the maximum of the true class's map lies outside the labelled box."""
    outside = []
    for sample in open_dataset("cub200", data, "test"):
        (thing,) = sample.instances
        (found,) = explain_classes(classifier.network, sample.rgb(), classifier.size, [thing.category_id])
        large = enlarge(found.values, WIDTH, HEIGHT)
        y, x = np.unravel_index(large.argmax(), large.shape)
        x_min, y_min, x_max, y_max = thing.box
        outside.append(not (x_min <= x < x_max and y_min <= y < y_max))
    return 100 * float(np.mean(outside))


def test_birds(folder):
    return list(open_dataset("cub200", folder / "birds", "test"))


def write_sets(folder):
    """Write all data sets that do not exist yet."""
    if folder.joinpath("things").is_dir():
        return
    write_classes(folder / "birds", SPECIES, draw_bird, 480, 240)
    names = list(COLOURS)
    write_classes(
        folder / "colours",
        names,
        lambda canvas, rng, kind: draw_shape(canvas, rng, names[kind], str(rng.choice(SHAPES))),
        160,
        160,
    )
    write_scenes(folder / "scenes", 180)
    write_questions(folder / "questions", {"train2014": 240, "val2014": 120})
    write_classes(
        folder / "things", THINGS, lambda canvas, rng, kind: draw_shape(canvas, rng, *THINGS[kind].split()), 320, 64
    )


def study(folder, seeds):
    """Return the lines of the report, and the pictures by file name."""
    write_sets(folder)
    found = [one_seed(folder, seed) for seed in range(seeds)]
    tables = [
        {label: [seed[label] for seed in of_seeds] for label in of_seeds[0]} for of_seeds in zip(*found, strict=True)
    ]
    pooling, shown, carried = map(rows_of, tables)
    scenes_text, scenes = scene_study(folder)
    questions_text, questions = question_study(folder)
    lines = [
        f"{SIZE} px, batches of {BATCH}, {STEPS['birds']} steps on birds and {STEPS['colours']} on colours. "
        + ("Seed 0 only. " if seeds == 1 else f"{seeds} seeds: mean and each value, from three on a 95 % interval. ")
        + "Four species of drawn birds, 480 training and 240 held-out images. Shapes in four colours, 160 and 160.",
        "", "**Pooling: birds**", "", pooling,
        "", f"**Input: birds at {SMALL} px, from the first network and with its maps**", "", shown,
        "", "**Another task: colours of shapes**", "", carried,
        "", *scenes_text, "", *questions_text,
    ]  # fmt: skip
    birds = bird_picture(load_classifier("cam-small", folder / "seed0" / "pooling0"), test_birds(folder))
    return lines, {"cam_birds.jpg": birds, "cam_scenes.jpg": scenes, "cam_answers.jpg": questions}


def scene_study(folder):
    """Evaluate the maps of a scene classifier with `sonjit eval`."""
    scenes, run, out = folder / "scenes", folder / "scenes-run", folder / "scenes-eval"
    results = train(run, scenes, 0, dataset="folder")
    asked = ["--model", "cam-small", "--weights", str(run), "--root", str(scenes), "--out", str(out)]
    if sonjit(["eval", "--protocol", "scene-objects", *asked]):
        raise SystemExit("eval failed")
    (found,) = json.loads((out / "eval.json").read_text("utf-8"))["runs"]
    rows = tuple((row["name"], f"{row['mean']:.0f} %", str(row["counted"])) for row in found["parts"]["object"])
    table = markdown_of(Table(("scene: object", "in the region", "images"), rows, text_columns=1))
    pictures = [cv2.imread(str(out / file))[..., ::-1] for file in found["patterns"].values()]
    held_out = results["classification_error_1"]
    text = ["**Scenes: objects in the regions**", "", table, "", f"{held_out:.1f} % of the held-out scenes are wrong."]
    return text, np.concatenate(pictures)


def question_study(folder):
    """Train and evaluate answers from the features of an object classifier."""
    data, classifier, accuracies = folder / "questions", folder / "things-run", []
    train(classifier, folder / "things", 0)
    for parts in ("question", "image", "both"):
        out = folder / f"answers-{parts}"
        settings = {"parts": parts, "steps": 300, "size": SIZE}
        request = TrainingRequest("vqa", out, data=data, weights=str(classifier), settings=settings)
        accuracies.append((parts, f"{100 * float(str(run_recipe(request)['accuracy'])):.1f}"))
    answerer = load_answerer("cam-small", folder / "answers-both")
    rows = []
    for text in ("What colour is it?", "What shape is it?"):
        asked, row = answerer.classifier_for(text), []
        for file in sorted((data / "val2014").glob("*.jpg"))[:5]:
            rgb = cv2.imread(str(file))[..., ::-1]
            (best,) = explain_classes(asked.network, rgb, asked.size)
            large = cv2.resize(rgb, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
            title = f"{text} {asked.names[best.label]} {best.probability:.2f}"
            row.append(panel(large, enlarge(best.values, 2 * WIDTH, 2 * HEIGHT), title))
        rows.append(row)
    table = markdown_of(Table(("from", "accuracy, %"), tuple(accuracies), text_columns=1))
    return ["**Answers to held-out questions (240)**", "", table], grid(rows)


def bird_picture(classifier, samples):
    """Draw the maps of a few birds, with the true box and the crop."""
    rows = [[], []]
    for sample in samples[3:28:5]:
        rgb = sample.rgb()
        large = cv2.resize(rgb, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
        (best,) = explain_classes(classifier.network, rgb, classifier.size)
        x_min, y_min, x_max, y_max = map(int, area := crop_box(classifier, rgb))
        drawn = panel(large, enlarge(best.values, 2 * WIDTH, 2 * HEIGHT), f"{best.probability:.2f}")
        true = [tuple(2 * edge for edge in instance.box) for instance in sample.instances]
        draw_boxes(drawn, true=true, predicted=[tuple(2 * edge for edge in area)])
        rows[0].append(drawn)
        rows[1].append(
            cv2.resize(rgb[y_min:y_max, x_min:x_max], (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
        )
    return grid(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="folder for data sets and runs; finished ones are reused")
    parser.add_argument("--write", action="store_true", help="write research/cam.md and its images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as temporary:
        lines, images = study(arguments.folder or Path(temporary), arguments.seeds)
    text = "\n".join(lines)
    if not arguments.write:
        sys.stdout.write(text + "\n")
        return
    write_section(RESEARCH / "cam.md", BEGIN, text, END)
    for name, image in images.items():
        (RESEARCH / "images" / name).write_bytes(encode_image(np.ascontiguousarray(image), ".jpg"))


if __name__ == "__main__":
    main()
