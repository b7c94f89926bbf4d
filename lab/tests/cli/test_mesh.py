"""`sonjit mesh` and `sonjit hands --lift`: outputs, and one line for each error."""

import json
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import pytest

from sonjit._util.errors import SonjitError
from sonjit.media import load_frames, open_source
from sonjit.weights import find_weight
from sonjit_lab.meshes.run import MeshWorker
from sonjit_lab.networks import create_network
from sonjit_lab.papers.handoccnet import meshes as mano_networks

from .conftest import run_command

FRAMES = 6


@pytest.fixture(scope="session")
def media(tmp_path_factory, demo_clip, weights, write_video):
    """Return an image and a clip with two hands, and an image without hands, which tests must not change."""
    try:
        find_weight("hand-rig-left"), find_weight("hand-rig-right")
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull rigs")
    folder = tmp_path_factory.mktemp("media")
    _, frames, truth = demo_clip
    start = next(i for i, record in enumerate(truth) if len(record["hands"]) == 2) + 40
    write_video(folder / "clip.mp4", frames[start : start + FRAMES])
    cv2.imwrite(str(folder / "photo.png"), frames[start][..., ::-1])
    cv2.imwrite(str(folder / "nothing.png"), np.zeros_like(frames[start]))
    return folder


run = partial(run_command, "mesh")


class TestRig:
    @pytest.mark.slow
    def test_video_is_drawn_where_the_hands_are(self, capsys, media, tmp_path):
        drawn = tmp_path / "drawn.mp4"
        status, out, err = run(capsys, media / "clip.mp4", "--draw", drawn)
        assert status == 0
        assert "right-" in out
        assert f"{FRAMES} frames" in err
        with open_source(media / "clip.mp4") as source, open_source(drawn) as result:
            for before, after in zip(source, result, strict=True):
                changed = np.abs(before.rgb.astype(int) - after.rgb).max(-1) > 40
                assert 0.01 < changed.mean() < 0.4

    @pytest.mark.slow
    def test_json_contains_poses_with_constant_bones(self, capsys, media, tmp_path):
        run(capsys, media / "clip.mp4", "--save", tmp_path / "hands.json")
        data = json.loads((tmp_path / "hands.json").read_text("utf-8"))
        assert data["model"] == "rig"
        assert [frame["index"] for frame in data["frames"]] == list(range(FRAMES))
        hands = {hand["name"]: hand for hand in data["hands"]}
        assert {hand["handedness"] for hand in hands.values()} == {"Left", "Right"}
        for frame in data["frames"]:
            for hand in frame["hands"]:
                points = {p["name"]: np.array([p["x"], p["y"], p["z"]]) for p in hand["keypoints3D"]}
                assert all(point[2] > 0 for point in points.values())  # before the camera
                chain = [f"index_finger_{joint}" for joint in ("mcp", "pip", "dip", "tip")]
                for a, b in pairwise(chain):
                    length = np.linalg.norm(points[a] - points[b])
                    assert length == pytest.approx(hands[hand["name"]]["bones_m"][b], abs=1e-4)
                assert hand["fit_error_mm"] < 15

    @pytest.mark.slow
    def test_animated_glb_and_bvh_per_hand(self, capsys, media, tmp_path):
        assert run(capsys, media / "clip.mp4", "--save", tmp_path / "hands.glb")[0] == 0
        assert (tmp_path / "hands.glb").read_bytes()[:4] == b"glTF"
        assert run(capsys, media / "clip.mp4", "--save", tmp_path / "hands.bvh")[0] == 0
        files = sorted(tmp_path.glob("hands-*.bvh"))
        assert len(files) == 2
        assert all(f"Frames: {FRAMES}\n" in file.read_text("utf-8") for file in files)

    @pytest.mark.slow
    def test_nothing_found_is_no_error(self, capsys, media, tmp_path):
        for ending in (".json", ".glb", ".obj"):
            status, _, err = run(capsys, media / "nothing.png", "--save", tmp_path / f"out{ending}")
            assert status == 0
            assert "0 hands" in err
            assert (tmp_path / f"out{ending}").is_file()

    @pytest.mark.slow
    def test_stopped_it_keeps_what_was_seen(self, capsys, media, tmp_path, monkeypatch):
        process, seen = MeshWorker.process, []

        def stopping(self, frame):
            if len(seen) == 3:
                raise KeyboardInterrupt
            seen.append(frame.index)
            return process(self, frame)

        monkeypatch.setattr(MeshWorker, "process", stopping)
        outputs = "--save", tmp_path / "out.json", "--draw", tmp_path / "out.mp4"
        assert run(capsys, media / "clip.mp4", *outputs)[0] == 130
        assert len(json.loads((tmp_path / "out.json").read_text("utf-8"))["frames"]) == 3
        with open_source(tmp_path / "out.mp4") as drawn:
            assert sum(1 for _ in drawn) == 3

    def test_a_missing_rig_is_reported_with_its_command(self, refusal, media, tmp_path):
        assert "sonjit models pull hand-rig" in refusal("mesh", media / "photo.png", "--models-dir", tmp_path)


