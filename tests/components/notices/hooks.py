"""A webhook that answers as it is set to, and keeps what was posted."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET_PATH = "/services/T000/B000/secret-token"


@dataclass
class Hook:
    """Statuses of the answers to come, the last of which stays, and what was posted."""

    statuses: list[int]
    posted: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def folder(self, path: Path, form: str = "") -> Path:
        """The files of its Secret."""
        path.mkdir(parents=True, exist_ok=True)
        (path / "url").write_text(self.url + "\n", encoding="utf-8")
        if form:
            (path / "format").write_text(form, encoding="utf-8")
        return path


@contextmanager
def webhook(statuses: Sequence[int] = (200,)) -> Iterator[Hook]:
    """A webhook over HTTP."""
    hook = Hook(list(statuses))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == SECRET_PATH
            hook.posted.append(json.loads(body))
            self.send_response(hook.statuses.pop(0) if len(hook.statuses) > 1 else hook.statuses[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, contextlib.ExitStack() as stack:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        stack.callback(server.shutdown)
        hook.url = f"http://127.0.0.1:{server.server_port}{SECRET_PATH}"
        yield hook
