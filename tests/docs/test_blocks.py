"""Every block of code in the documentation runs as it stands, in a folder with what its readers have.

Commands that need what a test has not (a camera, a data set, an hour) are held to the command line's own rules
instead: command, options and values are read, nothing is run. `NEEDS` names these by what stands in the command; for a
whole block the page says why, in a comment before it: `<!-- not run: reason -->`. Of rendered images two are made.
What a page in Korean has in common with its English one is run there.
"""

import ast
import contextlib
import json
import re
import shlex
import shutil
import tomllib
import traceback
from itertools import islice, pairwise

import pytest
from cyclopts import MissingArgumentError

from sonjit._util.data_files import ASSETS
from sonjit.cli import build_app, main
from sonjit.media import open_source
from sonjit.weights import verify_weights

from .test_pages import DOCS, PAGES, PROJECT, blocks_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("weights")]

NEEDS = {
    r"camera:0": "a camera",
    r"\bserve\b|\bannotate open\b": "somebody who stops it",
    r"\bmodels pull\b": "a package registry",
    r"\bsonjit (demo(?! --copy)|doctor|networks|export)\b": "a test of its own",
    r"/data\b|--root |--data |\bdatasets convert\b": "a data set",
    r"\.pkl|\.pth|\.pt\b|--hand-rig|photographs/": "files of others",
    r"\b(runs?|tuned)/|mine\.onnx|nails": "a network that was trained before",
    r"\bannotate (?!board)": "recordings of several cameras",
    r"--workers ray|--device (cuda|gpu|npu)": "other machines",
    r"\bsonjit (bench|train|eval|card)\b|\bsynth\b.*(--sequence|--poses|--views)": "minutes",
}
CHECKED = {"sonjit", "torchrun", "pip", "npm", "npx", "make", "python", "ray", "git",
           "openssl", "docker", "cp", "uv", "zip", "blender", "pyinstaller", "rerun"}  # fmt: skip

FEW, SQUAT = 8, 36  # frames; the second number has one squat
README = PROJECT / "README.md"
FIRST = ("index.md", "install.md", "hands.md", "tables.md")  # pages that run in `make test`
PAGES_WITH_BLOCKS = [page for page in PAGES if page != README and blocks_of(page)]


@pytest.fixture(scope="module")
def readers(reader_files, shorten, tmp_path_factory):
    """Return a folder with the files of the reader, which tests copy."""
    place = tmp_path_factory.mktemp("blocks") / "reader"
    shutil.copytree(reader_files, place)
    (place / "short.mp4").replace(place / "clip.mp4")
    for name in ("one", "two"):
        shutil.copy(place / "clip.mp4", place / "recordings" / f"{name}.mp4")
    (place / "clips").symlink_to("recordings")
    for name in ("talk", "gym"):
        (place / f"{name}.mp4").symlink_to("clip.mp4")
    shutil.copy(ASSETS / "squats.mp4", place)
    shorten(SQUAT, place / "squats.mp4")
    return place


@pytest.fixture
def folder(readers, tmp_path, monkeypatch):
    """Return a copy of the reader's folder as the working directory."""
    place = shutil.copytree(readers, tmp_path / "reader", symlinks=True)
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def shorten(write_video):
    """Return a function that replaces each of these videos by its first frames."""

    def shorten(count, *paths):
        for path in paths:
            with open_source(path) as source:
                frames = [frame.rgb for frame in islice(source, count)]
            write_video(path, frames, 15)

    return shorten


@pytest.fixture(scope="module")
def all_weights():
    if verify_weights(["hands", "face", "body", "holistic", "rigs", "classifiers"]):
        pytest.skip("weights are missing; type: sonjit models pull hands face body holistic rigs classifiers")


@pytest.mark.usefixtures("all_weights")
def test_the_readme_runs_in_an_empty_folder(shorten, tmp_path, monkeypatch, capsys):
    """Run the commands as written, on the first frames of the files that one of them copies."""
    monkeypatch.chdir(tmp_path)
    sonjit = main

    def run(arguments):
        status = sonjit(arguments)
        if "--copy" in arguments:
            shorten(FEW, tmp_path / "clip.mp4", tmp_path / "squats.mp4")
        return status

    monkeypatch.setitem(globals(), "main", run)
    _run_blocks(README, capsys)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"photo.jpg", "drawn.png", "clip.csv", "drawn.mp4", "tables/clip.csv", "tables/squats.csv", "c.mp4"} <= files


