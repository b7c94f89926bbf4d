"""Failed allocations of each library are recognised, and missing extras are named."""

import json
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit._util.errors import OUT_OF_MEMORY, JobError, check_memory, is_out_of_memory
from sonjit._util.extras import (
    EXTRAS,
    MissingExtraError,
    extra_of,
    install_command,
    is_installed,
    optional_import,
    require,
)
from sonjit.server.errors import RefusedError


def allocate_numpy():
    np.empty(1 << 60, np.uint8)


def allocate_torch():
    torch = pytest.importorskip("torch")
    torch.empty(1 << 60, dtype=torch.uint8)


def test_a_message_is_one_line():
    assert str(JobError("a.csv is damaged (no header\n  in line 2)")) == "a.csv is damaged (no header in line 2)"


@pytest.mark.parametrize("allocate", [allocate_numpy, allocate_torch])
def test_failed_allocations_are_recognised(allocate):
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()
    assert is_out_of_memory(caught.value)
    with pytest.raises(JobError, match=OUT_OF_MEMORY):
        check_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("Exception from src/inference/src/cpp/core.cpp:107:\nstd::bad_alloc"),
        cv2.error("OpenCV(4.13.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 921600 bytes"),
        ImportError("libopenvino_intel_cpu_plugin.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_errors_of_libraries_are_recognised(error):
    assert is_out_of_memory(error)


def test_other_errors_pass():
    check_memory(RuntimeError("shapes do not match"))
    check_memory(ValueError())


_ROOT = Path(__file__).parents[2]


def test_the_table_is_what_the_project_declares():
    declared = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    lab = tomllib.loads((_ROOT / "lab/pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    declared |= {f"sonjit-lab[{extra}]": lines for extra, lines in lab.items()}
    assert {*EXTRAS, *(name for name in declared if "[" in name)} == set(declared) - {"dev", "tracker-tests"}
    distributions = packages_distributions()
    for extra, (_, modules) in EXTRAS.items():
        lines = list(declared[extra])
        lines += [line for other in declared if f"sonjit[{other}]" in lines for line in declared[other]]
        for module in (set(modules) & set(distributions)) - {"starlette", "pydantic", "cryptography"}:  # of others
            names = {name.lower().replace("_", "-") for name in distributions[module]}
            assert any(line.startswith(tuple(names)) for line in lines), (extra, module)


def test_a_missing_module_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(MissingExtraError, match=r"^Parquet needs an optional dependency: pip install .*\[tables\]'$"),
        optional_import("Parquet"),
    ):
        import pyarrow.parquet  # noqa: F401
    with pytest.raises(MissingExtraError, match=r"\[tables\]"):
        require("pyarrow", "Parquet")
    assert not is_installed("tables")


_CLONE = {"url": "file:///opt/sonjit", "dir_info": {"editable": True}}
_WHEEL = {"url": "file:///opt/dist/sonjit-1.0.0-py3-none-any.whl", "archive_info": {}}
_COMMIT = {"url": "https://example.org/sonjit.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}


@pytest.mark.parametrize(
    ("record", "name", "expected"),
    [
        (_CLONE, "report", "pip install --editable '/opt/sonjit[report]'"),
        (_CLONE, "sonjit-lab[synth]", "pip install --editable '/opt/sonjit/lab[synth]'"),
        (_CLONE, "sonjit-studio", "pip install --editable /opt/sonjit/lab --editable /opt/sonjit/studio"),
        (_CLONE | {"dir_info": {}}, "report", "pip install '/opt/sonjit[report]'"),
        (_WHEEL, "report", "pip install --find-links /opt/dist 'sonjit[report]'"),
        (_WHEEL, "sonjit-studio", "pip install --find-links /opt/dist sonjit-lab sonjit-studio"),
        (_COMMIT, "report", "pip install 'sonjit[report] @ git+https://example.org/sonjit.git@abc'"),
        (
            _COMMIT,
            "sonjit-lab",
            "pip install 'sonjit-lab @ git+https://example.org/sonjit.git@abc#subdirectory=lab'",
        ),
        (None, "report", "pip install 'sonjit[report]'"),
        (None, "sonjit-lab[synth]", "pip install 'sonjit-lab[synth]'"),
    ],
)
def test_extras_are_installed_from_where_sonjit_was(tmp_path, monkeypatch, record, name, expected):
    folder = tmp_path / "sonjit-1.0.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: sonjit\nVersion: 1.0.0\n", "utf-8")
    if record:
        (folder / "direct_url.json").write_text(json.dumps(record), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert install_command(name) == expected


def test_clients_of_a_server_read_no_command_of_its_machine():
    refused = RefusedError("bad_image", f"a.heic: {MissingExtraError('reading HEIC', 'heic')}")
    assert refused.to_dict()["message"] == "a.heic: reading HEIC needs an optional dependency"


def test_a_module_of_no_extra_is_missing_as_it_is():
    assert extra_of("sonjit_has_none") is None
    assert extra_of(None) is None
    with pytest.raises(ModuleNotFoundError, match="sonjit_has_none"), optional_import("this"):
        import sonjit_has_none  # noqa: F401
