"""The report of a run: one page with the values of the log."""

import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from sonjit.lab.training.report import save_run_report


def write_run(folder, steps=400, lowest=1e-2):
    lines = [
        {"step": step, "losses": {"squares": 9.0 / step, "kept": 1.0}, "learning_rate": 1e-3, "gradient_norm": 2.0}
        | {"seconds": 0.5, "waited_seconds": 0.1}
        | ({"layer_gradients": {"a": lowest, "b": 1e-2, "c": 2e-2}} if step % 100 == 0 else {})
        | ({"evaluation": {"error_px": 5.0 + step}} if step % 200 == 0 else {})
        for step in range(1, steps + 1)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"st', "utf-8")
    (folder / "settings.json").write_text(json.dumps({"steps": steps, "names": ["<b>"], "weights": None}), "utf-8")
    save_run_report(folder, "cam: <one>")
    return (folder / "report.html").read_text("utf-8")


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "line", "rect", "polyline"):
            self.open.append(tag)
        assert not [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]

    def handle_endtag(self, tag):
        if tag not in ("line", "rect", "polyline"):
            assert self.open.pop() == tag


def test_the_page_is_complete_and_has_no_dependencies(tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "hands-found.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "images" / "notes.txt").touch()
    (tmp_path / "result.json").write_text(json.dumps({"settings": {}, "results": {"error_px": 0.81234}}), "utf-8")
    page = write_run(tmp_path)
    reader = Balanced()
    reader.feed(page)
    assert not reader.open
    assert page.count("data:image/png;base64,") == 1
    for part in ("hands found", "error_px: 0.8123", "cam: &lt;one&gt;", "&lt;b&gt;"):
        assert part in page
    assert re.search(r"<td>squares</td>\s*<td[^>]*>9</td>", page)
    assert "waited for its batches 20% of 200 s; more workers may help" in page
    assert "<script" not in page
    assert "color-scheme: light dark" in page
    both = "training loss and validation error_px over steps"
    losses = "losses over steps, with their moving means"
    for plot in (losses, both, "error_px over steps", "Learning rate", "gradient by layer"):
        assert f'aria-label="{plot}"' in page


@pytest.mark.parametrize(("lowest", "gone"), [(1e-6, True), (1e-3, False)])
def test_vanishing_gradients_are_reported_with_the_threshold(lowest, gone, tmp_path):
    page = write_run(tmp_path, lowest=lowest)
    assert ("Gradients vanish towards the lower layers in 4 of 4 logged steps" in page) == gone
    assert ("Gradients do not vanish" in page) != gone
    assert "threshold 0.001" in page


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_short_runs_have_a_page_too(steps, tmp_path):
    page = write_run(tmp_path, steps=steps)
    assert ("No step is finished." in page) == (steps == 0)
    assert not re.search(r"\bnan\b|\binf\b", page)
