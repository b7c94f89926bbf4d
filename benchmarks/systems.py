"""Run the commands of the systems' READMEs on small sets in the official layouts, and tabulate time, memory and result.

python -m benchmarks.systems            # print the table
python -m benchmarks.systems --write    # also write it into docs/measured.md

Each training takes a few steps with a small network, so that the results show only that the path works.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import torch
from benchmarks.pages import write_section
from lab.tests.papers.systems import SYSTEMS, commands_of, shortened

from sonjit_lab.evaluation.published import load_table

STEPS = {"mask_rcnn": 60}
"""Steps of a training; 4 of the other systems."""


def run(words, folder):
    """Run a command of Sonjit. Return its processor time in seconds and its largest memory in GB."""
    process = subprocess.Popen([sys.executable, "-m", "sonjit", *words], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"sonjit {' '.join(words)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def result_of(file):
    """Return protocol and main metric of an evaluation, its value with the unit."""
    record = json.loads(file.read_text("utf-8"))
    part = next(part for part in record["runs"] if part["mode"] != "tracking")
    metric = next(metric for metric in part["metrics"] if metric["name"] == part["main"])
    return record["protocol"]["name"], metric, f"{metric['value']:.1f} {metric['unit']}".strip()


def published(name, metric):
    """Return the value of the paper for a metric of `sonjit eval`, or nothing."""
    title, method = SYSTEMS[name].published
    table = load_table(title)
    for row in table.rows:
        if row.method != method:
            continue
        pairs = [(column, value) for column, value in zip(table.columns, row.values, strict=True) if value == value]
        same = [f"{value:g} {column.unit}" for column, value in pairs if column.metric == metric["name"]]
        return "; published: " + ", ".join(
            same or [f"{column.title} {value:g} {column.unit}" for column, value in pairs]
        )
    return ""


def missing(name):
    """Return what a README names as missing."""
    text = (resources.files("sonjit_lab.papers") / name / "README.md").read_text("utf-8")
    found = re.search(r"\* \*\*Missing\*\*: (.*?)\n\n", text, re.DOTALL)
    return " ".join(found[1].split()).rstrip(".")


def row_of(name, folder):
    """Run the commands of a system in a folder. Return its row of the table."""
    SYSTEMS[name].write(folder)
    steps = STEPS.get(name, 4)
    times, memory, results = {"train": 0.0, "eval": 0.0}, 0.0, []
    for words in commands_of(name):
        seconds, largest = run(shortened(words, SYSTEMS[name].settings, steps), folder)
        times[words[0]] += seconds
        memory = max(memory, largest)
        if words[0] == "eval":
            protocol, metric, value = result_of(folder / words[words.index("--out") + 1] / "eval.json")
            is_first = not results
            results.append(f"`{protocol}`: {metric['title']} {value}{published(name, metric) if is_first else ''}")
    trainings = sum(words[0] == "train" for words in commands_of(name))
    sent = ", ".join(f"`{file}`" for file in SYSTEMS[name].submissions) or "none"
    took = f"{times['train']:.0f} s for {trainings} trainings of {steps} steps, {times['eval']:.0f} s, {memory:.1f} GB"
    took = took.replace("1 trainings", "a training")
    return f"| `papers/{name}` | {SYSTEMS[name].data} | {took} | {'; '.join(results)} | {sent} | {missing(name)} |"


def main():
    """Write or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table into docs/measured.md")
    parser.add_argument("systems", nargs="*", default=list(SYSTEMS), help="systems; by default all")
    options = parser.parse_args()
    lines = ["| system | data of this run | training, evaluation, memory | result | file for a server | missing |"]
    lines.append("|---|---|---|---|---|---|")
    for name in options.systems:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row_of(name, Path(folder)))
            print(lines[-1], flush=True)
    machine = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, PyTorch {torch.__version__.partition('+')[0]}"
    )
    text = "\n".join([*lines, "", f"Processor time and memory with {machine}."])
    if options.write:
        write_section("measured.md", "python -m benchmarks.systems --write", text)


if __name__ == "__main__":
    main()
