"""A small HTTP proxy for tests: it forwards requests and makes tunnels, and may want a login."""

import base64
import contextlib
import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


@dataclass
class ForwardProxy:
    """What a proxy wants, and the requests that it has passed on."""

    port: int = 0
    login: str = ""
    """`USER:PASSWORD`; empty when anybody may."""
    passed: list[str] = field(default_factory=list)
    """Method and address of what was passed on."""

    @property
    def host(self) -> str:
        """`HOST:PORT`."""
        return f"127.0.0.1:{self.port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, made: ForwardProxy, *args: object) -> None:
        self._made = made
        super().__init__(*args)  # type: ignore[arg-type]

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._may_pass():
            return
        parts = urlsplit(self.path)
        upstream = http.client.HTTPConnection(parts.netloc, timeout=60)
        upstream.putrequest(self.command, self.path.partition(parts.netloc)[2], True, True)
        for name, value in self.headers.items():
            if not name.lower().startswith("proxy-"):
                upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(content)
        upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 (names of http.server)

    def do_CONNECT(self) -> None:
        """Pass bytes both ways until one side ends."""
        if not self._may_pass():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response_only(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
            back.start()
            _pump(self.connection, upstream)
            back.join()
        self.close_connection = True

    def _may_pass(self) -> bool:
        wanted = f"Basic {base64.b64encode(self._made.login.encode()).decode()}" if self._made.login else None
        if wanted not in (None, self.headers.get("Proxy-Authorization")):
            self.send_response_only(407)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        self._made.passed.append(f"{self.command} {self.path}")
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def forward_proxy(login: str = "") -> Iterator[ForwardProxy]:
    """Yield a proxy on 127.0.0.1."""
    made = ForwardProxy(login=login)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, made)) as server:
        made.port = server.server_address[1]
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield made
        server.shutdown()
