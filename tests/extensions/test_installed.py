"""Programs and worker processes find extensions: installed ones, and those of a script."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support import unmeasured

from sonjit import InputError, load_extension
from sonjit._util import errors, extensions
from sonjit.detectors.kinds import KINDS

HERE = Path(__file__).parent
BUILT_IN = tuple(KINDS)  # tests of extensions register more

pytestmark = pytest.mark.slow


class Place:
    """Folder on PYTHONPATH in which packages are installed and programs run."""

    def __init__(self, folder):
        self.folder, self.site = folder, folder / "site"
        self.site.mkdir()
        (folder / "images").mkdir()
        for number in range(3):
            rgb = np.zeros((60, 80, 3), np.uint8)
            rgb[20:30, 30 + number : 40 + number] = 255
            cv2.imwrite(str(folder / "images" / f"{number}.png"), rgb)

    def module(self, name, text):
        (self.site / f"{name}.py").write_text(text, "utf-8")

    def install(self, package, module, text, group=extensions.EXTENSIONS, place=None):
        self.module(module, text)
        info = self.site / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{package} = {place or module}\n", "utf-8")

    def run(self, *arguments, text=None):
        path = os.pathsep.join([str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, *map(str, arguments)]
        environment = unmeasured.environment() | {"PYTHONPATH": path}
        return subprocess.run(
            command, cwd=self.folder, env=environment, input=text, capture_output=True, encoding="utf-8", check=False
        )

    def sonjit(self, *arguments):
        return self.run("-m", "sonjit", *arguments)

    def script(self, text):
        (self.folder / "script.py").write_text(text, "utf-8")
        return self.run("script.py")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


SPOTS = (HERE / "spots.py").read_text("utf-8")
COUNTS = (HERE / "counts.py").read_text("utf-8")


def test_the_command_and_its_workers_load_installed_extensions(place):
    place.install("sonjit-spots", "spots_plugin", SPOTS)
    place.install("sonjit-counts", "counts_plugin", COUNTS)
    job = ["spots", "images", "--threshold", 100]
    done = place.sonjit(*job, "--jobs", 2, "--save", "tables/{name}.count", "--draw", "drawn/")
    assert (done.returncode, done.stderr.partition(";")[0]) == (0, "3 files, 3 spots")
    assert (place.folder / "tables" / "2.count").read_text("utf-8").splitlines() == ["spots", "0 1"]
    assert (cv2.imread(str(place.folder / "drawn" / "2.png"))[25, 37] == (0, 0, 255)).all()
    done = place.sonjit(*job, "--save", "all.csv", "--measures")
    assert (done.returncode, "spot_width_px" in (place.folder / "all.csv").read_text("utf-8")) == (0, True)
    assert " spots " in place.sonjit("--help").stdout
    assert "Find a bright spot." in place.sonjit("spots", "--help").stdout


@pytest.mark.nightly
def test_a_program_finds_what_is_installed_by_its_name(place):
    place.install("sonjit-spots", "spots_plugin", SPOTS)
    assert place.sonjit("spots", "images", "--save", "all.csv").returncode == 0
    done = place.script("""
import sonjit, sys
from sonjit.media import load_frames
assert not any(name.startswith(("spots", "importlib.metadata")) for name in sys.modules)
print([len(frame.results("spots")) for frame in load_frames("all.csv")[1]])
(spot,) = sonjit.create_detector("spots").detect("images/0.png")
print(spot.names[0])
""")
    assert (done.stdout.splitlines(), done.stderr) == (["[1, 1, 1]", "top"], "")
    done = place.script("""
from starlette.testclient import TestClient
from sonjit.server.app import create_app
print(*TestClient(create_app(), "http://127.0.0.1").get("/v1/kinds").json()["kinds"])
""")
    assert done.stdout.split() == [*BUILT_IN, "spots"]


JOB = """
def main():
    task = Detect(options_for("spots", model="plain"))
    print(run_job(task, Inputs.find(["images"]), Outputs("tables/{name}.json"), jobs=2).problems)

if __name__ == "__main__":
    main()
"""
IMPORTS = "from sonjit.detectors.kinds import options_for\nfrom sonjit.runs import Detect, Inputs, Outputs, run_job\n"


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("own", ["import spots_plugin\n", SPOTS], ids=["imported", "in the script"])
def test_workers_have_what_a_script_registered(place, own):
    place.module("spots_plugin", SPOTS)
    done = place.script(own + IMPORTS + JOB)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    (frame,) = load_json(place.folder / "tables" / "1.json")
    assert frame["spots"][0]["score"] == 1


def load_json(path):
    return json.loads(path.read_text("utf-8"))["frames"]


def test_what_workers_cannot_load_is_reported_in_one_line(place):
    done = place.run("-", text=SPOTS + IMPORTS + JOB)
    assert "a worker process cannot import what the program defines (Can't get attribute 'SpotOptions'" in done.stderr
    with pytest.raises(errors.JobError, match="a worker process failed: extension no_such_module cannot be imported"):
        extensions.LoadedExtensions((), (("no_such_module", import_module),)).load()
    with pytest.raises(InputError, match=r"extension no_such_module cannot be imported \(ModuleNotFoundError"):
        load_extension("no_such_module")


def test_the_environment_names_modules(place, monkeypatch):
    place.module("spots_plugin", SPOTS)
    monkeypatch.setenv("SONJIT_EXTENSIONS", "spots_plugin, no_such_module")
    done = place.sonjit("spots", "images", "--jobs", 2, "--save", "tables/")
    assert done.returncode == 0
    assert done.stderr.splitlines()[0].endswith(
        "no_such_module fails with ModuleNotFoundError: No module named 'no_such_module'; change SONJIT_EXTENSIONS"
    )


LATE = "import sonjit.media\nsonjit.media.register_table_format('.late', None, None)\nraise OSError('late')"


def test_extensions_that_fail_are_one_line_each_and_stop_nothing(place):
    broken = ["import no_such_module", "raise RuntimeError('two\\nlines')", "x =", LATE]
    for number, text in enumerate(broken):
        place.install(f"sonjit-broken{number}", f"broken{number}_plugin", text)
    place.install("sonjit-spots", "spots_plugin", SPOTS)
    done = place.sonjit("spots", "images", "--jobs", 2, "--save", "tables/")
    *problems, closing = done.stderr.splitlines()
    assert len(problems) == len(broken)
    for number, problem in enumerate(sorted(problems)):
        name = f"sonjit-broken{number}"
        head = f"sonjit: extension '{name}' of {name} 1.2 is left out: broken{number}_plugin fails with "
        assert problem.startswith(head)
        assert problem.endswith(f"; update it or pip uninstall {name}")
    assert (done.returncode, closing.partition(";")[0]) == (0, "3 files, 3 spots")
    report = " ".join(place.sonjit("doctor").stdout.split())
    assert (report.count("left out"), "sonjit-spots 1.2: spots_plugin" in report) == (len(broken), True)
    done = place.script("import sonjit; sonjit.create_detector('feet')")
    last = done.stderr.splitlines()[-1]
    names = ", ".join(sorted([*KINDS, "spots"]))
    assert f"Unknown kind 'feet'. Choose from {names}. Extension 'sonjit-broken" in last
