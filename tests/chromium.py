"""A headless Chromium for tests of pages, driven over a pipe by its DevTools protocol."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from select import select
from typing import Any

BINARY = shutil.which("chromium")
PATIENCE = 60.0
"""Seconds that an answer may take."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

LAUNCH = "import os, sys; _, its, ours, *browser = sys.argv; os.dup2(int(its), 3); os.dup2(int(ours), 4); os.execv(browser[0], browser)"
"""Puts the two ends of the pipe where the browser looks for them: 3 to read and 4 to write."""


class Page:
    """One page: `errors` collects what the console complained of, `requests` every address that was asked for."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._read = commands, answers, b""
        self._session: str | None = None
        self._number = 0
        self._loaded = False
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def emulate(self, *, width: int, height: int, dark: bool) -> None:
        """Be a screen of that size, in CSS pixels, in the light or in the dark."""
        mobile = width < 600
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Load a page and wait until it is there."""
        self._loaded = False
        self._call("Page.navigate", url=address)
        while not self._loaded:
            self._take()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        image = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(b64decode(image["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number, message = self._number, {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._take()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _take(self) -> dict[str, Any]:
        """The next message, noted if it is an event."""
        while b"\0" not in self._read:
            if not select([self._answers], [], [], PATIENCE)[0]:
                raise AssertionError(f"chromium did not answer for {PATIENCE:.0f} s")
            read = os.read(self._answers, 1 << 20)
            if not read:
                raise AssertionError("chromium ended")
            self._read += read
        raw, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        about = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(about["args"]))
            case "Log.entryAdded" if about["entry"]["level"] in ("error", "warning"):
                self.errors.append(about["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
        return message


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile directory and one page; it ends with the block."""
    assert BINARY is not None
    ours, its_answers = os.pipe()
    its_commands, commands = os.pipe()
    ends = [fcntl(end, F_DUPFD, 10) for end in (its_commands, its_answers)]
    os.close(its_commands)
    os.close(its_answers)
    with subprocess.Popen(  # noqa: S603 - a browser that was installed for these tests
        [sys.executable, "-c", LAUNCH, *map(str, ends), BINARY, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=ends,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        for end in ends:
            os.close(end)
        try:
            yield Page(commands, ours)
        finally:
            os.close(commands)  # the browser ends when nobody drives it any more
            os.close(ours)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
