"""All components, one after the other in this process, as the pipeline calls them."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Markdown, Metrics, Model

from components.artifacts import (
    DECISION_PAGE,
    ONNX_MODEL,
    RECALL,
    RECORDS,
    SUMMARY,
    TREND,
    UNSENT,
    ImageSet,
    encode_png,
    read_json,
    read_table,
)
from components.augmentation.component import augmentation as augment
from components.dataset.component import dataset as ingest
from components.dataset.component import fingerprint
from components.defect_synthesis.component import defect_synthesis as synthesise
from components.detection.component import detection as train
from components.detectors.detector import Detector
from components.evaluation.component import evaluation as evaluate
from components.metrics.records import KIND_METRICS, PIXEL_METRICS, PROXY_HEADS, SPRO_METRICS
from components.notices.webhook import FOLDER
from components.prompts.component import prompts as find_prompts
from components.registration.component import registration as register
from components.reporting.component import conclusion as conclude
from components.reporting.component import reporting as report
from components.selection.component import selection as select
from components.tracking.events import Event, Task, write_events
from components.vqgan.component import vqgan as generate
from pipelines.lines.line import parse_line
from tests.components.image_sets import write_reference
from tests.components.notices.hooks import webhook
from tests.components.runs import line_runs, only_stage_run, pipeline_run, stage_runs
from tests.conftest import MvtecTree, NewDatabase

LINE = "screws"
TRIALS = ("none", "generated")


class Chain:
    """Artifacts of one run below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.conclusion: dict[str, Any] = {}
        """Arguments of the last component."""
        self.shown: dict[str, Any] = {}
        """What Kubeflow's page shows."""
        self.notices: list[dict[str, Any]] = []
        """What the webhook was sent."""

    def output(self, kind: Callable[..., Any], name: str) -> Any:
        return kind(name=name, uri=str(self.root / name))

    def call(self, component: Any, **arguments: Any) -> Any:
        return component.python_func(line=LINE, **arguments)

    def metrics(self, name: str) -> Any:
        return self.output(Metrics, f"{name}-metrics")


def track(environment: pytest.MonkeyPatch, root: Path) -> None:
    environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    environment.setenv("VIGIL_RUN_ID", "r1")


