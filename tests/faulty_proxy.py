"""A TCP proxy in front of a real server, which breaks what passes through it."""

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = 64 * 1024
_LINGER_OFF = struct.pack("ii", 1, 0)
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class ConnectionCutError(Exception):
    """What a fault raises to cut both connections off, as a crashed host does."""


class Fault:
    """Passes everything on; what is broken is up to the subclasses."""

    refusal = _BUSY
    """Answer to what is refused."""

    def refuses(self, request: str) -> bool:
        """Whether a request is answered by the refusal and not passed on."""
        return False

    def pass_on(self, request: str, sent: int, chunk: bytes) -> bytes:
        """What goes to the client of a chunk that follows `sent` bytes of the answer to a request."""
        return chunk


class Busy(Fault):
    """Answers 503 to the first requests of a method."""

    def __init__(self, method: str, times: int) -> None:
        self._method, self.left = method, times

    def refuses(self, request: str) -> bool:
        self.left -= request.startswith(self._method)
        return request.startswith(self._method) and self.left >= 0


def _error(status: str, code: str, blanks: str = "") -> bytes:
    xml = f"<Error><Code>{code}</Code><Message>Refused by the proxy.</Message></Error>"
    body = f'{blanks}<?xml version="1.0" encoding="UTF-8"?>{xml}'
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"{head}\r\n\r\n{body}".encode()


class FailedCompletion(Fault):
    """Tells the first ends of uploads in parts that they failed, with status 200 as S3 does."""

    def __init__(self, times: int = 1, blanks: str = "") -> None:
        self.left, self.refusal = times, _error("200 OK", "InternalError", blanks)

    def refuses(self, request: str) -> bool:
        self.left -= ends_upload(request)
        return ends_upload(request) and self.left >= 0


class LostCompletion(Fault):
    """Resets the connection on which the end of an upload in parts was answered, and then does not know the upload.

    S3 is like that; the tests' server would answer again as before.
    """

    refusal = _error("404 Not Found", "NoSuchUpload")

    def __init__(self) -> None:
        self.lost = False

    def refuses(self, request: str) -> bool:
        return self.lost and ends_upload(request)

    def pass_on(self, request: str, sent: int, chunk: bytes) -> bytes:
        if ends_upload(request):
            self.lost = True
            raise ConnectionCutError
        return chunk


def ends_upload(request: str) -> bool:
    """Whether a request asks for joining the parts of an upload."""
    return request.startswith("POST") and "uploadId=" in request.partition("\r\n")[0]


class CutOff(Fault):
    """Resets the first connections on which so many bytes answered a GET, and calls an action before."""

    def __init__(self, after: int, times: int = 1, action: Callable[[], object] = lambda: None) -> None:
        self._after, self._action, self.left = after, action, times

    def pass_on(self, request: str, sent: int, chunk: bytes) -> bytes:
        if request.startswith("GET") and sent > self._after and self.left > 0:
            self.left -= 1
            self._action()
            raise ConnectionCutError
        return chunk


class Flip(Fault):
    """Changes one byte of the first GETs' answers."""

    def __init__(self, at: int, times: int = 1) -> None:
        self._at, self.left = at, times

    def pass_on(self, request: str, sent: int, chunk: bytes) -> bytes:
        index = self._at - sent
        if request.startswith("GET") and 0 <= index < len(chunk) and self.left > 0:
            self.left -= 1
            return chunk[:index] + bytes([chunk[index] ^ 1]) + chunk[index + 1 :]
        return chunk


class Trickle(Fault):
    """Lets a byte of the answer to a method through per interval once so many have passed."""

    def __init__(self, after: int, seconds: float, method: str = "GET") -> None:
        self.after, self.seconds, self.method = after, seconds, method


class Proxy:
    """The proxy; tests set `fault` and read `requests`."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.fault = Fault()
        self.requests: list[str] = []
        self.upstream = port
        self.tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    @property
    def endpoint(self) -> str:
        """What `S3_ENDPOINT` takes."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def gets(self) -> list[str]:
        """Heads of the GET requests so far."""
        return [request for request in self.requests if request.startswith("GET")]

    def accept(self) -> None:
        """Serve until it is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Accept no more, and end what trickles."""
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            client = self.tls.wrap_socket(client, server_side=True) if self.tls else client
            server = socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            _reset(client)
            return
        state = {"request": "", "sent": 0}
        threading.Thread(target=self._requests, args=(client, server, state), daemon=True).start()
        try:
            while chunk := server.recv(_CHUNK):
                self._answer(client, chunk, state)
            client.close()
        except (OSError, ConnectionCutError):
            _reset(client)
            _reset(server)

    def _answer(self, client: socket.socket, chunk: bytes, state: dict[str, object]) -> None:
        request, sent = str(state["request"]), int(str(state["sent"]))
        state["sent"] = sent + len(chunk)
        fault = self.fault
        if isinstance(fault, Trickle) and request.startswith(fault.method) and sent + len(chunk) > fault.after:
            for byte in chunk:
                if self._closing.wait(fault.seconds):
                    raise ConnectionCutError
                client.sendall(bytes([byte]))
            return
        client.sendall(fault.pass_on(request, sent, chunk))

    def _requests(self, client: socket.socket, server: socket.socket, state: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            while chunk := client.recv(_CHUNK):
                if re.match(rb"(GET|HEAD|PUT|POST|DELETE) ", chunk):
                    request = chunk.partition(b"\r\n\r\n")[0].decode("latin-1")
                    self.requests.append(request)
                    state.update(request=request, sent=0)
                    if self.fault.refuses(request):
                        _refuse(client, self.fault.refusal)
                        break
                server.sendall(chunk)
        with contextlib.suppress(OSError):
            server.close()


@contextmanager
def proxy(port: int, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Yield a proxy in front of a port of 127.0.0.1."""
    made = Proxy(port, tls)
    thread = threading.Thread(target=made.accept, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()


def private_ca(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """File of a private CA, and a server's context with a certificate of it for 127.0.0.1."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Private CA")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(pem)
    (folder / "server.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


def _refuse(client: socket.socket, refusal: bytes) -> None:
    """Answer, and take the rest of the request, so that the answer is not lost by a reset."""
    client.sendall(refusal)
    client.shutdown(socket.SHUT_WR)
    while client.recv(_CHUNK):
        pass


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads it, which would hold the reset back
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        connection.close()
