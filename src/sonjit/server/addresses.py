"""Where browsers find the page: on this machine and on others, and the same as a QR code."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import segno
from fastapi import APIRouter, Request

from sonjit.server.certificate import fingerprint
from sonjit.server.settings import Settings, is_loopback


def page_addresses(settings: Settings, port: int) -> list[str]:
    """Where browsers find the page, with the token: on this machine first, then on others that reach it."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host)
    hosts = [settings.host] if own is None else [own, *addresses_of_machine(ipv6=settings.host == "::")]
    scheme = "http" if settings.tls_cert is None else "https"
    fragment = f"#token={quote(settings.token, safe='')}" if settings.token else ""
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{fragment}" for host in hosts]


def for_other_devices(addresses: list[str]) -> list[str]:
    """Those of the page's addresses that other devices can open.

    >>> for_other_devices(["http://127.0.0.1:80/", "http://192.168.1.5:80/"])
    ['http://192.168.1.5:80/']
    """
    return [address for address in addresses if not is_loopback(urlsplit(address).hostname or "")]


_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that exist in documents alone: asking for the way there sends nothing."""


def addresses_of_machine(*, ipv6: bool) -> list[str]:
    """Addresses by which other devices reach this machine: those from which it would call elsewhere."""
    addresses: list[str] = []
    for family in (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way:  # where there is none, no network
            way.connect((_ELSEWHERE[family], 9))
            addresses.append(way.getsockname()[0])
    return addresses


def qr_lines(address: str) -> list[str]:
    """An address as a QR code of letters, for black on white: two rows of modules to a line.

    Empty where the address is too long for one.
    """
    code = _qr(address)
    if code is None:
        return []
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=_QUIET_ZONE)]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(" ▄▀█"[2 * upper + lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]


_QUIET_ZONE = 2


def _qr(address: str) -> segno.QRCode | None:
    with suppress(segno.DataOverflowError):
        return segno.make_qr(address, error="l")
    return None


@dataclass(frozen=True)
class PageAddress:
    """An address of the page that other devices can open.

    Attributes:
        url: with the token.
        qr: the same as a QR code, a `data:` URL of an SVG; None where it is too long for one.
    """

    url: str
    qr: str | None


@dataclass(frozen=True)
class Addresses:
    """What `GET /v1/addresses` answers.

    Attributes:
        https: whether the server speaks it, without which browsers of other devices give no camera.
        addresses: that other devices can open; none of a server on loopback.
        fingerprint: SHA-256 of the certificate; None over http.
    """

    https: bool
    addresses: list[PageAddress]
    fingerprint: str | None


def address_router(settings: Settings) -> APIRouter:
    """`GET /v1/addresses`."""
    router = APIRouter(tags=["server"])

    @router.get("/v1/addresses")
    def addresses(request: Request) -> Addresses:
        """Where other devices find the page."""
        server: Any = request.scope["server"]
        urls = for_other_devices(page_addresses(settings, server[1]))
        cert = settings.tls_cert
        return Addresses(cert is not None, [_page_address(url) for url in urls], cert and fingerprint(cert))

    return router


def _page_address(url: str) -> PageAddress:
    code = _qr(url)
    return PageAddress(url, code and code.svg_data_uri(border=_QUIET_ZONE, light="#fff"))