@pytest.fixture(scope="module")
def finished(mvtec_tree: MvtecTree, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    new_database(chain.root)
    with pytest.MonkeyPatch.context() as environment:
        track(environment, chain.root)
        dataset = mvtec_tree(train=2, test_good=3, test_bad=3)
        (dataset / "train" / "good" / "<phone>.heic").write_bytes(b"an ending that is not read")
        with webhook() as hook:
            environment.setenv(FOLDER, str(hook.folder(chain.root / "webhook", "plain")))
            run_all(chain, str(dataset))
        chain.notices = hook.posted
    return chain


@pytest.fixture
def chain(finished: Chain, monkeypatch: pytest.MonkeyPatch) -> Chain:
    track(monkeypatch, finished.root)
    return finished


def run_all(chain: Chain, uri: str) -> None:
    line = parse_line({"name": LINE, "object": "screw", "dataset": {"uri": uri, "image_size": 64}}, chain.root)
    settings = line.arguments()["settings"]
    digest = chain.call(fingerprint, uri=uri, layout="mvtec", settings=settings)
    names = ("reference", "synthetic", "prompts", "augmented", "candidates", "selected")
    images = {name: chain.output(Dataset, name) for name in names}
    chain.call(
        ingest,
        uri=uri,
        dataset_digest=digest,
        reference=images["reference"],
        metrics=chain.metrics("i"),
        shots=2,
        image_size=64,
    )
    given = {"reference": images["reference"]}
    chain.call(synthesise, **given, synthetic=images["synthetic"], metrics=chain.metrics("d"), per_image=3)
    chain.call(find_prompts, **given, object="screw", prompts=images["prompts"], metrics=chain.metrics("p"))
    drawn = {"synthetic": images["synthetic"]}
    chain.call(augment, **given, **drawn, augmented=images["augmented"], images=4, metrics=chain.metrics("a"))
    chain.call(
        generate,
        **given,
        augmented=images["augmented"],
        candidates=images["candidates"],
        generator=chain.output(Model, "generator"),
        metrics=chain.metrics("g"),
        weights="none",
        codebook_size=16,
        iterations=2,
        images=2,
        steps=2,
        batch_size=2,
    )
    chain.call(
        select,
        **given,
        **drawn,
        prompts=images["prompts"],
        candidates=images["candidates"],
        selected=images["selected"],
        metrics=chain.metrics("s"),
    )
    detect_and_report(chain, images, settings, digest)


def detect_and_report(chain: Chain, images: dict[str, Any], settings: str, digest: str) -> None:
    reference = images["reference"]
    detectors = []
    for trial in TRIALS:
        trained = chain.output(Model, f"detector-{trial}")
        chain.call(
            train,
            reference=reference,
            augmented=images["augmented"],
            selected=images["selected"],
            synthetic=images["synthetic"],
            trained=trained,
            metrics=chain.metrics(f"d-{trial}"),
            training_set=trial,
        )
        detectors.append(trained)
    predictions, best = chain.output(Dataset, "predictions"), chain.output(Model, "best")
    chain.shown["classification"] = chain.output(ClassificationMetrics, "classification")
    chain.call(
        evaluate,
        reference=reference,
        detectors=detectors,
        predictions=predictions,
        metrics=chain.metrics("e"),
        classification=chain.shown["classification"],
    )
    chain.call(
        register,
        reference=reference,
        detectors=detectors,
        predictions=predictions,
        best=best,
        metrics=chain.metrics("r"),
        export="onnx",
    )
    shown = {**images, "predictions": predictions, "best": best}
    html = chain.output(HTML, "report.html")
    chain.shown["summary"] = chain.output(Markdown, "summary.md")
    summary = {"summary": chain.shown["summary"]}
    chain.call(report, settings=settings, **shown, html=html, **summary, metrics=chain.metrics("html"))
    source = {"dataset_uri": json.loads(settings)["dataset_uri"], "dataset_digest": digest}
    chain.conclusion = {"settings": settings, **source, **shown, "detectors": detectors, "html": html}
    chain.call(conclude, **chain.conclusion)


def test_kubeflows_page_shows_curve_confusion_and_summary(chain: Chain) -> None:
    metadata = chain.shown["classification"].metadata
    points = metadata["confidenceMetrics"]
    assert points[0]["recall"] == points[0]["falsePositiveRate"] == 0
    assert points[-1]["recall"] == points[-1]["falsePositiveRate"] == 1
    rows = [row["row"] for row in metadata["confusionMatrix"]["rows"]]
    assert [sum(row) for row in rows] == [3, 3]
    json.dumps(metadata, allow_nan=False)
    records = read_json(chain.root / "predictions" / RECORDS)
    trial = read_json(chain.root / "classification")["trial"]
    assert trial in [f"{record['detector']}/{record['training_set']}" for record in records]
    summary = (chain.root / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("# screws\n")
    assert summary.count("**patchcore/") == 1
    assert (chain.root / "best" / DECISION_PAGE).read_text(encoding="utf-8").strip() in summary


def test_webhook_hears_of_the_finished_run(chain: Chain) -> None:
    (notice,) = chain.notices
    assert (notice["line"], notice["event"], notice["run_id"]) == (LINE, "finished", "r1")
    assert notice["facts"]["model_version"] == "1"
    assert "image AUROC" in notice["text"]


def test_ingestion_draws_the_shots_and_keeps_the_test_split(chain: Chain) -> None:
    reference = ImageSet(chain.root / "reference")
    assert len(reference.ids("train", "good")) == 2
    assert len(reference.ids("test", "good")) == 3
    assert all(reference.mask(id) is not None for id in reference.ids("test", "bad"))


def test_selection_takes_the_set_with_the_highest_cosine(chain: Chain) -> None:
    trend = read_table(chain.root / "selected" / TREND)
    assert read_json(chain.root / "selected" / SUMMARY)["best_iteration"] == int(trend["cosine"].argmax())


def test_records_hold_every_trial_with_all_metrics(chain: Chain) -> None:
    records = read_json(chain.root / "predictions" / RECORDS)
    assert [record["training_set"] for record in records] == list(TRIALS)
    keys = {"image_auroc", "pixel_auroc", "aupro", "image_ap", "image_f1_max"}
    assert all(0 <= record[key] <= 1 for record in records for key in keys)
    keys |= {"threshold", "false_alarm_rate", "recall", "latency_ms", "images_per_second", "bank_patches"}
    keys |= {*PROXY_HEADS, "proxy_standard_error", "validation_images", "promised_false_alarm_rate"}
    assert [record["validation_images"] for record in records] == [2.0] * len(TRIALS)
    by_kind = {*KIND_METRICS, *PIXEL_METRICS, *SPRO_METRICS}
    assert all(record[key] is None for record in records for key in by_kind)
    assert set(records[0]) == keys | by_kind | {"detector", "training_set", "seed"}


def test_threshold_travels_and_gives_the_reported_rates(chain: Chain) -> None:
    reference, best = ImageSet(chain.root / "reference"), Detector(chain.root / "best")
    assert (best.threshold.source, best.threshold.images) == ("leave-one-out", 2)
    (record,) = [
        record
        for record in read_json(chain.root / "predictions" / RECORDS)
        if record["training_set"] == best.config.training_set
    ]
    called = {
        label: best.predict(reference.tensor(reference.ids("test", label)))[0] > record["threshold"]
        for label in ("good", "bad")
    }
    assert record["false_alarm_rate"] == pytest.approx(float(called["good"].float().mean()))
    assert record["recall"] == pytest.approx(float(called["bad"].float().mean()))
    table = read_table(chain.root / "predictions" / RECALL)
    row = table[table["training_set"] == best.config.training_set].iloc[0]
    assert (row["defect"], row["images"], row["recall"]) == ("scratch", 3, record["recall"])
    assert "leave-one-out" in (chain.root / "report.html").read_text(encoding="utf-8")


def test_report_is_self_contained_and_shows_what_was_used(chain: Chain) -> None:
    html = (chain.root / "report.html").read_text(encoding="utf-8")
    visible = html.split("<body>")[1]
    prompts = read_table(chain.root / "prompts" / "prompts.parquet")
    for text in (
        "Promotion: first",
        "by the proxy: synthetic defects on 2 held-out good images, and no test image",
        "All figures here are <b>proxies</b>",
        "min_champion_gain",
        "ConSE",
        "started untrained",
        "substitute for LPIPS",
        prompts["prompt"].iloc[0],
        "vqgan_steps",
        "train/good/&lt;phone&gt;.heic",
        "images of the ending .heic are not read",
        "Diversity and fidelity of each set",
        "Policy: <b>photometric</b>.",
    ):
        assert text in visible
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:)', markup) == []
    assert "<script src" not in html
    assert visible.count("data:image/jpeg;base64,") == 4 + 2 * (3 + 3 + 6)


def test_every_stage_has_its_run_below_the_pipeline_run(chain: Chain) -> None:
    client = mlflow.MlflowClient()
    parent = pipeline_run(client, LINE)
    history = client.get_registered_model(LINE).tags["vigil.history_run"]
    nested = [run for run in line_runs(client, LINE) if run.info.run_id not in (parent.info.run_id, history)]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in nested)
    stages = {run.data.tags["vigil.stage"]: run.info.status for run in nested}
    detections = {f"detection patchcore/{trial}": "FINISHED" for trial in TRIALS}
    others = ("fingerprint", "dataset", "defect_synthesis", "prompts", "augmentation", "vqgan", "selection")
    assert len(stages) == len(nested)
    assert stages == detections | dict.fromkeys(
        (*others, "evaluation", "registration", "reporting", "conclusion"), "FINISHED"
    )