class TestRefusals:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--save", "out.ply"], "Unknown file ending"),
            (["--save", "out.obj"], "{index}"),
            (["--save", "{index}.json"], "Remove {index}"),
            (["--draw", "out.png"], "ends in"),
            (["--camera", "1,2,3"], "fx,fy,cx,cy"),
            (["--device", "toaster"], "devices here: CPU"),
            (["--weights", "w.pth"], "applies only to --model handoccnet or deformer"),
            (["--figure", "maps.png"], "handoccnet"),
            (["--lift", "internet"], "--lift-weights FILE: a checkpoint of your own"),
            (["--lift", "internet", "--lift-weights", "no.pth"], "no.pth: no such checkpoint"),
            (["--lift-weights", "demo"], "--lift-weights requires --lift internet"),
            (["--model", "handoccnet", "--lift", "internet"], "--lift internet applies only to --model rig"),
        ],
    )
    def test_of_a_video(self, refusal, media, tmp_path, monkeypatch, options, says):
        monkeypatch.chdir(tmp_path)
        assert says in refusal("mesh", media / "clip.mp4", *options)
        assert not list(tmp_path.iterdir())

    def test_bvh_of_a_image(self, refusal, media, tmp_path):
        assert ".glb or .obj" in refusal("mesh", media / "photo.png", "--save", tmp_path / "a.bvh")

    def test_missing_input(self, refusal, tmp_path):
        refusal("mesh", tmp_path / "nothing.mp4")


class TestHandOccNet:
    def test_names_the_required_files_and_their_source(self, refusal, media, tmp_path):
        options = ["--model", "handoccnet"]
        assert "mano.is.tue.mpg.de" in refusal("mesh", media / "photo.png", *options)
        err = refusal("mesh", media / "photo.png", *options, "--mano", "demo")
        assert "--weights" in err
        assert "github.com/namepllet/HandOccNet" in err
        missing = tmp_path / "MANO_RIGHT.pkl"
        assert str(missing) in refusal("mesh", media / "photo.png", *options, "--mano", missing)

    @pytest.mark.nightly
    @pytest.mark.slow
    def test_writes_parameters_mesh_overlay_and_maps(self, capsys, media, tmp_path, monkeypatch):
        monkeypatch.setattr(mano_networks, "create_network", partial(create_network, size="tiny"))
        options = ["--model", "handoccnet", "--weights", "demo", "--mano", "demo", "--max-instances", "1"]
        overlay, maps = tmp_path / "over.png", tmp_path / "maps.png"
        outputs = ["--save", tmp_path / "out.json", "--draw", overlay, "--figure", maps]
        assert run(capsys, media / "photo.png", *options, *outputs)[0] == 0
        (hand,) = json.loads((tmp_path / "out.json").read_text("utf-8"))["frames"][0]["hands"]
        assert len(hand["mano_pose"]) == 48
        assert len(hand["mano_shape"]) == 10
        assert hand["mirrored"] == (hand["handedness"] == "Left")
        assert (cv2.imread(str(overlay)) != cv2.imread(str(media / "photo.png"))).any()
        assert cv2.imread(str(maps)).shape[1] == 4 * 64


def test_deformer_names_the_required_files(refusal, media):
    options = ["--model", "deformer"]
    assert "--mano FILE" in refusal("mesh", media / "clip.mp4", *options)
    assert "--mano-left FILE" in refusal("mesh", media / "clip.mp4", *options, "--mano", "demo")
    both = ["--mano", "demo", "--mano-left", "demo"]
    assert "--weights FILE" in refusal("mesh", media / "clip.mp4", *options, *both)


@pytest.mark.slow
def test_hands_of_an_image_are_in_the_space_of_the_camera(sonjit, photo, weights, tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    plain, lifted = tmp_path / "plain.json", tmp_path / "lifted.json"
    assert sonjit("hands", tmp_path / "photo.png", "--save", plain)[0] == 0
    status, _, lines = sonjit(
        "hands", tmp_path / "photo.png", "--save", lifted, "--draw", tmp_path / "d.png", "--measures",
        "--lift", "internet", "--lift-weights", "demo",
    )  # fmt: skip
    assert status == 0
    assert any("camera assumed" in line for line in lines)
    assert json.loads(lifted.read_text("utf-8"))["model"] == "hands-full+internet"
    before, after = (load_frames(path)[1][0].hands for path in (plain, lifted))
    assert [hand.handedness for hand in after] == [hand.handedness for hand in before]
    assert before
    for one, other in zip(before, after, strict=True):
        assert (one.keypoints == other.keypoints).all()
        assert other.keypoints_3d.shape == (21, 3)
        assert (other.keypoints_3d[:, 2] > 0.1).all()  # from the lens, not from the hand


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lift", "internet"], "--lift internet needs its weights, --lift-weights FILE: a checkpoint of your own"),
        (["--lift", "internet", "--lift-weights", "no.pth"], "no.pth: no such checkpoint"),
        (["--lift", "internet", "--lift-weights", "demo", "--camera", "1,2"], "camera '1,2': give fx,fy,cx,cy"),
        (["--lift", "internet", "--lift-weights", "demo", "--camera", "nan,1,2,3"], "all four numbers finite"),
        (["--lift", "internet", "--lift-weights", "demo", "--flip-horizontal"], "cannot be combined with --lift"),
        (["--camera", "600,600,320,240"], "--camera requires --distance or --lift internet"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(sonjit, tmp_path, options, message):
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((8, 8, 3), np.uint8))
    status, _, lines = sonjit("hands", tmp_path / "photo.png", *options)
    assert status == 2
    assert len(lines) == 1
    assert message in lines[0]
