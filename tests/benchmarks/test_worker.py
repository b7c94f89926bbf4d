import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from speed import CASES, worker
from speed.run import METRICS, benchmark, run_worker, save_bundle, save_clip
from speed.worker import Sonjit, Tasks, measure_closure, run_job

from sonjit._util.errors import InputError, JobError
from sonjit.weights import find_weight

pytestmark = pytest.mark.slow

COUNT = 9


@pytest.fixture
def needs_weights():
    try:
        for name in CASES[0].weights:
            find_weight(name)
    except InputError as error:
        pytest.skip(f"{error}; run: sonjit models pull")


@pytest.fixture
def clip(tmp_path):
    save_clip(None, tmp_path / "clip.npy", 4)
    return tmp_path / "clip.npy"


def job(clip, **changes):
    options = {"kind": "hands", "model": "lite", "max_instances": 1, "static_image": False, "precision": "f32"}
    return {
        **options,
        "task": "time",
        "frames": str(clip),
        "count": COUNT,
        "threads": None,
        "weights": CASES[1].weights,
        **changes,
    }


@pytest.mark.usefixtures("needs_weights")
def test_worker_prints_one_line_with_every_figure(clip):
    command = [sys.executable, worker.__file__, json.dumps(job(clip))]
    (line,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    outcome = json.loads(line)
    assert set(outcome) == {*METRICS, "found", "precision"}
    assert outcome["found"] == {"1": COUNT}
    assert outcome["precision"] == "f32"
    assert all(outcome[figure] > 0 for figure in METRICS)


def test_crashed_worker_is_one_line(tmp_path):
    with pytest.raises(JobError, match=r"^worker\.py in .* crashed: KeyError: 'kind'$"):
        run_worker(sys.executable, json.dumps({"task": "time"}))


@pytest.mark.usefixtures("needs_weights")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeat": 0}, "repeat=0"),
        ({"count": 6}, "count=6"),
        ({"threads": -1}, "threads=-1"),
        ({"threads": 10**9}, "threads=1"),
    ],
)
def test_benchmark_refuses_what_measures_nothing(options, message):
    with pytest.raises(InputError, match=message):
        benchmark(cases=CASES[1:2], **options)


@pytest.mark.parametrize("kind", ["face", "body", "holistic"])
def test_a_benchmark_names_what_a_case_requires(kind):
    case = next(case for case in CASES if case.kind == kind)
    flag = "--face-media" if kind == "face" else "--body-media"
    with pytest.raises(InputError, match=rf"^{kind}: no clip is bundled; give {flag} a video or image of one "):
        benchmark(cases=[case], media={"hands": "clip.mp4"})


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("case", {case.kind: case for case in CASES}.values(), ids=lambda case: case.name)
def test_worker_measures_every_kind(case, tmp_path):
    try:
        for name in case.weights:
            find_weight(name)
    except InputError as error:
        pytest.skip(f"{error}; run: sonjit models pull all")
    np.save(tmp_path / "grey.npy", np.full((64, 64, 3), 127, np.uint8))
    worker = Sonjit()
    outcome = run_job(job(tmp_path / "grey.npy", **asdict(case)), worker)
    assert outcome["precision"] == "f32"
    assert outcome["networks_ms"] > 0
    assert 0 < outcome["outside"] < 1


@pytest.mark.nightly
@pytest.mark.usefixtures("needs_weights")
def test_tasks_are_measured_as_libraries_are(clip, tmp_path):
    bundle = tmp_path / "hand_landmarker.task"
    save_bundle(bundle.name, bundle)
    library = Tasks("sonjit.compat.mediapipe")
    outcome = run_job(job(clip, bundle=str(bundle), max_instances=2), library)
    assert outcome["found"] == {"1": COUNT}
    assert outcome["precision"] == library.extras(job(clip))["precision"]
    frame = np.load(clip)
    (hand,) = library.describe(library.detect(frame), frame)
    assert np.shape(hand["xy"]) == (21, 2)
    assert hand["handedness"] in ("Left", "Right")


def test_the_size_of_a_distribution_contains_its_requirements_without_extras():
    closure = measure_closure("sonjit")
    assert {"sonjit", "numpy", "openvino", "rich", "cyclopts", "av"} <= set(closure["distributions"])
    assert "pytest" not in closure["distributions"]
    assert closure["bytes"] == sum(entry["bytes"] for entry in closure["distributions"].values())
    assert closure["distributions"]["sonjit"]["bytes"] > 500_000  # the package itself, even where it is editable
    command = [sys.executable, "-I", "-S", worker.__file__, "numpy"]
    alone = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (alone["bytes"], alone["distributions"]) == (0, {})  # -S: no site-packages in sight
