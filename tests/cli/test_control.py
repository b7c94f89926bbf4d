"""`sonjit control`: a dry run prints the commands, and a gesture pauses them."""

import json
from pathlib import Path

import pytest

import sonjit as sonjit_package

MAP = '[[rule]]\nmeasure = "x"\npost = "http://192.0.2.1/hand"\n'  # an address that nobody has


@pytest.mark.slow
def test_a_dry_run_prints_what_would_be_sent(sonjit, media, tmp_path):
    file = tmp_path / "map.toml"
    file.write_text(MAP)
    code, out, err = sonjit("control", file, media / "clip.mp4", "--dry-run", "--limit", 3)
    assert (code, err) == (0, [])
    lines = [json.loads(line) for line in out.splitlines()]
    assert 1 <= len(lines) <= 3
    assert {(line["post"], line["measure"]) for line in lines} == {("http://192.0.2.1/hand", "x")}
    assert all(0 <= line["value"] <= 1 for line in lines)
    file.write_text('pause = "Open_Palm"\n' + MAP)
    clip = Path(sonjit_package.__file__).parent / "_util" / "assets" / "demo.mp4"
    code, out, err = sonjit("control", file, clip, "--dry-run", "--limit", 12)
    assert (code, err) == (0, ["paused at 0.27 s: Open_Palm"])  # once the hand has been in sight for a quarter second
    assert {json.loads(line)["time"] < 0.27 for line in out.splitlines()} == {True}


def test_a_wrong_call_is_refused_in_a_line(sonjit, tmp_path):
    file = tmp_path / "map.toml"
    for text, message in ((MAP + "speed = 3\n", "rule 1: unknown key 'speed'"), (MAP, "--limit 0: must be at least 1")):
        file.write_text(text)
        code, _, err = sonjit("control", file, "none.mp4", "--dry-run", "--limit", 0 if text == MAP else 1)
        assert (code, len(err)) == (2, 1)
        assert message in err[0]
