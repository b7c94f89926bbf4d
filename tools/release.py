"""Build a release, check it, and test it outside the repository. Nothing is uploaded.

    make release

audits the locked dependencies, builds the sdists of the tracker, the lab and the studio and the packages for npm, and
builds each wheel twice: from the sdist and from the repository. Both must be equal. The files of the wheels must match
`packaging/wheel-files.txt`. For every Python from 3.11 on this machine, the wheel of the tracker is installed in a
fresh environment and runs `sonjit demo`. A bill of materials (CycloneDX) lists the installed packages and the networks
that Sonjit fetches. The documentation is packed as `sonjit-VERSION-site.zip`. `SHA256SUMS` has the hash of each file.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests/support")]
import record_surface  # noqa: E402

from sonjit.weights.catalog import load_catalog  # noqa: E402

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
"""The commands of this environment only find its own Python."""
FILES = ROOT / "packaging" / "wheel-files.txt"
PROJECTS = (".", "lab", "studio")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def main() -> int:
    """Run all steps until one fails."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    version = first_match(r'__version__ = "(.+)"', ROOT / "src/sonjit/_util/version.py")
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.suffix == ".md"]
    heading = first_match(r"^## (.+)$", ROOT / "CHANGELOG.md")
    if fragments or heading.split()[0] != version:
        return print_error(
            f"CHANGELOG.md begins with {heading!r}: add the changes of {version}, run make changelog and commit"
        )
    recorded = (ROOT / "tests/public_surface.txt").read_text("utf-8").split("\n")
    if new := sorted(set(record_surface.surface()) - set(recorded)):
        return print_error(f"{', '.join(new)}: new public names. Run tests/support/record_surface.py and commit")
    if subprocess.run(["make", "-C", ROOT, "audit"], check=False).returncode:
        return print_error("a locked dependency has a known vulnerability: update it and run make lock")
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for project in PROJECTS:
        run("-m", "build", "--outdir", dist, ROOT / project)
    run("-m", "twine", "check", "--strict", *sorted(dist.iterdir()))
    wheels = sorted(dist.glob("*.whl"))
    names = [name for each in wheels for name in zipfile.ZipFile(each).namelist()]
    if difference := compare_files(names, FILES.read_text("utf-8")):
        return print_error(f"wheels: {difference}. Review it and change {FILES.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory(prefix="sonjit-release-") as folder:
        for project in PROJECTS:
            run("-m", "build", "--wheel", "--outdir", folder, ROOT / project)
        for each in wheels:
            if f"-{version}-" not in each.name or (Path(folder) / each.name).read_bytes() != each.read_bytes():
                return print_error(f"{each.name}: the wheels from the sdist and from the repository differ")
    (wheel,) = dist.glob("sonjit-*.whl")
    tried = [one for one in VERSIONS if try_wheel(one, wheel, version)]
    if not tried:
        return print_error(f"this machine has none of Python {', '.join(VERSIONS)}, which test the wheel")
    with tempfile.TemporaryDirectory(prefix="sonjit-release-") as folder:
        build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "-d", folder]
        subprocess.run(build, check=True, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
        pack_folder(Path(folder), dist / f"sonjit-{version}-site.zip")
    subprocess.run(["npm", "--prefix", ROOT / "web", "run", "--silent", "packages", dist], check=True)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(dist.iterdir())]
    (dist / "SHA256SUMS").write_text("".join(lines), "utf-8")
    left_out = [one for one in VERSIONS if one not in tried]
    print(f"built {', '.join(path.name for path in sorted(dist.iterdir()))}; tried with Python {', '.join(tried)}")
    if left_out:
        print(f"not tested: Python {', '.join(left_out)}, which this machine does not have")
    if "unreleased" in heading:
        print(f"to do: add a date for {version} in CHANGELOG.md")
    print("upload: .venv/bin/python -m twine upload dist/*.tar.gz dist/*.whl")
    return 0


