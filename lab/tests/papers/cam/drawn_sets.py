"""Small drawn data sets in official layouts: objects of a few shapes and colours on noise."""

import json

import cv2
import numpy as np

CLASSES = ("red disc", "green disc", "blue square", "yellow square")
_COLOURS = {"red": (230, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 210, 40)}


def draw_thing(canvas, rng, name):
    """Draw an object of a class such as "red disc" at a random position. Return x_min, y_min, x_max and y_max."""
    colour, shape = name.split()
    height, width = canvas.shape[:2]
    side = int(rng.integers(height // 2, height * 4 // 5))
    x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
    if shape == "disc":
        cv2.circle(canvas, (x + side // 2, y + side // 2), side // 2, _COLOURS[colour], -1)
    else:
        cv2.rectangle(canvas, (x, y), (x + side - 1, y + side - 1), _COLOURS[colour], -1)
    return x, y, x + side, y + side


def noise(rng, width=64, height=48):
    coarse = rng.integers(60, 180, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))


def write_cub(root, count=48, seed=0):
    rng = np.random.default_rng(seed)
    base = root / "CUB_200_2011"
    rows = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    for number in range(1, count + 1):
        kind = number % len(CLASSES)
        folder = f"{kind + 1:03}.{CLASSES[kind].replace(' ', '_')}"
        rgb = noise(rng)
        x_min, y_min, x_max, y_max = draw_thing(rgb, rng, CLASSES[kind])
        save(base / "images" / folder / f"thing_{number:04}.png", rgb)
        rows["images"].append(f"{number} {folder}/thing_{number:04}.png")
        rows["image_class_labels"].append(f"{number} {kind + 1}")
        rows["train_test_split"].append(f"{number} {int(number % 3 > 0)}")
        rows["bounding_boxes"].append(f"{number} {x_min:.1f} {y_min:.1f} {x_max - x_min:.1f} {y_max - y_min:.1f}")
    rows["classes"] = [f"{kind + 1} {kind + 1:03}.{name.replace(' ', '_')}" for kind, name in enumerate(CLASSES)]
    for name, lines in rows.items():
        (base / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return root


def write_ilsvrc(root, count=12, seed=1):
    rng = np.random.default_rng(seed)
    wnids = [f"n0000000{kind}" for kind in range(len(CLASSES))]
    lines = [f"{wnid} {name}" for wnid, name in zip(wnids, CLASSES, strict=True)]
    root.mkdir(parents=True, exist_ok=True)
    (root / "LOC_synset_mapping.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for split in ("train", "val"):
        table = ["ImageId,PredictionString"]
        for number in range(count):
            kind = number % len(CLASSES)
            name = f"{wnids[kind]}_{number}" if split == "train" else f"ILSVRC2012_val_{number:08}"
            rgb = noise(rng)
            boxes = [draw_thing(rgb, rng, CLASSES[kind]) - np.array((0, 0, 1, 1)) for _ in range(1 + number % 2)]
            place = f"{wnids[kind]}/{name}" if split == "train" else name
            save(root / "ILSVRC/Data/CLS-LOC" / split / f"{place}.png", rgb)
            image = root / "ILSVRC/Data/CLS-LOC" / split / f"{place}.png"
            image.rename(image.with_suffix(".JPEG"))  # the reader goes by the bytes
            table.append(f"{name}," + " ".join(f"{wnids[kind]} {' '.join(map(str, box))}" for box in boxes))
        (root / f"LOC_{split}_solution.csv").write_text("\n".join(table) + "\n", "utf-8")
    return root


def write_questions(root, counts=(("train2014", 60), ("val2014", 20)), seed=3):
    rng = np.random.default_rng(seed)
    image = 0
    for split, count in counts:
        questions, annotations = [], []
        for _ in range(count):
            image += 1
            rgb = noise(rng)
            colour, shape = (thing := CLASSES[int(rng.integers(len(CLASSES)))]).split()
            draw_thing(rgb, rng, thing)
            save(root / split / f"COCO_{split}_{image:012}.jpg", rgb)
            for text, answer in (("What colour is it?", colour), ("What shape has this thing?", shape)):
                number = 10 * image + len(questions) % 2
                questions.append({"question_id": number, "image_id": image, "question": text})
                people = [answer] * int(rng.integers(1, 11))
                answers = [{"answer": person} for person in [*people, *["a thing"] * (10 - len(people))]]
                annotations.append(
                    {"question_id": number, "image_id": image, "multiple_choice_answer": answer, "answers": answers}
                )
        for name, content in (
            (f"v2_OpenEnded_mscoco_{split}_questions.json", {"questions": questions}),
            (f"v2_mscoco_{split}_annotations.json", {"annotations": annotations}),
        ):
            (root / name).write_text(json.dumps(content), "utf-8")
    return root
