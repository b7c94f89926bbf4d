"""Images and their labels in COCO's format."""

import json

import cv2
import numpy as np


def write_coco(folder, images, labels, names, *, category="hand", file="dataset.json", images_in="images"):
    """Write RGB images by name, and of each label the image's number, the points, and other fields. Return the file."""
    (folder / images_in).mkdir(parents=True, exist_ok=True)
    records, annotations = [], []
    for number, (name, rgb) in enumerate(images.items()):
        cv2.imwrite(str(folder / images_in / name), np.ascontiguousarray(rgb[..., ::-1]))
        records.append({"id": number, "file_name": name, "width": rgb.shape[1], "height": rgb.shape[0]})
    for number, (image, points, more) in enumerate(labels, 1):
        known = {"id": number, "image_id": image, "category_id": 1}
        known["bbox"] = [*np.min(points, 0).tolist(), *np.ptp(points, 0).tolist()]
        known["keypoints"] = np.column_stack([points, np.full(len(points), 2)]).ravel().tolist()
        annotations.append(known | more)
    categories = [{"id": 1, "name": category, "keypoints": list(names)}]
    data = {"images": records, "annotations": annotations, "categories": categories}
    (folder / file).write_text(json.dumps(data), "utf-8")
    return folder / file