def compare_files(names: list[str], listed: str) -> str:
    r"""Return how the files of a wheel differ from the reviewed list; "" if they agree.

    Args:
        names: Paths of the files.
        listed: Patterns of the list, one per line. `*` matches within one folder, `**` any folders.

    >>> compare_files(["sonjit/a.py", "sonjit/b/c.py", "sonjit/.env"], "sonjit/**/*.py\nsonjit/d.json")
    'not in the list: sonjit/.env; in the list only: sonjit/d.json'
    """
    patterns = [line for line in listed.splitlines() if line and not line.startswith("#")]
    found = {pattern: [name for name in names if matches(name, pattern)] for pattern in patterns}
    new = sorted(set(names).difference(*found.values()))
    unused = [pattern for pattern, matched in found.items() if not matched]
    parts = (("not in the list", new), ("in the list only", unused))
    return "; ".join(f"{what}: {', '.join(which)}" for what, which in parts if which)


def matches(name: str, pattern: str) -> bool:
    """Check whether a path matches a pattern of the list."""
    expression = re.escape(pattern).replace(r"\*\*/", "(?:.+/)?").replace(r"\*", "[^/]+")
    return re.fullmatch(expression, name) is not None


def pack_folder(folder: Path, path: Path) -> None:
    """Write the files of a folder to a zip file. The same files give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())  # without the time of the file
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def try_wheel(python: str, wheel: Path, version: str) -> bool:
    """Install a wheel into a fresh environment and run it in an empty folder. Return False without that Python."""
    found = subprocess.run(
        [sys.executable, "-m", "uv", "python", "find", "--no-project", "--no-python-downloads", python],
        capture_output=True, text=True, check=False, cwd=tempfile.gettempdir(),
        env=os.environ | {"PATH": os.pathsep.join([*map(str, PYENV.glob("versions/*/bin")), os.environ["PATH"]])},
    )  # fmt: skip
    if found.returncode:
        return False
    with tempfile.TemporaryDirectory(prefix="sonjit-release-") as folder:
        root = Path(folder)
        run("-m", "uv", "venv", "--quiet", "--python", found.stdout.strip(), root / "venv")
        run("-m", "uv", "pip", "install", "--quiet", "--python", root / "venv", wheel)
        write_bill(wheel.with_suffix(".cdx.json"), root / "venv", version)
        sonjit = root / "venv" / ("Scripts" if os.name == "nt" else "bin") / "sonjit"
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        for arguments in (["--version"], ["models", "pull", "hands"], ["demo", "--out", root / "demo"]):
            done = subprocess.run(
                [sonjit, *arguments], env=environment, cwd=root, stdout=subprocess.PIPE, text=True, check=True
            )
            if arguments == ["--version"] and done.stdout.strip() != version:
                raise SystemExit(f"release: the wheel has version {done.stdout.strip()}, not {version}")
    print(f"Python {python}: installed and tested")
    return True


def write_bill(path: Path, environment: Path, version: str) -> None:
    """Return the bill of materials: the packages of an environment and the networks of the catalogue."""
    listed = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "list", "--quiet", "--format", "json", "--python", environment],
        stdout=subprocess.PIPE, check=True, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    path.write_text(json.dumps(bill_of_materials(json.loads(listed.stdout), version), indent=1) + "\n", "utf-8")


def bill_of_materials(installed: list[dict[str, str]], version: str) -> dict[str, object]:
    """Return a bill of materials in the format CycloneDX 1.5.

    Args:
        installed: `name` and `version` of each package.
        version: Version of Sonjit.
    """

    def package(kind: str, name: str, version: str) -> dict[str, object]:
        return {"type": kind, "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}

    libraries = [package("library", one["name"], one["version"]) for one in installed if one["name"] != "sonjit"]
    networks = [
        {
            "type": "machine-learning-model",
            "name": one.file,
            "hashes": [{"alg": "SHA-256", "content": one.sha256}],
            "licenses": [{"license": {"id": one.licence}}],
        }
        for one in load_catalog().values()
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": package("application", "sonjit", version)},
        "components": libraries + networks,
    }


def run(*arguments: object) -> None:
    """Run a module of this Python."""
    subprocess.run([sys.executable, *map(str, arguments)], check=True, cwd=tempfile.gettempdir())


def first_match(pattern: str, path: Path) -> str:
    """Return the first group of the first match in a file."""
    found = re.search(pattern, path.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"release: {path} does not match {pattern}")
    return found[1]


def print_error(line: str) -> int:
    """Print a line to standard error, and return 1."""
    sys.stderr.write(f"release: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
