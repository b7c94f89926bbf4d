"""Every command with an output refuses one that cannot be written before it opens any input."""

import pytest

from sonjit.cli import build_app
from sonjit.cli.commands import COMMANDS

OPTIONS = {"--out", "OUT", "--save", "--draw", "--figure", "--motion", "--report", "--submission", "--refine-cameras"}
"""Options that name an output. `--to` is one of `gestures record`."""

# The arguments of each command before its output. Their inputs do not exist, so that nothing else can be first.
CASES = {
    "explain --save": ("explain", "none.jpg"),
    "explain --draw": ("explain", "none.jpg"),
    "segment --save": ("segment", "none.jpg"),
    "segment --draw": ("segment", "none.jpg"),
    "report --save": ("report", "none.mp4"),
    "report --motion": ("report", "none.mp4"),
    "report --draw": ("report", "none.mp4"),
    "page OUT": ("page",),
    "gestures record --to": ("gestures", "record", "claw", "none.mp4"),
    "gestures record-folders --to": ("gestures", "record-folders", "none"),
    "gestures train --out": ("gestures", "train", "none"),
    "gestures export --out": ("gestures", "export", "none.mp4"),
    "motions --save": ("motions", "none.mp4"),
    "mesh --save": ("mesh", "none.jpg"),
    "mesh --draw": ("mesh", "none.jpg"),
    "mesh --figure": ("mesh", "none.jpg"),
    "train --out": ("train", "hand-full", "--data", "none"),
    "export --out": ("export", "internet", "--weights", "none"),
    "datasets show --out": ("datasets", "show", "none", "--root", "none"),
    "datasets convert --out": ("datasets", "convert", "none", "--root", "none"),
    "datasets split --out": ("datasets", "split", "none", "--root", "none"),
    "eval --out": ("eval", "--protocol", "none", "--root", "none", "--model", "none"),
    "eval --save": ("eval", "--protocol", "none", "--root", "none", "--model", "none"),
    "eval --submission": ("eval", "--protocol", "none", "--root", "none", "--model", "none"),
    "card --out": ("card", "none"),
    "compare --save": ("compare", "none", "none", "--root", "none"),
    "synth OUT": ("synth",),
    "annotate board --out": ("annotate", "board", "charuco:5x7:30:22"),
    "annotate calibrate --out": ("annotate", "calibrate", "none", "--board", "none"),
    "annotate calibrate --report": ("annotate", "calibrate", "none", "--board", "none", "--out", "rig.json"),
    "annotate cameras --out": ("annotate", "cameras", "none.json"),
    "annotate sync --out": ("annotate", "sync", "none"),
    "annotate triangulate --out": ("annotate", "triangulate", "none.json", "none.json"),
    "annotate triangulate --refine-cameras": ("annotate", "triangulate", "none.json", "none.json", "--out", "a.json"),
    "annotate export --out": ("annotate", "export", "none.json"),
    "annotate surfaces --out": ("annotate", "surfaces", "none.json"),
    "annotate surfaces --draw": ("annotate", "surfaces", "none.json", "--out", "a.npz"),
    "annotate release OUT": ("annotate", "release", "none", "--card", "none.toml"),
}
NAMES = {"--out": "x.json", "--save": "x.csv", "--report": "x.html", "--refine-cameras": "x.json", "--motion": "x.mot"}
OWN_NAMES = {
    "report --draw": "x.mp4",
    "report --save": "x.pdf",
    "gestures train --out": "x.npz",
    "gestures export --out": "x.eaf",
    "export --out": "x.onnx",
    "compare --save": "x.png",
    "annotate board --out": "x.svg",
    "annotate surfaces --out": "x.npz",
    "explain --draw": "x.png",
    "segment --draw": "x.png",
    "mesh --draw": "x.png",
    "mesh --save": "x.glb",
}


def outputs_of(app, names):
    """Yield the commands below an app with their options of outputs."""
    for name in (name for name in app if not name.startswith("-")):
        yield from outputs_of(app[name], (*names, name))
    if app.default_command is not None:
        for argument in app.assemble_argument_collection():
            yield from (f"{' '.join(names)} {name}" for name in argument.names if name in OPTIONS)


def test_every_command_with_an_output_is_tried():
    found = {case for command in [*COMMANDS] for case in outputs_of(build_app(command), ())}
    assert found - CASES.keys() - {"demo --out"} == set()  # the demo is tried in test_demo.py


@pytest.mark.parametrize("case", CASES)
def test_an_output_that_cannot_be_written_is_refused_first(sonjit, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"x")  # no user can write below a file, not even root
    option = case.split()[-1]
    place = tmp_path / "file" / "new" / OWN_NAMES.get(case, NAMES.get(option, "x"))
    code, out, err = sonjit(*CASES[case], *([] if option == "OUT" else [option]), place)
    assert code == 2
    assert not out
    assert len(err) == 1
    assert f"{place} cannot be written: " in err[0]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["m.glb", "new/../m.glb", "hard.glb"])
@pytest.mark.parametrize(
    "words",
    [
        ("body", "none.mp4", "--onto", "m.glb", "--save"),
        ("body", "m.glb", "--draw"),
        ("hands", "none.mp4", "--landmark-model", "m.glb", "--json", "--draw"),
        ("report", "none.mp4", "--before", "m.glb", "--save"),
        ("explain", "m.glb", "--draw"),
        ("motions", "m.glb", "--save"),
        ("gestures", "export", "m.glb", "--out"),
    ],
)
def test_an_output_that_another_argument_names_is_refused_first(sonjit, tmp_path, monkeypatch, words, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.glb").write_bytes(b"model")
    (tmp_path / "hard.glb").hardlink_to("m.glb")
    code, _, (line,) = sonjit(*words, name)
    assert (code, line) == (2, f"sonjit: {name} is the input itself: choose another name")
    assert (tmp_path / "m.glb").read_bytes() == b"model"
    assert {path.name for path in tmp_path.iterdir()} == {"m.glb", "hard.glb"}