def test_pipeline_run_says_what_it_is_about(chain: Chain) -> None:
    parent = pipeline_run(mlflow.MlflowClient(), LINE)
    assert parent.info.status == "FINISHED"
    assert "patchcore.generated.image_auroc" in parent.data.metrics
    assert "patchcore.gain" in parent.data.metrics
    assert parent.data.params["vqgan_steps"] == "15"
    tags = {name: parent.data.tags[f"vigil.{name}"] for name in ("line", "object", "profile", "shots", "seed")}
    assert tags == {"line": LINE, "object": "screw", "profile": "embedded", "shots": "1", "seed": "0"}
    assert len(parent.data.tags["vigil.dataset_digest"]) == 64
    assert "torch" in json.loads(parent.data.tags["vigil.versions"])
    assert len(mlflow.MlflowClient().get_run(parent.info.run_id).inputs.dataset_inputs) == 1


def test_what_a_person_looks_at_are_files_of_the_pipeline_run(chain: Chain) -> None:
    client = mlflow.MlflowClient()
    parent = pipeline_run(client, LINE).info.run_id

    def files(folder: str = "") -> set[str]:
        return {file.path.rpartition("/")[2] for file in client.list_artifacts(parent, folder) if not file.is_dir}

    assert files() == {"report.html", "prompts.json", "decision.md"}
    decision = Path(mlflow.artifacts.download_artifacts(run_id=parent, artifact_path="decision.md"))
    assert decision.read_text("utf-8") == (chain.root / "best" / DECISION_PAGE).read_text("utf-8")
    assert decision.read_text("utf-8").startswith(f"# {LINE}: first")
    assert files("contact_sheets") == {f"{name}.jpg" for name in ("given", "augmented", "best", "worst")}
    assert files("curves") == {"roc.png", "precision_recall.png"}
    assert files("worst_errors") == {f"{kind}-{index:02d}.jpg" for kind in ("good", "bad") for index in range(3)}


