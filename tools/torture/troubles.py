"""Run commands on a full disk, without permission, with a clock that steps back, and into closed pipes.

A command that cannot write must end with status 1 or 2 and one line, and leave no half-written file with a final name.
"""

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

from damage import CLIP, make_videos
from kills import END_S, LOG, VERBS, Server, Verb, contents, finished, make_inputs, names, prepare, results, send
from rows import Row

_PR_CAPBSET_DROP = 24  # of prctl(2)
_OVERRIDE = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: root would ignore permissions
PIPED = (f"hands {CLIP} --model lite --search fast --json", "models list", "--help", "eval --help", "doctor")
STEPPING = """
import random, sys, time
steps = random.Random(int(sys.argv.pop(1)))
for name, unit in (("time", 1), ("time_ns", 10**9)):
    read = getattr(time, name)
    setattr(time, name, lambda read=read, unit=unit: read() - unit * steps.choice((0, 1, 3600, 10**8)))
from sonjit.__main__ import run
run()
"""


def run(verb: Verb, out: Path, before: Callable[[], object]) -> tuple[int, str]:
    """Run a command in its folder, after a function in the new process. Return status and standard error."""
    prepare(verb, out)
    done = subprocess.run(
        [sys.executable, "-m", "sonjit", *verb.line.split()], cwd=out, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace", env=os.environ | {"TMPDIR": str(out / "tmp")},
        timeout=END_S, preexec_fn=before, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def fill_disk(row: Row, work: Path) -> None:
    """Run each command with a limit of the size of files, as on a full disk. Then the command must succeed."""
    make_inputs(work / "inputs")
    rng, expected = random.Random(row.seed), dict[str, dict[str, bytes]]()
    while row.has_time(30):
        name = sorted(VERBS)[row.tried % len(VERBS)]
        verb = VERBS[name]
        if name not in expected:
            row.fail(finished(verb, work / name))
            expected[name] = contents(work / name, verb.outputs)
        largest = max((len(data) for data in expected[name].values()), default=1)
        room = rng.choice((0, 1, rng.randrange(largest)))
        out = work / "full"
        status, errors = run(verb, out, lambda room=room: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
        check_refusal(row, f"{name}, {room} bytes", verb, out, status, errors, expected[name])
        row.fail(finished(verb, out))
        row.fail(*different(f"{name} afterwards", verb, out, expected[name]))
        row.tried += 1
        shutil.rmtree(out)


def fill_disk_of_server(row: Row, work: Path) -> None:
    """Fill the disk of a server while it takes and runs jobs. No accepted job may be lost, and later ones succeed."""
    make_videos(work)
    clip, rng = (work / "video.mkv").read_bytes(), random.Random(row.seed)
    server, begun_s = Server(work / "reference"), time.monotonic()
    expected = results(server, send(server, clip))
    took_s = time.monotonic() - begun_s
    server.end(signal.SIGINT)
    while row.has_time(took_s):
        folder = work / "full"
        server, accepted = Server(folder), dict[str, str]()
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        room = rng.choice((0, 1, rng.randrange(10_000), rng.randrange(len(clip))))
        is_early = rng.random() < 0.5
        try:
            if is_early:
                resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (room, hard))
            accepted = send(server, clip)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (room, hard))
        except urllib.error.HTTPError as error:
            row.fail(not is_early and f"refused with room: {error}", error.code != 500 and f"{room} bytes: {error}")
        time.sleep(rng.uniform(0, took_s))
        if rng.random() < 0.5:
            server.end(rng.choice((signal.SIGKILL, signal.SIGTERM)))
            server = Server(folder)
        else:
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        found = results(server, accepted)
        for name, data in found.items():
            has_failed = found[name.partition(".")[0]].startswith(b"failed ")
            row.fail(not has_failed and data != expected[name] and f"{room} bytes: different {name}")
        later = results(server, send(server, clip))
        row.fail(later != expected and f"{room} bytes: afterwards {later['one'][:200]!r}")
        server.end(signal.SIGINT)
        log = (folder / LOG).read_text(errors="replace")
        row.fail("Traceback" in log and log[-500:])
        row.tried += 1
        shutil.rmtree(folder)


