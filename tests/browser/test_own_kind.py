"""A registered kind is in the page's list, is drawn with its skeleton and is written to tables."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from .conftest import Server
from .driver import Page

pytestmark = pytest.mark.browser

SPOTS = Path(__file__).parents[1] / "extensions"
SERVE = f"import sys; sys.path.insert(0, {str(SPOTS)!r}); import spots; from sonjit.cli import main; main(sys.argv[1:])"


@pytest.fixture
def page(browser, tmp_path):
    server = Server(tmp_path, ("-c", SERVE))
    server.start()
    page = Page(browser, server.url)
    yield page
    page.stop()
    server.close()


def test_it_is_found_drawn_and_saved(page, tmp_path):
    rgb = np.zeros((240, 320, 3), np.uint8)
    rgb[80:120, 120:160] = 150
    cv2.imwrite(str(tmp_path / "spot.png"), rgb)
    page.tick("detector-hands", on=False)
    page.tick("detector-spots")
    assert page.label_of("detector-spots").text == "spots"
    assert page["option-threshold-hint"].get_attribute("textContent") == "Minimum brightness, 0 to 255."
    page.upload("source-file", tmp_path / "spot.png")
    page.wait(lambda: page.latest.get("spots") == [], "an answer without spots")
    page.choose("option-threshold", "140")
    (spot,) = page.wait(lambda: page.latest.get("spots"), "a spot")
    points = [(point["x"], point["y"]) for point in spot["keypoints"]]
    assert points == [(140, 80), (160, 100), (140, 120), (120, 100)]
    middles = np.mean([points, points[1:] + points[:1]], axis=0)
    assert all(page.painted_at([*points, *middles], 320, 240))
    rows = list(csv.DictReader(page.download("download-csv", ".csv").read_text("utf-8").splitlines()))
    assert [(row["kind"], row["name"], float(row["x"])) for row in rows][:2] == [
        ("spot", "top", 140),
        ("spot", "right", 160),
    ]