def test_run_that_came_from_the_cache_says_what_was_registered(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    client, line = mlflow.MlflowClient(), "screws-again"
    monkeypatch.setenv("VIGIL_RUN_ID", "r2")
    conclude.python_func(line=line, **chain.conclusion)
    cached, computed = pipeline_run(client, line), pipeline_run(client, LINE)
    for name in ("best", "model_version", "gate", "gate_reasons"):
        assert cached.data.tags[f"vigil.{name}"] == computed.data.tags[f"vigil.{name}"]
    assert (cached.data.tags["vigil.gate"], cached.data.tags["vigil.model_version"]) == ("first", "1")
    assert "decision.md" in {file.path for file in client.list_artifacts(cached.info.run_id)}


@pytest.mark.parametrize(("stage", "name", "steps"), [("vqgan", "total", 4), ("selection", "cosine", 2)])
def test_curves_are_logged_step_by_step(chain: Chain, stage: str, name: str, steps: int) -> None:
    client = mlflow.MlflowClient()
    history = client.get_metric_history(only_stage_run(client, LINE, stage).info.run_id, name)
    assert [point.step for point in history if point.step] == list(range(1, steps + 1))


def test_registered_model_scores_as_the_detector_does(chain: Chain) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{LINE}/1")
    reference = ImageSet(chain.root / "reference")
    ids = reference.ids("test")
    batch = np.stack([reference.image(id) for id in ids])
    received = model.predict(batch)
    scores, maps = Detector(chain.root / "best").predict(reference.tensor(ids))
    np.testing.assert_allclose(received["score"], scores.numpy(), atol=1e-4)
    np.testing.assert_allclose(received["anomaly_map"], maps.numpy(), atol=1e-4)
    assert set(model.predict(batch[:, :32], params={"maps": False})) == {"score", "anomalous"}
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"^image 0: got shape \[64, 3\], expected \[height"):
        model.predict(batch[0])
    assert model.metadata.metadata["threshold"] == dataclasses.asdict(Detector(chain.root / "best").threshold)


