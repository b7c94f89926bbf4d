"""The public interface: every documented name exists, and importing is fast."""

import doctest
import inspect
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sonjit
import sonjit.media
from sonjit._util.extras import MissingExtraError

HEAVY = {"torch", "cv2", "openvino", "av", "onnxruntime", "numpy", "rich", "cyclopts", "pyarrow", "PIL"}


@pytest.mark.parametrize("name", sonjit.__all__)
def test_every_public_name_is_there_with_a_docstring(name):
    value = getattr(sonjit, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+.*", value)
        return
    assert value.__module__.startswith("sonjit.")
    assert value.__doc__


def test_every_public_function_has_an_example_that_runs():
    functions = [value for name in sonjit.__all__ if inspect.isfunction(value := getattr(sonjit, name))]
    assert len(functions) >= 6
    for function in functions:
        examples = doctest.DocTestParser().get_examples(inspect.getdoc(function))
        assert any(example.want for example in examples), function
        assert not any(example.options.get(doctest.SKIP) for example in examples), function


def test_an_import_from_a_zip_file_ends_in_one_line_that_names_the_remedy(tmp_path):
    package, packed = Path(sonjit.__file__).parent, tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, path.relative_to(package.parent))
    for arguments in (["-c", "import sonjit"], ["-m", "sonjit", "hands", "a.jpg"]):
        run = [sys.executable, "-S", *arguments]
        done = subprocess.run(run, env={"PYTHONPATH": str(packed)}, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"ImportError: sonjit cannot be imported from {packed}: " in done.stderr.splitlines()[-1]
        assert "Unpack the zip file" in done.stderr.splitlines()[-1]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sonjit' has no attribute 'nope'"):
        sonjit.nope  # noqa: B018 - the access is the test


def test_importing_prints_nothing_and_loads_nothing_heavy():
    code = f"import sys, sonjit.media; loaded = {HEAVY} & set(sys.modules); assert not loaded, loaded"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("name", "base", "status"), [("InputError", ValueError, 2), ("JobError", RuntimeError, 1)])
def test_errors_are_usual_exceptions_with_an_exit_status(name, base, status):
    error = getattr(sonjit, name)
    assert issubclass(error, (sonjit.SonjitError, base))
    assert error.exit_status == status


def test_a_missing_extra_names_the_command():
    error = MissingExtraError("reading HEIC", "heic")
    assert re.fullmatch(r"reading HEIC needs an optional dependency: pip install .*\[heic\]'", str(error))
    assert isinstance(error, ImportError)
    assert error.exit_status == 2


def test_everything_promised_is_there():
    assert all(hasattr(sonjit.media, name) for name in sonjit.media.__all__)
