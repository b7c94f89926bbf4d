"""Ask the Python Package Index which of the locked dependencies have known vulnerabilities.

    make audit

The command fails if a dependency has one. Without a network it prints a message and succeeds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements-docker.txt"
COMMAND = ("-m", "uv", "tool", "run", "--quiet", "pip-audit", "--progress-spinner", "off", "--format", "json")


def main() -> int:
    """Audit the dependencies of the Docker image."""
    command = [sys.executable, *COMMAND, "--disable-pip", "--require-hashes", "-r", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        sys.stderr.write(f"{LOCK.name} was not audited: {(done.stderr.strip() or 'no answer').splitlines()[-1]}\n")
        return 0
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    found = [(package["name"], package["version"], fault) for package in packages for fault in package.get("vulns", ())]
    for name, version, fault in found:
        fixed = ", ".join(fault["fix_versions"]) or "no version"
        sys.stdout.write(f"{name} {version}: {fault['id']}; fixed in {fixed}\n")
    audited = len(packages) - len(unknown)
    sys.stdout.write(f"{LOCK.name}: {audited} of {len(packages)} packages audited, {len(found)} vulnerabilities\n")
    if unknown:
        sys.stdout.write(f"not audited, because the index has no data: {', '.join(unknown)}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
