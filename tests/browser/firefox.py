"""Drive Firefox by its own WebDriver BiDi (W3C)."""

import contextlib
import json
import os
import shutil
import subprocess

from websockets.sync.client import connect

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
XVFB = shutil.which("Xvfb")
CALL = """async (given) => JSON.stringify(await new Promise((done) => {
  (function () { %s })(...JSON.parse(given), done);
}) ?? null)"""


@contextlib.contextmanager
def virtual_display():
    """Run a display without a screen, and return its name."""
    read, write = os.pipe()
    command = [XVFB, "-displayfd", str(write), "-screen", "0", "1280x1000x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as number:
            yield f":{number.readline().strip()}"
    finally:
        process.terminate()
        process.wait(20)


class Firefox:
    """Window with the methods of selenium that tests of web pages use; only one on a display has WebGL."""

    def __init__(self, profile, display=None):
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("".join(lines), "utf-8")
        command = [FIREFOX, "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        command += [] if display else ["--headless"]
        environment = os.environ | ({"DISPLAY": display} if display else {})
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=environment, **quiet)
        port_file = profile / "WebDriverBiDiServer.json"
        wait_until(lambda: port_file.is_file() and port_file.stat().st_size, 60, lambda: "Firefox did not start")
        address = json.loads(port_file.read_text("utf-8"))
        self._number = 0
        self._socket = connect(f"ws://{address['ws_host']}:{address['ws_port']}/session", max_size=None).__enter__()
        self._ask("session.new", capabilities={})
        self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def _ask(self, method, **parameters):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        answer = {}
        while answer.get("id") != self._number:
            answer = json.loads(self._socket.recv(120))
        if answer["type"] == "error":
            raise RuntimeError(answer["message"])
        return answer["result"]

    def get(self, url):
        self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def execute_async_script(self, script, *arguments):
        """Return the value that the script passes to its last argument."""
        answer = self._ask(
            "script.callFunction",
            functionDeclaration=CALL % script,
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self._tab},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def execute_script(self, script):
        return self.execute_async_script(f"arguments[arguments.length - 1]((() => {{ {script} }})())")

    def upload(self, name, path):
        """Select a file in the field with this id."""
        body = f"() => document.getElementById({json.dumps(name)})"
        target = {"context": self._tab}
        field = self._ask("script.callFunction", functionDeclaration=body, target=target, awaitPromise=False)["result"]
        self._ask("input.setFiles", **target, element={"sharedId": field["sharedId"]}, files=[str(path)])

    def get_screenshot_as_base64(self):
        return self._ask("browsingContext.captureScreenshot", context=self._tab)["data"]

    def quit(self):
        self._ask("browser.close")
        self._socket.__exit__(None, None, None)
        self.process.wait(30)
