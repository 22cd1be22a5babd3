"""Detectors that are really trained, registered in a real MLflow database, and compared there."""

import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from components.artifacts import (
    DECISION,
    DECISION_PAGE,
    EVALUATION,
    ONNX_MODEL,
    RECORDS,
    SUMMARY,
    WEIGHTS,
    read_json,
    write_json,
)
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.metrics.records import read_records
from components.metrics.scoring import TestSplit
from components.registration.config import Config
from components.registration.register import register_best
from components.registry import nomination
from components.registry.nomination import Nomination, is_registered, nominate_later
from components.registry.promotion import LineModel, line_names
from components.tracking.run import stage_run
from tests.components.image_sets import write_reference
from tests.components.runs import line_runs
from tests.components.tracking.test_run import answering
from tests.components.versions import add_version
from tests.conftest import NewDatabase

LINE = "bolts"
SLOW_SECONDS = 0.2


class Run(NamedTuple):
    """What a run hands to its registration."""

    reference: Path
    detector: Path
    predictions: Path


class Registered(NamedTuple):
    """What a registration left."""

    result: dict[str, Any]
    decision: dict[str, Any]
    best: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    reference = write_reference(root / "reference")
    train_detector(reference, reference, reference, root / "detector", DetectorConfig())
    evaluate_detectors(reference, [root / "detector"], root / "predictions", EvaluationConfig(latency_images=2))
    return Run(reference, root / "detector", root / "predictions")


