"""`sonjit hands`: its output files, and one line for each error."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from sonjit import track
from sonjit.media import TABLE_ENDINGS, load_frames, open_source

from .conftest import NEEDS_LAB


@pytest.mark.nightly_after(3)
@pytest.mark.slow
@pytest.mark.parametrize("ending", TABLE_ENDINGS)
@pytest.mark.parametrize("name", ["photo.png", "clip.mp4"])
def test_a_table_of_any_kind(sonjit, media, out, name, ending, names_in, frame_count):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    status, shown, (line,) = sonjit("hands", media / name, "--save", out / f"table\x1b{ending}")
    assert (status, shown) == (0, "")
    assert line.endswith(f"wrote {out / f'table?{ending}'}")
    assert names_in(out) == [f"table\x1b{ending}"]
    header, frames = load_frames(out / f"table\x1b{ending}")
    is_clip = name == "clip.mp4"
    assert [frame.index for frame in frames] == list(range(frame_count if is_clip else 1))
    assert all((frame.time is not None) == is_clip for frame in frames)
    assert all(frame.hands for frame in frames)
    assert all((hand.id is not None) == is_clip for frame in frames for hand in frame.hands)
    if ending != ".csv":
        assert (header.source, header.model) == (str(media / name), "hands-full")


@pytest.mark.slow
def test_a_region_is_searched_like_an_image(sonjit, media, out):
    photo = cv2.imread(str(media / "photo.png"))[..., ::-1]
    height, width = photo.shape[:2]
    region = 9, 5, width - 9, height - 5
    assert sonjit("hands", media / "photo.png", f"--roi={','.join(map(str, region))}", "--save", out / "t.json")[0] == 0
    header, (found,) = load_frames(out / "t.json")
    assert header.options["roi"] == list(region)
    (cut,), (same,) = track(photo[5:, 9:].copy(), "hands"), track(photo, "hands", roi=region)
    for points in (cut.hands[0].keypoints[:, :2] + (9, 5), same.hands[0].keypoints[:, :2]):
        np.testing.assert_allclose(found.hands[0].keypoints[:, :2], points, atol=1e-2)


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize(("name", "drawn"), [("photo.png", "drawn.png"), ("clip.mp4", "drawn.mp4")])
def test_drawings_differ_from_the_source_where_hands_are(sonjit, media, out, name, drawn, names_in, frame_count):
    status, _, (line,) = sonjit("hands", media / name, "--draw", out / drawn, "--save", out / "t.json")
    assert status == 0
    assert line.endswith(f"wrote {out / 't.json'} and {out / drawn}")
    assert names_in(out) == [drawn, "t.json"]
    with open_source(media / name) as plain, open_source(out / drawn) as made:
        pairs = [(a.rgb.astype(int), b.rgb.astype(int)) for a, b in zip(plain, made, strict=True)]
    assert len(pairs) == (frame_count if name == "clip.mp4" else 1)
    for (a, b), frame in zip(pairs, load_frames(out / "t.json")[1], strict=True):
        changed = np.abs(a - b).max(axis=-1) > 60
        assert changed.any()
        x, y = frame.hands[0].keypoints[0, :2].astype(int)
        assert changed[y - 4 : y + 5, x - 4 : x + 5].any()


@pytest.mark.slow
def test_json_prints_a_line_for_each_frame_and_nothing_else(sonjit, media, stills, out, monkeypatch, names_in):
    monkeypatch.chdir(out)
    files = media / "clip.mp4", stills / "f2.png", stills / "f9.png"
    arguments = ["hands", *files, "--limit", 2, "--json", "--measures"]
    status, shown, lines = sonjit(*arguments)
    assert (status, len(lines)) == (0, 1)
    frames = [json.loads(line) for line in shown.splitlines()]
    expected = zip(map(str, (files[0], *files)), (0, 1, 0, 0), strict=True)
    assert [(frame["source"], frame["index"]) for frame in frames] == [*expected]
    assert frames[2]["hands"][0]["measures"]["gesture"] == "Victory"
    assert frames[3]["hands"] == []
    assert names_in(out) == []
    assert sonjit(*arguments[:-2], "--save", "tables/", "--json")[1].count("\n") == 4
    again = sonjit(*arguments[:-2], "--save", "tables/", "--json")  # what was finished before is printed all the same
    assert again[1].count("\n") == 4
    assert len(load_frames(out / "tables" / "clip.json")[1]) == 2


@pytest.mark.slow
def test_measures_are_printed(sonjit, media):
    _, shown, _ = sonjit("hands", media / "photo.png", "--measures")
    table = dict(line.split()[:2] for line in shown.splitlines() if line)
    assert table["gesture"].isalpha()
    assert 0 < float(table["hand_length_m"]) < 0.4
    _, shown, _ = sonjit("hands", media / "photo.png", media / "clip.mp4", "--limit", 1, "--measures")
    assert all("; gesture " in line and "; hand_length_m 0." in line for line in shown.splitlines())


@pytest.mark.parametrize("ending", [".csv", ".json"])
@pytest.mark.slow
def test_images_and_videos_share_one_table(sonjit, media, tmp_path, out, names_in, ending):
    (tmp_path / "cut.mp4").write_bytes((media / "clip.mp4").read_bytes()[:2000])
    inputs = [tmp_path / "cut.mp4", media / "clip.mp4", media / "photo.png"]
    status, _, (problem, line) = sonjit("hands", *inputs, "--limit", 2, "--save", out / f"t{ending}")
    assert (status, "cut.mp4" in problem) == (1, True)
    assert line.startswith("2 files, ")
    frames = load_frames(out / f"t{ending}")[1]
    assert [(frame.source, frame.index, frame.time is None) for frame in frames] == [
        (str(media / "clip.mp4"), 0, False),
        (str(media / "clip.mp4"), 1, False),
        (str(media / "photo.png"), 2, True),
    ]
    assert all(frame.hands for frame in frames)
    assert names_in(out) == [f"t{ending}"]


@pytest.mark.slow
def test_a_cut_video_keeps_what_could_be_decoded(sonjit, media, demo_clip, tmp_path, out, write_video, names_in):
    complete = tmp_path / "whole.mkv"
    write_video(complete, demo_clip[1][:60])
    data = complete.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    status, _, lines = sonjit("hands", cut, "--save", out / "t.json", "--draw", out / "d.mp4")
    assert status == 1
    assert lines[0].startswith(f"sonjit: {cut}")
    frames = load_frames(out / "t.json")[1]
    assert 0 < len(frames) < 60
    with open_source(out / "d.mp4") as source:
        assert len(list(source)) == len(frames)
    assert names_in(out) == ["d.mp4", "t.json"]


BAD_INPUTS = {
    "nowhere.jpg": None,
    "empty.jpg": b"",
    "text.jpg": b"just some text\n",
    "text.mp4": b"just some text\n",
    "cut.jpg": cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()[
        :900
    ],
    "noise.bin": np.random.default_rng(0).bytes(5000),
    "noise.jpg": np.random.default_rng(0).bytes(5000),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_an_input_that_cannot_be_used_is_one_line(sonjit, name, tmp_path, out, names_in):
    if BAD_INPUTS[name] is not None:
        (tmp_path / name).write_bytes(BAD_INPUTS[name])
    status, shown, (line,) = sonjit("hands", tmp_path / name, "--save", out / "t.json", "--draw", out / "d.png")
    assert (status, shown) == (2, "")
    assert line.startswith("sonjit: ")
    assert name in line
    assert ("not an image" in line) == (name == "noise.jpg")
    assert names_in(out) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("hands {out}", "contains no images or videos"),
        ("hands {out} --save {out}/tables/", "contains no images or videos"),
        ("hands {out}/*.png --save {out}/tables/", "no images or videos"),
        ("hands {photo} --draw-errors", "--draw-errors requires --draw"),
        ("hands {photo} --draw {out}/d.png --draw-errors", "--draw-errors requires --keypoints refined"),
        ("hands {photo} --events index_curl_rad:150:90", "--events requires --save or --json"),
        ("hands {photo} --static-image --count index_curl_rad --json", "--count has no effect with --static"),
        ("hands {photo} --static-image --events index_curl_rad:150:90 --json", "--events has no effect with --static"),
        ("hands {photo} --static-image --smoothing one_euro", "--smoothing has no effect with --static-image"),
        ("hands {photo} --static-image --search-interval 3", "--search-interval has no effect with --static-image"),
        ("face {photo} --model box --count mouth_openness", "--count has no effect with --model box"),
        ("face {photo} --model box --events mouth_openness:0.5:0.2 --json", "--events has no effect with --model box"),
        ("face {photo} --model box --measures", "--measures has no effect with --model box"),
        ("hands {photo} --events index_curl_rad:150:90 --save {out}/a.bvh", "--events has no effect with --save"),
        ("hands {photo} --events index_curl_rad:150:90 --save {out}/a.coco.json", "--events has no effect with --save"),
        ("hands {photo} --rows wide --save {out}/tables", "--rows wide requires --save with a .csv"),
        ("body {photo} --static-image --no-smooth-segmentation --mask {out}/m.png", "segmentation has no effect with"),
        ("body {photo} --no-smooth-segmentation", "--no-smooth-segmentation require --mask"),
        ("hands {photo} --roi -1,0,9,9", "roi -1,0,9,9: give x and y of at least 0"),
        ("face {photo} --roi 0,0,9,9 --transform --save {out}/t.csv", "roi 0,0,9,9: cannot be combined with transform"),
        ("hands {folder} --roi 0,0,9,9 --distance --save {out}/t.csv", "cannot be combined with distance, which"),
        ("hands {photo} --roi 1,2,3", "--roi 1,2,3: write x,y,width,height in pixels"),
        ("hands {photo} --camera 1,1,1,1", "--camera requires --distance or --lift internet"),
        ("hands camera:99 --save {out}/t.json", "camera:99 does not open"), ("hands camera:x", "a camera has a number"),
        ("hands gopher://example.org/hand.jpg", "an address begins with"),
        ("hands {photo} --save {out}/t.xyz", "Unknown ending '.xyz'. Choose from .json"),
        ("hands {photo} --save {photo}/t.json", "cannot be written"),
        ("hands {photo} --draw {photo}", "is the input itself"),
        ("hands {photo} --draw {out}/d.mp4", "an image is drawn into"),
        ("hands {clip} --draw {out}/d.png", "a video is drawn into"),
        ("hands {folder} --save {photo}/tables/", "cannot be written"), ("hands {photo} --max-instances many", "many"),
        ("hands {photo} --jobs 0", "--jobs 0"), ("hands {photo} --limit 0", "--limit 0"),
        ("hands {photo} --device TOASTER", "TOASTER"), ("hands {photo} --landmark-model {photo}", "unknown ending"),
        ("hands {photo} --models-dir {out}", "sonjit models pull"),
        ("hands {photo} --frobnicate", "unknown option --frobnicate. --help lists"),
        ("hands --serch fast {photo}", "unknown option --serch. Did you mean --search?"),
        ("hands {photo} --max-instance=2", "unknown option --max-instance. Did you mean --max-instances?"),
        ("report {clip} --titel x", "unknown option --titel. Did you mean --title?"),
        ("hands {photo} nowhere.jpg --save {out}/tables/", "nowhere.jpg: no such file"),
        ("hands {photo} camera:0 --save {out}/tables/", "camera:0 is a stream"), ("hands {photo} -", "- is a stream"),
        ("hands {folder} --draw {out}/drawn.png", "several inputs require a folder"),
        ("segment {photo} {clip} --weights demo --save {out}/t.json", "clip.mp4 is a video"),
        ("hands {folder} --json --jobs 2", "--json prints frames in order"), ("hands {photo} --save -", "use --json"),
        pytest.param("synth {out} more", "unexpected more. sonjit synth --help", marks=NEEDS_LAB),
        ("hands", "INPUT"), ("paint {photo}", "paint"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line(sonjit, media, out, arguments, words, names_in):
    places = {"out": out, "photo": media / "photo.png", "clip": media / "clip.mp4", "folder": media}
    status, shown, lines = sonjit(*(argument.format(**places) for argument in arguments.split()))
    assert (status, shown, len(lines)) == (2, "", 1), lines
    assert lines[0].startswith("sonjit: ")
    assert words in lines[0]
    assert names_in(out) == []


def test_without_weights_the_line_to_type_is_named(sonjit, photo, tmp_path, out, monkeypatch, write_image, names_in):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "home"))
    image = write_image(tmp_path / "photo.png", photo)
    # A setting of its own, so that no detector of an earlier test stands in.
    status, _, (line,) = sonjit("hands", image, "--save", out / "t.json", "--min-presence-score", "0.123")
    assert status == 2
    assert "sonjit models pull" in line
    assert names_in(out) == []


@pytest.mark.slow
@pytest.mark.parametrize("line", ["hands clip.mp4 --json", "--help"])
def test_a_pipe_that_is_closed_ends_it_quietly(media, line):
    command = [sys.executable, "-m", "sonjit", *line.replace("clip.mp4", str(media / "clip.mp4")).split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        program.stdout.close()  # long before the first line
        assert program.stderr.read() == ""
        assert program.wait() == 141


@pytest.mark.slow
def test_standard_input_is_a_source(media, out):
    command = [sys.executable, "-m", "sonjit", "hands", "-", "--save", str(out / "t.json")]
    done = subprocess.run(command, input=(media / "photo.png").read_bytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load_frames(out / "t.json")[1][0].hands


@pytest.mark.slow
def test_outputs_of_an_earlier_run_are_replaced_and_kept_on_failure(sonjit, media, tmp_path, out, frame_count):
    table = out / "t.json"
    assert sonjit("hands", media / "photo.png", "--save", table)[0] == 0
    kept = table.read_bytes()
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert sonjit("hands", tmp_path / "broken.png", "--save", table)[0] == 2
    assert table.read_bytes() == kept
    shutil.copy(media / "clip.mp4", tmp_path / "again.mp4")
    assert sonjit("hands", tmp_path / "again.mp4", "--save", table)[0] == 0
    assert len(load_frames(table)[1]) == frame_count


def test_a_photograph_is_printed_in_columns_without_modules_that_load_slowly(media):
    program = "import sys; from sonjit.cli import main; main(sys.argv[1:]); print(*sorted(sys.modules))"
    words = ["hands", str(media / "photo.png"), "--search", "fast"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    heading, *hands, modules = done.stdout.splitlines()
    assert heading.split() == ["what", "score", "id", "box", "px"]
    start = heading.index("score")
    assert hands
    assert all(0.5 < float(line[start : start + 4]) <= 1 and line[start - 2 : start] == "  " for line in hands)
    assert {"rich.console", "cyclopts.completion", "av"}.isdisjoint(modules.split())
