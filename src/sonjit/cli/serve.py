"""`sonjit serve` and `sonjit page`: the live app on this machine, or as a folder of files for any web host."""

import logging
import shutil
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from sonjit._util import InputError
from sonjit._util.extras import install_command
from sonjit.cli.options import TO_FOLDER
from sonjit.detectors.kinds import KINDS
from sonjit.server import settings


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_page: Annotated[bool, Parameter(name="--open", negative="")] = False,
    token: str | None = None,
    token_file: Path | None = None,
    tls: Annotated[bool, Parameter(negative="")] = False,
    cert: Path | None = None,
    key: Path | None = None,
    allow_origin: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    jobs_folder: Path | None = None,
    temporary: Annotated[bool, Parameter(negative="")] = False,
    root_path: str = "",
    verbose: Annotated[bool, Parameter(negative="")] = False,
    limits: Annotated[settings.Limits | None, Parameter(name="*", group=Group("Limits", sort_key=1))] = None,
) -> int:
    """Serve the live app and its endpoints until Ctrl-C.

    `sonjit serve --open` opens the app in the browser.

    `sonjit serve --host 0.0.0.0 --token SECRET --tls` also serves phones. It prints their addresses, the first as a QR
    code.

    Args:
        host: Name or address to listen on.
        port: Port to listen on. 0 selects a free port.
        open_page: Open the app in the browser.
        token: Secret that every call must contain. Required on a host that other machines can reach. Other accounts
            of this machine see it in the list of processes: use the variable SONJIT_TOKEN or a file instead.
        token_file: File with the token.
        tls: Use https with a self-signed certificate of this machine. Browsers of other devices require https for the
            camera. The certificate is created on first use and kept, and its fingerprint is printed.
        cert: Certificate (PEM) for https instead of the self-signed one.
        key: Key (PEM) of the certificate.
        allow_origin: Allow calls from pages of another origin, e.g. http://localhost:3000, capacitor://localhost for
            an app, or null. Can be repeated.
        jobs_folder: Folder that keeps results after the server stops. It must be new, empty or from an earlier
            server. Default: a folder in the data of this account.
        temporary: Remove all results when the server stops.
        root_path: Path of a reverse proxy below which clients see the server, e.g. /hands. The proxy may remove it from
            requests or not.
        verbose: Log every request.
    """
    from sonjit.server.app import serve

    if temporary and jobs_folder is not None:
        raise InputError("--temporary and --jobs-folder cannot be combined: give one of them")
    chosen = settings.Settings(
        **vars(limits or settings.Limits()),
        host=host,
        token=settings.read_token(token, token_file),
        tls_cert=cert,
        tls_key=key,
        allow_origins=allow_origin,
        jobs_folder=None if temporary else jobs_folder or settings.usual_jobs_folder(),
        root_path=root_path,
    )
    if tls and cert is None:
        path = settings.machine_certificate(
            settings.addresses_of_machine(ipv6=True) if host in ("0.0.0.0", "::") else [host]
        )
        chosen = replace(chosen, tls_cert=path, tls_key=path)
    log_to_stderr(verbose=verbose)
    is_shown = token is not None or sys.stdout.isatty()  # a service writes what it prints to a log
    printer = address_printer(
        open_page=open_page, cert=chosen.tls_cert, shows_token=is_shown, results=chosen.jobs_folder or "temporary"
    )
    serve(chosen, port, verbose=verbose, started=printer)
    return 0


def address_printer(
    *,
    open_page: bool,
    page: str = "",
    cert: Path | None = None,
    shows_token: bool = True,
    results: Path | str = "",
) -> Callable[[list[str]], None]:
    """Return a function that prints the addresses of a server once it listens, with the token or without it.

    `results` is the folder that keeps results; "" prints nothing about them.
    """

    def print_addresses(addresses: list[str]) -> None:
        address, *others = (link.replace("/#", f"/{page}#") if "#" in link else link + page for link in addresses)
        sys.stdout.write(f"serving at {_printed(address)}\n")
        for other in others:
            sys.stdout.write(f"for other devices: {_printed(other)}\n")
        if _printed(address) != address:
            sys.stdout.write("the page asks for the token\n")
        if cert is not None:
            sys.stdout.write(f"certificate: {cert}\nSHA-256 fingerprint: {settings.fingerprint(cert)}\n")
        for other in settings.for_other_devices([address, *others])[:1]:
            if other.startswith("http:"):
                sys.stdout.write("browsers of other devices require https for the camera: add --tls\n")
            if sys.stdout.isatty():
                _show_qr(settings.qr_lines(other))
        if isinstance(results, Path):
            sys.stdout.write(f"results are kept in {results}\n")
        elif results:
            sys.stdout.write("results end with this server\n")
        sys.stdout.flush()
        if open_page:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    def _printed(address: str) -> str:
        return address if shows_token else address.partition("#")[0]

    return print_addresses


def _show_qr(lines: list[str]) -> None:
    """Print a QR code if the terminal is wide enough and can show it."""
    if lines and len(lines[0]) < shutil.get_terminal_size().columns:
        white_on_black, usual = "\x1b[97;40m", "\x1b[0m"  # some readers cannot read a code with inverted colours
        with suppress(UnicodeEncodeError):
            sys.stdout.write("".join(f"{white_on_black}{line}{usual}\n" for line in lines))


class _OneLine(logging.Formatter):
    """Formatter that writes a record as one line, with a traceback only in verbose mode."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__("sonjit: %(message)s")
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        if self._verbose:
            return super().format(record)
        line = " ".join(record.getMessage().split())
        error = record.exc_info[1] if record.exc_info else None
        return f"sonjit: {line}" if error is None else f"sonjit: {line} ({type(error).__name__}: {error})"


def log_to_stderr(*, verbose: bool) -> None:
    """Print warnings and errors of the server as single lines on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(verbose=verbose))
    for name in ("uvicorn", "sonjit"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if verbose and name == "uvicorn" else logging.WARNING)


def page(out: Annotated[Path, TO_FOLDER], /, *, engine: Path | None = None, bundle: Path | None = None) -> int:
    """Write the live app as a folder for any web host.

    The networks run in the visitor's browser. `sonjit page app` writes a page that phones can install as an app and
    that works without network. Browsers require https for the camera, except on localhost.

    Args:
        out: New folder.
        engine: Folder with the module for web pages. Default: that of `make web` in a clone, otherwise the module
            of the installed package, with the networks that sonjit models pull fetched.
        bundle: MediaPipe's face_landmarker.task for blendshapes and poses of faces. Default: that of sonjit models add.
    """
    from sonjit.server.kinds import kinds_in_pages, missing_for_stills
    from sonjit.server.pages import BUILT_ENGINE, CLASSIFIER_FILE, write_page

    names = write_page(out, engine or BUILT_ENGINE, bundle=bundle)
    size_mb = sum((out / name).stat().st_size for name in names) / 1e6
    sys.stdout.write(f"{out}: {len(names)} files, {size_mb:.1f} MB; to try it: python -m http.server -d {out}\n")
    if CLASSIFIER_FILE not in names:
        sys.stdout.write(f"photographs are not classified: sonjit models pull classifiers; {install_command('page')}\n")
    for name in kinds_in_pages():
        if missing := missing_for_stills(KINDS[name], out / "engine"):
            sys.stdout.write(f"images on their own are searched fast for {name}: without {', '.join(missing)}\n")
    return 0
