"""Does the written page stay small and smooth: camera images for minutes, hands found in the page itself (Linux).

python benchmarks/web_soak.py --minutes 10   # after make web
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import tempfile
import threading
from functools import partial
from pathlib import Path
from statistics import linear_regression
from time import monotonic, sleep

import psutil
from page import browse, wait
from rich.console import Console

from sonjit import SonjitError
from sonjit.server.static_page import write_page

LIMIT_MB, LIMIT_MS = 20, 50
WARM_UP_S, EVERY_S = 30, 20  # networks are compiled and pages laid out first
# Tasks of the page's own thread that took over 50 ms, and the share of its time that they took.
LISTEN = """
globalThis.soak = {tasks: [], from: performance.now()};
const note = (list) => soak.tasks.push(...list.getEntries().map(({duration}) => duration));
new PerformanceObserver(note).observe({type: "longtask"});
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """A host of files that lets a page have threads."""

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--save", type=Path, help="write the figures there as JSON")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        write_page(folder / "app")
        host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder / "app"))
        threading.Thread(target=host.serve_forever, daemon=True).start()
        driver = browse(stack, folder, dark=False)
        driver.get(f"http://127.0.0.1:{host.server_port}/")
        wait(driver, "return document.documentElement.dataset.ready === 'true'")
        driver.execute_script("document.getElementById('start').click()")
        wait(driver, "return sonjitPage.state.latest?.hands?.length", 120)
        sleep(WARM_UP_S)
        result = measure(driver, 60 * args.minutes)
        host.shutdown()
    Console().print_json(json.dumps(result))
    if args.save:
        args.save.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    is_good = result["growth_mb"] < LIMIT_MB and result["longest_task_ms"] <= LIMIT_MS
    return 0 if is_good else 1


def measure(driver, seconds):
    """Memory of the page's process every 20 s, its growth by a line through all, and long tasks of its main thread."""
    driver.execute_script(LISTEN)
    begin, before = monotonic(), answered(driver)
    times, memory = [0.0], [renderer_mb(driver)]
    while times[-1] < seconds:
        sleep(EVERY_S)
        times.append(monotonic() - begin)
        memory.append(renderer_mb(driver))
    tasks, page_s = driver.execute_script("return [soak.tasks, (performance.now() - soak.from) / 1000]")
    return {
        "seconds": round(page_s),
        "frames_a_second": round((answered(driver) - before) / page_s, 1),
        "isolated": driver.execute_script("return crossOriginIsolated"),
        "memory_mb": memory,
        "growth_mb": round(linear_regression(times, memory).slope * times[-1], 1),
        "long_tasks": len(tasks),
        "longest_task_ms": round(max(tasks, default=0)),
        "load": psutil.getloadavg()[0],
    }


def answered(driver):
    """The number of the last image that was looked at."""
    return driver.execute_script("return sonjitPage.state.latest.frame")


def renderer_mb(driver):
    """What the largest of Chromium's processes of pages holds of its own, in 10^6 bytes."""
    sizes = [0]
    for process in psutil.Process(driver.service.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                sizes.append(process.memory_full_info().uss)
    return round(max(sizes) / 1e6, 1)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except SonjitError as error:
        raise SystemExit(f"error: {error}") from None
