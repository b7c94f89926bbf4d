"""Start a Sonjit server, and Chromium with one of its pages, for the benchmarks of web pages."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from time import monotonic, sleep

from sonjit._util.errors import InputError

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--lang=en"),
)


def serve(stack, folder, *command):
    """Start `sonjit COMMAND --port PORT`, and return its process and address. The stack terminates it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = stack.enter_context((folder / "server.log").open("w"))
    server = subprocess.Popen([sys.executable, "-m", "sonjit", *command, "--port", str(port)], stdout=log, stderr=log)
    stack.callback(lambda: (server.terminate(), server.wait(20)))
    end = monotonic() + 60
    while monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return server, f"http://127.0.0.1:{port}/"
        sleep(0.1)
    raise InputError(f"sonjit {' '.join(command)} did not start: {(folder / 'server.log').read_text().strip()}")


def chromium(stack, folder, *flags):
    """Start headless Chromium with its profile in the folder, and return its driver. The stack closes it."""
    browser, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    os.environ |= {"SE_OFFLINE": "true", "SE_AVOID_STATS": "true"}
    try:
        from selenium import webdriver
    except ImportError:
        raise InputError("selenium is not installed: pip install selenium") from None
    if not (browser and driver_path):
        raise InputError("chromium or chromedriver is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    stack.callback(driver.quit)
    return driver