@pytest.mark.usefixtures("folder", "all_weights")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in [DOCS / name for name in FIRST] else pytest.mark.nightly)
        for page in PAGES_WITH_BLOCKS
    ],
    ids=lambda page: str(page.relative_to(PROJECT)),
)
def test_blocks_run(page, capsys):
    _run_blocks(page, capsys)


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_of_blocks_are_right(page, capsys):
    _run_blocks(page, capsys, run=False)


def _run_blocks(page, capsys, *, run=True):
    """Run the blocks of a page in the working directory, or only check their commands, imports and syntax."""
    names, ran = {"__name__": "docs"}, 0
    known = _calls_of(translated_from(page)) if "ko" in page.parts else []  # run there
    for block in blocks_of(page):
        try:
            if block.language == "python":
                code = compile(block.code, block.place, "exec")
                if _shape(block.code) in known:
                    continue
                if run and block.not_run is None:
                    exec(code, names)
                    ran += 1
                else:
                    _imports_are_there(block.code)
            elif block.language == "{.python}":  # one of examples/, which has a test of its own; ruff formats "python"
                assert re.fullmatch(r'--8<-- "examples/\w+\.py"\n', block.code), block.code
            elif block.language == "json":
                json.loads(block.code)
            elif block.language == "toml":
                tomllib.loads(block.code)
            elif block.language == "sh":
                for command in block.commands():
                    ran += _call(command, run=run and block.not_run is None and command not in known)
        except Exception as error:
            message = "".join(traceback.format_exception_only(error)) + capsys.readouterr().err
            pytest.fail(f"{block.place}: {message}")
    assert not run or ran or known or "tutorials" not in page.parts, f"nothing of {page.name} runs"


def translated_from(page):
    """Return the English page, whose commands its own tests run."""
    english = DOCS / page.name
    if not english.is_file():
        english = DOCS / "tutorials" / page.name
    assert english.is_file(), f"{page.name} translates nothing"
    return english


def _calls_of(page):
    """Return the commands of a page, and the shapes of its Python blocks."""
    blocks = blocks_of(page)
    shapes = [_shape(block.code) for block in blocks if block.language == "python"]
    return shapes + [command for block in blocks if block.language == "sh" for command in block.commands()]


def _shape(code):
    """Return Python code without comments and texts."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_in_sentences_and_tables_are_right(page):
    text = re.sub(r"^[ ]*```.*?^[ ]*```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for line in re.findall(r"`(sonjit [^`]+)`", text):
        line = line.replace("\n", " ")
        if re.search(r"[…|\[]|\bKIND\b|\bspots\b|\.\.\.", line):  # a form, not a call
            continue
        with contextlib.suppress(MissingArgumentError):  # a command is named, not called
            _call(shlex.split(line), run=False)


def _call(command, *, run):
    """Run a shell command, or check it against the command line; return whether it was run."""
    program, *arguments = command
    assert program in CHECKED, f"{program}: unknown to this test"
    if program == "sonjit":
        line = " ".join(command)
        if run and not any(re.search(pattern, line) for pattern in NEEDS):
            if "synth" in command:
                arguments += [] if "--count" in command else ["--count", "2"]
                arguments = ["2" if before == "--count" else one for before, one in pairwise(["", *arguments])]
            assert main(arguments) == 0, line
            return True
        _parse(arguments)
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert {argument for argument in arguments if "=" not in argument} <= set(targets), command
    elif program == "pip":
        known = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
        for extras in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
            assert set(extras.split(",")) <= set(known), command
    elif program == "python":
        for script in (argument for argument in arguments if argument.endswith(".py")):
            assert (PROJECT / script).is_file(), script
        if "sonjit" in arguments:
            _parse(arguments[arguments.index("sonjit") + 1 :])
    return False


def _parse(arguments):
    """Parse a call without running it."""
    if arguments in (["--help"], []):
        return
    _, bound, _ = build_app().parse_args(arguments, exit_on_error=False, print_error=False)
    inputs = [one for value in bound.args for one in (value if isinstance(value, tuple) else (value,))]
    unknown = [one for one in inputs if isinstance(one, str) and one.startswith("--")]
    assert not unknown, f"unknown option {unknown}"


def _imports_are_there(code):
    """Check that everything exists that a block imports from Sonjit."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sonjit":
            lines = ast.unparse(node)
            exec(lines, {})
