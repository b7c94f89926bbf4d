"""A small catalogue with two fake packages, and a client that copies them instead of using a registry."""

import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from sonjit.weights import catalog, pull

CONTENTS = {"one": b"first network" * 50, "two": b"second network" * 70, "packed": b"third" * 90, "twin": b"4th" * 80}
MEMBERS = {
    "one": [["fakewheel", "fake/one.tflite"]],
    "two": [["fakewheel", "fake/two.tflite"]],
    "twin": [["fakewheel", "fake/twin.tflite"], ["@fake/hands", "package/hands_packed_assets.data!twin.tflite"]],
    "packed": [["@fake/hands", "package/hands_packed_assets.data!packed.tflite"]],
}


class Shelf:
    """Archives that the fake client returns, and the recorded requests."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.wheel = folder / "fakewheel-1.0-py3-none-any.whl"
        self.tgz = folder / "fake-hands-2.0.tgz"
        self.catalog = folder / "catalog.toml"
        self.commands: list[list[str]] = []
        self.failure = ""
        self.write_wheel({f"fake/{name}.tflite": CONTENTS[name] for name in ("one", "two", "twin")})
        self.write_tgz()
        self.write_catalog()

    def write_wheel(self, files: dict[str, bytes]) -> None:
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)

    def write_tgz(self, inner: tuple[str, ...] = ("packed", "twin")) -> None:
        data, table = b"", []
        for name in inner:
            start, data = len(data), data + CONTENTS[name]
            table.append({"filename": f"/third_party/{name}.tflite", "start": start, "end": len(data)})
        loader = f'x();loadPackage({{"files": {json.dumps(table)}, "remote_package_size": {len(data)}}});'
        files = {"hands_packed_assets.data": data, "hands_packed_assets_loader.js": loader.encode()}
        with tarfile.open(self.tgz, "w:gz") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(f"package/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

    def write_catalog(self) -> None:
        lines = [
            '[package.fakewheel]\nregistry = "pypi"\nversion = "1.0"\nbytes = 1\nplatform = "any"\npython = "3.11"',
            '[package."@fake/hands"]\nregistry = "npm"\nversion = "2.0"\nbytes = 1',
        ]
        for name, sources in MEMBERS.items():
            content = CONTENTS[name]
            lines.append(
                f'[weight.{name}]\nfile = "{name}.tflite"\nbytes = {len(content)}\nlicence = "MIT"\ngroup = "hands"\n'
                f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsources = {json.dumps(sources)}\n'
                "inputs = { x = [1, 2] }\noutputs = { y = [1, 3] }"
            )
        self.catalog.write_text("\n".join(lines))

    def run_client(self, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        self.commands.append(list(command))
        if self.failure:
            return subprocess.CompletedProcess(command, 1, "", self.failure)
        archive = self.wheel if "pip" in command else self.tgz
        (folder / archive.name).write_bytes(archive.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")


def forget_catalog() -> None:
    for reader in (catalog._read_catalog, catalog._read_index, catalog.load_groups):
        reader.cache_clear()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Set an empty SONJIT_HOME and no SONJIT_OFFLINE."""
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SONJIT_OFFLINE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def shelf(tmp_path, monkeypatch, home):
    """Replace the catalogue and the client with the fake ones."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "scratch").mkdir()
    shelf = Shelf(tmp_path / "shelf")
    monkeypatch.setattr(catalog, "CATALOG", shelf.catalog)
    monkeypatch.setattr(pull, "run_client", shelf.run_client)
    monkeypatch.setattr("shutil.which", lambda name: f"/fake/{name}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    forget_catalog()
    yield shelf
    monkeypatch.undo()
    forget_catalog()


@pytest.fixture
def contents():
    return CONTENTS
