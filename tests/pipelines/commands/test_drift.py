"""Tests of `vigil drift` on tiny images."""

import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image, ImageEnhance

from components.history import read_history
from tests.conftest import MvtecTree, NewDatabase
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


def test_missing_champion(vigil: Vigil, line: Path, uri: str, tmp_path: Path) -> None:
    images = darkened(line, tmp_path / "new", 1.0)
    done = vigil("drift", line, "--images", images, "--tracking-uri", uri)
    assert_refused(done, "detector: line 'stripes' has no champion in MLflow")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--images", "{tmp}"], "tracking-uri: got ''"),
        (["--images", "{tmp}/missing", "--detector", "none"], "images: {tmp}/missing is not a folder"),
        (["--images", "{tmp}", "--detector", "none"], "images: none in {tmp}"),
        (["--images", "{line}", "--detector", "nowhere"], "detector: got 'nowhere'"),
        (["--images", "{tmp}", "--detector", "none", "--alpha", "2"], "drift.alpha: got 2.0"),
        (["--images", "{tmp}", "--detector", "none", "-o", "a.txt"], "output: got 'a.txt'"),
    ],
)
def test_bad_input(vigil: Vigil, line: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    names = {"tmp": tmp_path, "line": line.parent / "part" / "train" / "good"}
    given = [argument.format(**names) for argument in arguments]
    assert_refused(vigil("drift", line, *given), expected.format(**names))
