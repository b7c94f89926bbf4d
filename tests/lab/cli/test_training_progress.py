"""Lines of progress: the first step, evaluations and the remaining time, at regular intervals."""

import pytest

from sonjit.lab.cli.train import _duration, _LinePrinter


def test_lines_show_the_rate_the_time_left_and_each_evaluation():
    lines, times = [], iter([0.0, 0.0, 10.0, 20.0, 60.0, 70.0])
    show = _LinePrinter(lines.append, lambda: next(times))
    show(0, 1000, {"validation error_px": 17.84})
    show(1, 1000, {"loss": 2.0, "images/s": 12.345})
    show(2, 1000, {"loss": 1.5, "images/s": 12.345})
    show(3, 1000, {"loss": 1.25, "images/s": 12.345})
    show(4, 1000, {"loss": 1.0, "images/s": 12.345, "validation error_px": 16.0})
    assert lines == [
        "step 0 of 1000: validation error_px 17.8",
        "step 3 of 1000, 5 h 32 min left: loss 1.25, images/s 12.3",
        "step 4 of 1000, 4 h 50 min left: loss 1, images/s 12.3, validation error_px 16",
    ]


def test_the_first_step_and_every_tenth_have_a_line():
    lines = []
    show = _LinePrinter(lines.append, lambda: 0.0)
    for done in range(1, 21):
        show(done, 20, {"loss": 1.0})
    assert [line.split()[1] for line in lines] == ["1", *map(str, range(2, 21, 2))]


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")])
def test_durations(seconds, text):
    assert _duration(seconds) == text
