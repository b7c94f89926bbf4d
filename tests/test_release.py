"""Release files agree on version, dependencies and addresses, and on commands outside the repository."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "packaging" / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONDA_NAMES = {"python-openvino": "openvino", "py-opencv": "opencv-python-headless"}


def test_nothing_that_was_promised_is_gone():
    from .support.record_surface import RECORD, surface

    gone = set(RECORD.read_text("utf-8").splitlines()) - set(surface())
    assert not gone, f"{sorted(gone)}: docs/versions.md says when; then run tests/support/record_surface.py"


def test_conda_requires_the_same_packages_as_pip():
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text("utf-8"))
    lines = [line.split(" ", 1) for line in recipe["requirements"]["run"]]
    conda_requirements = {CONDA_NAMES.get(name, name): bound for name, bound in lines}
    assert conda_requirements.pop("python") == PROJECT["requires-python"]
    assert conda_requirements == {
        re.split("[>=]", line)[0]: line[line.index(">=") :] for line in PROJECT["dependencies"]
    }
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == "sonjit = " + PROJECT["scripts"]["sonjit"]


def test_the_image_installs_every_dependency_by_version_and_hash():
    assert "--require-hashes -r requirements.txt" in (DOCKER / "Dockerfile").read_text("utf-8")
    locked = re.split(r"^(?=\w)", (DOCKER / "requirements.txt").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in one for one in locked)
    names = {one.partition("==")[0] for one in locked}
    extras = PROJECT["optional-dependencies"]
    assert names >= {
        re.split(r"[>=\[]", dependency)[0]
        for dependency in [*PROJECT["dependencies"], *extras["serve"], *extras["tables"]]
    }


def test_the_lock_fits_the_requirements_and_names_no_host(load_module):
    pytest.importorskip("packaging")
    tool = load_module(ROOT / "tools" / "lock.py")
    lock, image, required = tool.LOCK.read_text("utf-8"), tool.IMAGE.read_text("utf-8"), tool.requirements()
    assert {"numpy", "torch", "scipy", "fastapi"} <= {one.name for one in required}
    assert tool.differences(lock, image, required) == []
    faults = {
        "the lock lacks numpy>=2.0": (re.sub(r"^numpy==\S+", "numpy==1.26.4", lock, flags=re.MULTILINE), ""),
        "the lock lacks rich>=13.6": (re.sub(r"^rich==", "poor==", lock, flags=re.MULTILINE), ""),
        "the image has segno 0.1, and the lock another version": (lock, "segno==0.1 --hash=sha256:0"),
        "no hash: other==0.1": (lock + "other==0.1\n", ""),
        "an address: --index-url https://mirror.example": (lock + "--index-url https://mirror.example\n", ""),
    }
    assert {fault: tool.differences(*texts, required) for fault, texts in faults.items()} == {
        fault: [fault] for fault in faults
    }


@pytest.mark.nightly
@pytest.mark.usefixtures("registry")
@pytest.mark.slow
def test_all_extras_resolve_together():
    pytest.importorskip("uv")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--all-extras", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^openvino==", done.stdout, re.MULTILINE)


@pytest.mark.nightly
@pytest.mark.usefixtures("registry")
@pytest.mark.slow
def test_a_program_built_with_pyinstaller_finds_hands(tmp_path):
    pytest.importorskip("uv")
    program = tmp_path / "app.py"
    program.write_text("import sys, sonjit\nprint(len(next(sonjit.track(sys.argv[1], 'hands')).hands))\n", "utf-8")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = tmp_path / "venv" / "bin" / "python"
    build = ["--onedir", "--collect-all", "sonjit", "--collect-all", "openvino", program]
    for command in (
        [sys.executable, "-m", "uv", "venv", "--python", sys.executable, tmp_path / "venv"],
        [sys.executable, "-m", "uv", "pip", "install", "--python", python, ROOT, "pyinstaller"],
        [python, "-m", "PyInstaller", "--log-level", "ERROR", *build],
        [tmp_path / "dist" / "app" / "app", ROOT / "src/sonjit/_util/assets/demo.mp4"],
    ):
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n"


@pytest.fixture
def release(load_module, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))  # restores what the program adds to it
    return load_module(ROOT / "tools" / "release.py")


@pytest.fixture
def build_wheels(tmp_path, release):
    """Function that builds the wheels from a new copy of the repository's files and returns their paths."""
    pytest.importorskip("hatchling")

    def build(name, mode):
        copy = tmp_path / name
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        for project in release.PROJECTS:
            shutil.copytree(
                ROOT / project / "src", copy / project / "src", ignore=ignored, copy_function=shutil.copyfile
            )
            for file in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copyfile(ROOT / project / file, copy / project / file)
        shutil.copyfile(ROOT / "NOTICE", copy / "NOTICE")
        (copy / "src/sonjit/_util/assets/web/wasm").mkdir(parents=True, exist_ok=True)
        for name in ("sonjit-web.js", "wasm/litert_wasm.js", "wasm/litert_wasm.wasm.gz"):
            (copy / "src/sonjit/_util/assets/web" / name).write_bytes(b"")
        for path in copy.rglob("*.py"):
            path.chmod(mode)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "wheels" / copy.name]
        for project in release.PROJECTS:
            done = subprocess.run(
                list(map(str, command)), cwd=copy / project, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        return sorted((tmp_path / "wheels" / copy.name).glob("*.whl"))

    return build


def test_every_distribution_has_the_licence(release):
    for project in release.PROJECTS:
        assert (ROOT / project / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.slow
def test_wheels_are_reproducible_and_hold_only_reviewed_files(release, build_wheels):
    first, second = build_wheels("first", 0o644), build_wheels("second", 0o600)
    assert [path.name.partition("-")[0] for path in first] == ["sonjit", "sonjit_lab", "sonjit_studio"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    listed, names = release.FILES.read_text("utf-8"), []
    for wheel in first:
        with zipfile.ZipFile(wheel) as archive:
            names += archive.namelist()
            (metadata,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")]
        assert re.findall(r"\]\((?!https?:|#)[^)]*\)", metadata) == []  # relative links lead nowhere on PyPI
    assert release.compare_files(names, listed) == ""
    for new in ("sonjit/server/page/.env", "sonjit/server/page/app.js.map", "tests/test_release.py", "sonjit/key.pem"):
        assert release.compare_files([*names, new], listed) == f"not in the list: {new}"
    assert release.compare_files(names, f"{listed}sonjit/gone.json\n") == "in the list only: sonjit/gone.json"
