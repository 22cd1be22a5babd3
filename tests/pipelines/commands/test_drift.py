"""Tests of `vigil drift` on tiny images."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image, ImageEnhance

from components.dataset.ingest import ingest_dataset
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.registration.config import Config
from components.registration.register import register_best
from components.registry.history import read_history
from components.tracking.run import stage_run
from pipelines.lines.line import load_line
from tests.conftest import MvtecTree, NewDatabase
from tests.pipelines.packages import documents
from tests.pipelines.vigil import Vigil, assert_refused


@pytest.fixture(scope="module")
def line(mvtec_tree: MvtecTree) -> Path:
    """A line with a few good images."""
    tree = mvtec_tree(train=12, test_good=8)
    path = tree.parent / "line.yaml"
    dataset = {"uri": str(tree), "shots": 1, "image_size": 64}
    path.write_text(yaml.safe_dump({"name": "stripes", "object": "stripe", "dataset": dataset}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def uri(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow database with the line's experiment, and no model."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = new_database(folder)
    MlflowClient(uri).create_experiment("stripes", artifact_location=(folder / "files").as_uri())
    return uri


def darkened(line: Path, target: Path, factor: float) -> Path:
    """The training images of the line, at another exposure."""
    target.mkdir()
    for path in (line.parent / "part" / "train" / "good").iterdir():
        with Image.open(path) as image:
            ImageEnhance.Brightness(image).enhance(factor).save(target / path.name)
    return target


def test_darker_images(vigil: Vigil, line: Path, tmp_path: Path) -> None:
    images = darkened(line, tmp_path / "new", 0.6)
    page = tmp_path / "page.html"
    done = vigil("drift", line, "--images", images, "--detector", "none", "-o", page)
    assert done.code == 0
    assert "train again: yes" in done.out
    assert "changed: brightness" in done.out
    assert "Drift of stripes" in page.read_text(encoding="utf-8")


def test_same_images_as_json(vigil: Vigil, line: Path) -> None:
    images = line.parent / "part" / "train" / "good"
    done = vigil("drift", line, "--images", images, "--detector", "none", "--json")
    content = json.loads(done.out)
    assert content["retrain"] == "no"
    assert (content["reference_images"], content["new_images"]) == (20, 12)


def test_drift_is_recorded(vigil: Vigil, line: Path, uri: str, tmp_path: Path) -> None:
    client = MlflowClient(uri)
    images = darkened(line, tmp_path / "new", 0.6)
    assert vigil("drift", line, "--images", images, "--detector", "none", "--tracking-uri", uri).code == 0
    (history,) = read_history(uri, ["stripes"])
    assert history.runs == ()
    (check,) = history.drift
    assert check.retrain
    assert "brightness" in check.reasons
    (run,) = client.search_runs([client.get_experiment_by_name("stripes").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["brightness.new"] < run.data.metrics["brightness.reference"]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["drift.html"]


def test_champion_is_compared_with_the_images_that_it_was_trained_and_tested_with(
    vigil: Vigil, line: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that the data set has got since then do not hide a change."""
    register_champion(line, uri, tmp_path, monkeypatch)
    darker = darkened(line, tmp_path / "new", 0.6)
    grown = grown_line(line, darker, tmp_path)
    kept = vigil("drift", grown, "--images", darker, "--tracking-uri", uri, "--json")
    content = json.loads(kept.out)
    assert (content["retrain"], content["reference_images"]) == ("yes", 9)
    assert content["reference"] == "the run that trained the detector"
    assert content["scores"]["threshold"] is not None
    shown = vigil("drift", grown, "--images", darker, "--tracking-uri", uri)
    assert "12 new good images against 9 of the run that trained the detector" in " ".join(shown.out.split())
    now = json.loads(vigil("drift", grown, "--images", darker, "--detector", "none", "--json").out)
    assert (now["retrain"], now["reference_images"], now["reference"]) == ("no", 120 + 20, "the data set")


