"""Each bundled network has an origin: the hash of its file, and the recipe or program that made it."""

from pathlib import Path

import pytest

import sonjit
from sonjit._util.data_files import ASSETS, read_toml_table
from sonjit._util.files import sha256_of_file

PACKAGE = Path(sonjit.__file__).parent
PROJECT = Path(__file__).parents[2]
ENTRIES = read_toml_table(ASSETS / "origins.toml")["file"]
NO_WEIGHTS = {"demo.json", "demo.mp4", "origins.toml", "photo.jpg", "squats.mp4", "web"}
ENDINGS = {".npz", ".tflite", ".onnx", ".safetensors", ".pt", ".pth", ".bin", ".pkl"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: Path(entry["name"]).name)
def test_a_bundled_network_is_the_one_whose_origin_is_stated(entry):
    assert sha256_of_file(PACKAGE / entry["name"]) == entry["sha256"]
    assert entry["data"]
    if "recipe" in entry:
        assert entry["recipe"] in pytest.importorskip("sonjit_lab.training.recipes").list_recipes()
    else:
        assert (PROJECT / entry["program"]).is_file()
    assert entry.get("recipe", entry.get("program")) in entry["command"]


def test_every_bundled_network_has_an_origin():
    named = {PACKAGE / entry["name"] for entry in ENTRIES}
    found = {file for file in ASSETS.iterdir() if file.name not in NO_WEIGHTS and not file.name.startswith(".")}
    elsewhere = {file for file in PACKAGE.rglob("*") if file.suffix in ENDINGS and ASSETS not in file.parents}
    assert found | elsewhere <= named


def test_notices_name_every_bundled_network():
    notice = (PROJECT / "NOTICE").read_text("utf-8")
    for entry in ENTRIES:
        assert Path(entry["name"]).name in notice
