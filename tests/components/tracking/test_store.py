"""Recording on a real server whose artifact store is out of order, and put right again."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.tracking.run import stage_run
from tests.components.runs import only_stage_run, pipeline_run
from tests.mlflow_server import mlflow_server

pytestmark = pytest.mark.slow


def test_store_that_fails_holds_up_its_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    store.write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with mlflow_server(tmp_path, workers=1, artifacts=str(store / "artifacts")) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = MlflowClient(address)
        with stage_run("bolts", "conclusion") as run:
            run.log_file(b"<html></html>", "report.html")
            run.log_metrics({"auroc": 1.0}, parent=True)
            run.close_parent("FINISHED")
            assert [event.kind for _, event in run.flush()] == ["file"]
            parent = pipeline_run(client, "bolts")
            assert (parent.info.status, parent.data.metrics) == ("FINISHED", {"auroc": 1.0})
            store.unlink()
            run.wait()
        assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.html"]
        assert only_stage_run(client, "bolts", "conclusion").info.status == "FINISHED"
