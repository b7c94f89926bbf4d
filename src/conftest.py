"""Where the examples of the public functions run: a folder with `photo.jpg` and `clip.mp4`, which show hands."""

from pathlib import Path

import pytest

import sonjit
from sonjit._util.data_files import ASSETS


@pytest.fixture(scope="session")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image and 12 frames of the bundled clip."""
    import av
    import cv2

    from sonjit._util.errors import SonjitError
    from sonjit.weights import find_weight

    try:
        for name in ("palm-full", "hand-full"):
            find_weight(name)
    except SonjitError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("examples")
    with sonjit.open_source(ASSETS / "demo.mp4") as source:
        frames = [frame.rgb for frame in source][200:212]
    cv2.imwrite(str(folder / "photo.jpg"), cv2.cvtColor(frames[0], cv2.COLOR_RGB2BGR))
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode(None))
    return folder


@pytest.fixture(autouse=True)
def examples_run_there(request: pytest.FixtureRequest, doctest_namespace: dict[str, object]) -> None:
    """Only for examples that name the files: all others are plain arithmetic."""
    doctest = getattr(request.node, "dtest", None)
    if doctest is not None and any(
        "photo.jpg" in example.source or "clip.mp4" in example.source for example in doctest.examples
    ):
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("example_folder"))
        doctest_namespace["sonjit"] = sonjit
