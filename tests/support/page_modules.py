"""Modules of the page, built for tests that run them in node or in a page of their own."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


def page_modules():
    """Return the folder with the modules, as `page/NAME.js`. Skip the test if npm has not installed esbuild."""
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds the page is not installed: it needs npm; type: make check-page")
    return Path(_build().name)


@cache
def _build():
    folder = tempfile.TemporaryDirectory(prefix="sonjit-page-")
    subprocess.run(["node", "page.js", "--modules", folder.name], cwd=WEB, check=True, timeout=120)
    return folder