def test_registered_model_takes_paths_bytes_and_arrays(chain: Chain, tmp_path: Path) -> None:
    """As `pipelines/docs/serving.md` says: whatever they are, the images are one array of objects."""
    model = mlflow.pyfunc.load_model(f"models:/{LINE}/1")
    reference = ImageSet(chain.root / "reference")
    ids = reference.ids("test")[:3]
    arrays = [reference.image(id) for id in ids]
    files = [encode_png(array) for array in arrays]
    paths = [tmp_path / f"{id}.png" for id in ids]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    expected = Detector(chain.root / "best").predict(reference.tensor(ids))[0].numpy()
    for batch in (paths, files, arrays, [paths[0], files[1], arrays[2]]):
        found = model.predict(np.fromiter(batch, dtype=object), params={"maps": False})
        np.testing.assert_allclose(found["score"], expected, atol=1e-4)
    other_sizes = model.predict(np.fromiter([arrays[0], arrays[1][:, :40], arrays[2][:40]], dtype=object))
    np.testing.assert_allclose(other_sizes["score"][0], expected[0], atol=1e-4)
    assert other_sizes["anomaly_map"].shape == (3, 64, 64)
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    refused: list[tuple[object, str]] = [
        (str(paths[0]), "image 0: not base64"),
        (tmp_path / "missing.png", "image 0: no file at "),
        (tmp_path / "notes.txt", "image 0: not an image"),
    ]
    for item, message in refused:
        with pytest.raises(mlflow.exceptions.MlflowException, match=f"^{message}"):
            model.predict(np.fromiter([item], dtype=object))


def test_export_is_logged_with_the_model_and_its_parity_told(chain: Chain) -> None:
    assert read_json(chain.root / "best" / SUMMARY)["parity.passed"] is True
    logged = Path(mlflow.artifacts.download_artifacts(f"models:/{LINE}/1")) / "artifacts" / "detector"
    assert (logged / ONNX_MODEL).read_bytes() == (chain.root / "best" / ONNX_MODEL).read_bytes()
    assert "agrees with the checkpoint" in (chain.root / "report.html").read_text(encoding="utf-8")


def test_next_run_has_the_curves_that_the_loops_own_run_could_not_send(
    finished: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(shutil.copytree(finished.root, tmp_path / "chain"))
    track(monkeypatch, chain.root)
    monkeypatch.setenv("VIGIL_RUN_ID", "r2")
    task = Task(line=LINE, run_id="r1", stage="vqgan")
    curve = [Event(kind="metrics", values={"step": step, "scalars": {"unheard": 1 / step}}) for step in (1, 2)]
    write_events(chain.root / "candidates" / UNSENT, [(task, event) for event in curve])
    conclude_again(chain)
    client = mlflow.MlflowClient()
    (cached,) = [run for run in stage_runs(client, LINE, "vqgan") if "vigil.cached" in run.data.tags]
    parent = client.get_run(cached.data.tags["mlflow.parentRunId"])
    assert (parent.data.tags["vigil.run_id"], parent.info.status) == ("r2", "FINISHED")
    history = client.get_metric_history(cached.info.run_id, "unheard")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5)]


def conclude_again(chain: Chain) -> None:
    """The conclusion of a pipeline run that took every other stage from the cache."""
    uri = "s3://lines/screws"
    settings = parse_line({"name": LINE, "object": "screw", "dataset": {"uri": uri}}, chain.root).arguments()[
        "settings"
    ]
    names = ("reference", "prompts", "augmented", "candidates", "selected", "synthetic", "predictions", "best")
    artifacts = {name: chain.output(Dataset, name) for name in names}
    detectors = [chain.output(Model, f"detector-{trial}") for trial in TRIALS]
    html = chain.output(HTML, "report.html")
    about = {"settings": settings, "dataset_uri": uri, "dataset_digest": "0" * 64}
    chain.call(conclude, **about, **artifacts, detectors=detectors, html=html)


def test_images_without_masks_have_no_pixel_metrics(tmp_path: Path) -> None:
    from components.detection.train import train_detector
    from components.detectors.config import Config as DetectorConfig
    from components.evaluation.config import Config
    from components.evaluation.evaluate import evaluate_detectors

    reference = write_reference(tmp_path / "reference", masks=False)
    train_detector(reference, reference, reference, tmp_path / "detector", DetectorConfig())
    (record,) = evaluate_detectors(reference, [tmp_path / "detector"], tmp_path / "predictions", Config())
    assert record.pixel_auroc is None
    assert record.aupro is None
    assert record.image_auroc == 1.0
