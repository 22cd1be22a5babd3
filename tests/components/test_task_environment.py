"""What a task gets from its ConfigMap and Secrets, and says where one is missing."""

import os
from pathlib import Path

import pytest

from components import task_environment
from components.errors import InputError
from components.stage.run import stage
from components.storage.connection import settings
from components.task_environment import apply_task_environment, check_task_environment

KFP_URI, OWN_URI = "http://mlflow.kubeflow.svc:5000", "http://vigil-mlflow.inspection.svc:5000"


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a ConfigMap and Secrets would be mounted; what the tests set is undone."""
    for name in (*task_environment.CONFIG_MAP_KEYS, *task_environment.MLFLOW_KEYS, "S3_REGION", "S3_CREDENTIALS_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("CONFIG_MAP_FOLDER", "S3_FOLDER", "MLFLOW_FOLDER", "CA_FOLDER"):
        monkeypatch.setattr(task_environment, name, str(tmp_path / name))
    return tmp_path


def mount(monkeypatch: pytest.MonkeyPatch, folder: Path, what: str, **content: str) -> None:
    """Mount a ConfigMap or a Secret, `CONFIG_MAP` or such, with this content, and name it."""
    monkeypatch.setenv(
        getattr(task_environment, what.replace("S3", "S3_SECRET").replace("MLFLOW", "MLFLOW_SECRET")), "name"
    )
    mounted = folder / f"{what}_FOLDER"
    (mounted / "..data").mkdir(parents=True)
    for name, value in content.items():
        (mounted / name).write_text(value, encoding="utf-8")


def test_outside_of_a_cluster_nothing_is_missing_and_nothing_set(folders: Path) -> None:
    (folders / "CONFIG_MAP_FOLDER").mkdir()
    (folders / "CONFIG_MAP_FOLDER" / "S3_ENDPOINT").write_text("https://store", encoding="utf-8")
    before = dict(os.environ)
    apply_task_environment()
    check_task_environment()
    assert dict(os.environ) == before


def test_config_map_becomes_the_variables_of_the_stage(monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    values = {"S3_ENDPOINT": "https://store", "HTTPS_PROXY": "http://proxy:3128", "MLFLOW_TRACKING_URI": OWN_URI}
    mount(monkeypatch, folders, "CONFIG_MAP", **values, UNKNOWN="value")
    mount(monkeypatch, folders, "MLFLOW", MLFLOW_TRACKING_TOKEN="token\n")
    mount(monkeypatch, folders, "S3", accesskey="key", secretkey="secret")
    apply_task_environment()
    check_task_environment()
    assert {name: os.environ[name] for name in values} == values
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "token"
    assert "UNKNOWN" not in os.environ
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    assert (settings().access_key, settings().secret_key) == ("key", "secret")


def test_proxies_of_the_server_stay(monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    mount(monkeypatch, folders, "CONFIG_MAP", AWS_REGION="a", HTTPS_PROXY="http://own:3128", NO_PROXY=".svc")
    monkeypatch.setenv("https_proxy", "http://kubeflow:3128")
    apply_task_environment()
    assert "HTTPS_PROXY" not in os.environ
    assert os.environ["NO_PROXY"] == ".svc"


def test_tracking_server_of_the_plugin_stays_and_gets_no_key_of_ours(
    monkeypatch: pytest.MonkeyPatch, folders: Path
) -> None:
    mount(monkeypatch, folders, "CONFIG_MAP", MLFLOW_TRACKING_URI=OWN_URI)
    mount(monkeypatch, folders, "MLFLOW", MLFLOW_TRACKING_USERNAME="vigil", MLFLOW_TRACKING_PASSWORD="secret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", KFP_URI)
    apply_task_environment()
    check_task_environment()
    assert os.environ["MLFLOW_TRACKING_URI"] == KFP_URI
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ


def test_region_of_the_store_is_not_that_of_the_node(monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    mount(monkeypatch, folders, "CONFIG_MAP", AWS_REGION="us-east-1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    apply_task_environment()
    assert (settings().region, os.environ["AWS_REGION"]) == ("us-east-1", "eu-west-1")


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


def test_addresses_that_others_set_are_no_config_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_CONFIG_MAP", "vigil-environment")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", KFP_URI)
    with pytest.raises(InputError, match="ConfigMap vigil-environment"):
        check_task_environment()


@pytest.mark.parametrize("key", ["S3_ENDPOINT", "AWS_REGION", "MLFLOW_TRACKING_URI"])
def test_config_map_with_one_address_is_enough(monkeypatch: pytest.MonkeyPatch, folders: Path, key: str) -> None:
    mount(monkeypatch, folders, "CONFIG_MAP", **{key: "value"})
    check_task_environment()


def test_missing_secret_of_the_tracking_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_MLFLOW_SECRET", "mlflow")
    with pytest.raises(InputError, match=r"Secret mlflow: not in the namespace .* MLFLOW_TRACKING_USERNAME"):
        check_task_environment()


def test_missing_certificates_are_reported(monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    monkeypatch.setenv("VIGIL_CA_CONFIG_MAP", "plant-ca")
    with pytest.raises(InputError, match=r"ConfigMap plant-ca: not in the namespace .* certificates"):
        check_task_environment()
    (folders / "CA_FOLDER" / "..data").mkdir(parents=True)
    with pytest.raises(InputError, match="ConfigMap plant-ca"):
        check_task_environment()
    (folders / "CA_FOLDER" / "ca.crt").touch()
    check_task_environment()
