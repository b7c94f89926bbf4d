"""Steps of a stream with a client and detectors of the test: messages, queue, answers, commands, and its end."""

import json

import pytest

from sonjit.server.errors import RefusedError
from sonjit.server.stream import Configure, ProtocolError, Reset, read_image, read_text

from .conftest import frame_message

HANDS, FACE, PEOPLE = ({"kind": kind} for kind in ("hands", "face", "holistic"))
MAP = '[[rule]]\non = "Clap"\nkey = "right"'


@pytest.mark.parametrize(("size", "is_read"), [(23, False), (24, True), (25, True)])
def test_an_image_has_a_header_of_24_bytes(size, is_read):
    data = frame_message(7, b"x", time=1.5, kind=2, size=(3, 4))[:size]
    if not is_read:
        with pytest.raises(ProtocolError, match="24 bytes"):
            read_image(data)
        return
    read = read_image(data)
    assert (read.number, read.time_s, read.format, read.width, read.height) == (7, 1.5, 2, 3, 4)
    assert bytes(read.data) == b"x"[: size - 24]
    with pytest.raises(ProtocolError, match="begins with SNJ1"):
        read_image(b"SNJ2" + data[4:])


@pytest.mark.parametrize(
    "message", ["", "{", "[]", "3", '{"type": 3}', '{"type": "aaa"}', '{"type": "d"}', '{"type": "zzz"}', "[" * 100_000]
)
def test_other_texts_are_no_messages(message):
    with pytest.raises(ProtocolError):
        read_text(message)


def test_a_text_has_two_million_characters_at_most():
    reset = '{"type": "reset"}'
    assert read_text(reset + " " * (2_000_000 - len(reset))) == Reset()
    with pytest.raises(ProtocolError, match="at most 2000000 characters"):
        read_text(reset + " " * (2_000_001 - len(reset)))
    with pytest.raises(ProtocolError, match="lists and objects"):
        read_text("[" * 500_001)


def test_settings_have_defaults_of_a_stream():
    read = read_text(json.dumps({"type": "configure", "detectors": [HANDS]}))
    assert (read.control, read.custom, read.anonymise) == (None, None, None)
    (options,) = read.detectors
    assert (options.kind, options.measures, options.detector.static_image) == ("hands", False, False)
    read = read_text(json.dumps({"type": "configure", "detectors": [HANDS, FACE], "measures": True, "control": MAP}))
    assert [options.measures for options in read.detectors] == [True, True]
    assert len(read.control.rules) == 1


@pytest.mark.parametrize("how", [None, "none", "blur", "persons"])
def test_everybody_nobody_or_faces_are_hidden(how):
    read = read_text(json.dumps({"type": "configure", "detectors": [], "anonymise": how}))
    assert read == Configure((), anonymise=how if how in ("blur", "persons") else None)


@pytest.mark.parametrize(
    ("more", "says"),
    [({"anonymise": how}, "choose from none, blur, persons") for how in ("", "black", "c", "zoo", 3, ["blur"])]
    + [
        ({"control": 3}, "control"),
        ({"control": "x" * 64_001}, "more than 64000 characters"),
        ({"gestures_file": 3}, "base64"),
        ({"measures": 1}, "measures=1"),
        ({"a": 1, "b": 2}, "Unknown member 'a'. Choose from type, detectors, measures, control, gestures_file"),
        ({"detectors": 3}, "give a list"),
    ],
)
def test_wrong_settings_are_refused(more, says):
    refused = read_text(json.dumps({"type": "configure", "detectors": []} | more)).detectors
    assert isinstance(refused, RefusedError)
    assert says in str(refused)
