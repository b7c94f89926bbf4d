"""The package's declarations compile in a page of strict TypeScript that also checks libraries."""

import re
import shutil
import subprocess

import pytest

from .web_module import WEB

HERE = WEB.parent / "tests" / "browser"
MEDIAPIPE = "@mediapipe/tasks-vision"
OURS = "sonjit-web/tasks-vision"
LACK_STATIC_MEMBERS = {"MPImage", "ImageEmbedder", "FilesetResolver"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return a folder with the declarations of both packages."""
    if not (WEB / "node_modules").is_dir():
        pytest.skip("type npm --prefix web ci")
    folder = tmp_path_factory.mktemp("page")
    package = folder / "node_modules" / "sonjit-web"
    package.mkdir(parents=True)
    shutil.copy(WEB / "package.json", package)
    subprocess.run(["npx", "tsc", "--project", ".", "--outDir", folder / "types"], cwd=WEB, check=True)
    subprocess.run(["node", "types.js", folder / "types", package / "dist"], cwd=WEB, check=True)
    shutil.copytree(WEB / "node_modules" / MEDIAPIPE, folder / "node_modules" / MEDIAPIPE)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def compile_page(page, text, resolution="bundler"):
    """Return what the compiler prints for a page."""
    (page / "main.ts").write_text(text)
    module = {"bundler": "esnext"}.get(resolution, resolution)
    options = f"--strict --skipLibCheck false --noEmit --target es2022 --lib es2024,dom,dom.iterable --module {module}"
    tsc = [WEB / "node_modules/.bin/tsc", *options.split(), "--moduleResolution", resolution, "main.ts"]
    return subprocess.run(tsc, cwd=page, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["bundler", "nodenext"])
def test_examples_of_other_packages_compile(page, resolution):
    assert compile_page(page, (HERE / "npm/hands.ts").read_text(), resolution) == ""


@pytest.mark.slow
@pytest.mark.parametrize("package", [MEDIAPIPE, OURS])
def test_a_page_of_mediapipe_compiles_with_either_package(page, package):
    assert compile_page(page, (HERE / "mediapipe_page.ts").read_text().replace(MEDIAPIPE, package)) == ""


@pytest.mark.slow
def test_every_name_of_mediapipe_is_exported_with_a_type_that_fits(page):
    declared = (page / "node_modules" / MEDIAPIPE / "vision.d.ts").read_text()
    words = re.findall(r"^export (?:declare (?:(class)|\w+) (\w+)|\{ \w+ as (\w+))", declared, re.MULTILINE)
    names = {name for _, *either in words for name in either if name} - {"DEFAULT_CATEGORY_TO_COLOR_MAP"}
    assert len(names) > 50
    lines = [f'import * as {name} from "{package}";' for name, package in (("ours", OURS), ("theirs", MEDIAPIPE))]
    lines += [
        f"export const {name} = (one: ours.{name}): theirs.{name} => one;"
        for name in names
        if not name.endswith("Callback")
    ]
    classes = [name for kind, name, _ in words if kind and name not in LACK_STATIC_MEMBERS]
    lines += [f"export const Made{name}: Omit<typeof theirs.{name}, 'prototype'> = ours.{name};" for name in classes]
    assert compile_page(page, "\n".join(lines)) == ""