def test_detector_that_keeps_no_images_is_compared_with_the_data_set(vigil: Vigil, line: Path, tmp_path: Path) -> None:
    detector = train_on(line, tmp_path)[1]
    images = line.parent / "part" / "train" / "good"
    content = json.loads(vigil("drift", line, "--images", images, "--detector", detector, "--json").out)
    assert (content["reference"], content["reference_images"]) == ("the data set", 20)
    assert content["scores"]["threshold"] is not None


def train_on(line: Path, root: Path) -> tuple[Path, Path]:
    """The image set of a line, and a detector."""
    reference, detector = root / "reference", root / "detector"
    ingest_dataset(reference, load_line(line).configs["dataset"])
    train_detector(reference, reference, reference, detector, DetectorConfig())
    return reference, detector


def register_champion(line: Path, uri: str, root: Path, environment: pytest.MonkeyPatch) -> None:
    """Train a detector on the images of the tests' line, and register it as the champion of the line `trained`."""
    (reference, detector), predictions = train_on(line, root), root / "predictions"
    evaluate_detectors(reference, [detector], predictions, EvaluationConfig(latency_images=1))
    environment.setenv("MLFLOW_TRACKING_URI", uri)
    environment.setenv("VIGIL_RUN_ID", "r1")
    with stage_run("trained", "registration") as run:
        register_best("trained", reference, [detector], predictions, root / "best", Config(), run)


def grown_line(line: Path, added: Path, root: Path) -> Path:
    """The line whose data set has ten copies more of each added image."""
    tree = Path(shutil.copytree(line.parent / "part", root / "part"))
    for path in added.iterdir():
        for index in range(10):
            shutil.copy(path, tree / "train" / "good" / f"added-{index}-{path.name}")
    content = yaml.safe_load(line.read_text(encoding="utf-8"))
    content["name"] = "trained"
    content["dataset"]["uri"] = str(tree)
    grown = root / "grown.yaml"
    grown.write_text(yaml.safe_dump(content), encoding="utf-8")
    return grown


def test_package_for_a_schedule(vigil: Vigil, line: Path, tmp_path: Path) -> None:
    package = tmp_path / "drift.yaml"
    done = vigil("drift", line, "--images", "s3://lines/stripes/new", "--alpha", "0.01", "--compile", package)
    assert done.code == 0
    (pipeline, _) = documents(package)
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    found = {name: parameters[name]["defaultValue"] for name in ("line", "images", "alpha")}
    assert found == {"line": "stripes", "images": "s3://lines/stripes/new", "alpha": 0.01}


def test_missing_champion(vigil: Vigil, line: Path, uri: str, tmp_path: Path) -> None:
    images = darkened(line, tmp_path / "new", 1.0)
    done = vigil("drift", line, "--images", images, "--tracking-uri", uri)
    assert_refused(done, "detector: line 'stripes' has no champion in MLflow")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--images", "{tmp}"], "tracking-uri: got ''"),
        (["--images", "{tmp}/missing", "--detector", "none"], "images: {tmp}/missing is not a folder"),
        (["--images", "{tmp}", "--detector", "none"], "images: no images in {tmp}"),
        (["--images", "{line}", "--detector", "nowhere"], "detector: got 'nowhere'"),
        (["--images", "{tmp}", "--detector", "none", "--alpha", "2"], "drift.alpha: got 2.0"),
        (["--images", "{tmp}", "--detector", "none", "-o", "a.txt"], "output: got 'a.txt'"),
        (["--images", "{tmp}", "--compile", "{tmp}/drift.yaml"], "images: got '{tmp}', expected s3://"),
    ],
)
def test_bad_input(vigil: Vigil, line: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    names = {"tmp": tmp_path, "line": line.parent / "part" / "train" / "good"}
    given = [argument.format(**names) for argument in arguments]
    assert_refused(vigil("drift", line, *given), expected.format(**names))
