"""Arguments of other libraries are answered with what to use."""

from typing import Any

import numpy as np
import pytest

import sonjit
from sonjit import Frame, InputError


def test_a_number_is_answered_with_the_name_of_a_camera() -> None:
    source: Any = 0
    with pytest.raises(InputError, match=r"0 is no input\. Name a camera as 'camera:0'"):
        list(sonjit.track(source, "hands"))


def test_an_option_of_another_library_names_the_nearest_one() -> None:
    options: dict[str, Any] = {"max_hands": 2}
    with pytest.raises(InputError, match=r"hands has no option max_hands\. Did you mean max_instances\? Choose from"):
        sonjit.create_detector("hands", **options)


def test_a_file_name_in_place_of_a_style_is_answered_with_how_to_write_a_drawing() -> None:
    style: Any = "drawn.png"
    with pytest.raises(InputError, match=r"'drawn\.png' is no DrawingStyle\. Write a drawing with PIL"):
        sonjit.draw(np.zeros((20, 20, 3), np.uint8), Frame(0, 0.0), style)


def test_a_video_in_place_of_an_image_names_what_reads_it(tmp_path: Any) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(range(256)))
    with pytest.raises(
        InputError, match=r"a\.mp4 is not an image: .*sonjit\.track and sonjit\.open_source read videos"
    ):
        sonjit.draw(tmp_path / "a.mp4", Frame(0, 0.0))
