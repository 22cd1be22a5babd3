"""A model hub for tests: files by HTTPS with a private CA, from any byte on, and redirects.

What it says of a file in its head is what `huggingface_hub` asks of a hub.
"""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faulty_proxy import Proxy, private_ca, proxy


@dataclass
class Hub:
    """What a hub serves, the proxy in front of it, and the requests that it received."""

    files: dict[str, bytes]
    ca_file: Path
    redirects: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, `HOST:PORT` that was asked for, and token of each request."""
    between: Proxy = field(init=False)

    @property
    def address(self) -> str:
        """Where it is reached."""
        return self.between.endpoint

    def gets(self) -> int:
        """How often a file was asked for."""
        return sum(method == "GET" for method, *_ in self.received)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, made: Hub, *args: object) -> None:
        self._hub = made
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        host = self.headers["Host"]
        self._hub.received.append((self.command, host, self.headers.get("Authorization")))
        if self.path in self._hub.redirects:
            self._head(302, 0, Location=self._hub.redirects[self.path])
        elif "gated" in self.path:
            self._head(401, 0)
        elif self.path not in self._hub.files:
            self._head(404, 0)
        else:
            self._send(self._hub.files[self.path])

    do_HEAD = do_GET  # noqa: N815 (a name of http.server)

    def _send(self, content: bytes) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            self._head(416, 0)
            return
        part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._head(206 if start else 200, len(content) - start, **part)
        if self.command == "GET":
            with suppress(ConnectionError):  # clients of some tests leave before the end
                self.wfile.write(content[start:])

    def _head(self, status: int, length: int, **headers: str) -> None:
        content = self._hub.files.get(self.path, b"")
        about = {"X-Repo-Commit": "1" * 40, "X-Linked-Size": str(len(content))}
        about["X-Linked-Etag"] = about["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **about, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@contextmanager
def serve_hub(files: dict[str, bytes], folder: Path) -> Iterator[Hub]:
    """Yield a hub that serves files by their path; its certificate is written to a folder."""
    ca_file, context = private_ca(folder)
    made = Hub(files=files, ca_file=ca_file)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, made)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with proxy(server.server_address[1], tls=context) as made.between:
            yield made
        server.shutdown()
