"""Write the lock of the three projects: the version and the hashes of every package that developers install.

python tools/lock.py           # resolve again, and write both files; needs a network
python tools/lock.py --check   # fail if a file does not fit the requirements of the projects; needs no network

A universal lock serves Linux, macOS and Windows. It names no index, so any mirror serves. The image gets those of
its packages.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECTS = ("pyproject.toml", "lab/pyproject.toml", "studio/pyproject.toml")
EXTRAS = ("dev", "control", "synth", "tensorboard", "grad-cam")
LEFT_OUT = ("tflite",)  # its packages need old versions of others
LOCK = ROOT / "packaging" / "requirements.lock"
IMAGE = ROOT / "packaging" / "docker" / "requirements.txt"
_PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==(\S+)", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Write the files or, with --check, report what does not fit. Return 1 if anything does not."""
    if "--check" not in arguments:
        resolve(PROJECTS, EXTRAS, LOCK, "--universal", "--python-version", "3.11", "--upgrade")
        platform = ("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28")
        resolve(PROJECTS[:1], ("serve", "tables"), IMAGE, *platform, "--constraint", str(LOCK.relative_to(ROOT)))
    problems = differences(LOCK.read_text("utf-8"), IMAGE.read_text("utf-8"), requirements())
    for problem in problems:
        sys.stderr.write(f"{problem}. Run: make lock\n")
    return int(bool(problems))


def resolve(projects: tuple[str, ...], extras: tuple[str, ...], file: Path, *options: str) -> None:
    """Write the packages of projects and of their extras into a file, without the projects themselves."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--generate-hashes", *options]
    for extra in extras:
        command += ["--extra", extra]
    for name in ("sonjit", "sonjit-lab", "sonjit-studio"):
        command += ["--no-emit-package", name]
    file.unlink(missing_ok=True)
    subprocess.run([*command, *projects, "--output-file", file.relative_to(ROOT)], check=True, cwd=ROOT)


def requirements() -> list[Requirement]:
    """Return what the projects require of others, with their extras."""
    lines: list[str] = []
    for path in PROJECTS:
        project = tomllib.loads((ROOT / path).read_text("utf-8"))["project"]
        extras = project.get("optional-dependencies", {})
        lines += project["dependencies"]
        lines += [line for name, extra in extras.items() if name not in LEFT_OUT for line in extra]
    return [one for one in map(Requirement, lines) if not one.name.startswith("sonjit")]


def differences(lock: str, image: str, required: list[Requirement]) -> list[str]:
    """Return where the locks do not fit the requirements.

    >>> lock = "rich==15.0.0 --hash=sha256:0"
    >>> differences(lock, "", [Requirement("rich>=14"), Requirement("av>=18")])
    ['the lock lacks av>=18']
    >>> differences(lock, "rich==14.0.0 --hash=sha256:1", [])
    ['the image has rich 14.0.0, and the lock another version']
    """
    locked = _PIN.findall(lock)
    problems: list[str] = []
    for one in required:
        versions = [version for name, version in locked if name == one.name.lower()]
        if not versions or not all(one.specifier.contains(version, prereleases=True) for version in versions):
            problems.append(f"the lock lacks {one}")
    problems += [
        f"the image has {name} {version}, and the lock another version"
        for name, version in _PIN.findall(image)
        if (name, version) not in locked
    ]
    blocks = re.split(r"^(?=\w)", lock + image, flags=re.MULTILINE)
    problems += [f"no hash: {one.split()[0]}" for one in blocks if one.strip() and "--hash=sha256:" not in one]
    problems += [f"an address: {line.strip()}" for line in (lock + image).splitlines() if "://" in line]
    return problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
