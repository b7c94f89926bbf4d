"""Trackers of experiments, and the report of a run."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import ClassVar

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit_lab.training import loop, report
from sonjit_lab.training.run_folder import TENSORBOARD

from .small_runs import OPTIONS, PowerCutError, batch, line, log_of, losses, run


@pytest.mark.slow
def test_tensorboard_shows_each_step_once_though_the_run_was_stopped(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = dataclasses.replace(OPTIONS, loggers=("tensorboard",))
    with pytest.raises(PowerCutError):
        run(tmp_path, stop_after=7, options=options)
    run(tmp_path, options=options)
    read = EventAccumulator(str(tmp_path / TENSORBOARD)).Reload()
    shown = {one.step: one.value for one in read.Scalars("losses/squares")}
    rows = log_of(tmp_path)
    assert len(read.Scalars("losses/squares")) == len(rows) == 12
    assert shown == pytest.approx({row["step"]: row["losses"]["squares"] for row in rows})
    assert {"learning_rate", "gradient_norm", "seconds", "waited_seconds"} <= set(read.Tags()["scalars"])


class Recorder:
    """Experiment tracker of a user."""

    opened: ClassVar[list["Recorder"]] = []

    def __init__(self, folder, settings, done):
        self.folder, self.done, self.steps, self.images, self.closed = folder, done, [], [], False
        assert settings["optimizer"] == "adamw"
        self.opened.append(self)

    def log(self, step, values):
        self.steps.append((step, values))

    def image(self, step, name, rgb):
        self.images.append((step, name, rgb.shape))

    def close(self):
        self.closed = True


def test_a_user_defined_logger_receives_values_and_images(tmp_path):
    Recorder.opened.clear()
    options = loop.TrainingSettings(steps=3, warmup=0, loggers=(f"{__name__}:Recorder",), gradients_every=2)
    loop.train(
        line(), batch, losses, options, out=tmp_path, evaluate=lambda _: {"error": 1.0},
        pictures=lambda _: {"sheet": np.zeros((4, 6, 3), np.uint8)},
    )  # fmt: skip
    (recorder,) = Recorder.opened
    assert [step for step, _ in recorder.steps] == [0, 1, 2, 3]
    assert recorder.steps[0][1] == {"evaluation/error": 1.0}
    assert {"losses/squares", "learning_rate", "evaluation/error"} <= recorder.steps[3][1].keys()
    assert any(name.startswith("layer_gradients/") for name in recorder.steps[2][1])
    assert recorder.images == [(0, "sheet", (4, 6, 3)), (3, "sheet", (4, 6, 3))]
    assert recorder.closed


@pytest.mark.parametrize(
    ("name", "message"), [("tb", "Unknown logger 'tb'. Choose tensorboard"), ("json:no", "loggers=json:no")]
)
def test_unknown_loggers_are_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run(tmp_path, options=dataclasses.replace(OPTIONS, loggers=(name,)))


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
    report.save_run_report(folder, "cam: <one>")
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
