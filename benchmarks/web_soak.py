"""Measure memory and main-thread tasks of the static page while it detects hands in camera images (Linux).

python benchmarks/web_soak.py --minutes 10   # after make web
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import tempfile
import threading
import urllib.request
from functools import partial
from pathlib import Path
from statistics import linear_regression
from time import monotonic, sleep

import psutil
import websocket
from page import browse, wait
from rich.console import Console

from sonjit import SonjitError
from sonjit.server.pages import write_page

LIMIT_MB, LIMIT_MS = 20, 50
WARM_UP_S, EVERY_S = 30, 20  # compilation of the networks and layout of the page
WORKER = "sonjit-web-worker.js"
MAIN_THREAD, TASK = "CrRendererMain", "RunTask"
TRACE = {"includedCategories": ["toplevel"], "excludedCategories": ["*"]}


class Handler(http.server.SimpleHTTPRequestHandler):
    """File server with the headers that threads in a page require."""

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--save", type=Path, help="JSON file for the results")
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
    # Processor time, because wall time includes waiting for a core.
    is_good = result["growth_mb"] < LIMIT_MB and result["longest_task_cpu_ms"] <= LIMIT_MS
    return 0 if is_good else 1


def measure(driver, seconds):
    """Measure the memory of the page's process every 20 s, its linear growth, and the tasks of its main thread.

    Browsers collect garbage at any time, so leaks are measured directly after a forced collection.
    """
    with contextlib.closing(DevTools(driver)) as tools:
        main_thread_tasks(tools, 1)  # the first trace allocates memory in every process
        kept = [kept_mb(driver, tools)]
        sleep(EVERY_S)  # the heaps grow back to their usual size
        begin, before = monotonic(), last_frame(driver)
        times, memory, tasks = [0.0], [renderer_mb(driver)], []
        while times[-1] < seconds:
            tasks += main_thread_tasks(tools, EVERY_S)
            times.append(monotonic() - begin)
            memory.append(renderer_mb(driver))
        page_s = monotonic() - begin
        frames = last_frame(driver) - before
        kept.append(kept_mb(driver, tools))
    wall, cpu = zip(*tasks, strict=True)
    return {
        "seconds": round(page_s),
        "frames_a_second": round(frames / page_s, 1),
        "isolated": driver.execute_script("return crossOriginIsolated"),
        "memory_mb": memory,
        "kept_mb": kept,
        "growth_mb": round(linear_regression(times, memory).slope * times[-1], 1),
        "tasks": len(tasks),
        "long_tasks": sum(task_ms > LIMIT_MS for task_ms in wall),
        "longest_task_ms": round(max(wall), 1),
        "long_tasks_cpu": sum(task_ms > LIMIT_MS for task_ms in cpu),
        "longest_task_cpu_ms": round(max(cpu), 1),
        "load": psutil.getloadavg()[0],
    }


class DevTools:
    """Chromium's own protocol, which traces all of its processes."""

    def __init__(self, driver):
        address = driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        with urllib.request.urlopen(f"http://{address}/json/version") as answer:
            url = json.load(answer)["webSocketDebuggerUrl"]
        self._socket = websocket.create_connection(url, suppress_origin=True, timeout=120)
        self._calls = 0
        self._passed = []  # events that were not read yet

    def call(self, method, session=None, **parameters):
        """Call a method of the browser, or of the page or worker of a session, and return its result."""
        self._calls += 1
        to = {"sessionId": session} if session else {}
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters, **to}))
        answer = self._wait(lambda message: message.get("id") == self._calls)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def event(self, method):
        """Return the next event of that name."""
        for k, message in enumerate(self._passed):
            if message.get("method") == method:
                return self._passed.pop(k)["params"]
        return self._wait(lambda message: message.get("method") == method)["params"]

    def close(self):
        self._socket.close()

    def _wait(self, is_it):
        while not is_it(message := json.loads(self._socket.recv())):
            self._passed.append(message)
        return message


def main_thread_tasks(tools, seconds):
    """Return wall and processor time in ms of each task of the main thread of the busiest page."""
    tools.call("Tracing.start", transferMode="ReturnAsStream", streamFormat="json", traceConfig=TRACE)
    sleep(seconds)
    tools.call("Tracing.end")
    handle, parts = tools.event("Tracing.tracingComplete")["stream"], []
    while not parts or not parts[-1].get("eof"):
        parts.append(tools.call("IO.read", handle=handle, size=1 << 20))
    tools.call("IO.close", handle=handle)
    events = json.loads("".join(part["data"] for part in parts))["traceEvents"]
    main = {(e["pid"], e["tid"]): [] for e in events if e["name"] == "thread_name" and e["args"]["name"] == MAIN_THREAD}
    for event in events:
        if event["ph"] == "X" and event["name"].endswith(TASK) and (event["pid"], event["tid"]) in main:
            main[event["pid"], event["tid"]].append((event["dur"] / 1000, event.get("tdur", 0) / 1000))
    return max(main.values(), key=lambda tasks: sum(wall for wall, _ in tasks))


def kept_mb(driver, tools):
    """Return the memory of the page's process after a garbage collection of page and workers."""
    (page,) = [
        targetInfo for targetInfo in tools.call("Target.getTargets")["targetInfos"] if targetInfo["type"] == "page"
    ]
    session = tools.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
    attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
    tools.call("Target.setAutoAttach", session, **attach)
    while (worker := tools.event("Target.attachedToTarget"))["targetInfo"]["url"].rpartition("/")[2] != WORKER:
        pass
    for _ in range(2):  # one collection may leave garbage
        for session_id in (session, worker["sessionId"]):
            tools.call("HeapProfiler.collectGarbage", session_id)
    kept = renderer_mb(driver)
    tools.call("Target.detachFromTarget", sessionId=session)
    return kept


def last_frame(driver):
    """Return the number of the last processed image."""
    return driver.execute_script("return sonjitPage.state.latest.frame")


def renderer_mb(driver):
    """Return the private memory of Chromium's largest page process in 10^6 bytes."""
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
