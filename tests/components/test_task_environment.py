"""What a task says where its ConfigMap or a Secret is missing."""

from pathlib import Path

import pytest

from components import task_environment
from components.errors import InputError
from components.stage.run import stage
from components.task_environment import check_task_environment


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in task_environment.MLFLOW_KEYS:
        monkeypatch.delenv(name, raising=False)


def test_outside_of_a_cluster_nothing_is_missing() -> None:
    check_task_environment()


def test_missing_config_map_is_logged_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIGIL_CONFIG_MAP", "vigil-environment")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    with pytest.raises(InputError), stage("fingerprint", "bolts"):
        pytest.fail("the stage ran without its ConfigMap")
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith(
        "[vigil] fingerprint: input-error: ConfigMap vigil-environment: not in the namespace of the"
    )
    assert "S3_ENDPOINT, S3_ADDRESSING" in shown
    assert "cluster.config_map of the line names it" in shown


@pytest.mark.parametrize("key", ["S3_ENDPOINT", "AWS_REGION", "MLFLOW_TRACKING_URI"])
def test_config_map_with_one_address_is_enough(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("VIGIL_CONFIG_MAP", "vigil-environment")
    monkeypatch.setenv(key, "value")
    check_task_environment()


def test_missing_secret_of_the_tracking_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_MLFLOW_SECRET", "mlflow")
    with pytest.raises(InputError, match=r"Secret mlflow: not in the namespace .* MLFLOW_TRACKING_USERNAME"):
        check_task_environment()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    check_task_environment()


def test_missing_certificates_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIGIL_CA_CONFIG_MAP", "plant-ca")
    monkeypatch.setattr(task_environment, "CA_FOLDER", str(tmp_path / "ca"))
    with pytest.raises(InputError, match=r"ConfigMap plant-ca: not in the namespace .* certificates"):
        check_task_environment()
    (tmp_path / "ca" / "..data").mkdir(parents=True)
    with pytest.raises(InputError, match="ConfigMap plant-ca"):
        check_task_environment()
    (tmp_path / "ca" / "ca.crt").touch()
    check_task_environment()
