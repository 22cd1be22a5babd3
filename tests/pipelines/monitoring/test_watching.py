"""`vigil watch` and the exporter on a real MLflow database, with a webhook and a scrape over HTTP."""

import re
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.tracking.silence import HEARTBEAT
from pipelines.monitoring.exporter import LineCollector, serve
from tests.components.notices.hooks import webhook
from tests.conftest import NewDatabase
from tests.mlflow_runs import write_drift, write_run
from tests.pipelines.vigil import Vigil
from tests.ports import free_ports

HOUR = 3_600_000


@pytest.fixture
def uri(new_database: NewDatabase, tmp_path: Path) -> str:
    """A line whose last run failed, one with a dead and a living run, and one that was quiet for long."""
    uri, now = new_database(tmp_path), int(time.time() * 1000)
    client = MlflowClient(uri)
    write_run(client, "bolts", "b0", {"none": 0.8}, start=now - 30 * HOUR)
    failure = {"vigil.failed_stage": "vqgan", "vigil.failure": "out of memory", "vigil.run_url": "https://kf/b1"}
    write_run(client, "bolts", "b1", {}, start=now - 5 * HOUR, status="FAILED", tags=failure)
    write_run(client, "nuts", "n0", {"none": 0.7}, start=now - 400 * HOUR)
    write_run(client, "screws", "s0", {}, start=now - 3 * HOUR, status="RUNNING")
    alive = write_run(client, "screws", "s1", {}, start=now - 3 * HOUR, status="RUNNING")
    (stage,) = client.search_runs([client.get_run(alive).info.experiment_id], f"tags.`mlflow.parentRunId` = '{alive}'")
    client.log_metric(stage.info.run_id, HEARTBEAT, 1.0, timestamp=now)
    write_drift(client, "bolts", "yes", "brightness", now - HOUR)
    client.create_registered_model("bolts")
    version = client.create_model_version("bolts", "file:///m", tags={"vigil.metric": "image_auroc=0.9125"})
    client.set_registered_model_alias("bolts", "champion", version.version)
    return uri


def test_each_trouble_is_said_once_and_a_failed_post_is_said_again(uri: str, tmp_path: Path, vigil: Vigil) -> None:
    with webhook([404, 200]) as hook:
        options = ("watch", "--tracking-uri", uri, "--webhook", hook.folder(tmp_path / "hook", "plain"))
        assert vigil(*options).code == 0
        first = [(notice["line"], notice["event"]) for notice in hook.posted]
        assert sorted(first) == [("bolts", "failed"), ("nuts", "overdue"), ("screws", "silent")]
        again = vigil(*options)
        assert [(notice["line"], notice["event"]) for notice in hook.posted[3:]] == first[:1]
        assert vigil(*options).out == "nothing new\n"
    assert again.code == 0
    notices = {notice["line"]: notice for notice in hook.posted}
    assert notices["bolts"]["text"] == "vqgan failed: out of memory"
    assert (notices["bolts"]["run_id"], notices["bolts"]["link"]) == ("b1", "https://kf/b1")
    assert re.fullmatch(r"no sign of life for 1[78]\d minutes: .*", notices["screws"]["text"])
    assert notices["screws"]["run_id"] == "s0"
    assert notices["nuts"]["text"] == "no successful run for 16 days"


def test_failure_may_still_be_retried(uri: str, vigil: Vigil) -> None:
    done = vigil("watch", "--tracking-uri", uri, "--retried", "600", "--silent", "600", "--overdue", "30")
    assert (done.code, done.out) == (0, "nothing new\n")


def test_watch_needs_mlflow(vigil: Vigil) -> None:
    assert "tracking URI: got none" in vigil("watch").err
    assert "tracking URI: got none" in vigil("exporter").err


def test_prometheus_reads_the_lines_over_http(uri: str) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    (port,) = free_ports(1)
    stop = threading.Event()
    options = {"host": "127.0.0.1", "port": port, "seconds": 60.0, "days": 90, "stop": stop}
    thread = threading.Thread(target=serve, args=(uri,), kwargs=options, daemon=True)
    thread.start()
    text = scraped(port)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    found = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["vigil_mlflow_up",] == 1
    assert found["vigil_read_timestamp_seconds",] == pytest.approx(time.time(), abs=120)
    last_success = found["vigil_line_last_success_timestamp_seconds", "bolts"]
    assert last_success == pytest.approx(time.time() - 30 * 3600, abs=120)
    assert found["vigil_line_last_run_timestamp_seconds", "bolts"] == pytest.approx(time.time() - 5 * 3600, abs=120)
    assert (found["vigil_line_last_run_failed", "bolts"], found["vigil_line_last_run_failed", "nuts"]) == (1, 0)
    assert found["vigil_line_champion_metric", "bolts", "image_auroc", "1"] == 0.9125
    assert found["vigil_line_champion_timestamp_seconds", "bolts"] == pytest.approx(time.time(), abs=120)
    assert found["vigil_line_drift", "bolts"] == 1
    assert found["vigil_line_runs", "screws", "running"] == 2
    assert ("vigil_line_drift", "nuts") not in found


def test_what_was_read_stays_when_mlflow_goes(uri: str, tmp_path: Path) -> None:
    collector = LineCollector(uri, days=90)
    collector.read()
    (tmp_path / "mlflow.db").rename(tmp_path / "gone.db")
    collector.read()
    families = {family.name: family.samples for family in collector.collect()}
    assert families["vigil_mlflow_up"][0].value == 0
    assert len(families["vigil_line_last_success_timestamp_seconds"]) == 2


def scraped(port: int) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
