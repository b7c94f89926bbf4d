"""`sonjit synth`: outputs, and one line for each error."""

import json
from functools import partial

import pytest

from sonjit_lab.synthesis.factors import FACTORS

from .conftest import run_command

run = partial(run_command, "synth")


@pytest.mark.slow
@pytest.mark.usefixtures("renderer", "rigs")
def test_a_folder_of_images_with_labels(capsys, tmp_path):
    status, _, err = run(capsys, tmp_path / "out", "--count", 3, "--size", "96", "--set", "hands=1", "--masks")
    assert status == 0
    assert "3 images" in err
    data = json.loads((tmp_path / "out" / "coco.json").read_text("utf-8"))
    assert len(data["images"]) == 3
    assert {(image["width"], image["height"]) for image in data["images"]} == {(96, 96)}
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 3
    status, _, err = run(capsys, tmp_path / "out", "--count", 3, "--size", "96", "--set", "hands=1", "--masks")
    assert (status, "3 from before" in err) == (0, True)


def test_all_factors_are_listed(capsys):
    status, out, _ = run(capsys, "--list-factors")
    assert status == 0
    assert all(factor.name in out for factor in FACTORS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "requires an output folder"),
        (("OUT", "--jobs", 0), "--jobs 0"),
        (("OUT", "--size", "large"), "--size large"),
        (("OUT", "--size", "640x"), "--size 640x"),
        (("OUT", "--set", "colour=red"), "Unknown factor 'colour'"),
        (("OUT", "--rig", "webcam", "--views", 2), "--rig webcam with --views 2"),
        (("OUT", "--format", "video"), "--format video requires a motion"),
        (("OUT", "--format", "video", "--sequence", "any", "--depth"), "cannot be combined with --format"),
        (("OUT", "--sequence", "waltz"), "Unknown --sequence 'waltz'. Choose from any, peak, rom"),
        (("OUT", "--sequence", "any", "--fps", 0), "--fps 0"),
        (("OUT", "--poses", "nowhere.json"), "nowhere.json: no such file"),
        (("OUT", "--backgrounds", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_errors_are_one_line_before_anything_is_written(refusal, tmp_path, arguments, says):
    out = tmp_path / "out"
    assert says in refusal("synth", *(out if argument == "OUT" else argument for argument in arguments))
    assert not out.exists()
