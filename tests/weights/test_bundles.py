"""Task bundles: the content that is read from a zip of networks, and errors of invalid ones."""

import io
import zipfile

import pytest

from sonjit._util.errors import InputError
from sonjit.weights import add_bundle, bundles, cache_folder, list_bundles, load_bundle, models_folder

PALMS = b"\0\0\0\0TFL3palms"
HAND = {"hand_detector.tflite": PALMS, "hand_landmarks_detector.tflite": b"\0\0\0\0TFL3hands"}


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


DAMAGED = bytearray(zipped(HAND, zipfile.ZIP_DEFLATED))
DAMAGED[30 + len("hand_detector.tflite")] = 0xFF  # no block of deflate begins so


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "mine.task"
    path.write_bytes(zipped(HAND))
    return path


@pytest.mark.parametrize(
    ("members", "task"),
    [
        (HAND, "hand_landmarker"),
        ({"face_detector.tflite": b"", "face_landmarks_detector.tflite": b""}, "face_landmarker"),
        ({"pose_detector.tflite": b"", "pose_landmarks_detector.tflite": b""}, "pose_landmarker"),
        (
            {
                "hand_landmarker.task": zipped(HAND),
                "hand_gesture_recognizer.task": zipped({"gesture_embedder.tflite": b"e"}, zipfile.ZIP_DEFLATED),
            },
            "gesture_recognizer",
        ),
    ],
)
def test_a_bundle_is_identified_by_its_content(tmp_path, members, task):
    (tmp_path / "any.task").write_bytes(zipped(members))
    read = load_bundle(tmp_path / "any.task")
    assert read.task == task
    assert not [name for name in read.members if name.endswith(".task")]


def test_members_become_files_of_the_cache_once(bundle):
    path = load_bundle(bundle).file("hand_detector.tflite")
    assert path.is_relative_to(cache_folder())
    assert (path.name, path.read_bytes()) == ("hand_detector.tflite", PALMS)
    written = path.stat().st_mtime_ns
    assert load_bundle(bundle).file("hand_detector.tflite").stat().st_mtime_ns == written
    with pytest.raises(InputError, match=r"contains no face_blendshapes.tflite; it is a hand_landmarker bundle"):
        load_bundle(bundle).file("face_blendshapes.tflite")


def test_a_registered_bundle_is_found_by_its_tasks_name(bundle):
    with pytest.raises(InputError, match=r"no such task bundle; .* sonjit models add face_landmarker.task"):
        load_bundle("face_landmarker.task")
    with pytest.raises(InputError, match="run: sonjit models pull palm-full"):
        load_bundle("hand_landmarker.task")
    path, added = add_bundle(bundle)
    assert path == models_folder() / "hand_landmarker.task"
    assert load_bundle("hand_landmarker.task").members == added.members == HAND
    assert list(list_bundles()) == [path]
    with pytest.raises(InputError, match=r"elsewhere/hand_landmarker.task: no such task bundle"):
        load_bundle("elsewhere/hand_landmarker.task")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"TFL3", "mine.task is not a task bundle: File is not a zip file"),
        (zipped(HAND)[:-30], "mine.task is not a task bundle"),
        (DAMAGED, "mine.task is not a task bundle: Error -3 while decompressing data"),
        (zipped(HAND, zipfile.ZIP_LZMA), "mine.task is not a task bundle: .* has a compression"),
        (zipped(HAND | {"hand_detector.tflite": b"abc"}), "mine.task: its hand_detector.tflite is no TFLite network"),
        (zipped({"model.tflite": b""}), r"not a bundle of a known task .*\. It contains model.tflite"),
    ],
)
def test_invalid_bundle_is_named(bundle, content, reason):
    bundle.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        add_bundle(bundle)
    assert list_bundles() == {}


@pytest.mark.parametrize(
    "members",
    [
        {"large": bytes(1001)}, {"one": bytes(600), "two": bytes(600)},
        {"a.task": zipped({"large": bytes(1001)}, zipfile.ZIP_DEFLATED)},
        {f"{name}.task": zipped({name: bytes(600)}, zipfile.ZIP_DEFLATED) for name in "ab"},
    ],
)  # fmt: skip
def test_a_bundle_that_grows_when_it_is_unpacked_is_refused(bundle, members, monkeypatch):
    monkeypatch.setattr(bundles, "_MAX_BYTES", 1000)
    bundle.write_bytes(zipped(HAND | members, zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match=r"mine\.task is not a task bundle: .*bytes"):
        load_bundle(bundle)


@pytest.mark.parametrize("folder", ["../../", "/", "..\\..\\", "C:\\", "\\\\server\\share\\", "a/../../"])
def test_names_of_members_lead_nowhere(tmp_path, folder):
    """The names in a bundle are those of a zip that was made by hand; zipfile itself would change backslashes."""
    data = zipped({f"{'x' * len(folder)}{name}": content for name, content in HAND.items()})
    for name in HAND:
        data = data.replace(("x" * len(folder) + name).encode(), (folder + name).encode())
    (path := tmp_path / "in" / "mine.task").parent.mkdir()
    path.write_bytes(data)
    read = load_bundle(path)
    assert set(read.members) == set(HAND)
    for name in HAND:
        assert read.file(name).is_relative_to(cache_folder())
    assert {found.name for found in tmp_path.iterdir()} == {"in", "home"}