@pytest.fixture(scope="module")
def run_on_other_images(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same detector on a test split that has one bad image less."""
    root = tmp_path_factory.mktemp("other")
    reference = write_reference(root / "reference", bad=3)
    evaluate_detectors(reference, [run.detector], root / "predictions", EvaluationConfig(latency_images=2))
    return Run(reference, run.detector, root / "predictions")


@pytest.fixture(scope="module")
def database(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_database(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="module")
def history(
    run: Run, run_on_other_images: Run, database: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Registered]:
    """Three runs of a line, one after the other."""
    root = tmp_path_factory.mktemp("best")
    tolerant = Config(min_champion_gain=-0.01)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", database)
        return [
            register(given, root / f"best-{index}", config, environment, f"run-{index}")
            for index, (given, config) in enumerate(
                [(run, Config()), (run_on_other_images, Config()), (run_on_other_images, tolerant)]
            )
        ]


@pytest.fixture
def client(history: list[Registered], database: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    return MlflowClient()


def register(
    run: Run, best: Path, config: Config, environment: pytest.MonkeyPatch, run_id: str, line: str = LINE
) -> Registered:
    environment.setenv("VIGIL_RUN_ID", run_id)
    with stage_run(line, "registration") as tracker:
        result = register_best(line, run.reference, [run.detector], run.predictions, best, config, tracker)
    return Registered(result, read_json(best / DECISION), best)


def pipeline_run_of(line: str, run_id: str) -> MlflowRun:
    (found,) = [
        run
        for run in line_runs(MlflowClient(), line)
        if (run.data.tags.get("vigil.stage"), run.data.tags.get("vigil.run_id")) == ("pipeline", run_id)
    ]
    return found


def test_first_refused_and_promoted(history: list[Registered], client: MlflowClient) -> None:
    assert [run.result["gate"] for run in history] == ["first", "refused", "promoted"]
    aliases = client.get_registered_model(LINE).aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "3", "challenger": "3"}
    tags = client.get_model_version(LINE, "2").tags
    assert tags["vigil.gate"] == "refused"
    assert tags["vigil.gate_reasons"] == history[1].result["gate_reasons"]
    assert "min_champion_gain: 1, champion 1, wanted a gain in image_auroc above 0" in tags["vigil.gate_reasons"]


def test_version_tells_what_it_was_measured_on(history: list[Registered], run: Run, client: MlflowClient) -> None:
    tags = client.get_model_version(LINE, "1").tags
    assert tags["vigil.evaluation_digest"] == read_json(run.predictions / EVALUATION)["digest"]
    assert (tags["vigil.metric"], tags["vigil.training_set"]) == ("image_auroc=1.0000", "none")
    assert tags["vigil.run_id"] == "run-0"


def test_champion_is_measured_again_where_the_test_split_changed(
    history: list[Registered], run_on_other_images: Run, client: MlflowClient
) -> None:
    assert [run.decision["champion_measured_again"] for run in history] == [False, True, False]
    assert "measured again on this test split" in history[1].decision["opponent"]
    evaluation = read_json(run_on_other_images.predictions / EVALUATION)
    kept = LineModel(LINE).measurement("1", evaluation["digest"])
    assert kept is not None
    split = TestSplit(run_on_other_images.reference, aupro_limit=0.3, latency_images=2)
    expected = split.measure(Detector(run_on_other_images.detector))
    unmeasured = {"latency_ms": None, "images_per_second": None}
    assert kept.record.with_metrics(unmeasured) == expected.record.with_metrics(unmeasured)
    assert kept.defect_auroc == evaluation["defect_auroc"][expected.record.trial] == {"hole": 1.0}
    assert kept.model_mb == (run_on_other_images.detector / WEIGHTS).stat().st_size / 1e6


def test_decision_is_beside_the_best_detector(history: list[Registered]) -> None:
    decision = history[2].decision
    assert (decision["challenger"], decision["champion"], decision["gate"]) == ("3", "1", "promoted")
    names = [row["name"] for row in decision["criteria"]]
    assert names == [
        "min_metric",
        "max_latency_ms",
        "max_model_mb",
        "export_parity",
        "min_champion_gain",
        "max_defect_drop[hole]",
    ]
    assert f"# {LINE}: promoted" in (history[2].best / DECISION_PAGE).read_text(encoding="utf-8")
    assert Detector(history[2].best).config.detector == "patchcore"


def test_without_mlflow_the_decision_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = register(run, tmp_path / "best", Config(), monkeypatch, "run-1")
    assert (kept.result["gate"], kept.result["model_version"]) == ("unregistered", "")
    assert kept.decision["opponent"] == "no champion is known: MLflow is off or does not answer"


def test_export_that_scores_otherwise_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = tmp_path / "detector"
    shutil.copytree(run.detector, exported)
    write_json(exported / SUMMARY, {"parity.passed": 0})
    kept = register(run._replace(detector=exported), tmp_path / "best", Config(), monkeypatch, "run-1")
    assert kept.result["gate"] == "refused"
    assert kept.result["gate_reasons"] == "export_parity: 0, wanted passed where an export was made"


def test_champion_that_cannot_be_loaded_refuses_the_challenger(
    run: Run, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    model, number = add_version("nuts", 0.9, digest="e" * 64)
    model.promote(number, by="ann", why="", force=True)
    kept = register(run, tmp_path / "best", Config(), monkeypatch, "run-9", line="nuts")
    assert (kept.result["gate"], kept.result["model_version"]) == ("refused", "2")
    reasons = kept.result["gate_reasons"]
    assert reasons.startswith("champion_measured: -, wanted the champion's figures on the same test split")
    assert "champion version 1 of nuts cannot be measured" in reasons
    assert "vigil registry promote nuts VERSION --force" in reasons
    assert kept.decision["opponent"] == "champion version 1, which could not be measured"
    assert kept.decision["champion_measured_again"] is False
    assert model.aliases() == {"champion": "1", "challenger": "2"}
    assert model.version("2").tags["vigil.gate"] == "refused"


def test_repeated_registration_leaves_one_version(
    run: Run, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    kept = [
        register(run, tmp_path / f"best-{index}", Config(), monkeypatch, run_id, line="pins")
        for index, run_id in enumerate(("run-1", "run-1", "run-2"))
    ]
    assert [found.result["model_version"] for found in kept] == ["1", "1", "2"]
    assert [found.result["gate"] for found in kept] == ["first", "first", "refused"]
    model = LineModel("pins")
    assert [version.tags["vigil.run_id"] for version in model.versions()] == ["run-2", "run-1"]
    assert [entry.version for entry in model.entries()] == ["1"]


def stop_answering(environment: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Let MLflow be out of reach once a function of the registration is called."""
    called: Callable[..., Any] = getattr(nomination, name)

    def without_answer(*arguments: Any, **named: Any) -> Any:
        environment.setenv("MLFLOW_TRACKING_URI", address)
        for model in arguments:
            if isinstance(model, LineModel):
                environment.setattr(model, "_client", MlflowClient(address))
        return called(*arguments, **named)

    environment.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    environment.setattr(nomination, name, without_answer)


@pytest.mark.parametrize(
    ("name", "versions"), [("register_detector", 0), ("_promote", 1)], ids=["before-upload", "before-promotion"]
)
def test_mlflow_that_stops_answering_is_reported_and_the_detector_registered_later(
    run: Run,
    tmp_path: Path,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    versions: int,
) -> None:
    line = f"rivets-{versions}"
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_TRACKING_URI", database)
        stop_answering(outage, name, "http://ann:secret@127.0.0.1:9")
        kept = register(run, tmp_path / "best", Config(), outage, "run-9", line=line)
    assert (kept.result["gate"], kept.result["model_version"]) == ("unregistered", "")
    printed = capsys.readouterr()
    reported = [text for text in printed.err.splitlines() if "the detector is not registered yet" in text]
    assert len(reported) == 1
    assert "secret" not in printed.out + printed.err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    assert len(LineModel(line).versions()) == versions
    for run_id in ("run-9", "run-10"):
        monkeypatch.setenv("VIGIL_RUN_ID", run_id)
        with stage_run(line, "conclusion") as tracker:
            nominate_later(run.reference, kept.best, tracker)
        tags = pipeline_run_of(line, run_id).data.tags
        assert (tags["vigil.gate"], tags["vigil.model_version"]) == ("first", "1")
    (version,) = LineModel(line).versions()
    assert (version.tags["vigil.gate"], version.tags["vigil.run_id"]) == ("first", "run-9")
    assert LineModel(line).aliases() == {"champion": "1", "challenger": "1"}


@pytest.mark.parametrize("status", [401, 403])
def test_refused_access_fails_the_run_unless_it_is_allowed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    body = b'{"error_code": "PERMISSION_DENIED", "message": "RBAC: access denied"}'
    with answering(status, body if status == 403 else b"You are not authenticated") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        expected = r"MLflow refuses access: .*registration\.allow_unregistered: true"
        with pytest.raises(RuntimeError, match=expected):
            register(run, tmp_path / "refused", Config(), monkeypatch, "run-1", line="gaskets")
        assert not (tmp_path / "refused").exists()
        allowed = Config(allow_unregistered=True)
        kept = register(run, tmp_path / "allowed", allowed, monkeypatch, "run-1", line="gaskets")
        with stage_run("gaskets", "conclusion", direct=True) as tracker:
            assert nominate_later(run.reference, kept.best, tracker) == {}
    assert (kept.result["gate"], kept.result["model_version"]) == ("unregistered", "")


def test_outage_in_the_conclusion_is_reported_and_ends_nothing(
    run: Run, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = register(run, tmp_path / "best", Config(), monkeypatch, "run-9", line="hooks")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    with monkeypatch.context() as outage, stage_run("hooks", "conclusion") as tracker:
        stop_answering(outage, "_decided", "http://127.0.0.1:9")
        capsys.readouterr()
        nominate_later(run.reference, kept.best, tracker)
    assert capsys.readouterr().err.count("the detector is not registered yet") == 1
    assert "hooks" not in line_names()


def test_refusal_of_mlflow_fails_in_one_line_without_credentials(
    run: Run, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)

    def refuse(*arguments: Any, **named: Any) -> str:
        raise MlflowException("http://ann:secret@mlflow/api:\n no such name", error_code=INVALID_PARAMETER_VALUE)

    monkeypatch.setattr(nomination, "register_detector", refuse)
    with pytest.raises(RuntimeError, match=r"^MLflow: http://mlflow/api: no such name$") as caught:
        register(run, tmp_path / "best", Config(), monkeypatch, "run-9", line="clips")
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert not (tmp_path / "best").exists()


def test_promotion_that_was_interrupted_before_its_tag_is_decided_as_before(
    run: Run, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process dies between the move and the tag that says what was decided."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    register(run, tmp_path / "first", Config(), monkeypatch, "run-1", line="studs")
    tolerant = Config(min_champion_gain=-0.01)
    kept = register(run, tmp_path / "second", tolerant, monkeypatch, "run-2", line="studs")
    assert kept.result["gate"] == "promoted"
    MlflowClient().delete_model_version_tag("studs", "2", "vigil.gate")
    with stage_run("studs", "conclusion") as tracker:
        nominate_later(run.reference, kept.best, tracker)
    model = LineModel("studs")
    assert model.version("2").tags["vigil.gate"] == "promoted"
    assert [(entry.action, entry.version) for entry in model.entries()] == [("first", "1"), ("promoted", "2")]


def test_detector_is_registered_later_where_mlflow_did_not_answer(
    run: Run, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        outage.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        kept = register(run, tmp_path / "best", Config(), outage, "run-9", line="washers")
    assert (kept.result["gate"], kept.result["model_version"]) == ("unregistered", "")
    write_json(kept.best / SUMMARY, kept.result)
    assert not is_registered(kept.best)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    for run_id in ("run-9", "run-10"):
        monkeypatch.setenv("VIGIL_RUN_ID", run_id)
        with stage_run("washers", "conclusion") as tracker:
            nominate_later(run.reference, kept.best, tracker)
    (version,) = LineModel("washers").versions()
    assert (version.tags["vigil.gate"], version.tags["vigil.run_id"]) == ("first", "run-9")
    assert LineModel("washers").aliases() == {"champion": "1", "challenger": "1"}


@pytest.mark.parametrize(("tolerance", "gate"), [(0.0, "refused"), (0.001, "unregistered")])
def test_parity_of_a_real_export_decides(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tolerance: float, gate: str
) -> None:
    config = Config(export="onnx", parity_tolerance=tolerance)
    kept = register(run, tmp_path / "best", config, monkeypatch, "run-1")
    assert kept.result["gate"] == gate
    assert kept.result["parity.passed"] is (gate != "refused")
    assert kept.result["parity.max_score_difference"] > 0
    assert (kept.best / ONNX_MODEL).is_file()


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_gate_and_figures_are_those_of_the_runtime_that_serves(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The checkpoint would break the limit, its export holds it."""
    (record,) = read_records(run.predictions / RECORDS)
    predictions = Path(shutil.copytree(run.predictions, tmp_path / "predictions"))
    write_json(predictions / RECORDS, [replace(record, latency_ms=1e6, images_per_second=1e-6).to_json()])
    config = Config(export=kind, max_latency_ms=1e5)
    kept = register(run._replace(predictions=predictions), tmp_path / "best", config, monkeypatch, "run-1")
    assert kept.result["gate"] == "unregistered"
    (row,) = [row for row in kept.decision["criteria"] if row["name"] == "max_latency_ms"]
    assert 0 < row["challenger"] == kept.result["export.latency_ms"] < 1e5
    assert kept.result["export.images_per_second"] > 1e-6
    assert (Nomination.read(kept.best).measurement.record.images_per_second or 0) > 1e-6


def test_checkpoint_is_timed_where_the_export_does_not_serve(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = read_records(run.predictions / RECORDS)
    config = Config(export="onnx", parity_tolerance=0.0)
    kept = register(run, tmp_path / "best", config, monkeypatch, "run-1")
    assert "export.latency_ms" not in kept.result
    assert Nomination.read(kept.best).measurement.record.latency_ms == record.latency_ms


def test_champion_is_measured_again_by_the_runtime_that_serves_it(
    run: Run, run_on_other_images: Run, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    register(run, tmp_path / "first", Config(export="onnx"), monkeypatch, "run-1", line="keys")
    with monkeypatch.context() as lacking:
        lacking.setitem(sys.modules, "onnxruntime", None)
        kept = register(run_on_other_images, tmp_path / "second", Config(), lacking, "run-2", line="keys")
    assert kept.result["gate"] == "refused"
    assert "champion version 1 of keys cannot be measured" in kept.result["gate_reasons"]
    assert "onnxruntime" in kept.result["gate_reasons"]
    predict = Detector.predict

    def slow(detector: Detector, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        threading.Event().wait(SLOW_SECONDS)
        return predict(detector, images)

    monkeypatch.setattr(Detector, "predict", slow)
    kept = register(run_on_other_images, tmp_path / "third", Config(), monkeypatch, "run-3", line="keys")
    assert kept.decision["champion_measured_again"] is True
    (row,) = [row for row in kept.decision["criteria"] if row["name"] == "max_latency_ms"]
    assert 0 < row["champion"] < 1000 * SLOW_SECONDS
