"""Check the free disk space and memory before a run of all tests, so that it does not fail after ten minutes.

python3 tools/room.py --disk-gb 10 --memory-gb 3 --workers 2
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

GB = 10**9
MEMORY = Path("/proc/meminfo")


def main() -> int:
    """Print what is missing. Return 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk-gb", type=float, required=True, help="free space of temporary files and of this folder")
    parser.add_argument("--memory-gb", type=float, required=True, help="free memory of one worker")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    lines = [*missing_disk(options.disk_gb), *missing_memory(options.memory_gb * options.workers)]
    sys.stderr.writelines(f"too little room for the tests: {line}\n" for line in lines)
    return int(bool(lines))


def missing_disk(needed_gb: float) -> list[str]:
    """Return a line for each folder whose disk has less free space."""
    found: list[str] = []
    for folder in (Path(tempfile.gettempdir()), Path.cwd()):
        free_gb = shutil.disk_usage(folder).free / GB
        if free_gb < needed_gb:
            found.append(f"{folder} has {free_gb:.1f} GB of free space, and they write {needed_gb:g} GB; set TMPDIR")
    return found


def missing_memory(needed_gb: float) -> list[str]:
    """Return a line if less memory is available. Systems without /proc are not checked."""
    if not MEMORY.is_file():
        return []
    (kilobytes,) = (line.split()[1] for line in MEMORY.read_text("ascii").splitlines() if line.startswith("MemAvail"))
    free_gb = int(kilobytes) * 1024 / GB
    if free_gb >= needed_gb:
        return []
    return [f"{free_gb:.1f} GB of memory are available, and they need {needed_gb:g} GB; use fewer WORKERS"]


if __name__ == "__main__":
    sys.exit(main())
