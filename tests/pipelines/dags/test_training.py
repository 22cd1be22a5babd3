"""Tests of the training pipeline's package."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import __version__
from pipelines.dags.package import write_package
from pipelines.dags.training import PIPELINE_NAME, training_parameters
from tests.pipelines.packages import documents

GOLDEN = Path(__file__).parent / "golden" / "training.yaml"
HEAVY = ("anomalib", "diffusers", "mlflow", "numpy", "pandas", "torch")

BLOCKING = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is not installed")

sys.meta_path.insert(0, Blocked())
from pipelines.cli import main
main()
"""


def without_sdk(path: Path) -> list[dict[str, Any]]:
    """The package's YAML documents without the SDK's version."""
    loaded = documents(path)
    for document in loaded:
        document.pop("sdkVersion", None)
    return loaded


def tasks(package: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All tasks, those of the loop among them, by name."""
    found = dict(package["root"]["dag"]["tasks"])
    for component in package["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    return found


def run_blocked(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`vigil` in a process that cannot import the heavy libraries."""
    command = [sys.executable, "-c", BLOCKING, *arguments]
    environment = {**os.environ, "VIGIL_IMAGE_REGISTRY": "vigil"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "training.yaml"
    write_package(path)
    return path


@pytest.fixture(scope="module")
def package(compiled: Path) -> dict[str, Any]:
    return without_sdk(compiled)[0]


def test_package_is_the_golden_one(compiled: Path, regenerate_golden: bool) -> None:
    if regenerate_golden:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(yaml.safe_dump_all(without_sdk(compiled)), encoding="utf-8")
    assert without_sdk(compiled) == without_sdk(GOLDEN)


def test_golden_is_never_rewritten_in_ci() -> None:
    command = [sys.executable, "-m", "pytest", "--regenerate-golden", "--collect-only", str(Path(__file__))]
    environment = {**os.environ, "CI": "true"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--regenerate-golden: got the environment variable CI" in done.stderr


def test_golden_images_carry_the_version() -> None:
    executors = without_sdk(GOLDEN)[0]["deploymentSpec"]["executors"]
    images = {executor["container"]["image"] for executor in executors.values()}
    families = ("detection", "generation")
    assert images == {f"vigil/vigil-python-{family}:{__version__}" for family in families}


def test_only_what_opens_and_ends_the_run_is_never_cached(package: dict[str, Any]) -> None:
    caching = {name: task["cachingOptions"] for name, task in tasks(package).items() if name != "for-loop-1"}
    assert (caching.pop("fingerprint"), caching.pop("conclusion")) == ({}, {})
    assert all(options == {"enableCache": True} for options in caching.values())


def test_detectors_are_trained_in_a_loop_over_trials(package: dict[str, Any]) -> None:
    loop = package["root"]["dag"]["tasks"]["for-loop-1"]
    assert loop["parameterIterator"]["items"] == {"inputParameter": "pipelinechannel--trials"}
    assert set(package["components"][loop["componentRef"]["name"]]["dag"]["tasks"]) == {"detection"}


def test_package_has_the_parameters_of_the_signature(package: dict[str, Any]) -> None:
    parameters = package["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {found.name for found in training_parameters()}
    required = {name for name, parameter in parameters.items() if not parameter.get("isOptional")}
    assert required == {"line", "object", "trials", "settings", "dataset_uri"}


def test_package_is_named(package: dict[str, Any]) -> None:
    assert package["pipelineInfo"]["name"] == PIPELINE_NAME


def test_every_stage_gets_the_line(package: dict[str, Any]) -> None:
    for name, task in tasks(package).items():
        if name != "for-loop-1":
            assert task["inputs"]["parameters"]["line"]["componentInputParameter"].endswith("line"), name


def test_compiling_needs_no_heavy_library(tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    done = run_blocked("compile", "-o", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert without_sdk(path) == without_sdk(GOLDEN)


def test_help_needs_no_heavy_library() -> None:
    done = run_blocked("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "compile" in done.stdout
