"""A model hub for tests: files by HTTPS with a private CA, from any byte on, and redirects."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faulty_proxy import Proxy, private_ca, proxy


@dataclass
class Hub:
    """What a hub serves, the proxy in front of it, and the tokens that it received."""

    files: dict[str, bytes]
    ca_file: Path
    redirects: dict[str, str] = field(default_factory=dict)
    tokens: list[str | None] = field(default_factory=list)
    between: Proxy = field(init=False)

    @property
    def address(self) -> str:
        """Where it is reached."""
        return self.between.endpoint


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, made: Hub, *args: object) -> None:
        self._hub = made
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._hub.tokens.append(self.headers.get("Authorization"))
        if self.path in self._hub.redirects:
            self._head(302, 0, Location=self._hub.redirects[self.path])
        elif self.path == "/gated":
            self._head(401, 0)
        elif self.path not in self._hub.files:
            self._head(404, 0)
        else:
            self._send(self._hub.files[self.path])

    def _send(self, content: bytes) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            self._head(416, 0)
        elif start:
            self._head(
                206, len(content) - start, **{"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            )
            self.wfile.write(content[start:])
        else:
            self._head(200, len(content))
            self.wfile.write(content)

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
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
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with proxy(server.server_address[1], tls=context) as made.between:
            yield made
        server.shutdown()
