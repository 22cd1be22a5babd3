"""A headless Chromium, spoken to by the DevTools protocol over a pipe, and what it finds wrong with a page."""

import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
_READ, _WRITE = 3, 4
_PROBE = Path(__file__).with_name("probe.js")


def find_chromium() -> str | None:
    """Path of an installed Chromium."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One tab. It finds no host, and notes what goes wrong in the page."""

    def __init__(self, requests: int, answers: int) -> None:
        """Open a tab by the two ends of the pipes."""
        self._requests, self._answers = os.fdopen(requests, "wb"), os.fdopen(answers, "rb")
        self._ids = itertools.count(1)
        self._session = ""
        self._received = b""
        self.problems: list[str] = []
        """Console errors, exceptions, and requests for anything but the page's own file."""
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Result of a command."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer["error"]
        return dict(answer["result"])

    def open(self, page: Path, width: int, media: str = "screen") -> None:
        """Load a file at a width in pixels, for the screen or laid out as it is printed."""
        self.problems.clear()
        self.call("Emulation.setScrollbarsHidden", hidden=False)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", media=media)
        self.call("Page.navigate", url=page.as_uri())
        while (event := self._next()).get("method") != "Page.loadEventFired":
            self._note(event)
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def print_layout(self, width: int) -> None:
        """Lay the page out for paper of a width in pixels; as in printing, no script is told the size."""
        self.evaluate("window.addEventListener('resize', event => event.stopImmediatePropagation(), true)")
        self.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self.call("Emulation.setEmulatedMedia", media="print")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=1100, deviceScaleFactor=1, mobile=False)

    def evaluate(self, expression: str) -> Any:
        """Value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def layout_problems(self) -> list[str]:
        """What a reader would complain of: see `probe.js`."""
        return list(self.evaluate(_PROBE.read_text(encoding="utf-8")))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            chunk = os.read(self._answers.fileno(), 1 << 20)
            assert chunk, "chromium ended"
            self._received += chunk
        message, _, self._received = self._received.partition(b"\0")
        return dict(json.loads(message))

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            self.problems.append(f"asks for {params['request']['url'][:100]}")


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Browser]:
    """Yield a browser with an empty profile; it ends with the block."""
    (its_requests, our_requests), (our_answers, its_answers) = os.pipe(), os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, its_requests, 100), (os.POSIX_SPAWN_DUP2, its_answers, 101)]
    actions += [(os.POSIX_SPAWN_DUP2, 100, _READ), (os.POSIX_SPAWN_DUP2, 101, _WRITE)]
    for number, flags in ((1, os.O_WRONLY), (2, os.O_WRONLY)):
        actions.append((os.POSIX_SPAWN_OPEN, number, os.devnull, flags, 0))  # type: ignore[arg-type]
    command = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = os.posix_spawn(program, command, os.environ, file_actions=actions, setsid=True)
    os.close(its_requests)
    os.close(its_answers)
    try:
        yield Browser(our_requests, our_answers)
    finally:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
