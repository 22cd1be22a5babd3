"""The components' files: fresh, loadable by kfp into anybody's pipeline, described, with their metadata."""

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from kfp import components as kfp_components

from pipelines.dags.reuse import README, REUSABLE, ROOT, component_files, with_table
from pipelines.lines.stages import STAGES
from tests.pipelines.packages import documents

FILES = component_files()
MAX_BYTES = 24_000
EXAMPLE = ROOT.parent / "pipelines" / "examples" / "reuse.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_fresh_small_and_loadable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == FILES[path], "run `make components`"
    assert len(text) < MAX_BYTES
    loaded = kfp_components.load_component_from_file(str(path))
    known = {component.component_spec.name: component for component in (STAGES[name].component for name in REUSABLE)}
    own = known[loaded.component_spec.name].component_spec
    assert set(loaded.component_spec.inputs) == set(own.inputs)
    assert set(loaded.component_spec.outputs) == set(own.outputs)


def test_readme_lists_every_component_with_its_inputs_and_outputs() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == with_table(text), "run `make components`"
    assert len(re.findall(r"^\| \[", text, re.MULTILINE)) == len(REUSABLE)
    for link in re.findall(r"^\| \[\w+\]\((.+?)\)", text, re.MULTILINE):
        assert (ROOT / link).is_file()


def test_files_hold_no_more_than_the_reusable_stages() -> None:
    written = {path for path in ROOT.glob("*/*.yaml") if "deploymentSpec" in path.read_text(encoding="utf-8")}
    assert written == set(FILES)


@pytest.mark.parametrize("name", [name for name in REUSABLE if not STAGES[name].folder])
def test_metadata_is_that_of_the_components_catalogue(name: str) -> None:
    content = yaml.safe_load((ROOT / name / "metadata.yaml").read_text(encoding="utf-8"))
    assert set(content) == {"name", "stability", "dependencies", "tags", "lastVerified"}
    assert content["name"] == name
    assert content["stability"] in ("experimental", "alpha", "beta", "stable")
    (pipelines,) = content["dependencies"]["kubeflow"]
    assert pipelines["name"] == "Pipelines"
    assert re.fullmatch(r">=\d+\.\d+", pipelines["version"])
    assert isinstance(content["lastVerified"], datetime)
    assert all(re.fullmatch(r"[a-z_]+", tag) for tag in content["tags"])


def test_example_pipeline_compiles_with_three_of_them(tmp_path: Path) -> None:
    path = tmp_path / "two-detectors.yaml"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, str(EXAMPLE), str(path)], check=True, env=environment, timeout=120)
    package = documents(path)[0]
    used = {component["executorLabel"] for component in package["components"].values() if "executorLabel" in component}
    assert used == {"exec-dataset", "exec-detection", "exec-evaluation"}
