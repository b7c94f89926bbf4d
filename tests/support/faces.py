"""Real photographs with a face, and the searches that may find one."""

import json

from sonjit import create_detector


def photographs_of_one_person(data, least_px=80):
    """Yield the path of each labelled photograph of one person with a clear and large face."""
    for file in sorted((data / "real").glob("wild*/people.json")):
        for name, photo in json.loads(file.read_text("utf-8")).items():
            if name.startswith("_") or len(photo["people"]) != 1 or not photo["people"][0].get("face_clear"):
                continue
            x_min, y_min, x_max, y_max = photo["people"][0]["face"]
            if min(x_max - x_min, y_max - y_min) > least_px:
                yield file.parent / name


def faces_in(rgb):
    """Return the faces that the thorough searches of meshes and of boxes find in an image (H, W, 3)."""
    found = []
    for options in ({}, {"model": "box-full"}):
        with create_detector("face", static_image=True, search="thorough", max_instances=100, **options) as detector:
            found += detector.detect(rgb)
    return found
