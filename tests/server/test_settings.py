"""Settings at their bounds, addresses of the page, and the certificate from its first to its last second."""

import pytest

from sonjit._util.errors import InputError
from sonjit.server.settings import (
    QUIET_ZONE,
    Settings,
    check_certificate,
    fingerprint,
    is_loopback,
    machine_certificate,
    qr_code,
    qr_lines,
)


def test_a_certificate_and_its_key_are_files_that_belong_together(monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    path, text = machine_certificate([]), tmp_path / "text.pem"
    text.write_text("no certificate")
    other = tmp_path / "other.pem"
    other.write_bytes(path.read_bytes())
    path.unlink()
    machine_certificate([])
    check_certificate(None, None)
    for pair, says in (
        ((path, None), "give both"),
        ((None, path), "give both"),
        ((tmp_path / "a.pem", path), "no file .*a.pem"),
        ((path, tmp_path / "a.pem"), "no file .*a.pem"),
        ((path, other), "the key is not the certificate's"),
        ((path, text), "do not make a certificate: (?!the key)"),
        ((text, path), "do not make a certificate: (?!the key)"),
    ):
        with pytest.raises(InputError, match=says):
            check_certificate(*pair)


def test_a_fingerprint_has_32_bytes_with_colons(monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    assert len(fingerprint(machine_certificate([])).split(":")) == 32


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1"])
def test_a_loopback_address_needs_no_token(host):
    assert is_loopback(host)
    assert Settings(host=host).token is None


@pytest.mark.parametrize("host", ["a", "localhost.a", "localhos", "zoo", "0.0.0.0", "10.0.0.1", "::"])
def test_another_address_needs_a_token_of_printable_characters(host):
    assert not is_loopback(host)
    assert Settings(host=host, token="a b").host == host
    for token in (None, "", " ", "a\n", "\x01", "손", "a\x7f"):
        with pytest.raises(InputError, match="--token"):
            Settings(host=host, token=token)


@pytest.mark.parametrize(
    "origin", ["HTTP://a", "http://a/", "http://a?b", "http:", "ws://a", "http://:80", "http://a:b"]
)
def test_an_origin_has_a_scheme_a_name_and_a_port_and_nothing_else(origin):
    Settings(allow_origins=("http://a", "https://a.b:80"))
    with pytest.raises(InputError, match="give scheme, name and port"):
        Settings(allow_origins=("http://a", origin))


def test_a_qr_code_has_a_margin_and_half_as_many_lines_as_modules():
    address = "http://10.0.0.7:8765/#token=abc"
    width, height = qr_code(address).symbol_size(border=2)
    assert QUIET_ZONE == 2
    lines = qr_lines(address)
    assert len(lines) == (height + 1) // 2
    assert len(lines[0].replace("\x1b[0m", "").rpartition("m")[2]) == width
    assert (qr_code("x" * 3000), qr_lines("x" * 3000)) == (None, [])


def test_sizes_are_in_bytes_and_pixels():
    made = Settings(max_body_mb=2.5, max_megapixels=0.000_003)
    assert (made.max_body_bytes, made.max_pixels) == (2_500_000, 3)
