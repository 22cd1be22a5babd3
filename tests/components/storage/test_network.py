"""Limits of the environment, and the context of TLS."""

from pathlib import Path

import pytest

from components.errors import InputError
from components.storage.network import Limits, limits, tls_context
from tests.faulty_proxy import private_ca


def test_limits_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits() == Limits(attempts=7, timeout=60, deadline=3600)

    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "2")
    monkeypatch.setenv("VIGIL_NET_DEADLINE", "0.5")

    assert limits() == Limits(attempts=2, timeout=60, deadline=0.5)


@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf", ""])
def test_limit_that_is_no_positive_number_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_NET_TIMEOUT", value)

    with pytest.raises(InputError, match=f"VIGIL_NET_TIMEOUT: got '{value}', expected a positive number"):
        limits()


def test_private_ca_is_trusted_besides_the_others(tmp_path: Path) -> None:
    ca_file, _ = private_ca(tmp_path)
    before = len(tls_context().get_ca_certs())

    assert len(tls_context(str(ca_file)).get_ca_certs()) == before + 1


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_ca_file_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match=r"S3_CA_FILE: .*ca\.pem"):
        tls_context(str(path))
