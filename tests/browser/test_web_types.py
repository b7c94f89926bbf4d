"""The package's declarations compile in a page of strict TypeScript that also checks libraries."""

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return a folder with the declarations of the package and a page that uses them."""
    if not (WEB / "node_modules").is_dir():
        pytest.skip("type npm --prefix web ci")
    folder = tmp_path_factory.mktemp("page")
    package = folder / "node_modules" / "sonjit-web"
    package.mkdir(parents=True)
    shutil.copy(WEB / "package.json", package)
    for command in (["npx", "tsc", "--project", ".", "--outDir", folder / "types"],
                    ["node", "types.js", folder / "types", package / "dist"]):  # fmt: skip
        subprocess.run(command, cwd=WEB, check=True)
    shutil.copy(Path(__file__).with_name("consumer.ts"), folder / "main.ts")
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("module", "resolution"), [("esnext", "bundler"), ("nodenext", "nodenext")])
def test_examples_of_other_packages_compile(page, module, resolution):
    options = [
        "--strict",
        "--skipLibCheck",
        "false",
        "--noEmit",
        "--target",
        "es2022",
        "--lib",
        "es2024,dom,dom.iterable",
    ]
    tsc = [WEB / "node_modules/.bin/tsc", *options, "--module", module, "--moduleResolution", resolution, "main.ts"]
    result = subprocess.run(tsc, cwd=page, capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("", 0)
