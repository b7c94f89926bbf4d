"""Modules of pages, built for tests that run them in node or in a page of their own."""

import json
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


def run_module(body, value=None):
    """Return the value that a script passes to `output`. It has `input`, and imports modules by `page("name.js")`."""
    folder = page_modules() / "page"
    head = f"""
        const input = {json.dumps(value)};
        const page = (name) => import({json.dumps(folder.as_uri() + "/")} + name);
        const output = (value) => console.log(JSON.stringify(value));
        Promise.withResolvers ??= () => {{  // node 20 has none
            const parts = {{}};
            parts.promise = new Promise((resolve, reject) => Object.assign(parts, {{resolve, reject}}));
            return parts;
        }};
        globalThis.location = {{href: "http://host:1/#token=secret", origin: "http://host:1", search: "", hash: ""}};
    """
    result = subprocess.run(["node", "--input-type=module"], input=head + body, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@cache
def _build():
    folder = tempfile.TemporaryDirectory(prefix="sonjit-page-")
    subprocess.run(["node", "page.js", "--modules", folder.name], cwd=WEB, check=True, timeout=120)
    return folder
