"""A Chromium without a window, by the DevTools protocol over two pipes: no port is opened."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run"),
    *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe"),
)
PATIENCE = 90  # seconds for one answer


class Tab:
    """One tab of a Chromium, by the DevTools protocol: JSON messages that end in a zero byte, over two pipes.

    events: what the browser told unasked.
    """

    def __init__(self, answers: int, commands: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._answers, self._commands, self._buffer, self._last = answers, commands, b"", 0
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, page: Path, width: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        assert "errorText" not in self.call("Page.navigate", url=page.as_uri())
        self.evaluate("new Promise((done) => document.readyState === 'complete' ? done() : (onload = done))")

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind, typed in (("keyDown", {"text": text} if text else {}), ("keyUp", {})):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            received = os.read(self._answers, 1 << 16)
            assert received, "Chromium has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    (their_commands, commands), (answers, their_answers) = os.pipe(), os.pipe()
    # It reads commands from descriptor 3 and answers on 4.
    redirected = f'exec "$@" 3<&{their_commands} 4>&{their_answers}'
    command = ["bash", "-c", redirected, "bash", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, pass_fds=(their_commands, their_answers), stdin=quiet, stdout=quiet, stderr=quiet
    ) as process:
        os.close(their_commands)
        os.close(their_answers)
        try:
            yield Tab(answers, commands)
        finally:
            process.kill()
            os.close(commands)
            os.close(answers)
