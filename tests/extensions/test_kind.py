"""A registered kind of an extension works in every public interface."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.media import TABLE_ENDINGS, draw_frame, load_frames
from sonjit.results import Frame
from sonjit.results.measures import measures


def image(x=30, y=20, side=10):
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[y : y + side, x : x + side] = 255
    return rgb


def test_it_is_made_and_detects_and_tracks(spots):
    with sonjit.create_detector("spots", max_instances=1, smoothing=None) as detector:
        (first,) = detector.detect(image(30))
        (second,) = detector.detect(image(33))
    assert (first.id, second.id) == (1, 1)
    assert first.box == (30, 20, 40, 30)
    assert second.to_dict() == {
        "score": 1.0,
        "keypoints": [
            {"x": 38.0, "y": 20.0, "z": 0.0, "name": "top"},
            {"x": 43.0, "y": 25.0, "z": 0.0, "name": "right"},
            {"x": 38.0, "y": 30.0, "z": 0.0, "name": "bottom"},
            {"x": 33.0, "y": 25.0, "z": 0.0, "name": "left"},
        ],
    }


def test_its_own_options_are_checked_like_all(spots):
    with sonjit.create_detector("spots", threshold=100) as detector:
        assert len(detector.detect(image() // 2)) == 1
    with pytest.raises(sonjit.InputError, match="threshold=256: give a whole number from 0 to 255"):
        sonjit.create_detector("spots", threshold=256)
    with pytest.raises(sonjit.InputError, match="threshold=1: hands has no option threshold"):
        sonjit.create_detector("hands", threshold=1)


def test_it_is_drawn(spots):
    with sonjit.create_detector("spots", static_image=True) as detector:
        frame = Frame.from_results(0, None, detector.detect(image()))
    assert (draw_frame(image(), frame)[20:30, 30:40] == (255, 0, 0)).all()


def test_a_name_can_be_taken_once(spots):
    with pytest.raises(sonjit.InputError, match="kind 'spots' is already registered"):
        sonjit.detectors.kinds.register_kind(spots.SPOTS)


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_the_command_line_writes_its_tables(spots, tmp_path, ending):
    from sonjit.cli import main

    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image(30 + number))
    table = tmp_path / f"table{ending}"
    assert (
        main(["spots", str(tmp_path / "*.png"), "--save", str(table), "--measures", "--draw", f"{tmp_path}/drawn/"])
        == 0
    )
    frames = load_frames(table)[1]
    assert [frame.results("spots")[0].box[0] for frame in frames] == [30, 31, 32]
    drawn = cv2.imread(str(tmp_path / "drawn" / "0.png"))
    assert (drawn[22:28, 32:38] == (0, 0, 255)).all()


def test_a_result_type_is_registered_again_when_its_module_is_loaded_again(spots):
    before = list(sonjit.results.RESULT_TYPES)
    namespace = {"__name__": spots.__name__}
    text = Path(spots.__file__).read_text("utf-8").partition("@dataclass(frozen=True, eq=False)")[0]
    for _ in range(2):
        exec(compile(text, spots.__file__, "exec"), namespace)  # as a notebook cell that is run again
        sonjit.results.register_result(namespace["Spot"])
    spot = namespace["Spot"](1.0, np.array([[0, 0, 0], [4, 2, 0], [2, 4, 0], [0, 2, 0]], np.float32))
    assert measures(spot) == {"spot_width_px": 4}
    assert list(sonjit.results.RESULT_TYPES) == before
    other = type("Spot", (sonjit.results.Result,), {"kind": "spot", "list_name": "spots"})
    with pytest.raises(sonjit.InputError, match="list of results 'spots' is already registered"):
        sonjit.results.register_result(other)
