"""Parts of a search that run ahead on other threads."""

import threading

import pytest

import sonjit


@pytest.mark.slow
@pytest.mark.golden
def test_helpers_do_not_change_results(data):
    photographs = sorted((data / "real" / "wild3").rglob("*.jpg"))[:60:6]
    if not photographs:
        pytest.skip(f"{data / 'real' / 'wild3'} is not there")
    with sonjit.create_detector("hands", static_image=True, threads=2) as several:
        together = [several.detect(path) for path in photographs]
    with sonjit.create_detector("hands", static_image=True, threads=1) as one:
        assert [one.detect(path) for path in photographs] == together
    assert any(together)


def threads_named(prefix):
    return {thread for thread in threading.enumerate() if thread.name.startswith(prefix)}


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "options", "prefix"),
    [("hands", {"static_image": True}, "sonjit-ahead"), ("holistic", {}, "sonjit-face")],
)
@pytest.mark.files("real/wild/stock-group-1.jpg")
def test_a_closed_detector_has_no_threads(kind, options, prefix, file):
    others = threads_named(prefix)
    detector = sonjit.create_detector(kind, **options)
    assert detector.detect(file)
    own = threads_named(prefix) - others
    detector.close()
    assert not any(thread.is_alive() for thread in own)
