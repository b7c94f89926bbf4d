"""Where `max_instances` omits instances, each kind and output has the number of all."""

import re
from pathlib import Path

import cv2
import pytest
from tests.support.groups import group_photograph

import sonjit as library
from sonjit.detectors.kinds import KINDS

pytestmark = [pytest.mark.golden, pytest.mark.slow]

CASES = [
    pytest.param(kind, options, id="-".join([kind, *options.values()]))
    for kind, options in (
        ("hands", {"model": "lite"}), ("body", {"search": "fast"}), ("face", {}), ("face", {"model": "box-full"}),
        ("body", {"model": "lite"}), ("body", {"model": "lite", "search": "thorough"}), ("holistic", {"model": "lite"}),
    )
]  # fmt: skip
OUTPUTS = ["--save {}/a.csv", "--draw {}/a.png", "--mask {}/a.png", "--json"]
FRAMES = 3
LINE = r"{}: (\d+) of at least (\d+) shown\. Use --max-instances( and --person)?\."


@pytest.fixture(scope="module")
def group(data):
    rgb = group_photograph(data)
    if rgb is None:
        pytest.skip("no photograph of a group")
    return rgb


@pytest.fixture(scope="module")
def photo(group, tmp_path_factory):
    file = tmp_path_factory.mktemp("group") / "one.png"
    cv2.imwrite(str(file), group[..., ::-1])
    return file


@pytest.fixture(scope="module")
def clip(group, write_video, tmp_path_factory):
    height, width = (side // 2 * 2 for side in group.shape[:2])
    file = tmp_path_factory.mktemp("clip") / "one.mp4"
    write_video(file, [group[:height, :width]] * FRAMES)
    return file


def arguments(options):
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def counts(lines, name):
    """Return the numbers of shown and of found instances in the only line about them."""
    found = [match for line in lines if (match := re.search(LINE.format(re.escape(name)), line))]
    assert len(found) == 1, lines
    return int(found[0][1]), int(found[0][2])


@pytest.mark.nightly_after(2)
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_stills_have_the_number_that_is_found_without_a_maximum(sonjit, need, photo, kind, options):
    need("palm-full", "hand-full", "face-short", "face-full", "face-attention", "body-full", "person-detector")
    with library.create_detector(kind, static_image=True, **options) as everyone:
        count = len(everyone.detect(photo))
    assert count > 1
    (frame,) = library.track(photo, kind, max_instances=1, **options)
    assert (len(getattr(frame, KINDS[kind].list_name)), frame.total) == (1, count)
    status, _, lines = sonjit(kind, photo, "--max-instances", "1", *arguments(options))
    assert (status, counts(lines, str(photo))) == (0, (1, count))


@pytest.mark.parametrize("output", OUTPUTS)
def test_each_output_of_a_still_has_the_line(sonjit, need, photo, tmp_path, output):
    need("face-full", "body-full", "person-detector")
    words = ["body", "--model", "lite", "--search", "fast"] if "mask" in output else ["face", "--model", "box-full"]
    status, _, lines = sonjit(*words, photo, "--max-instances", "1", *output.format(tmp_path).split())
    assert status == 0
    assert counts(lines, str(photo))[1] > 1


def test_each_image_of_a_folder_has_the_line(sonjit, need, group, tmp_path):
    need("face-short", "face-full", "face-attention")
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), group[..., ::-1])
    status, _, lines = sonjit("face", tmp_path, "--max-instances", "1")
    assert status == 0
    for number in range(2):
        assert counts(lines, f"{number}.png")[1] > 1


def test_a_table_of_a_folder_has_the_sums_of_its_images(sonjit, need, group, tmp_path):
    need("face-short", "face-full", "face-attention")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(2):
        cv2.imwrite(str(images / f"{number}.png"), group[..., ::-1])
    status, _, lines = sonjit("face", images, "--max-instances", "1", "--save", tmp_path / "all.csv")
    found = [tuple(map(int, each)) for each in re.findall(r"(\d+) of at least (\d+) shown", "\n".join(lines))]
    assert status == 0
    assert sum(shown for shown, _ in found) == 2
    assert sum(total for _, total in found) > 3


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize(("kind", "options"), CASES[::2])
def test_streams_have_the_line(sonjit, need, clip, kind, options):
    need("palm-full", "hand-full", "face-short", "face-full", "face-attention", "body-full", "person-detector")
    status, _, lines = sonjit(kind, clip, "--max-instances", "1", *arguments(options))
    shown, found = counts(lines, str(clip))
    assert (status, shown) == (0, 1)
    assert found > 1
    assert max(frame.total for frame in library.track(clip, kind, max_instances=1, **options)) == found


def test_reports_and_explanations_have_the_line(sonjit, need, photo, clip, tmp_path):
    need("palm-full", "hand-full", "face-short", "face-full", "body-full", "person-detector")
    pytest.importorskip("matplotlib")
    status, _, lines = sonjit("report", clip, "--end", "0.2", "--save", tmp_path / "a.html")
    assert (status, counts(lines, Path(clip).name)[0]) == (0, 1)
    status, _, lines = sonjit("explain", photo, "--max-instances", "1", "--draw", tmp_path / "a.png")
    assert (status, counts(lines, str(photo))[0]) == (0, 1)
