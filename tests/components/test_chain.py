"""All components, one after the other in this process, as the pipeline calls them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from kfp.dsl import HTML, Dataset, Metrics, Model

from components.artifacts import RECORDS, SUMMARY, TREND, ImageSet, read_json, read_table
from components.augmentation.component import augment
from components.detection.component import train
from components.detectors import Detector
from components.evaluation.component import evaluate
from components.ingestion.component import fingerprint, ingest
from components.prompts.component import find_prompts
from components.registration.component import register
from components.reporting.component import report
from components.selection.component import select
from components.tracking import find_or_create_parent
from components.vqgan.component import generate
from pipelines.line import parse_line
from tests.components.image_sets import write_reference
from tests.conftest import MvtecTree

LINE = "screws"
TRIALS = ("none", "generated")


class Chain:
    """Artifacts of one run below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def output(self, kind: Callable[..., Any], name: str) -> Any:
        return kind(name=name, uri=str(self.root / name))

    def call(self, component: Any, **arguments: Any) -> Any:
        return component.python_func(line=LINE, **arguments)

    def metrics(self, name: str) -> Any:
        return self.output(Metrics, f"{name}-metrics")


def track(environment: pytest.MonkeyPatch, root: Path) -> None:
    environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
    environment.setenv("VIGIL_RUN_ID", "r1")


@pytest.fixture(scope="module")
def finished(mvtec_tree: MvtecTree, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    with pytest.MonkeyPatch.context() as environment:
        track(environment, chain.root)
        run_all(chain, str(mvtec_tree(train=2, test_good=3, test_bad=3)))
    return chain


@pytest.fixture
def chain(finished: Chain, monkeypatch: pytest.MonkeyPatch) -> Chain:
    track(monkeypatch, finished.root)
    return finished


def run_all(chain: Chain, uri: str) -> None:
    digest = chain.call(fingerprint, uri=uri)
    images = {
        name: chain.output(Dataset, name) for name in ("reference", "prompts", "augmented", "candidates", "selected")
    }
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
    chain.call(find_prompts, **given, object="screw", prompts=images["prompts"], metrics=chain.metrics("p"))
    chain.call(augment, **given, augmented=images["augmented"], images=4, metrics=chain.metrics("a"))
    chain.call(
        generate,
        **given,
        augmented=images["augmented"],
        candidates=images["candidates"],
        generator=chain.output(Model, "generator"),
        metrics=chain.metrics("g"),
        codebook_size=16,
        iterations=2,
        images=2,
        steps=2,
        batch_size=2,
    )
    chain.call(
        select,
        prompts=images["prompts"],
        candidates=images["candidates"],
        selected=images["selected"],
        metrics=chain.metrics("s"),
    )
    detect_and_report(chain, images)


def detect_and_report(chain: Chain, images: dict[str, Any]) -> None:
    reference = images["reference"]
    detectors = []
    for trial in TRIALS:
        trained = chain.output(Model, f"detector-{trial}")
        chain.call(
            train,
            reference=reference,
            augmented=images["augmented"],
            selected=images["selected"],
            trained=trained,
            metrics=chain.metrics(f"d-{trial}"),
            training_set=trial,
        )
        detectors.append(trained)
    predictions, best = chain.output(Dataset, "predictions"), chain.output(Model, "best")
    chain.call(evaluate, reference=reference, detectors=detectors, predictions=predictions, metrics=chain.metrics("e"))
    chain.call(
        register,
        reference=reference,
        detectors=detectors,
        predictions=predictions,
        best=best,
        metrics=chain.metrics("r"),
    )
    line = parse_line({"name": LINE, "object": "screw", "dataset": {"uri": ".", "image_size": 64}}, chain.root)
    chain.call(
        report,
        settings=line.arguments()["settings"],
        **images,
        predictions=predictions,
        best=best,
        html=chain.output(HTML, "report.html"),
        metrics=chain.metrics("html"),
    )


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
    assert set(records[0]) == keys | {"detector", "training_set", "seed", "latency_ms"}


def test_report_is_self_contained_and_shows_what_was_used(chain: Chain) -> None:
    html = (chain.root / "report.html").read_text(encoding="utf-8")
    visible = html.split("<body>")[1]
    prompts = read_table(chain.root / "prompts" / "prompts.parquet")
    for text in ("ConSE", "started untrained", "stand-in for LPIPS", prompts["prompt"].iloc[0], "generator_steps"):
        assert text in visible
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:)', markup) == []
    assert "<script src" not in html
    assert visible.count("data:image/jpeg;base64,") == 4 + 2 * (3 + 3)


def test_every_stage_has_its_run_below_the_pipeline_run(chain: Chain) -> None:
    client = mlflow.MlflowClient()
    parent = find_or_create_parent(LINE)
    experiment = client.get_experiment_by_name(LINE)
    runs = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    stages = {run.data.tags["vigil.stage"]: run.info.status for run in runs}
    detections = {f"detection patchcore/{trial}": "FINISHED" for trial in TRIALS}
    others = ("fingerprint", "ingestion", "prompts", "augmentation", "vqgan", "selection", "evaluation", "registration")
    assert stages == detections | dict.fromkeys((*others, "reporting"), "FINISHED")
    assert "patchcore.generated.image_auroc" in client.get_run(parent).data.metrics
    assert len(client.get_run(parent).inputs.dataset_inputs) == 1


def test_report_and_contact_sheets_are_files_of_the_pipeline_run(chain: Chain) -> None:
    client = mlflow.MlflowClient()
    parent = find_or_create_parent(LINE)
    assert "report.html" in {file.path for file in client.list_artifacts(parent)}
    sheets = {file.path for file in client.list_artifacts(parent, "contact_sheets")}
    assert sheets == {f"contact_sheets/{name}.jpg" for name in ("given", "augmented", "best", "worst")}


def test_losses_are_logged_step_by_step(chain: Chain) -> None:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(LINE)
    (run,) = client.search_runs([experiment.experiment_id], "tags.`vigil.stage` = 'vqgan'")
    history = client.get_metric_history(run.info.run_id, "total")
    assert [point.step for point in history if point.step] == [1, 2, 3, 4]


def test_registered_model_scores_as_the_detector_does(chain: Chain) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{LINE}/1")
    reference = ImageSet(chain.root / "reference")
    ids = reference.ids("test")
    batch = np.stack([reference.image(id) for id in ids])
    received = model.predict(batch)
    scores, maps = Detector(chain.root / "best").predict(reference.tensor(ids))
    np.testing.assert_allclose(received["score"], scores.numpy(), atol=1e-4)
    np.testing.assert_allclose(received["anomaly_map"], maps.numpy(), atol=1e-4)
    with pytest.raises(ValueError, match=r"expected \[n, 64, 64, 3\]"):
        model.predict(batch[:, :32])


def test_images_without_masks_have_no_pixel_metrics(tmp_path: Path) -> None:
    from components.detection.train import train_detector
    from components.detectors import Config as DetectorConfig
    from components.evaluation.config import Config
    from components.evaluation.evaluate import evaluate_detectors

    reference = write_reference(tmp_path / "reference", masks=False)
    train_detector(reference, reference, reference, tmp_path / "detector", DetectorConfig())
    (record,) = evaluate_detectors(reference, [tmp_path / "detector"], tmp_path / "predictions", Config())
    assert record["pixel_auroc"] is None
    assert record["aupro"] is None
    assert record["image_auroc"] == 1.0
