"""Addresses of the page on this machine and for other devices, also as QR codes."""

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

_REMOTE_ADDRESSES = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses reserved for documentation. A datagram socket finds the route to them without sending anything."""
_QUIET_ZONE = 2
"""Margin of a QR code in modules."""


def page_addresses(settings: Settings, port: int) -> list[str]:
    """Return the addresses of the page with the token: first for this machine, then for others."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host)
    hosts = [settings.host] if own is None else [own, *addresses_of_machine(ipv6=settings.host == "::")]
    scheme = "http" if settings.tls_cert is None else "https"
    fragment = f"#token={quote(settings.token, safe='')}" if settings.token else ""
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{fragment}" for host in hosts]


def for_other_devices(addresses: list[str]) -> list[str]:
    """Return the addresses that other devices can open.

    >>> for_other_devices(["http://127.0.0.1:80/", "http://192.168.1.5:80/"])
    ['http://192.168.1.5:80/']
    """
    return [address for address in addresses if not is_loopback(urlsplit(address).hostname or "")]


def addresses_of_machine(*, ipv6: bool) -> list[str]:
    """Return the addresses of this machine: the source addresses of its routes to other networks."""
    addresses: list[str] = []
    for family in (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:  # OSError without a network
            probe.connect((_REMOTE_ADDRESSES[family], 9))
            addresses.append(probe.getsockname()[0])
    return addresses


def qr_lines(address: str) -> list[str]:
    """Return an address as a QR code of block characters, black on white, with two rows of modules per line.

    The list is empty if the address is too long.
    """
    code = _qr(address)
    if code is None:
        return []
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=_QUIET_ZONE)]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(" ▄▀█"[2 * upper + lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]


def _qr(address: str) -> segno.QRCode | None:
    with suppress(segno.DataOverflowError):
        return segno.make_qr(address, error="l")
    return None


@dataclass(frozen=True)
class PageAddress:
    """Address of the page that other devices can open.

    Attributes:
        url: Address with the token.
        qr: QR code of the address as a `data:` URL of an SVG; None if the address is too long.
    """

    url: str
    qr: str | None


@dataclass(frozen=True)
class Addresses:
    """Answer of `GET /v1/addresses`.

    Attributes:
        https: True if the server uses https. Browsers of other devices require it for the camera.
        addresses: Addresses that other devices can open; empty for a server on loopback.
        fingerprint: SHA-256 of the certificate; None without https.
    """

    https: bool
    addresses: list[PageAddress]
    fingerprint: str | None


def address_router(settings: Settings) -> APIRouter:
    """Return the endpoint `GET /v1/addresses`."""
    router = APIRouter(tags=["server"])

    @router.get("/v1/addresses")
    def addresses(request: Request) -> Addresses:
        """Addresses of the page for other devices."""
        server: Any = request.scope["server"]
        urls = for_other_devices(page_addresses(settings, server[1]))
        cert = settings.tls_cert
        return Addresses(cert is not None, [_page_address(url) for url in urls], cert and fingerprint(cert))

    return router


def _page_address(url: str) -> PageAddress:
    code = _qr(url)
    return PageAddress(url, code and code.svg_data_uri(border=_QUIET_ZONE, light="#fff"))
