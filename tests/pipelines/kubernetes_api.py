"""A small API server of Kubernetes over HTTP: objects by their paths, a bearer token, and objects nobody may read."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

TOKEN = "kubernetes-secret-token"
NAMES = {"secrets", "configmaps", "namespaces", "deployments", "inferenceservices", "pods"}


@dataclass
class KubernetesApi:
    """What the server holds and has been asked."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    """Beginnings of paths that the user may not read."""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, content type."""
    url: str = ""

    def kubeconfig(self, path: Path) -> Path:
        """A file by which clients reach it."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    def add(self, path: str, **content: Any) -> None:
        """Put an object at a path."""
        name = path.rpartition("/")[2]
        self.objects[path] = {"metadata": {"name": name, **content.pop("metadata", {})}, **content}

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """Status and content of an answer, as the API's are."""
        parts = urlsplit(target)
        path, query = parts.path, parse_qs(parts.query)
        if any(path.startswith(start) for start in self.forbidden):
            return 403, status(403, f"{path} is forbidden: User cannot {method.lower()} it")
        if path.rpartition("/")[2] in NAMES:
            if method == "POST":
                name = f"{path}/{body['metadata']['name']}"
                if name in self.objects:
                    return 409, status(409, "already exists")
                self.objects[name] = body
                return 201, body
            items = [item for name, item in self.objects.items() if name.rpartition("/")[0] == path]
            wanted = dict(pair.split("=") for text in query.get("labelSelector", []) for pair in text.split(","))
            return 200, {
                "items": [item for item in items if wanted.items() <= item["metadata"].get("labels", {}).items()]
            }
        if path not in self.objects:
            return 404, status(404, f"{path} not found")
        if method == "PATCH":
            self.objects[path] = merge_patch(self.objects[path], body)
        return 200, self.objects[path]


def status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


def merge_patch(base: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


@contextmanager
def kubernetes_api() -> Iterator[KubernetesApi]:
    """The server on a free port."""
    api = KubernetesApi()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            kind = self.headers.get("Content-Type", "")
            api.calls.append((self.command, self.path, kind))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                code, content = 401, status(401, "Unauthorized")
            elif self.command == "PATCH" and kind != "application/merge-patch+json":
                code, content = 415, status(415, f"unsupported {kind}")
            else:
                code, content = api.answer(self.command, self.path, json.loads(body) if body else None)
            text = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.do_GET()

        def do_PATCH(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        api.url = f"http://127.0.0.1:{server.server_port}"
        yield api
        server.shutdown()
