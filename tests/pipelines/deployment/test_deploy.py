"""`vigil deploy` with a model in a real MLflow database, against a server that answers as Kubernetes does."""

from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

from pipelines.deployment.kserve import service_name
from tests.components.serving.servers import write_brightness_detector
from tests.conftest import NewDatabase
from tests.pipelines.kubernetes_api import TOKEN, kubernetes_api
from tests.pipelines.vigil import Vigil

COLLECTION = "/apis/serving.kserve.io/v1beta1/namespaces/inspection/inferenceservices"


@pytest.fixture(scope="module")
def registered(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A line with a champion, a challenger and a version without an export."""
    root = tmp_path_factory.mktemp("deployed")
    uri = new_database(root)
    detector = write_brightness_detector(root / "detector")
    code = root / "model.py"
    code.write_text(
        "import mlflow\n\nclass Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n        return model_input\n\n"
        "mlflow.models.set_model(Model())\n"
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        experiment = client.create_experiment("Bolts", artifact_location=(root / "artifacts").as_uri())
        for runtime in ("onnx", "onnx", "torch"):
            with mlflow.start_run(experiment_id=experiment):
                mlflow.pyfunc.log_model(
                    name="detector",
                    python_model=str(code),
                    artifacts={"detector": str(detector)},
                    pip_requirements=["mlflow"],
                    metadata={"runtime": runtime},
                    registered_model_name="Bolts",
                )
        for alias, version in (("champion", "1"), ("challenger", "2"), ("torch", "3")):
            client.set_registered_model_alias("Bolts", alias, version)
        mlflow.set_tracking_uri(None)
    return uri


def test_champion_is_printed_with_the_folder_of_its_detector(registered: str, vigil: Vigil) -> None:
    done = vigil("deploy", "Bolts", "--tracking-uri", registered, "--dry-run", "--service-account", "store")
    assert done.code == 0, done.err
    item: dict[str, Any] = yaml.safe_load(done.out)
    predictor = item["spec"]["predictor"]
    folder = Path(predictor["model"]["storageUri"].removeprefix("file://"))
    assert (folder / "model.onnx").is_file()
    assert item["metadata"]["name"] == "bolts"
    assert (predictor["minReplicas"], predictor["serviceAccountName"]) == (0, "store")
    assert predictor["model"]["args"] == ["--model-name=Bolts", "--model-version=1"]
    assert predictor["model"]["protocolVersion"] == "v2"
    assert "canaryTrafficPercent" not in predictor


def test_values_are_those_of_the_chart(registered: str, vigil: Vigil) -> None:
    options = ("--tracking-uri", registered, "--values", "--alias", "challenger", "--canary-percent", "10")
    content = yaml.safe_load(vigil("deploy", "Bolts", *options).out)
    model = content["serving"]["models"]["Bolts"]
    assert (model["version"], model["canaryPercent"]) == ("2", 10)


def test_canary_is_applied_and_taken_away(registered: str, tmp_path: Path, vigil: Vigil) -> None:
    with kubernetes_api() as api:
        access = ("--namespace", "inspection", "--kubeconfig", api.kubeconfig(tmp_path / "config"))
        command = ("deploy", "Bolts", "--tracking-uri", registered, *access)
        assert vigil(*command).out == "inspection/bolts: version 1 of Bolts, created\n"
        canary = vigil(*command, "--alias", "challenger", "--canary-percent", "10")
        assert canary.out == "inspection/bolts: version 2 of Bolts, changed\n"
        predictor = api.objects[f"{COLLECTION}/bolts"]["spec"]["predictor"]
        assert predictor["canaryTrafficPercent"] == 10
        assert predictor["model"]["args"][1] == "--model-version=2"
        assert vigil(*command, "--alias", "2").code == 0
        assert "canaryTrafficPercent" not in api.objects[f"{COLLECTION}/bolts"]["spec"]["predictor"]
        api.forbidden.add(COLLECTION)
        refused = vigil(*command)
    assert refused.code == 1
    assert "does not permit this (403)" in refused.err
    assert TOKEN not in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alias", "torch"], "version: got 'Bolts 3, which runs by torch', expected one registered with"),
        (["--alias", "nobody"], "alias: line 'Bolts' has no nobody in MLflow"),
        (["--alias", "9"], "alias: line 'Bolts' has no 9 in MLflow"),
    ],
)
def test_what_cannot_be_served_is_refused(registered: str, vigil: Vigil, options: list[str], message: str) -> None:
    done = vigil("deploy", "Bolts", "--tracking-uri", registered, "--dry-run", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_names_of_lines_become_names_of_hosts() -> None:
    assert [service_name(name) for name in ("metal-nut", "4.Bolt_", "A__b")] == ["metal-nut", "line-4-bolt", "a-b"]
