"""Options and words of other programs are answered with what to use."""

from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ("-o x.csv", "unknown option -o. --save FILE writes a table, and --draw FILE an image or a video"),
        ("-f", "unknown option -f. Outputs of the same name are replaced."),
        ("-v", "unknown option -v. --help lists the options"),
        ("-n5", "unknown option -n5. --help lists the options"),
        ("--format csv", "unknown option --format. The ending of --save FILE chooses the format"),
        ("--webcam", "unknown option --webcam. camera:0 is the first camera: write it as the input"),
        ("--gpu", "unknown option --gpu. --device selects a device, such as --device gpu"),
        ("--input x.mp4", "unknown option --input. Inputs have no option: write their names alone"),
        ("--resume", "unknown option --resume. The same command continues a run that was stopped"),
        ("--draw x.csv", "--draw x.csv: a drawing is no table. Use --save x.csv"),
        ("--draw x.coco.json", "--draw x.coco.json: a drawing is no table. Use --save x.coco.json"),
        ("--save x.csv --save ./x.csv", "--save and --save write the same ./x.csv. Choose another name or folder"),
    ],
)
def test_options_of_other_programs_name_the_one_to_use(sonjit: Run, options: str, remedy: str) -> None:
    status, out, (line,) = sonjit("hands", "photo.jpg", *options.split())
    assert (status, out) == (2, "")
    assert line.startswith(f"sonjit: {remedy}")


def test_a_hint_names_no_option_that_a_command_lacks(sonjit: Run) -> None:
    for words in (("motions", "a.mp4", "--draws"), ("gestures", "export", "a.mp4", "--webcams")):
        assert sonjit(*words)[0] == 2
    for command in ("motions", "report"):
        line = sonjit(command, "a.mp4", "--gpu")[2][0]
        assert line == "sonjit: unknown option --gpu. --help lists the options"


def test_a_word_that_resembles_no_command_suggests_none(sonjit: Run) -> None:
    assert sonjit("update") == (2, "", ["sonjit: Unknown command update. sonjit --help lists the commands."])


def test_a_report_names_what_it_reads_and_writes(sonjit: Run) -> None:
    for words, part in (
        (
            ("a.mp4", "--save", "x.mp4"),
            "x.mp4: choose a name that ends in .html or .pdf. --draw x.mp4 writes the video",
        ),
        (("a.mp4", "--save", "x.docx"), "x.docx: choose a name that ends in .html or .pdf"),
        (("camera:0",), "camera:0: a report requires video files: name each one, such as squats.mp4"),
        ((), "name a video, such as sonjit report squats.mp4"),
    ):
        assert sonjit("report", *words) == (2, "", [f"sonjit: {part}"])
