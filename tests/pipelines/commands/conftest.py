"""A cluster's API for the tests of the commands that call it."""

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.cluster import kubeflow as cluster
from pipelines.cluster import schedules, submission, transport
from pipelines.cluster.submission import Package
from pipelines.lines.line import Line
from tests.pipelines.kfp_api import KfpApi, serve


@pytest.fixture(scope="session")
def compiled() -> dict[str, Package]:
    """Packages that earlier tests compiled."""
    return {}


@pytest.fixture(autouse=True)
def compile_once(monkeypatch: pytest.MonkeyPatch, compiled: dict[str, Package]) -> None:
    """Compile what tests share once: a package depends on the line's name and task settings only."""

    def compile_line(line: Line) -> Package:
        key = f"{line.name} {line.cluster}"
        if key not in compiled:
            compiled[key] = original(line)
        return compiled[key]

    original = submission.compile_line
    monkeypatch.setattr(schedules, "compile_line", compile_line)
    monkeypatch.setattr(submission, "compile_line", compile_line)


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine outside of clusters, without their environment and service accounts."""
    for name in (
        "KFP_HOST",
        "KF_PIPELINES_ENDPOINT",
        "KF_PIPELINES_UI_ENDPOINT",
        "KF_PIPELINES_SA_TOKEN_PATH",
        "VIGIL_KFP_UI",
        "KUBERNETES_SERVICE_HOST",
        "SSL_CERT_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIGIL_IMAGE_REGISTRY", "registry.example/vision")
    monkeypatch.setattr(cluster, "NAMESPACE_FILE", tmp_path / "serviceaccount" / "namespace")
    monkeypatch.setattr(transport, "TOKEN_FILE", tmp_path / "serviceaccount" / "token")
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def kfp_api(no_cluster: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpApi]:
    """A running fake, which `KFP_HOST` names."""
    with serve(KfpApi()) as api:
        monkeypatch.setenv("KFP_HOST", api.url)
        yield api


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(tz=datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path
