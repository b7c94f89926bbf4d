"""Compare memory, threads and errors of Sonjit's drop-in with those of MediaPipe, as tables in Markdown.

Every measurement and every bad input runs in a fresh process of each library. `--write` puts the tables into
research/drop_in.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from datetime import date
from importlib import import_module
from pathlib import Path

FRAMES, WARM_UP = 300, 100
MAX_MESSAGE = 110
PAGE = Path(__file__).parents[1] / "research" / "drop_in.md"
BEGIN, END = "<!-- python benchmarks/drop_in.py --write -->", "<!-- end of drop-in -->"

SUBJECTS = {
    "Hands": "hands",
    "FaceMesh": "face",
    "FaceDetection": "face",
    "Pose": "body",
    "Holistic": "body",
    "SelfieSegmentation": "body",
    "HandLandmarker": "hands",
    "FaceLandmarker": "face",
    "PoseLandmarker": "body",
}
MODULES = {
    "Hands": "hands",
    "FaceMesh": "face_mesh",
    "FaceDetection": "face_detection",
    "Pose": "pose",
    "Holistic": "holistic",
    "SelfieSegmentation": "selfie_segmentation",
}
BUNDLES = {
    "HandLandmarker": "hand_landmarker.task",
    "FaceLandmarker": "face_landmarker.task",
    "PoseLandmarker": "pose_landmarker_full.task",
}
MADE_HERE = ("hand_landmarker.task",)
"""Bundles for which the published networks suffice. MediaPipe requires metadata in other bundles."""

BAD_INPUTS = {
    "`process(None)`": "hands().process(None)",
    "`process` of a list": "hands().process([[1, 2, 3]])",
    "`process` of a grey image": "hands().process(rgb[:, :, 0])",
    "`process` of four channels": "hands().process(np.zeros((48, 64, 4), np.uint8))",
    "`process` of floats": "hands().process(rgb.astype(np.float32))",
    "`process` after `close`": "h = hands(); h.process(rgb); h.close(); h.process(rgb)",
    "`close` twice": "h = hands(); h.process(rgb); h.close(); h.close()",
    "`Hands(model_complexity=2)`": "hands(model_complexity=2).process(rgb)",
    "`Hands(max_num_hands=0)`": "hands(max_num_hands=0).process(rgb)",
    "`Hands(max_num_hands='2')`": "hands(max_num_hands='2').process(rgb)",
    "`Hands(min_detection_confidence=2)`": "hands(min_detection_confidence=2).process(rgb)",
    "`Hands` with an unknown argument": "hands(number=1)",
    "`draw_landmarks` on a grey image": (
        "mp.solutions.drawing_utils.draw_landmarks(rgb[:, :, 0].copy(), "
        "landmark_pb2.NormalizedLandmarkList(landmark=[{'x': .5, 'y': .5}]))"
    ),
    "unknown field of a message": "landmark_pb2.NormalizedLandmark(width=1)",
    "field of a message with another type": "landmark_pb2.NormalizedLandmark(x='1')",
    "`HasField` of an unknown field": "landmark_pb2.NormalizedLandmark().HasField('width')",
    "missing model file": "task(python.BaseOptions(model_asset_path='missing.task'))",
    "model file of another kind": (
        "open('other.task', 'wb').write(b'x' * 99); task(python.BaseOptions(model_asset_path='other.task'))"
    ),
    "no model": "task(python.BaseOptions()).detect(image)",
    "stream without a callback": "task(running_mode=vision.RunningMode.LIVE_STREAM)",
    "callback without a stream": "task(result_callback=print)",
    "`num_hands=0`": "task(num_hands=0)",
    "`detect_for_video` in image mode": "task().detect_for_video(image, 1)",
    "`detect` in video mode": "task(running_mode=vision.RunningMode.VIDEO).detect(image)",
    "timestamps that do not increase": (
        "t = task(running_mode=vision.RunningMode.VIDEO); t.detect_for_video(image, 2); t.detect_for_video(image, 2)"
    ),
    "`detect(None)`": "task().detect(None)",
    "`detect` of an array": "task().detect(rgb)",
    "`detect` after `close`": "t = task(); t.close(); t.detect(image)",
    "`rotation_degrees=45`": "task().detect(image, vision.ImageProcessingOptions(rotation_degrees=45))",
    "a region of interest": "task().detect(image, vision.ImageProcessingOptions(region_of_interest=region))",
    "`Image` of floats as SRGB": "mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb.astype(np.float32))",
    "`Image.create_from_file` of a missing file": "mp.Image.create_from_file('missing.jpg')",
    "`Image.create_from_file` of a file that is not an image": (
        "open('no.jpg', 'wb').write(b'x' * 99); mp.Image.create_from_file('no.jpg')"
    ),
}
"""Code of each bad input. It uses the names of `probe_error`."""


def probe_memory(mp, name, clip, bundle):
    """Process a clip forwards and backwards; return MB and threads."""
    import numpy as np

    frames = np.load(clip, mmap_mode="r")
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    if name in MODULES:
        tool = getattr(getattr(mp.solutions, MODULES[name]), name)()
        process = tool.process
    else:
        vision = mp.tasks.vision
        options = getattr(vision, f"{name}Options")(
            base_options=mp.tasks.BaseOptions(model_asset_path=bundle), running_mode=vision.RunningMode.VIDEO
        )
        tool = getattr(vision, name).create_from_options(options)
        stamps = iter(range(0, 33 * FRAMES, 33))

        def process(rgb):
            return tool.detect_for_video(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb), next(stamps))

    early = 0.0
    for i in range(FRAMES):
        process(np.array(frames[order[i % len(order)]]))
        if i == WARM_UP - 1:
            early = resident_mb()
    late, busy = resident_mb(), thread_count()
    tool.close()
    return {"rss": late, "grown": late - early, "threads": busy, "left": thread_count()}


def probe_error(mp, case, bundle):
    """Run one bad input. Return the class and message of the exception, or a description of the result."""
    import numpy as np

    rgb = np.zeros((48, 64, 3), np.uint8)
    vision, python = mp.tasks.vision, mp.tasks
    region = import_module(f"{mp.__name__}.tasks.python.components.containers.rect").Rect(0.1, 0.1, 0.9, 0.9)
    if not hasattr(vision, "ImageProcessingOptions"):
        core = f"{mp.__name__}.tasks.python.vision.core.image_processing_options"
        vision.ImageProcessingOptions = import_module(core).ImageProcessingOptions
    hand_landmarker, hand_options = vision.HandLandmarker, vision.HandLandmarkerOptions

    def hands(**options):
        return mp.solutions.hands.Hands(**options)

    def task(base=None, **options):
        base = base or python.BaseOptions(model_asset_path=bundle)
        return hand_landmarker.create_from_options(hand_options(base_options=base, **options))

    names = {"mp": mp, "vision": vision, "python": python, "np": np, "rgb": rgb, "region": region}
    if hasattr(mp, "solutions"):
        names["landmark_pb2"] = import_module(f"{mp.__name__}.framework.formats.landmark_pb2")
    names |= {"hands": hands, "task": task, "image": mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)}
    try:
        exec(BAD_INPUTS[case], names)  # code of the table above
    except Exception as error:  # the exception is the result
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        return {"kinds": kinds, "message": str(error)}
    return {"kinds": [], "message": "accepted"}


def needs_solutions(name):
    words = ("hands(", "solutions", "landmark_pb2")
    return name in MODULES or any(word in BAD_INPUTS.get(name, "") for word in words)


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def thread_count():
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def probe(arguments):
    """Run one measurement of one library and print it as JSON."""
    module, what, name, bundle, clip = arguments
    with tempfile.TemporaryDirectory(prefix="drop-in-") as folder:
        os.chdir(folder)
        mp = import_module(module)
        if what == "version":
            answer = mp.__version__
        elif needs_solutions(name) and not hasattr(mp, "solutions"):
            answer = None
        elif what == "memory":
            answer = probe_memory(mp, name, clip, bundle)
        else:
            answer = probe_error(mp, name, bundle)
        os.chdir("/")
    sys.stdout.write("\n" + json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # destructors of MediaPipe may abort


def ask(library, what, name="", bundle="", clip=""):
    """Run one measurement in a fresh process. Return None if the library lacks the class."""
    python, module = library
    command = [python, __file__, "--probe", module, what, name, str(bundle), str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode < 0:
        return {"kinds": [], "message": f"aborts the program ({signal.Signals(-done.returncode).name})"}
    if done.returncode:
        sys.exit(f"drop_in.py: {what} {name} with {python} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def memory_table(libraries, versions, clips, bundles):
    rows = [
        f"| after {FRAMES} frames | "
        + " | ".join(f"{version}: MB | {version}: threads" for version in versions)
        + " |",
        "|---" * (1 + 2 * len(versions)) + "|",
    ]
    for name, subject in SUBJECTS.items():
        if subject not in clips or (name in BUNDLES and BUNDLES[name] not in bundles):
            continue
        cells = []
        for library in libraries:
            got = ask(library, "memory", name, bundles.get(BUNDLES.get(name, ""), ""), clips[subject])
            cells += ["-", "-"] if got is None else [f"{got['rss']:.0f} ({got['grown']:+.1f})", f"{got['threads']}"]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
        sys.stderr.write(rows[-1] + "\n")
    return "\n".join(rows)


def error_table(libraries, versions, bundles):
    rows = ["| bad input | " + " | ".join(versions) + " |", "|---" * (1 + len(versions)) + "|"]
    for name in BAD_INPUTS:
        answers = [ask(library, "error", name, bundles["hand_landmarker.task"]) for library in libraries]
        rows.append(f"| {name} | " + " | ".join(map(cell, answers)) + " |")
        sys.stderr.write(rows[-1] + "\n")
    return "\n".join(rows)


def cell(answer):
    if answer is None:
        return "-"
    message = " ".join(re.sub(r"/\S+/", "", answer["message"]).split()).replace("|", "/").replace("<", "&lt;")
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE].rsplit(" ", 1)[0] + " ..."
    kinds = [kind for kind in answer["kinds"] if kind.endswith("Error") and kind not in ("LookupError", "OSError")]
    return f"`{'`, `'.join(kinds)}`: {message}" if kinds else message


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer", action="append", default=[], help="a Python interpreter that has mediapipe; repeat it"
    )
    parser.add_argument("--face-media", type=Path, help="an image or video of a face")
    parser.add_argument("--body-media", type=Path, help="an image or video of a person")
    parser.add_argument("--bundles", type=Path, help="a folder with face_landmarker.task and pose_landmarker_full.task")
    parser.add_argument("--write", action="store_true", help="into research/drop_in.md")
    options = parser.parse_args()

    from sonjit.engines.devices import describe_machine
    from sonjit.lab.benchmark.cases import save_bundle, save_clip

    libraries = [(sys.executable, "sonjit.compat.mediapipe"), *((peer, "mediapipe") for peer in options.peer)]
    versions = ["Sonjit", *(f"MediaPipe {ask(library, 'version')}" for library in libraries[1:])]
    with tempfile.TemporaryDirectory(prefix="drop-in-") as folder:
        media = {"hands": None, "face": options.face_media, "body": options.body_media}
        clips = {
            subject: Path(folder) / f"{subject}.npy" for subject, path in media.items() if path or subject == "hands"
        }
        for subject, clip in clips.items():
            save_clip(media[subject], clip, WARM_UP)
        bundles = {name: options.bundles / name for name in BUNDLES.values()} if options.bundles else {}
        for name in MADE_HERE:
            bundles[name] = Path(folder) / name
            save_bundle(name, bundles[name])
        bundles = {name: path.absolute() for name, path in bundles.items() if path.is_file()}
        memory = memory_table(libraries, versions, clips, bundles)
        errors = error_table(libraries, versions, bundles)
    machine, python = describe_machine(), sys.version.split()[0]
    command = "python benchmarks/drop_in.py --write " + " ".join("--peer PYTHON" for _ in options.peer)
    text = (
        f"Measured on {date.today()} with Python {python} on {machine['cpu']}, {machine['cores']} cores, "
        f"by `{command}`. Each cell comes from a fresh process. The growth over the last {FRAMES - WARM_UP} frames is "
        f"in brackets.\n\n"
        f"{memory}\n\n{errors}"
    )
    if not options.write:
        sys.stdout.write(text + "\n")
        return
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN, 1)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--probe"]:
        probe(sys.argv[2:])
    main()
