"""Tests of the pretraining pipeline's package, and of a run by KFP's local runner."""

from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, local
from kfp.components import load_component_from_file

from components.pretraining.config import Config
from components.storage import s3
from components.weights.manifest import load_manifest
from pipelines.dags.pretraining import PIPELINE_NAME, pretraining, write_package
from tests.components.trees import write_mvtec
from tests.conftest import NewDatabase
from tests.pipelines.packages import documents


@pytest.fixture
def package(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "pretraining.yaml"
    compiler.Compiler().compile(pretraining, str(path))
    (loaded,) = documents(path)
    return loaded


def test_package_has_the_parameters_of_the_config(package: dict[str, Any]) -> None:
    parameters = package["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {"line", *Config.model_fields}
    assert {name for name, found in parameters.items() if not found.get("isOptional")} == {"line"}
    assert package["pipelineInfo"]["name"] == PIPELINE_NAME


def test_training_is_never_cached(package: dict[str, Any]) -> None:
    (task,) = package["root"]["dag"]["tasks"].values()
    assert task["cachingOptions"] == {}


@pytest.mark.slow
def test_pipeline_runs_locally(new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from PIL import Image

    from components.artifacts import CONFIG, WEIGHTS, read_json

    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_database(tmp_path))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "artifacts"))
    small = {"codebook_size": 16, "steps": 2, "autoencoder_steps": 1, "batch_size": 1, "sizes": [32], "image_side": 64}
    outputs = pretraining(line="base", sources=[str(tmp_path)], **small).outputs
    base = Path(outputs["generator"].path)
    assert (base / WEIGHTS).is_file()
    assert read_json(base / CONFIG)["figures"]["images"] == 2


@pytest.mark.slow
@pytest.mark.s3
def test_package_trains_on_lines_and_publishes(
    new_database: NewDatabase, tmp_path: Path, bare_cluster: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_database(tmp_path))
    s3.publish_directory(write_mvtec(tmp_path / "part", train=3), f"{prefix}/part")
    dataset = {"uri": f"{prefix}/part", "layout": "mvtec", "test_fraction": "0.2", "seed": "0"}
    config = Config(
        datasets=(dataset,),
        publish=f"{prefix}/bases",
        licence="CC-BY-4.0",
        codebook_size=16,
        steps=2,
        autoencoder_steps=1,
        batch_size=1,
        sizes=(32,),
        image_side=64,
    )
    write_package(tmp_path / "package.yaml", "ours", config, bare_cluster)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "artifacts"))
    load_component_from_file(str(tmp_path / "package.yaml"))()
    entry = load_manifest(f"{prefix}/bases/weights.yaml")["ours"]
    assert s3.stored_sha256(entry.uri) == entry.sha256
    assert (entry.figures["images"], entry.figures["held_out"]) == (2, 1)
