"""Settings at their bounds, addresses of the page, and the certificate from its first to its last second."""

import socket
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509

from sonjit._util.errors import InputError
from sonjit.server import settings
from sonjit.server.settings import (
    QUIET_ZONE,
    Settings,
    addresses_of_machine,
    check_certificate,
    fingerprint,
    for_other_devices,
    is_loopback,
    own_certificate,
    page_addresses,
    qr_code,
    qr_lines,
    renew_certificate,
)

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """Return the clock of the certificates, which are in a folder of their own."""
    clock = SimpleNamespace(now_is=NOW, now=lambda _: clock.now_is)
    monkeypatch.setattr(settings, "datetime", clock)
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    return clock


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def names_of(path):
    found = read(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_a_certificate_is_valid_from_an_hour_before_for_800_days(clock, tmp_path):
    path = own_certificate([])
    made = read(path)
    assert path == tmp_path / "tls" / "certificate.pem"
    assert made.not_valid_before_utc == NOW - timedelta(hours=1)
    assert made.not_valid_after_utc == NOW + timedelta(days=800)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        (timedelta(hours=-1), True),
        (-timedelta(hours=1) - SECOND, False),
        (timedelta(days=793) - SECOND, True),
        (timedelta(days=793), False),
        (timedelta(days=900), False),
    ],
)
def test_a_certificate_is_renewed_seven_days_before_its_end(clock, later, is_kept):
    first = own_certificate(["10.0.0.5"]).read_bytes()
    clock.now_is = NOW + later
    path = own_certificate([])
    assert (path.read_bytes() == first) == is_kept
    assert "10.0.0.5" in names_of(path)


@pytest.mark.parametrize(
    ("name", "own"), [("laptop", {"laptop", "laptop.local"}), ("a.local", {"a.local"}), ("", set())]
)
def test_a_certificate_is_for_the_names_of_this_machine(clock, monkeypatch, name, own):
    monkeypatch.setattr(settings.socket, "gethostname", lambda: name)
    assert names_of(own_certificate(["10.0.0.5"])) == {"localhost", "127.0.0.1", "::1", "10.0.0.5"} | own
    assert names_of(own_certificate(["10.0.0.6"])) == {"localhost", "127.0.0.1", "::1", "10.0.0.5", "10.0.0.6"} | own


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (NOW - timedelta(hours=1), None),
        (NOW - timedelta(hours=1) - SECOND, "begins on 2031-05-06"),
        (NOW + timedelta(days=800), None),
        (NOW + timedelta(days=800) + SECOND, "ended on 2033-07-14"),
    ],
)
def test_a_server_takes_a_certificate_from_its_first_to_its_last_second(clock, at, says):
    path = own_certificate([])
    clock.now_is = at
    if says is None:
        check_certificate(path, path)
    else:
        with pytest.raises(InputError, match=says):
            check_certificate(path, path)


def test_a_certificate_and_its_key_are_files_that_belong_together(clock, tmp_path):
    path, text = own_certificate([]), tmp_path / "text.pem"
    text.write_text("no certificate")
    other = tmp_path / "other.pem"
    other.write_bytes(path.read_bytes())
    path.unlink()
    own_certificate([])
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


class Context:
    """TLS context that notes which certificates it loads, or fails."""

    def __init__(self, error=None):
        self.error, self.loaded = error, []

    def load_cert_chain(self, certificate, key, password):
        assert password() == ""
        if self.error:
            raise self.error
        self.loaded.append((certificate, key))


def test_a_running_server_renews_only_its_own_certificate(clock, tmp_path, caplog):
    own = own_certificate([])
    others = [tmp_path / "a.pem", tmp_path / "z.pem"]  # names before and behind its own
    for other in others:
        other.write_bytes(own.read_bytes())
    before, clock.now_is = own.read_bytes(), NOW + timedelta(days=795)
    for path in (*others, own):
        context = Context()
        renew_certificate(context, path, path)
        assert context.loaded == [(path, path)]
        assert (path.read_bytes() == before) == (path != own)
    assert caplog.text == ""
    renew_certificate(Context(OSError("disk")), own, own)
    renew_certificate(Context(), tmp_path / "missing.pem", own)
    assert [record.message[:36] for record in caplog.records] == ["the certificate was not loaded again"] * 2


def test_a_fingerprint_has_32_bytes_with_colons(clock):
    assert len(fingerprint(own_certificate([])).split(":")) == 32


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


def test_pages_have_addresses_for_this_machine_and_others(clock, monkeypatch):
    monkeypatch.setattr(settings, "addresses_of_machine", lambda *, ipv6: ["10.0.0.7", *["fd00::5"] * ipv6])
    path = own_certificate([])
    for host, wanted in (
        ("127.0.0.1", ["http://127.0.0.1:80/"]),
        ("::1", ["http://[::1]:80/"]),
        ("0.0.0.0", ["http://127.0.0.1:80/#token=a%2Fb", "http://10.0.0.7:80/#token=a%2Fb"]),
        ("::", [f"http://{name}:80/#token=a%2Fb" for name in ("[::1]", "10.0.0.7", "[fd00::5]")]),
    ):
        token = None if is_loopback(host) else "a/b"
        assert page_addresses(Settings(host=host, token=token), 80) == wanted
        tls = Settings(host=host, token=token, tls_cert=path, tls_key=path)
        assert page_addresses(tls, 80) == [address.replace("http:", "https:") for address in wanted]
        assert for_other_devices(wanted) == wanted[1:]


@pytest.mark.parametrize(
    ("ipv6", "fails", "found"), [(False, [], [4]), (True, [], [4, 6]), (True, [4], [6]), (False, [4], [])]
)
def test_the_addresses_of_a_machine_are_those_of_its_routes(monkeypatch, ipv6, fails, found):
    families, asked = {socket.AF_INET: 4, socket.AF_INET6: 6}, []

    class Probe:
        def __init__(self, family, kind):
            self.family = families[family]
            assert kind == socket.SOCK_DGRAM

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append("closed")

        def connect(self, address):
            asked.append(address)
            if self.family in fails:
                raise OSError("no network")

        def getsockname(self):
            return (f"address {self.family}", 5555)

    monkeypatch.setattr(settings.socket, "socket", Probe)
    assert addresses_of_machine(ipv6=ipv6) == [f"address {family}" for family in found]
    assert asked == [("192.0.2.1", 9), "closed", ("2001:db8::1", 9), "closed"][: 4 if ipv6 else 2]


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