def forbid(row: Row, work: Path) -> None:
    """Run each command in a folder without permission to write."""
    make_inputs(work / "inputs")
    for name, verb in list(VERBS.items())[: int(min(row.max_tries, len(VERBS)))]:
        out = work / name
        prepare(verb, out)
        folders = [out, *(path for path in (out / "project").rglob("*") if path.is_dir()), out / "project"]
        before = names(out)
        for folder in folders:
            if folder.exists():
                folder.chmod(0o555)
        status, errors = run(verb, out, drop_override)
        out.chmod(0o755)
        row.fail(status == 0 and f"{name}: status 0")
        check_refusal(row, name, verb, out, status, errors, {})
        written = {one for one in names(out) - before if not one.startswith("tmp/")}
        row.fail(written and f"{name}: wrote {written}")
        row.tried += 1


def drop_override() -> None:
    """Let permissions apply to root as well, on Linux."""
    if os.geteuid() == 0 and sys.platform == "linux":
        for capability in _OVERRIDE:
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def check_refusal(
    row: Row, what: str, verb: Verb, out: Path, status: int, errors: str, expected: dict[str, bytes]
) -> None:
    """Check the end of a command that could not write all, and the files that it left."""
    lines = [line for line in errors.splitlines() if line.startswith("sonjit: ")]
    row.fail(
        status not in (0, 1, 2) and f"{what}: status {status}: {errors[-300:]}",
        "Traceback" in errors and f"{what}: {errors[-500:]}",
        status in (1, 2) and not lines and f"{what}: no line: {errors[-300:]}",
    )
    if expected:
        found = contents(out, verb.outputs, without=verb.grows)
        half = [name for name, data in found.items() if data != expected.get(name)]
        row.fail(half and f"{what}: half-written: {half}")


def different(what: str, verb: Verb, out: Path, expected: dict[str, bytes]) -> list[str]:
    """Return the outputs that differ from an undisturbed run."""
    found = contents(out, verb.outputs)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return [f"{what}: different: {wrong}"] if wrong else []


def step_clock(row: Row, work: Path) -> None:
    """Run commands while the clock steps back by up to three years, twice each. The second run continues the first."""
    make_inputs(work / "inputs")
    chosen = {name: VERBS[name] for name in ("hands", "hands-table", "eval", "train", "annotate", "synth")}
    expected = dict[str, dict[str, bytes]]()
    while row.has_time(60):
        name = list(chosen)[row.tried % len(chosen)]
        verb = chosen[name]
        if name not in expected:
            row.fail(finished(verb, work / name))
            expected[name] = contents(work / name, verb.outputs)
        out = work / "stepping"
        prepare(verb, out)
        for again in range(2):
            line = [sys.executable, "-c", STEPPING, str(row.seed + row.tried + again), *verb.line.split()]
            done = subprocess.run(line, cwd=out, capture_output=True, text=True, timeout=END_S, check=False)
            row.fail(done.returncode and f"{name}: {done.stderr[-500:]}")
        row.fail(*different(name, verb, out, expected[name]))
        row.tried += 1
        shutil.rmtree(out)


def close_pipes(row: Row, work: Path) -> None:
    """Close standard output after some bytes, or run without standard streams."""
    rng = random.Random(row.seed)
    while row.has_time(30):
        line = PIPED[row.tried % len(PIPED)]
        process = subprocess.Popen(
            [sys.executable, "-m", "sonjit", *line.split()], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(rng.choice((0, 1, 100)))
        process.stdout.close()
        errors = process.stderr.read().decode(errors="replace")
        status = process.wait(END_S)
        row.fail(status not in (0, 141) and f"{line}: status {status}: {errors[-300:]}")
        row.fail("Traceback" in errors and f"{line}: {errors[-500:]}")
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            shell = f"exec '{sys.executable}' -m sonjit models list {closed}"
            done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=END_S, check=False)
            row.fail("Traceback" in done.stderr and f"{closed}: {done.stderr[-500:]}")
            row.fail(done.returncode not in (0, 1) and f"{closed}: status {done.returncode}")
        row.tried += 1


TESTS = {
    "full-disk": fill_disk,
    "full-disk-server": fill_disk_of_server,
    "no-permission": forbid,
    "clock": step_clock,
    "closed-pipes": close_pipes,
}
